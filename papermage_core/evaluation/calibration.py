"""Scores that mean what they say: of the entities scored 0.8, eight in ten should be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Calibration", "ReliabilityBin", "expected_calibration_error", "fit_calibration", "reliability"]

_LEAST_SLOPE = 1e-2  # keeps the map strictly rising, so that no two scores swap places or become one
_EDGE = 1e-6
_MOST = 1e9  # beyond it, all scores would be 0 or 1; far beyond, sums would overflow


@attrs.frozen(kw_only=True)
class Calibration:
    r"""A strictly rising map of scores: beta calibration.

    $$
    \operatorname{logit} q(s) = a \ln s - b \ln(1 - s) + c
    $$

    With ``a = b = 1 / T`` and ``c = 0`` this is a temperature, with ``a = b`` it is Platt's scaling of the logit; the
    default is the identity. Kull, Silva Filho and Flach, "Beta calibration", AISTATS 2017.

    >>> float(Calibration(a=0.5, b=0.5).apply(0.9)) == 0.75
    True
    """

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    fitted_on: int = 0
    """How many scores it was fitted on; 0 for none."""

    def apply(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return the calibrated scores, in [0, 1], of scores in [0, 1]; any shape. 0 and 1 stay what they are."""
        raw = np.asarray(scores, np.float64)
        features = _features(raw)
        mapped = _sigmoid(features @ np.array([self.a, self.b, self.c]))
        return np.where(raw <= 0, 0.0, np.where(raw >= 1, 1.0, mapped))

    def to_json(self) -> dict[str, Any]:
        """Return a dict for the checkpoint."""
        return {"method": "beta", **attrs.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """Return the map that ``to_json`` wrote. Raises CheckpointError for anything else."""
        try:
            if value["method"] != "beta":
                raise CheckpointError(f"expected a calibration of the method 'beta', got {value['method']!r:.200}")
            found = cls(
                a=float(value["a"]), b=float(value["b"]), c=float(value["c"]), fitted_on=int(value["fitted_on"])
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(
                f"expected a calibration with method, a, b, c and fitted_on, got {value!r:.200}"
            ) from error
        numbers = (found.a, found.b, found.c)
        if not all(abs(number) <= _MOST for number in numbers) or min(found.a, found.b) <= 0:
            raise CheckpointError(
                f"expected a calibration with numbers up to {_MOST:g} and slopes above 0, got {value!r:.200}"
            )
        return found


def fit_calibration(scores: ArrayLike, correct: ArrayLike, *, prior: float = 1.0) -> Calibration:
    """Return the calibration that makes the scores of predictions fit how often they were ``correct``.

    Maximum a posteriori with a normal prior of variance ``1 / prior`` around the identity: a handful of scores, or
    ones that are all right or all wrong, move the map a little and never to infinity. No scores give the identity.
    """
    values, right = _checked(scores, correct)
    if not len(values):
        return Calibration()
    features = _features(values)
    fits = [_fit(features, right, prior, (a, b)) for a, b in product((False, True), repeat=2)]
    inside = [fit for fit in fits if fit[0] >= _LEAST_SLOPE - 1e-12 and fit[1] >= _LEAST_SLOPE - 1e-12]
    # The problem is convex, so its constrained optimum is the best of the feasible optima of its faces.
    a, b, c = min(inside, key=lambda fit: _objective(fit, features, right, prior))
    return Calibration(a=float(a), b=float(b), c=float(c), fitted_on=len(values))


def _fit(
    features: NDArray[np.float64], right: NDArray[np.bool_], prior: float, fixed: tuple[bool, bool]
) -> NDArray[np.float64]:
    """Return (a, b, c) at the optimum with the slopes that are ``fixed`` held at the least slope; damped Newton."""
    weights = np.where([*fixed, False], [_LEAST_SLOPE, _LEAST_SLOPE, 0.0], [1.0, 1.0, 0.0])
    free = np.flatnonzero([not fixed[0], not fixed[1], True])
    for _ in range(100):
        probability = _sigmoid(features @ weights)
        gradient = features.T @ (probability - right) + prior * (weights - np.array([1.0, 1.0, 0.0]))
        curvature = (features * (probability * (1 - probability))[:, None]).T @ features + prior * np.eye(3)
        step = np.zeros(3)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        weights = next(_shorter(weights, step, features, right, prior))
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _shorter(
    weights: NDArray[np.float64],
    step: NDArray[np.float64],
    features: NDArray[np.float64],
    right: NDArray[np.bool_],
    prior: float,
) -> Iterator[NDArray[np.float64]]:
    """Yield ``weights`` moved by the longest halving of ``step`` that does not make the objective worse."""
    now = _objective(weights, features, right, prior)
    for halvings in range(40):
        moved = weights - step / 2**halvings
        if _objective(moved, features, right, prior) <= now:
            yield moved
    yield weights


def _objective(
    weights: NDArray[np.float64], features: NDArray[np.float64], right: NDArray[np.bool_], prior: float
) -> float:
    logits = features @ weights
    loss = np.logaddexp(0.0, np.where(right, -logits, logits)).sum()
    return float(loss + 0.5 * prior * ((weights - np.array([1.0, 1.0, 0.0])) ** 2).sum())


def _features(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``ln s``, ``-ln(1 - s)`` and 1 for each score. Shape (..., 3)."""
    inner = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.stack([np.log(inner), -np.log1p(-inner), np.ones_like(inner)], axis=-1)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    # by the sign, so that neither exponential overflows
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))


@attrs.frozen(kw_only=True)
class ReliabilityBin:
    """The predictions whose scores lie in a range: a point of the reliability diagram."""

    low: float
    high: float
    count: int
    mean_score: float
    share_correct: float


def reliability(scores: ArrayLike, correct: ArrayLike, bins: int = 15) -> list[ReliabilityBin]:
    """Return the bins of equal width over [0, 1] that hold any score, from low to high."""
    values, right = _checked(scores, correct)
    at = np.minimum((values * bins).astype(np.int64), bins - 1)
    return [
        ReliabilityBin(
            low=index / bins,
            high=(index + 1) / bins,
            count=int((at == index).sum()),
            mean_score=float(values[at == index].mean()),
            share_correct=float(right[at == index].mean()),
        )
        for index in np.unique(at).tolist()
    ]


def expected_calibration_error(scores: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Return the mean distance of score and share correct, weighted by the sizes of ``bins`` of equal width.

    0 for no scores. Naeini, Cooper and Hauskrecht, AAAI 2015; Guo, Pleiss, Sun and Weinberger, "On Calibration of
    Modern Neural Networks", ICML 2017, eq. 3.

    >>> round(expected_calibration_error([0.9, 0.9], [True, False]), 3)
    0.4
    """
    found: Sequence[ReliabilityBin] = reliability(scores, correct, bins)
    total = sum(each.count for each in found)
    return sum(each.count * abs(each.mean_score - each.share_correct) for each in found) / total if total else 0.0


def _checked(scores: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, right = np.asarray(scores, np.float64), np.asarray(correct, np.bool_)
    if values.shape != right.shape or values.ndim != 1:
        raise ValueError(f"expected as many scores as outcomes, in one row, got {values.shape} and {right.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("expected scores from 0 to 1")
    return values, right
