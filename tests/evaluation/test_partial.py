"""Scores of random sequences against nervaluate and seqeval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core.evaluation import UnitText, document_errors, score, score_tags
from papermage_core.evaluation.partial import STRATEGIES, Credit
from papermage_core.plugin.spec import UnitSpan

LABELS = ("a", "b", "c")


def flat(rng: np.random.Generator, n_units: int, density: float) -> list[UnitSpan]:
    """Entities that do not overlap; neighbours may touch."""
    found, at = [], 0
    while at < n_units:
        length = min(int(rng.integers(1, 5)), n_units - at)
        if rng.random() < density:
            found.append(UnitSpan.of(str(rng.choice(LABELS)), at, at + length))
        at += length
    return found


def near(rng: np.random.Generator, spans: list[UnitSpan], n_units: int) -> list[UnitSpan]:
    """Entities some of which are those given, others nearly so, without overlap."""
    found: list[UnitSpan] = []
    for span in spans:
        start, stop = span.start + int(rng.integers(-1, 2)), span.stop + int(rng.integers(-1, 2))
        label = span.label if rng.random() < 0.8 else str(rng.choice(LABELS))
        start, stop = max(start, found[-1].stop if found else 0), min(stop, n_units)
        if start < stop and rng.random() < 0.9:
            found.append(UnitSpan.of(label, start, stop))
    return found


def sides(seed: int) -> tuple[list[list[UnitSpan]], list[list[UnitSpan]]]:
    rng = np.random.default_rng(seed)
    gold, predicted = [], []
    for _ in range(int(rng.integers(1, 6))):
        n_units = int(rng.integers(3, 40))
        gold.append(flat(rng, n_units, 0.6))
        predicted.append(near(rng, gold[-1], n_units) if rng.random() < 0.7 else flat(rng, n_units, 0.5))
    return gold, predicted


@pytest.mark.parametrize("seed", range(150))
def test_partial_credit_is_that_of_nervaluate(seed: int) -> None:
    nervaluate = pytest.importorskip("nervaluate")
    gold, predicted = sides(seed)

    def entities(documents: list[list[UnitSpan]]) -> list[list[dict[str, object]]]:
        return [[{"label": s.label, "start": s.start, "end": s.stop - 1} for s in spans] for spans in documents]

    theirs = nervaluate.Evaluator(entities(gold), entities(predicted), tags=list(LABELS), loader="dict").evaluate()
    ours = score(gold, predicted)
    names = ("correct", "incorrect", "partial", "missed", "spurious", "actual", "possible")
    for strategy in STRATEGIES:
        expected = theirs["overall"][strategy]
        found = ours.partial_credit[strategy]
        assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names], strategy
        assert (found.precision, found.recall, found.f1) == pytest.approx(
            (expected.precision, expected.recall, expected.f1)
        )
        for label, of_label in theirs["entities"].items():
            found, expected = ours.partial_credit_per_label[label][strategy], of_label[strategy]
            assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]


tags = st.sampled_from(["O", "O", *(f"{letter}-{label}" for letter in "BIES" for label in "ab"), "B", "I", "I-a-b"])
rows = st.lists(st.lists(st.tuples(tags, tags), max_size=9), min_size=1, max_size=5)


@settings(max_examples=100)
@given(rows)
@pytest.mark.filterwarnings("ignore::UserWarning")  # seqeval's, of tags and labels that it has doubts about
def test_tags_are_read_and_scored_as_seqeval_does(pairs: list[list[tuple[str, str]]]) -> None:
    peer = pytest.importorskip("seqeval.metrics.sequence_labeling")
    gold, predicted = ([[pair[side] for pair in row] for row in pairs] for side in (0, 1))
    ours = score_tags(gold, predicted)
    assert ours.documents == len(gold)
    if not ours.per_label:
        return
    theirs = peer.precision_recall_fscore_support(gold, predicted, average=None, zero_division=0)
    for label, *figures in zip(sorted(ours.per_label), *theirs, strict=True):
        counts = ours.per_label[label]
        assert (counts.precision, counts.recall, counts.f1, counts.gold) == pytest.approx(figures)
    for average, found in (("macro", ours.macro), ("weighted", ours.weighted)):
        if any(counts.gold for counts in ours.per_label.values()):
            expected = peer.precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)[:3]
            assert tuple(found.values()) == pytest.approx(expected)


def test_rows_of_tags_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="in each row"):
        score_tags([["O", "O"]], [["O"]])


@given(st.integers(0, 10_000))
def test_kinds_of_mistakes_and_partial_credit_agree(seed: int) -> None:
    gold, predicted = sides(seed)
    found = score(gold, predicted)
    text = UnitText(document="a", symbols="", starts=np.full(99, -1), stops=np.full(99, -1))
    kinds = [e.kind for g, p in zip(gold, predicted, strict=True) for e in document_errors(g, p, text)]
    assert found.partial_credit["exact"].correct == found.micro.right + kinds.count("wrong label")
    assert found.groups.get("length", {}).keys() <= {"1", "2-3", "4-7"}
    assert sum(c.right for c in found.groups.get("length", {}).values()) == found.micro.right


def test_f1_of_equal_precision_and_recall_is_the_same_number() -> None:
    credit = Credit(correct=77, missed=3, spurious=3)
    assert credit.f1 == credit.precision == credit.recall, "shown to one place, 96.25 % is one figure"
