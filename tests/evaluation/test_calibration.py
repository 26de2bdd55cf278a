from __future__ import annotations

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from papermage_core.errors import CheckpointError
from papermage_core.evaluation import Calibration, expected_calibration_error, fit_calibration, reliability

unit_floats = st.floats(0, 1, allow_subnormal=False)
outcomes = st.lists(st.tuples(unit_floats, st.booleans()), max_size=30)


def overconfident(n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose true probability is that of their logit divided by ``temperature``."""
    rng = np.random.default_rng(0)
    logits = rng.normal(1.5, 2.5, n)
    correct = rng.random(n) < 1 / (1 + np.exp(-logits / temperature))
    return 1 / (1 + np.exp(-logits)), correct


def test_a_temperature_is_found_again() -> None:
    fitted = fit_calibration(*overconfident(20_000, 3.0))
    assert fitted.a == pytest.approx(1 / 3, abs=0.03)
    assert fitted.b == pytest.approx(1 / 3, abs=0.05)
    assert fitted.c == pytest.approx(0, abs=0.15)


def test_calibration_lowers_the_error_on_scores_it_has_not_seen() -> None:
    scores, correct = overconfident(4_000, 2.5)
    fitted = fit_calibration(scores[::2], correct[::2])
    before = expected_calibration_error(scores[1::2], correct[1::2])
    after = expected_calibration_error(fitted.apply(scores[1::2]), correct[1::2])
    assert after < before / 2


@given(outcomes)
def test_the_fit_is_the_best_within_its_bounds(pairs: list[tuple[float, bool]]) -> None:
    """No random map with rising slopes has a better objective (independent formula) than the fitted one."""
    scores = np.clip([s for s, _ in pairs], 1e-6, 1 - 1e-6)
    correct = np.array([c for _, c in pairs], bool)

    def objective(a: float, b: float, c: float) -> float:
        logits = a * np.log(scores) - b * np.log(1 - scores) + c
        probability = 1 / (1 + np.exp(-logits))
        right = np.log(np.where(correct, probability, 1 - probability) + 1e-300).sum() if len(scores) else 0.0
        return float(-right + 0.5 * ((a - 1) ** 2 + (b - 1) ** 2 + c**2))

    fitted = fit_calibration(np.array([s for s, _ in pairs]), correct)
    best = objective(fitted.a, fitted.b, fitted.c)
    rng = np.random.default_rng(0)
    near = np.abs(rng.normal(0, 0.05, (50, 3)))
    for da, db, dc in np.concatenate([near, rng.uniform(-1, 2, (100, 3))]):
        a, b = max(0.01, fitted.a + da), max(0.01, fitted.b + db)
        assert best <= objective(a, b, fitted.c + dc) + 1e-6


@given(outcomes, st.lists(unit_floats, min_size=2, max_size=8))
def test_any_fit_keeps_order_and_stays_a_probability(pairs: list[tuple[float, bool]], scores: list[float]) -> None:
    fitted = fit_calibration([s for s, _ in pairs], [c for _, c in pairs])
    mapped = fitted.apply(np.sort(scores))
    assert np.isfinite(mapped).all()
    assert ((mapped >= 0) & (mapped <= 1)).all()
    assert (np.diff(mapped) >= -1e-12).all()


@pytest.mark.parametrize("right", [True, False])
def test_one_sided_outcomes_move_the_scores_without_running_away(right: bool) -> None:
    few = fit_calibration([0.7, 0.8, 0.9], [right] * 3).apply(0.8)
    many = fit_calibration([0.7, 0.8, 0.9] * 100, [right] * 300).apply(0.8)
    assert 0 < few < 1
    assert 0 < many < 1
    assert abs(many - right) < abs(few - right) < 0.8


def test_no_outcomes_give_the_identity() -> None:
    assert fit_calibration([], []) == Calibration()
    assert Calibration().apply([0, 0.25, 1]).tolist() == pytest.approx([0, 0.25, 1])


def test_expected_calibration_error_is_the_weighted_mean_of_the_gaps() -> None:
    scores = [0.05, 0.15, 0.15, 0.95, 1.0]
    correct = [False, True, False, True, True]
    by_hand = (1 * 0.05 + 2 * abs(0.15 - 0.5) + 2 * abs(0.975 - 1.0)) / 5
    assert expected_calibration_error(scores, correct, bins=10) == pytest.approx(by_hand)
    assert [each.count for each in reliability(scores, correct, bins=10)] == [1, 2, 2]
    assert expected_calibration_error([], []) == 0.0


def test_a_calibration_comes_back_from_json() -> None:
    fitted = fit_calibration([0.5, 0.9], [True, False])
    assert Calibration.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"method": "isotonic", "a": 1, "b": 1, "c": 0, "fitted_on": 0},
        {"method": "beta", "a": "x", "b": 1, "c": 0, "fitted_on": 0},
        {"method": "beta", "a": -1, "b": 1, "c": 0, "fitted_on": 0},
        {"method": "beta", "a": float("nan"), "b": 1, "c": 0, "fitted_on": 0},
    ],
)
def test_a_damaged_calibration_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="expected a calibration"):
        Calibration.from_json(value)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        fit_calibration([1.5], [True])
    with pytest.raises(ValueError, match="from 0 to 1"):
        fit_calibration([float("nan")], [True])
    with pytest.raises(ValueError, match="as many scores as outcomes"):
        fit_calibration([0.5], [True, False])
