"""How far a score would move with other documents of the same kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["f1_interval"]

_CHUNK = 1 << 21


def f1_interval(
    by_document: NDArray[np.int64], *, level: float = 0.95, resamples: int = 1000, seed: int = 470
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of F1 over documents (Efron and Tibshirani 1993, chapter 13).

    ``by_document`` has gold, predicted and right entities of each document, shape (documents, 3). None for fewer than
    two documents, and where nothing is in any.
    """
    count = len(by_document)
    if count < 2 or not by_document[:, :2].any():
        return None
    random, found = np.random.default_rng(seed), []
    step = max(1, _CHUNK // count)
    for first in range(0, resamples, step):
        drawn = random.integers(0, count, (min(step, resamples - first), count))
        gold, predicted, right = by_document[drawn].sum(1).T
        found.append(2 * right / np.maximum(gold + predicted, 1))
    low, high = np.quantile(np.concatenate(found), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
