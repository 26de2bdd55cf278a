"""The loops over units, compiled by numba where the extra ``fast`` is installed: the same results, sooner.

Most inner loops run along rows, without sums into one number, so that they become vector instructions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Kernels", "kernels"]

_FEW_TAGS = 16
"""Up to this number, sums into one number are faster than vector instructions."""


@attrs.frozen
class Kernels:
    """Compiled loops."""

    forward_backward: Callable[..., bool]
    """`_forward_backward`."""
    best_paths: Callable[..., None]
    """`_best_paths`."""
    subtract_paths: Callable[..., float]
    """`_subtract_paths`."""
    entity_probabilities: Callable[..., None]
    """`_entity_probabilities`."""


@cache
def kernels() -> Kernels | None:
    """Return the compiled loops; None without numba."""
    loops: list[Callable[..., Any]] = [_forward_backward, _best_paths, _subtract_paths, _entity_probabilities]
    made = [loop for loop in map(compiled, loops) if loop is not None]
    return Kernels(*made) if made else None


def _forward_backward(
    x: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    matrix: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    most: float,
    log_z: NDArray[np.float64],
    marginals: NDArray[np.float64],
    log_beta: NDArray[np.float64],
    expected: NDArray[np.float64],
) -> bool:
    """Fill the last four, which are zero, with what `ForwardBackward` has for emissions (B, U, K).

    ``matrix``, ``start`` and ``end`` are exponentials of scores; ``expected`` lacks the factor ``matrix``. What is
    empty of ``log_beta`` and ``expected`` is left out. Returns false, with the rest undefined, if emissions of one unit
    lie further apart than ``most``, or nothing is left of a sum. On the way forward, what is filled on the way back
    holds other things, for a context may have a million units.
    """
    longest, n_tags = x.shape[1:]
    transposed = matrix.T.copy()
    tops, no_beta = np.empty(longest), np.empty((0 if log_beta.size > 0 else longest, n_tags))
    beta, emitted_beta = np.empty(n_tags), np.empty(n_tags)
    for c in range(len(x)):
        n = lengths[c]
        if n == 0:
            continue
        alpha = marginals[c]
        emitted = log_beta[c] if log_beta.size > 0 else no_beta
        total = 0.0
        for t in range(n):
            top, low, mass = -np.inf, np.inf, 0.0
            for j in range(n_tags):
                top = max(top, x[c, t, j])
                if x[c, t, j] > -np.inf:
                    low = min(low, x[c, t, j])
            if not top - low <= most:
                return False
            tops[t] = top
            if t == 0:
                alpha[0] = start
            else:
                alpha[t] = 0.0
                for i in range(n_tags):
                    before = alpha[t - 1, i]
                    for j in range(n_tags):
                        alpha[t, j] += before * matrix[i, j]
            for j in range(n_tags):
                emitted[t, j] = math.exp(x[c, t, j] - top)
                alpha[t, j] *= emitted[t, j]
                mass += alpha[t, j]
            if not mass > 0.0:
                return False
            scale = 1.0 / mass
            for j in range(n_tags):
                alpha[t, j] *= scale
            total += math.log(mass) + top
        mass = 0.0
        for j in range(n_tags):
            beta[j] = end[j]
            mass += alpha[n - 1, j] * end[j]
        if not mass > 0.0:
            return False
        log_z[c] = total + math.log(mass)
        log_divided = 0.0
        for t in range(n - 1, -1, -1):
            norm = 0.0
            for j in range(n_tags):
                norm += alpha[t, j] * beta[j]
            if not norm > 0.0:
                return False
            scale = 1.0 / norm
            for i in range(n_tags):
                left = alpha[t, i] * scale
                marginals[c, t, i] = left * beta[i]
                if t < n - 1 and expected.size > 0:
                    for j in range(n_tags):
                        expected[i, j] += left * emitted_beta[j]
            mass = 0.0
            for j in range(n_tags):
                emitted_beta[j] = emitted[t, j] * beta[j]
                mass += emitted_beta[j]
            if log_beta.size > 0:
                for j in range(n_tags):
                    log_beta[c, t, j] = math.log(beta[j]) + log_divided if beta[j] > 0.0 else -np.inf
            if not mass > 0.0:
                return False
            log_divided += math.log(mass) + tops[t]
            scale = 1.0 / mass
            for j in range(n_tags):
                emitted_beta[j] *= scale
                beta[j] = 0.0
            for j in range(n_tags):
                after = emitted_beta[j]
                for i in range(n_tags):
                    beta[i] += transposed[j, i] * after
    return True


def _best_paths(
    x: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    transitions: NDArray[np.float64],
    arriving: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    paths: NDArray[np.int64],
) -> None:
    """Fill ``paths`` (B, U) with the best tags for emissions (B, U, K); ``arriving`` is ``transitions`` transposed."""
    longest, n_tags = x.shape[1:]
    best = np.empty((longest, n_tags))
    for c in range(len(x)):
        n = lengths[c]
        if n == 0:
            continue
        for t in range(n):
            if t == 0:
                best[0] = start
            elif n_tags <= _FEW_TAGS:
                for j in range(n_tags):
                    best[t, j] = best[t - 1, 0] + arriving[j, 0]
                    for i in range(1, n_tags):
                        value = best[t - 1, i] + arriving[j, i]
                        best[t, j] = value if value > best[t, j] else best[t, j]
            else:
                best[t] = -np.inf
                for i in range(n_tags):
                    for j in range(n_tags):
                        value = best[t - 1, i] + transitions[i, j]
                        best[t, j] = value if value > best[t, j] else best[t, j]
            for j in range(n_tags):
                best[t, j] += x[c, t, j]
        onward = end
        for t in range(n - 1, -1, -1):
            tag, value = 0, best[t, 0] + onward[0]
            for i in range(1, n_tags):
                if best[t, i] + onward[i] > value:
                    tag, value = i, best[t, i] + onward[i]
            paths[c, t] = tag
            onward = arriving[tag]


def _subtract_paths(
    x: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    paths: NDArray[np.int64],
    transitions: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    marginals: NDArray[np.float64],
    expected: NDArray[np.float64],
    at_start: NDArray[np.float64],
    at_end: NDArray[np.float64],
) -> float:
    """Subtract given paths (B, U) from the marginals (B, U, K) and the expected transitions (K, K).

    Fills ``at_start`` and ``at_end``, which are zero, with the sums of what is left at first and last units. Returns
    the summed score of the paths; not a number, and nothing changed, if a tag is not one of the K.
    """
    for c in range(len(x)):
        for t in range(lengths[c]):
            if not 0 <= paths[c, t] < x.shape[2]:
                return math.nan
    total = 0.0
    for c in range(len(x)):
        n = lengths[c]
        if n == 0:
            continue
        for t in range(n):
            tag = paths[c, t]
            total += x[c, t, tag]
            marginals[c, t, tag] -= 1.0
            if t > 0:
                total += transitions[paths[c, t - 1], tag]
                expected[paths[c, t - 1], tag] -= 1.0
        total += start[paths[c, 0]] + end[paths[c, n - 1]]
        for j in range(len(start)):
            at_start[j] += marginals[c, 0, j]
            at_end[j] += marginals[c, n - 1, j]
    return total


def _entity_probabilities(
    x: NDArray[np.floating[Any]],
    marginals: NDArray[np.float64],
    log_beta: NDArray[np.float64],
    lengths: NDArray[np.int64],
    tags: NDArray[np.int64],
    steps: NDArray[np.float64],
    entities: NDArray[np.int64],
    found: NDArray[np.float64],
) -> None:
    """Fill ``found`` (E,) with the probabilities of ``entities`` (E, 4): context, start, stop and label.

    ``tags`` and ``steps`` are those of `entity_probabilities`, whose formula this is.
    """
    width = tags.shape[1]
    state, new = np.empty(width), np.empty(width)
    for e in range(len(entities)):
        c, start, stop, label = entities[e]
        for j in range(width):
            state[j] = marginals[c, start, tags[label, j]] if tags[label, j] >= 0 else 0.0
        for unit in range(start, stop + 1):
            if unit == 0 or unit == lengths[c]:
                continue
            left = 0.0
            for j in range(width):
                new[j] = 0.0
            for i in range(width):
                before = marginals[c, unit - 1, tags[label, i]] if unit == start else state[i]
                divisor = log_beta[c, unit - 1, tags[label, i]]
                if before == 0.0 or divisor == -math.inf:
                    continue
                for j in range(width):
                    if steps[label, i, j] > -math.inf:
                        tag = tags[label, j]
                        new[j] += before * math.exp(
                            steps[label, i, j] + x[c, unit, tag] + log_beta[c, unit, tag] - divisor
                        )
            for j in range(width):
                if unit == start:
                    state[j] -= new[j]
                elif unit < stop:
                    state[j] = new[j]
                else:
                    left += new[j]
            if unit == stop:
                for j in range(width):
                    left -= state[j]
                found[e] = -left
        if stop == lengths[c]:
            for j in range(width):
                found[e] += state[j]
