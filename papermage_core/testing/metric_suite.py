"""The conformance suite of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import attrs

from papermage_core.plugin.spec import Metric, MetricConfig, UnitSpan
from papermage_core.testing.checks import require, working
from papermage_core.testing.component import ComponentSuite

__all__ = ["MetricSuite"]

LABELS = ("Disease", "Gene")
_GOLD = (
    (),
    (UnitSpan.of("Disease", 0, 2), UnitSpan.of("Gene", 3, 4)),
    (UnitSpan("Disease", ((1, 2), (4, 6))),),
)
_FOUND = (
    (UnitSpan.of("Gene", 0, 1, 0.8),),
    (UnitSpan.of("Disease", 0, 2, 0.9), UnitSpan.of("Disease", 3, 4, 0.6)),
    (UnitSpan.of("Disease", 1, 2, 0.7), UnitSpan.of("Gene", 1, 2, 0.5)),
)


class MetricSuite(ComponentSuite):
    """Subclass as ``class TestMine(MetricSuite): component = "mine"``."""

    kind: ClassVar[str] = "metric"

    def metrics(self) -> list[tuple[MetricConfig, Metric]]:
        """Return a new metric for each of ``options``, with its config."""
        return [(config, config.build(LABELS)) for config in self.configs()]

    def test_a_figure_is_a_number(self) -> None:
        """For documents with and without entities, gold or predicted, and for gold that nobody could have found."""
        for config, metric in self.metrics():
            for gold, found in zip(_GOLD, _FOUND, strict=True):
                metric.add(list(gold), list(found))
                _check_figure(metric.value(), config, "for documents of all kinds")
            metric.add([], [], ["Disease"])
            require(math.isfinite(metric.value()), f"value() returned {metric.value()!r}", "return a finite number")

    def test_nothing_found_is_no_error(self) -> None:
        """Early in training nothing is found, or nothing right: there is a figure, if only NaN, which is the worst."""
        for config, metric in self.metrics():
            metric.add(list(_GOLD[1]), [])
            with working("value() where nothing was found", "return the worst figure in place of dividing by zero"):
                value = metric.value()
            _check_figure(value, config, "where nothing was found")

    def test_no_entity_and_no_document_are_no_error(self) -> None:
        """Of a document in which nothing is marked and nothing was found, and before there is any document."""
        for config in self.configs():
            for what, documents in (("of no document", 0), ("of a document without entities", 1)):
                metric = config.build(LABELS)
                with working(f"value() {what}", "divide by no number that may be 0"):
                    for _ in range(documents):
                        metric.add([], [])
                    value = metric.value()
                _check_figure(value, None, what)

    def test_what_is_right_is_no_worse_than_what_is_wrong(self) -> None:
        """The figure of perfect predictions is the best one, in the direction of ``greater_is_better``."""
        for config, perfect in self.metrics():
            wrong = config.build(LABELS)
            for gold, found in zip(_GOLD, _FOUND, strict=True):
                perfect.add(list(gold), _found(gold))
                wrong.add(list(gold), list(found))
            better = perfect.value() >= wrong.value() if config.greater_is_better else perfect.value() <= wrong.value()
            require(
                better,
                f"perfect predictions give {perfect.value()}, poor ones {wrong.value()}",
                "turn the figure round, or set greater_is_better",
            )

    def test_labels_of_any_number_and_order_are_taken(self) -> None:
        """The labels are the user's."""
        for names in (("zygote", "Zygote", "ash"), ("one",), tuple(f"label {number}" for number in range(40))):
            for config in self.configs():
                remedy = "make what is counted of the labels given"
                with working(f"a metric for {len(names)} labels", remedy):
                    metric = config.build(names)
                    metric.add([UnitSpan.of(name, at, at + 1) for at, name in enumerate(names)], [])
                    metric.add([UnitSpan.of(names[0], 0, 2)], [UnitSpan.of(names[-1], 0, 2, 0.5)], [names[0]])
                    metric.add([], [UnitSpan.of(names[0], 2, 3, 0.9)])
                    found = metric.value()
                _check_figure(found, config, f"for {len(names)} labels")

    def test_the_order_of_the_labels_changes_nothing(self) -> None:
        """Labels have no order: the figure is the same whichever comes first."""
        for config in self.configs():
            found = []
            for names in (LABELS, LABELS[::-1]):
                metric = config.build(names)
                for gold, predicted in [*zip(_GOLD, _FOUND, strict=True), (_GOLD[2], _found(_GOLD[2]))]:
                    metric.add(list(gold), list(predicted))
                found.append(metric.value())
            same = math.isclose(*found, rel_tol=1e-9, abs_tol=1e-12)
            require(same, f"{found[0]} for {LABELS}, {found[1]} for {LABELS[::-1]}", "count by label, not by its place")

    def test_documents_count_the_same_in_every_order(self) -> None:
        """Documents come in any order, those of several processes one after the other."""
        for config, metric in self.metrics():
            again = config.build(LABELS)
            pairs = [
                *zip(_GOLD, _FOUND, strict=True),
                (_GOLD[1], _found(_GOLD[1])),
                (_GOLD[2], _found(_GOLD[2])),
                (_GOLD[1], ()),
            ]
            for gold, found in pairs:
                metric.add(list(gold), list(found))
            for gold, found in reversed(pairs):
                again.add(list(gold), list(found))
            same = math.isclose(metric.value(), again.value(), rel_tol=1e-9, abs_tol=1e-12)
            require(same, f"{metric.value()} in one order, {again.value()} in another", "add up counts of documents")

    def test_what_is_given_is_left_as_it_is(self) -> None:
        """Lists of entities belong to the core."""
        for _, metric in self.metrics():
            gold, found = list(_GOLD[1]), list(_FOUND[1])
            metric.add(gold, found)
            metric.value()
            require(
                (gold, found) == (list(_GOLD[1]), list(_FOUND[1])),
                "the entities given were changed",
                "copy before sorting",
            )

    def test_asking_twice_gives_the_same(self) -> None:
        """``value`` counts nothing and forgets nothing, and one metric knows nothing of another."""
        for config, metric in self.metrics():
            metric.add(list(_GOLD[1]), list(_FOUND[1]))
            first = metric.value()
            config.build(LABELS).add(list(_GOLD[2]), list(_FOUND[2]))
            second = metric.value()
            require(
                first == second, f"value() gave {first}, then {second}", "keep counts on the metric, and compute only"
            )


def _found(gold: Sequence[UnitSpan]) -> list[UnitSpan]:
    """Return entities as a model that is right gives them: with scores."""
    return [attrs.evolve(span, score=0.95) for span in gold]


def _check_figure(value: Any, config: MetricConfig | None, what: str) -> None:
    """Fail unless a value is a number; NaN is one that counts as worse than any, but infinity must not be the best."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    require(number, f"value() {what} is {value!r}", "return a float")
    if config is not None:
        best = math.inf if config.greater_is_better else -math.inf
        seen = f"value() {what} is {value!r}, which is better than all figures of models"
        require(value != best, seen, "return the worst figure there, or NaN")
