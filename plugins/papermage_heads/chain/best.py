"""The best path of a chain: Viterbi (1967) over a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from papermage_heads.chain.compiled import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["best_paths"]

_NEVER = -1e9  # stands for minus infinity, which cannot be told apart from itself
_FORCED = 1e30


def best_paths(
    emissions: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    transitions: NDArray[np.floating[Any]],
    start: NDArray[np.floating[Any]],
    end: NDArray[np.floating[Any]],
) -> NDArray[np.int64]:
    """Return the tags (B, T) of the best path of each context, 0 at padding, for emissions (B, T, K).

    Forbidden starts, ends and transitions are minus infinity. The best path is one that is allowed wherever one is.
    """
    n_units = emissions.shape[1]
    if not emissions.size:
        return np.zeros(emissions.shape[:2], np.int64)
    transitions, start, end = (np.maximum(kind, _NEVER) for kind in (transitions, start, end))
    if loops := kernels():
        given = [np.ascontiguousarray(part, np.float64) for part in (emissions, transitions.T, start, end)]
        paths: NDArray[np.int64] = np.zeros(emissions.shape[:2], np.int64)
        loops.best_paths(given[0], np.ascontiguousarray(lengths, np.int64), *given[1:], paths)
        return paths
    best: NDArray[Any] = _sweep(emissions, transitions, start)
    batch = np.arange(len(emissions))
    steps = np.maximum(lengths - 1, 0)
    last: NDArray[np.int64] = (best[steps, batch] + end).argmax(1)
    # From its last unit on, a shorter context is made to stay at its last tag, so that all walk back in step.
    done = np.arange(n_units)[:, None] >= steps
    best[done] = -_FORCED
    unit, context = np.nonzero(done)
    best[unit, context, last[context]] = _FORCED
    paths = np.empty((n_units, len(batch)), np.int64)
    paths[-1] = current = last
    arriving = np.ascontiguousarray(transitions.T)
    for i in range(n_units - 2, -1, -1):
        current = (best[i] + arriving.take(current, 0)).argmax(1)
        paths[i] = current
    paths[np.arange(n_units)[:, None] >= lengths] = 0
    result: NDArray[np.int64] = paths.T
    return result


def _sweep(
    emissions: NDArray[np.floating[Any]], transitions: NDArray[np.floating[Any]], start: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Return the score of the best path to each tag at each unit. Shape (T, B, K)."""
    x = np.ascontiguousarray(emissions.transpose(1, 2, 0), np.float64)  # (T, K, B)
    n_tags, batch = x.shape[1:]
    best = np.empty_like(x)
    np.add(x[0], start[:, None], out=best[0])
    steps = np.ascontiguousarray(np.broadcast_to(transitions[:, :, None], (n_tags, n_tags, batch)), np.float64)
    cube = np.empty_like(steps)  # (from, to, B): the maximum runs along contiguous memory
    previous = best[0]
    for e, b in zip(x[1:], best[1:], strict=True):
        np.add(previous[:, None], steps, out=cube)
        np.maximum.reduce(cube, axis=0, out=b)
        np.add(b, e, out=b)
        previous = b
    return np.ascontiguousarray(best.transpose(0, 2, 1))
