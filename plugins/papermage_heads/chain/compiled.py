"""The loops over units, compiled by numba where the extra ``fast`` is installed: the same results, sooner."""

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


@attrs.frozen
class Kernels:
    """Compiled loops."""

    sum_paths: Callable[..., bool]
    """`_sum_paths`."""
    best_paths: Callable[..., None]
    """`_best_paths`."""
    take_paths: Callable[..., float]
    """`_take_paths`."""
    entity_probabilities: Callable[..., None]
    """`_entity_probabilities`."""


@cache
def kernels() -> Kernels | None:
    """Return the compiled loops; None where they cannot be had."""
    loops: list[Callable[..., Any]] = [_sum_paths, _best_paths, _take_paths, _entity_probabilities]
    made = [loop for loop in map(compiled, loops) if loop is not None]
    return Kernels(*made) if made else None


def _sum_paths(
    x: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    matrix: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    most: float,
    log_z: NDArray[np.float64],
    marginals: NDArray[np.float64],
    log_ahead: NDArray[np.float64],
    log_onward: NDArray[np.float64],
    pairs: NDArray[np.float64],
) -> bool:
    """Fill the last five, which are zero, with what `Sums` has for emissions (B, T, K) and exponentials of scores.

    ``pairs`` lacks the factor ``matrix`` of the expected transitions. ``log_ahead`` and ``log_onward`` are left alone
    if they are empty. Returns false, with the rest undefined, if emissions of one unit lie further apart than ``most``,
    or nothing is left of a sum.
    """
    longest, n_tags = x.shape[1:]
    emitted, forward = np.empty((longest, n_tags)), np.empty((longest, n_tags))
    beta, onward = np.empty(n_tags), np.empty(n_tags)
    ahead = log_ahead.size > 0
    for c in range(len(x)):
        n = lengths[c]
        if n == 0:
            continue
        total = 0.0
        for t in range(n):
            top, low, mass = -np.inf, np.inf, 0.0
            for j in range(n_tags):
                top = max(top, x[c, t, j])
                if x[c, t, j] > -np.inf:
                    low = min(low, x[c, t, j])
            if not top - low <= most:
                return False
            for j in range(n_tags):
                arriving = start[j]
                if t > 0:
                    arriving = 0.0
                    for i in range(n_tags):
                        arriving += forward[t - 1, i] * matrix[i, j]
                emitted[t, j] = math.exp(x[c, t, j] - top)
                forward[t, j] = arriving * emitted[t, j]
                mass += forward[t, j]
            if not mass > 0.0:
                return False
            for j in range(n_tags):
                forward[t, j] /= mass
            total += math.log(mass) + top
        final = 0.0
        for j in range(n_tags):
            beta[j] = end[j]
            final += forward[n - 1, j] * end[j]
        if not final > 0.0:
            return False
        log_z[c] = total + math.log(final)
        for t in range(n - 1, -1, -1):
            norm = 0.0
            for j in range(n_tags):
                norm += forward[t, j] * beta[j]
            mass = 0.0
            if not norm > 0.0:
                return False
            for i in range(n_tags):
                left = forward[t, i] / norm
                marginals[c, t, i] = left * beta[i]
                if t < n - 1:
                    for j in range(n_tags):
                        pairs[i, j] += left * onward[j]
            for j in range(n_tags):
                onward[j] = emitted[t, j] * beta[j]
                mass += onward[j]
            if not mass > 0.0:
                return False
            for j in range(n_tags):
                onward[j] /= mass
                if ahead:
                    log_ahead[c, t, j] = math.log(beta[j]) if beta[j] > 0.0 else -np.inf
                    log_onward[c, t, j] = math.log(onward[j]) if onward[j] > 0.0 else -np.inf
            for i in range(n_tags):
                beta[i] = 0.0
                for j in range(n_tags):
                    beta[i] += matrix[i, j] * onward[j]
    return True


def _best_paths(
    x: NDArray[np.float64],
    lengths: NDArray[np.int64],
    arriving: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    paths: NDArray[np.int64],
) -> None:
    """Fill ``paths`` (B, T) with the best tags for emissions (B, T, K); ``arriving`` are transitions, [to, from]."""
    longest, n_tags = x.shape[1:]
    best, new = np.empty(n_tags), np.empty(n_tags)
    come_from = np.empty((longest, n_tags), np.int32)
    for c in range(len(x)):
        n = lengths[c]
        if n == 0:
            continue
        for j in range(n_tags):
            best[j] = start[j] + x[c, 0, j]
        for t in range(1, n):
            for j in range(n_tags):
                chosen, value = 0, best[0] + arriving[j, 0]
                for i in range(1, n_tags):
                    other = best[i] + arriving[j, i]
                    if other > value:
                        chosen, value = i, other
                come_from[t, j] = chosen
                new[j] = value + x[c, t, j]
            for j in range(n_tags):
                best[j] = new[j]
        tag = 0
        for j in range(n_tags):
            if best[j] + end[j] > best[tag] + end[tag]:
                tag = j
        for t in range(n - 1, -1, -1):
            paths[c, t] = tag
            if t > 0:
                tag = come_from[t, tag]


def _take_paths(
    x: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    paths: NDArray[np.int64],
    transitions: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    difference: NDArray[np.float64],
    edges: NDArray[np.float64],
    at_start: NDArray[np.float64],
    at_end: NDArray[np.float64],
) -> float:
    """Take given paths (B, T) out of the expectations of tags (B, T, K) and of transitions (K, K).

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
            difference[c, t, tag] -= 1.0
            if t > 0:
                total += transitions[paths[c, t - 1], tag]
                edges[paths[c, t - 1], tag] -= 1.0
        total += start[paths[c, 0]] + end[paths[c, n - 1]]
        for j in range(len(start)):
            at_start[j] += difference[c, 0, j]
            at_end[j] += difference[c, n - 1, j]
    return total


def _entity_probabilities(
    marginals: NDArray[np.float64],
    log_ahead: NDArray[np.float64],
    log_onward: NDArray[np.float64],
    transitions: NDArray[np.float64],
    lengths: NDArray[np.int64],
    tags: NDArray[np.int64],
    real: NDArray[np.bool_],
    goes_on: NDArray[np.bool_],
    entities: NDArray[np.int64],
    found: NDArray[np.float64],
) -> None:
    """Fill ``found`` (E,) with the probabilities of ``entities`` (E, 4): context, start, stop and label.

    ``tags``, ``real`` and ``goes_on`` are those of `EntityScorer`, whose formula this is.
    """
    width = tags.shape[1]
    state, new = np.empty(width), np.empty(width)
    for e in range(len(entities)):
        c, start, stop, label = entities[e]
        for j in range(width):
            state[j] = marginals[c, start, tags[label, j]] if real[label, j] else 0.0
        for unit in range(start, stop + 1):
            if unit == 0 or unit == lengths[c]:
                continue
            left = 0.0
            for j in range(width):
                new[j] = 0.0
            for i in range(width):
                before = marginals[c, unit - 1, tags[label, i]] if unit == start else state[i]
                ahead = log_ahead[c, unit - 1, tags[label, i]]
                if before == 0.0 or ahead == -math.inf:
                    continue
                for j in range(width):
                    if goes_on[label, i, j]:
                        step = transitions[tags[label, i], tags[label, j]] + log_onward[c, unit, tags[label, j]]
                        new[j] += before * math.exp(step - ahead)
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
