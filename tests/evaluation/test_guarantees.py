"""What is guaranteed holds, on documents drawn from a known population; shifts are seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from papermage_core.errors import CheckpointError
from papermage_core.evaluation import Counts, Scores
from papermage_core.evaluation.guarantees import _GRID, ALL, Guarantees, LossSample, bounds, mean_bound, threshold
from papermage_core.evaluation.shift import Reference, ShiftMonitor, reference_of
from papermage_core.plugin.spec import UnitSpan


def population(n: int, seed: int) -> LossSample:
    """Documents with five gold entities: the surer the likelier to be found, some documents harder than others."""
    rng = np.random.default_rng(seed)
    sample = LossSample(["a", "b"])
    for _ in range(n):
        hardness = rng.beta(2, 5)
        gold = [UnitSpan.of("ab"[i % 2], 3 * i, 3 * i + 1) for i in range(5)]
        scores = np.clip(rng.beta(4, 1 + 4 * hardness, 5), 0.001, 0.999)
        likely = [UnitSpan(s.label, s.segments, float(p)) for s, p in zip(gold, scores, strict=True)]
        wrong = [UnitSpan.of("a", 3 * i + 1, 3 * i + 2, float(rng.beta(1.5, 4))) for i in range(4)]
        found = [span for span in [*likely, *wrong] if span.score is not None and span.score > 0.5]
        sample.add(gold, [*likely, *wrong], found)
    return sample


@pytest.mark.parametrize(("aim", "target"), [("recall", 0.8), ("recall", 0.9), ("precision", 0.9)])
def test_of_a_hundred_samples_no_more_than_promised_break_the_promise(aim: str, target: float) -> None:
    losses = population(4_000, seed=1).losses(ALL, aim)  # type: ignore[arg-type]
    truth = losses.mean(0)
    rng = np.random.default_rng(2)
    broken, given = 0, 0
    for _ in range(100):
        chosen = threshold(bounds(losses[rng.integers(len(losses), size=200)], 0.95), target, aim)  # type: ignore[arg-type]
        if chosen is not None:
            given += 1
            broken += truth[np.searchsorted(_GRID, chosen)] > 1 - target
    assert given > 50
    assert broken <= 5


def test_conformal_risk_control_holds_on_average() -> None:
    losses = population(4_000, seed=3).losses(ALL, "recall")
    truth, rng = losses.mean(0), np.random.default_rng(4)
    risks = []
    for _ in range(200):
        chosen = threshold(bounds(losses[rng.integers(len(losses), size=100)], None), 0.9, "recall")
        risks.append(0.0 if chosen is None else truth[np.searchsorted(_GRID, chosen)])
    assert np.mean(risks) <= 0.1
    assert np.mean(risks) > 0.05


@pytest.mark.parametrize("p", [0.0, 0.02, 0.3, 1.0])
def test_the_bound_is_above_the_mean_as_often_as_it_says(p: float) -> None:
    rng = np.random.default_rng(0)
    draws = (rng.random((200, 150)) < p).astype(np.float64)
    assert np.mean([mean_bound(row, 0.9) < p for row in draws]) <= 0.1 + 2.5 * (0.1 * 0.9 / 200) ** 0.5  # chance
    assert mean_bound(np.full(2000, p), 0.95) <= p + 0.05


def test_losses_are_those_of_brute_force() -> None:
    sample = LossSample(["a"])
    gold = [UnitSpan.of("a", 0, 1), UnitSpan.of("a", 2, 3), UnitSpan.of("b", 5, 6)]
    likely = [UnitSpan.of("a", 0, 1, 0.9), UnitSpan.of("a", 2, 3, 0.25), UnitSpan.of("a", 7, 8, 0.6)]
    sample.add(gold, likely, [likely[0], likely[2]], unreachable=["a"])
    at = {value: int(np.searchsorted(_GRID, value)) for value in (0.2, 0.5, 0.7, 0.95)}
    recall, precision = sample.losses("a", "recall")[0], sample.losses("a", "precision")[0]
    assert [recall[at[v]] for v in at] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1.0])
    assert [precision[at[v]] for v in at] == pytest.approx([0.5, 0.5, 0.0, 0.0])
    sample.add([], [], [])
    assert len(sample.losses("a", "recall")) == 1
    assert len(sample.losses("a", "precision")) == 2


def test_thresholds_fall_with_recall_and_rise_with_precision_and_come_back_from_json() -> None:
    found = Guarantees.fit(population(300, seed=5))
    for aim, rises in (("recall", False), ("precision", True)):
        thresholds = [found.threshold(aim, share, "a") for share in (0.6, 0.7, 0.8)]  # type: ignore[arg-type]
        assert thresholds == sorted(thresholds, reverse=not rises)
    assert Guarantees.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert "95 % confidence" in found.table()
    with pytest.raises(ValueError, match=r"recall=0\.999 of a is not guaranteed by 300 documents: at most"):
        found.threshold("recall", 0.999, "a")
    with pytest.raises(ValueError, match="none at all"):
        found.threshold("recall", 0.5, "unheard of")
    with pytest.raises(CheckpointError, match="expected guarantees"):
        Guarantees.from_json({"recall": 3})


def reference(seed: int = 0) -> Reference:
    rng = np.random.default_rng(seed)
    document_of = np.repeat(np.arange(60), 10)
    groups = {
        "0": Counts(gold=200, found=120, predicted=180, right=120),
        "1": Counts(gold=400, found=370, predicted=420, right=370),
    }
    scores = Scores(
        micro=Counts(gold=600, found=490, predicted=600, right=490), per_label={}, groups={"in training": groups}
    )
    assert reference_of(scores, np.zeros(2), document_of, np.zeros(0)) is None
    found = reference_of(scores, rng.normal(0.05, 0.01, 60), document_of, rng.beta(9, 2, 600))
    assert found is not None
    return found


def test_documents_like_those_of_validation_give_its_f1_and_no_warning() -> None:
    known, rng = reference(), np.random.default_rng(1)
    monitor = ShiftMonitor(known)
    for _ in range(50):
        monitor.add((rng.random(300) < 0.05).tolist(), rng.beta(9, 2, 10).tolist())
    found = monitor.expectation()
    assert found is not None
    assert found.f1 == pytest.approx(490 / 600, abs=0.03)
    assert found.interval[0] < 490 / 600 < found.interval[1]
    assert monitor.warning() is None
    assert Reference.from_json(json.loads(json.dumps(known.to_json()))) == known


def test_documents_of_new_words_are_told_with_a_lower_f1_and_a_wider_interval() -> None:
    known, rng = reference(), np.random.default_rng(1)
    monitor = ShiftMonitor(known)
    for _ in range(50):
        monitor.add((rng.random(300) < 0.2).tolist(), rng.beta(5, 2, 10).tolist())
    told, found = monitor.warning(), monitor.expectation()
    assert told is not None
    assert found is not None
    assert "20." in told or "19." in told
    assert found.f1 < 0.75
    assert found.interval[1] - found.interval[0] > 0.2
    few = ShiftMonitor(known)
    few.add([True], [0.1])
    assert few.warning() is None
