"""Comparisons and intervals over documents, against brute force and known cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from papermage_core.evaluation import Scorer, UnitText, compare, document_changes
from papermage_core.evaluation.documents import DocumentCounts, f1_of, resampled
from papermage_core.plugin.spec import UnitSpan


def counts_of(rows: list[tuple[int, int, int]]) -> DocumentCounts:
    """Documents with as many gold, predicted and right entities of one label."""
    scorer = Scorer()
    for gold, predicted, right in rows:
        wanted = [UnitSpan.of("a", 2 * i, 2 * i + 1) for i in range(gold)]
        wrong = [UnitSpan.of("a", 100 + i, 101 + i) for i in range(predicted - right)]
        scorer.add(wanted, [*wanted[:right], *wrong])
    return scorer.document_counts()


def test_the_p_value_is_that_of_all_swaps() -> None:
    rng = np.random.default_rng(3)
    rows = [[(6, 6, int(rng.integers(2, 6))) for _ in range(9)] for _ in range(2)]
    first, second = map(counts_of, rows)
    found = compare(first, second, samples=20_000).overall
    one, other = np.array(rows[0]), np.array(rows[1])
    observed = abs(f1_of(other.sum(0)) - f1_of(one.sum(0)))
    apart = []
    for swap in itertools.product((False, True), repeat=9):
        chosen = np.array(swap)[:, None]
        a, b = np.where(chosen, other, one).sum(0), np.where(chosen, one, other).sum(0)
        apart.append(abs(f1_of(b) - f1_of(a)) >= observed - 1e-12)
    assert found.p_value == pytest.approx(np.mean(apart), abs=0.02)
    assert found.difference == pytest.approx(f1_of(other.sum(0)) - f1_of(one.sum(0)))


def test_a_system_does_not_differ_from_itself_and_a_better_one_is_seen() -> None:
    weak, strong = counts_of([(5, 5, 2)] * 30), counts_of([(5, 5, 4)] * 30)
    same = compare(weak, weak).overall
    assert (same.difference, same.p_value, same.interval) == (0.0, 1.0, (0.0, 0.0))
    better = compare(weak, strong)
    assert better.overall.p_value < 0.001
    assert better.overall.interval[0] > 0
    assert better.per_label["a"].second == pytest.approx(0.8)
    assert "+40.0" in better.table()


def test_different_numbers_of_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="same documents, got 1 and 2"):
        compare(counts_of([(1, 1, 1)]), counts_of([(1, 1, 1)] * 2))


@pytest.mark.parametrize("n_documents", [40, 6_000])
def test_intervals_hold_what_a_normal_approximation_says(n_documents: int) -> None:
    rng = np.random.default_rng(0)
    right = rng.binomial(10, 0.7, n_documents)
    rows = np.stack([np.full(n_documents, 10), np.full(n_documents, 10), right], 1)
    totals = np.concatenate(list(resampled(rows, 2000, 1)))
    f1 = f1_of(totals)
    assert f1.mean() == pytest.approx(right.mean() / 10, abs=0.004)
    assert f1.std() == pytest.approx(right.std() / 10 / np.sqrt(n_documents), rel=0.15)


def test_intervals_of_scores_are_about_the_scores() -> None:
    scorer = Scorer(["a", "b"])
    for i in range(50):
        gold = [UnitSpan.of("a", 0, 1), UnitSpan.of("b", 2, 3)]
        scorer.add(gold, gold[: 1 + i % 2], groups={"journal": "X" if i < 20 else "Y"})
    found = scorer.scores(intervals=True)
    low, high = found.intervals["micro"]["recall"]
    assert low < found.recall < high
    assert found.intervals["label:a"]["f1"] == (1.0, 1.0)
    assert found.intervals.keys() == {"micro", "macro", "label:a", "label:b"}
    assert {name: counts.gold for name, counts in found.groups["journal"].items()} == {"X": 40, "Y": 60}
    assert "by journal" in found.table()
    rows = list(scorer.document_counts().rows([f"d{i}" for i in range(50)]))
    assert rows[1]["per_label"]["b"] == {"gold": 1, "predicted": 1, "right": 1}
    assert rows[0]["recall"] == 0.5


def test_counts_of_a_document_by_label_hold_what_could_not_be_predicted_too() -> None:
    scorer = Scorer()
    scorer.add([UnitSpan.of("a", 0, 1), UnitSpan.of("a", 3, 4)], [UnitSpan.of("a", 0, 1)], ["a", "b", "a"])
    scorer.add([UnitSpan.of("b", 0, 1)], [], [])
    first, second = scorer.document_counts().rows(["x", "y"])
    assert first["per_label"] == {
        "a": {"gold": 4, "predicted": 1, "right": 1},
        "b": {"gold": 1, "predicted": 0, "right": 0},
    }
    assert first["gold"] == sum(counts["gold"] for counts in first["per_label"].values()) == 5
    assert second["per_label"] == {"b": {"gold": 1, "predicted": 0, "right": 0}}


def test_changes_are_told_by_kind_with_their_text() -> None:
    text = UnitText(document="x", symbols="a b c d", starts=np.arange(0, 8, 2), stops=np.arange(1, 9, 2))
    spans = [UnitSpan.of("L", i, i + 1) for i in range(4)]
    changes = document_changes(spans[:2], [spans[0], spans[2]], [spans[1], spans[3]], text)
    assert [(c.kind, c.text) for c in changes] == [
        ("lost", "a"),
        ("found", "b"),
        ("no longer spurious", "c"),
        ("newly spurious", "d"),
    ]
    assert changes[0].to_json()["chars"] == [[0, 1]]
