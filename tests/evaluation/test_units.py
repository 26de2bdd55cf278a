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


def test_no_units_are_zero_right() -> None:
    assert score_units([], [], ("O",)).accuracy == 0.0


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="expected predicted tags of shape"):
        score_units([np.zeros(2, np.int64)], [np.zeros(3, np.int64)], ("O",))


def test_twenty_thousand_tags_need_no_table_of_all_pairs() -> None:
    gold = np.array([0, 19_999, 7, 7])
    scores = score_units([gold], [np.array([0, 19_999, 8, 8])], tuple(f"tag {i}" for i in range(20_000)))
    assert scores.accuracy == 0.5
    assert scores.to_json()["confusions"] == [["tag 7", "tag 8", 2]]
    assert scores.to_json()["confusion"] is None
