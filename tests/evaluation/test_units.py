from __future__ import annotations

import numpy as np
import pytest

from papermage_core.evaluation import score_units


def test_confusion_counts_each_pair_of_known_tags() -> None:
    rng = np.random.default_rng(0)
    gold = [rng.integers(-1, 4, size=n) for n in (0, 5, 40)]
    predicted = [rng.integers(0, 4, size=len(g)) for g in gold]
    scores = score_units(gold, predicted, ("O", "B-x", "I-x", "B-y"))
    pairs = [
        (int(a), int(b)) for g, p in zip(gold, predicted, strict=True) for a, b in zip(g, p, strict=True) if a >= 0
    ]
    assert scores.confusion.tolist() == [[pairs.count((i, j)) for j in range(4)] for i in range(4)]
    assert scores.units == len(pairs)
    assert scores.accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert sum(n for *_, n in scores.confusions()) == sum(a != b for a, b in pairs)


def test_kappa_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for size, tags in ((7, 2), (50, 3), (400, 5)):
        gold = rng.integers(0, tags, size)
        predicted = np.where(rng.random(size) < 0.6, gold, rng.integers(0, tags, size))
        found = score_units([gold], [predicted], tuple("Oabcd"[:tags])).kappa
        assert found == pytest.approx(metrics.cohen_kappa_score(gold, predicted))
    alike = np.zeros(3, np.int64)
    assert score_units([alike], [alike], ("O", "a")).kappa is None  # where chance alone makes all alike
    assert score_units([alike], [alike + 1], ("O", "a")).kappa == 0


def test_no_units_are_zero_right() -> None:
    assert score_units([], [], ("O",)).accuracy == 0.0
    assert score_units([], [], ("O",)).kappa is None


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="expected predicted tags of shape"):
        score_units([np.zeros(2, np.int64)], [np.zeros(3, np.int64)], ("O",))


def test_twenty_thousand_tags_need_no_table_of_all_pairs() -> None:
    gold = np.array([0, 19_999, 7, 7])
    scores = score_units([gold], [np.array([0, 19_999, 8, 8])], tuple(f"tag {i}" for i in range(20_000)))
    assert scores.accuracy == 0.5
    assert scores.to_json()["confusions"] == [["tag 7", "tag 8", 2]]
    assert scores.to_json()["confusion"] is None
