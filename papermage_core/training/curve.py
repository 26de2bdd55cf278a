"""A learning curve: F1 over the number of documents, and what more documents would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.errors import counted

__all__ = ["Forecast", "LearningCurve", "Point"]

_LEAST_NOISE = 0.003
"""Standard deviation of an F1 that comes from the training alone, at least."""
_INTERVAL = (0.025, 0.975)


@attrs.frozen(kw_only=True)
class Point:
    """What a number of documents gave."""

    documents: int
    f1: float
    support: int
    """Gold entities that it was scored on: the fewer, the less sure."""

    @property
    def variance(self) -> float:
        """About how far the F1 may be from that of many documents to score on, squared; entities counted alone."""
        rate = min(max(self.f1, 0.02), 0.98)
        return rate * (1 - rate) / max(1, self.support) + _LEAST_NOISE**2


@attrs.frozen(kw_only=True)
class Forecast:
    """What a number of documents may give."""

    documents: int
    f1: float
    low: float
    high: float
    """Ends of the 95 % interval."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return attrs.asdict(self)

    def shown(self, now: int) -> str:
        """Return ``200 more documents: F1 81 ± 2``."""
        digits = 0 if self.high - self.low >= 0.01 else 1
        spread = 50 * (self.high - self.low)
        return f"{counted(self.documents - now, 'more documents')}: F1 {100 * self.f1:.{digits}f} ± {spread:.{digits}f}"


@attrs.frozen(eq=False)
class LearningCurve:
    r"""The inverse power law $F_1(n) = a - b\,n^{-c}$, fitted to points.

    Figueroa, Zeng-Treitler, Kandula and Ngo, "Predicting sample size required for classification performance", BMC
    Medical Informatics and Decision Making 12:8, 2012; Viering and Loog, "The Shape of Learning Curves", 2021.
    A handful of points settles no three parameters, so that all of them that fit are kept: a grid over a ≤ 1, the F1 at
    the fewest documents (at most a) and c from 0.1 to 2, each weighted by how likely it makes the points (Bayes' rule
    with a flat prior, and normal noise). Forecasts are means under these weights, with a 95 % interval.
    """

    points: Sequence[Point]

    def forecast(self, documents: int) -> Forecast:
        """Return what so many documents may give."""
        fewest, a, low, c, weight = self._grid()
        values = a - (a - low) * (documents / fewest) ** -c
        order = np.argsort(values)
        ends = np.interp(_INTERVAL, np.cumsum(weight[order]), values[order])
        return Forecast(documents=documents, f1=float((weight * values).sum()), low=float(ends[0]), high=float(ends[1]))

    def _grid(self) -> tuple[float, NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the fewest documents, and a, F1 at the fewest, c and weight of each curve of the grid."""
        fewest = float(min(point.documents for point in self.points))
        place, rates = (np.arange(60) + 0.5) / 60, np.geomspace(0.1, 2, 30)
        a, low, c = (each.reshape(-1) for each in np.meshgrid(place, place, rates, indexing="ij"))
        a, low, c = (each[low <= a] for each in (a, low, c))
        fit = np.zeros(len(a))
        for point in self.points:
            error = point.f1 - (a - (a - low) * (point.documents / fewest) ** -c)
            fit -= error**2 / (2 * self._variance(point))
        weight = np.exp(fit - fit.max())
        return fewest, a, low, c, weight / weight.sum()

    def _variance(self, point: Point) -> float:
        """Return the noise of a point: that of several seeds at its number of documents, if it is more."""
        others = [each.f1 for each in self.points if each.documents == point.documents]
        return max(point.variance, float(np.var(others, ddof=1)) if len(others) > 1 else 0.0)

    def more(self) -> list[int]:
        """Return round numbers of documents to forecast for: about half as many more, as many, and three times."""
        now = max(point.documents for point in self.points)
        return list(dict.fromkeys(now + _rounded(now * factor) for factor in (0.5, 1, 3)))

    def line(self, last: int) -> list[tuple[float, float]]:
        """Return points of the fitted curve, for a chart."""
        first = min(point.documents for point in self.points)
        return [(n, self.forecast(round(n)).f1) for n in np.linspace(first, last, 25).tolist()]


def _rounded(value: float) -> int:
    """Return 1, 2 or 5 times a power of ten, near a value.

    >>> _rounded(297), _rounded(12), _rounded(0.4)
    (200, 10, 1)
    """
    if value < 1:
        return 1
    magnitude = 10 ** math.floor(math.log10(value))
    return int(magnitude * max(step for step in (1, 2, 5) if step * magnitude <= value))
