"""What is left of precision and recall above a score, held against leaving entities out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.evaluation import Scorer, Thresholds, thresholds_of
from papermage_core.plugin.spec import UnitSpan

ENTITIES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]), st.one_of(st.floats(0, 1), st.sampled_from([0.1, 0.5, 0.9])), st.booleans()
    ),
    max_size=30,
)


def table(entities: list[tuple[str, float, bool]], missed: dict[str, int]) -> Thresholds:
    labels = [label for label, _, _ in entities]
    scores = np.array([score for _, score, _ in entities], np.float64)
    right = np.array([is_right for _, _, is_right in entities], np.bool_)
    gold = {label: n + sum(r for other, _, r in entities if other == label) for label, n in missed.items()}
    return thresholds_of(scores, right, labels, gold)


@given(ENTITIES, st.fixed_dictionaries({label: st.integers(0, 4) for label in "abc"}), st.integers(0, 99))
def test_counts_are_those_of_the_entities_that_are_kept(
    entities: list[tuple[str, float, bool]], missed: dict[str, int], drawn: int
) -> None:
    """The oracle is `Scorer` over what `predict` would return with this ``min_score``."""
    found = table(entities, missed)
    gold = [UnitSpan(label, ((i, i + 1),)) for i, (label, _, is_right) in enumerate(entities) if is_right]
    for place, (label, n) in enumerate(missed.items(), 1):
        gold += [UnitSpan(label, ((start, start + 1),)) for start in range(100 * place, 100 * place + n)]
    for step in {0, 10, 50, 90, drawn}:
        kept = [UnitSpan(label, ((i, i + 1),)) for i, (label, score, _) in enumerate(entities) if score >= step / 100]
        scorer = Scorer("abc")
        scorer.add(gold, kept)
        expected = scorer.scores()
        assert found.micro[step] == expected.micro
        assert {label: counts[step] for label, counts in found.counts.items()} == expected.per_label
    f1 = [counts.f1 for counts in found.micro]
    assert found.best == f1.index(max(f1)) / 100
    assert set(found.best_by_label) == set("abc")


def test_each_label_has_its_own_best() -> None:
    entities = [("a", 0.9, True), ("a", 0.4, False), ("b", 0.3, True), ("b", 0.2, False)]
    found = table(entities, {"a": 0, "b": 0})
    assert found.best_by_label == {"a": 0.41, "b": 0.21}
    assert found.chosen().f1 == 1.0
    assert found.best == 0.21
    shown = found.table().splitlines()
    assert shown[1].split() == ["min_score", "P", "R", "F1", "found"]
    assert shown[2].split() == ["0.00", "50.0", "100.0", "66.7", "4"]
    assert shown[-3].split()[-4:] == ["100.0", "100.0", "100.0", "2"]
    assert shown[-1] == "For papermage-predict and papermage-evaluate:  min_score.a=0.41 min_score.b=0.21"
    spaced = table([("a b", 0.9, True), ("c", 0.3, True)], {"a b": 0, "c": 0})
    assert spaced.typed() == "'min_score.a b=0.00' min_score.c=0.00"
    assert found.to_json()["best_by_label"] == found.best_by_label
    assert found.to_json()["all"][41] == {
        "min_score": 0.41,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
    }
