from __future__ import annotations

import re

import numpy as np
import pytest

from papermage_core.training.curve import LearningCurve, Point


def points(a: float, b: float, c: float, sizes: list[int], noise: float = 0.0, seed: int = 0) -> list[Point]:
    chance = np.random.default_rng(seed)
    return [Point(documents=n, f1=float(a - b * n**-c + noise * chance.standard_normal()), support=2000) for n in sizes]


def test_the_forecast_of_an_exact_curve_is_the_curve() -> None:
    forecast = LearningCurve(points(0.9, 2.0, 0.5, [50, 100, 150, 200, 400, 800])).forecast(1600)
    assert forecast.f1 == pytest.approx(0.9 - 2 * 1600**-0.5, abs=0.01)
    assert forecast.low < 0.9 - 2 * 1600**-0.5 < forecast.high


def test_most_intervals_hold_what_more_documents_would_have_given() -> None:
    held = []
    for seed in range(40):
        chance = np.random.default_rng(1000 + seed)
        a, c = chance.uniform(0.6, 0.95), chance.uniform(0.2, 1.2)
        low = chance.uniform(0.2, a)
        b = (a - low) * 50**c
        forecast = LearningCurve(points(a, b, c, [50, 100, 150, 200], noise=0.011, seed=seed)).forecast(400)
        held.append(forecast.low <= a - b * 400**-c <= forecast.high)
    assert sum(held) >= 34  # 38 of 40 are expected


def test_what_is_flat_stays_flat_and_nothing_passes_one() -> None:
    flat = LearningCurve([Point(documents=n, f1=0.8, support=5000) for n in (25, 50, 75, 100)]).forecast(400)
    assert flat.f1 == pytest.approx(0.8, abs=0.03)
    steep = LearningCurve(points(1.0, 3.0, 0.5, [25, 50, 75, 100])).forecast(100_000)
    assert steep.high <= 1


def test_fewer_entities_to_score_on_make_a_wider_interval() -> None:
    def width(support: int) -> float:
        made = [Point(documents=n, f1=0.9 - 2 * n**-0.5, support=support) for n in (50, 100, 150, 200)]
        found = LearningCurve(made).forecast(400)
        return found.high - found.low

    assert width(50) > 2 * width(5000)


def test_a_forecast_is_told_in_one_line() -> None:
    curve = LearningCurve(points(0.9, 2.0, 0.5, [50, 100, 150, 200]))
    assert curve.more() == [300, 400, 700]
    assert re.fullmatch(r"200 more documents: F1 (79|80|81) ± \d", curve.forecast(400).shown(200))
