"""The best paths of a chain, one for each context of a batch (Viterbi 1967), or the n best of each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from papermage_heads.chain.compiled import kernels
from papermage_heads.chain.legal import LegalChain
from papermage_heads.chain.scores import ChainScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["best_paths", "n_best_paths"]

_NEVER = -1e9
"""Stands for minus infinity: where every path is forbidden, one is still the best."""
_FORCED = 1e30
_BLOCK = 2_000_000
"""Most numbers in the sums (K, K, B) of a step, but for those of one context: 16 MB."""


def best_paths(
    emissions: NDArray[np.floating[Any]], lengths: NDArray[np.int64], scores: ChainScores | LegalChain
) -> NDArray[np.int64]:
    """Return the tags (B, U) of the best path of each context, 0 at padding.

    Takes finite emissions (B, U, K) and the units of each context, ``lengths`` (B,). The best path is one that is
    allowed wherever one is.
    """
    _check(emissions, lengths, scores)
    paths = np.zeros(emissions.shape[:2], np.int64)
    if not emissions.size:
        return paths
    if isinstance(scores, LegalChain):
        for x, n, path in zip(emissions, lengths.tolist(), paths, strict=True):
            path[:n] = _best_legal_path(x[:n], scores)
        return paths
    transitions, start, end = (np.maximum(table, _NEVER) for table in scores.arrays)
    if loops := kernels():
        arriving = np.ascontiguousarray(transitions.T)
        loops.best_paths(np.ascontiguousarray(emissions), lengths, transitions, arriving, start, end, paths)
        return paths
    size = max(1, _BLOCK // transitions.size)
    for rows in (slice(first, first + size) for first in range(0, len(paths), size)):
        paths[rows] = _best_of_block(emissions[rows], lengths[rows], transitions, start, end)
    return paths


def _best_of_block(
    emissions: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    transitions: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
) -> NDArray[np.int64]:
    x = np.ascontiguousarray(emissions.transpose(1, 2, 0), np.float64)  # (U, K, B)
    n_units, n_tags, batch = x.shape
    best = np.empty_like(x)  # the score of the best path to each tag at each unit
    np.add(x[0], start[:, None], out=best[0])
    steps = np.ascontiguousarray(np.broadcast_to(transitions[:, :, None], (n_tags, n_tags, batch)))
    sums = np.empty_like(steps)  # (from, to, B), so that the maximum runs along contiguous memory
    for i in range(1, n_units):
        np.add(best[i - 1][:, None], steps, out=sums)
        np.maximum.reduce(sums, axis=0, out=best[i])
        best[i] += x[i]
    best = np.ascontiguousarray(best.transpose(0, 2, 1))  # (U, B, K)
    steps_back = np.maximum(lengths - 1, 0)  # (B,)
    last = (best[steps_back, np.arange(batch)] + end).argmax(1)  # (B,)
    # From its last unit on, a shorter context is made to stay at its last tag, so that all walk back in step.
    done = np.arange(n_units)[:, None] >= steps_back  # (U, B)
    best[done] = -_FORCED
    unit, context = np.nonzero(done)
    best[unit, context, last[context]] = _FORCED
    paths = np.empty((n_units, batch), np.int64)
    paths[-1] = last
    arriving = np.ascontiguousarray(transitions.T)  # (to, from)
    for i in range(n_units - 2, -1, -1):
        paths[i] = (best[i] + arriving.take(paths[i + 1], 0)).argmax(1)
    paths[np.arange(n_units)[:, None] >= lengths] = 0
    found: NDArray[np.int64] = paths.T
    return found


def _best_legal_path(x: NDArray[np.floating[Any]], chain: LegalChain) -> NDArray[np.int64]:
    """Return the best path (n,) for the emissions (n, K) of one context."""
    path = np.zeros(len(x), np.int64)
    best = x.astype(np.float64)  # (n, K)
    best[:1, ~chain.start] = -np.inf
    best[-1:, ~chain.end] = -np.inf
    for before, here in itertools.pairwise(best):
        here += chain.ahead(np.maximum, before, -np.inf)
    possible = np.arange(len(chain.group))
    for i in range(len(x) - 1, -1, -1):
        path[i] = possible[best[i, possible].argmax()]
        possible = chain.tags_before(path[i])
    return path


def n_best_paths(
    emissions: NDArray[np.floating[Any]], lengths: NDArray[np.int64], scores: ChainScores, *, n: int
) -> list[list[tuple[NDArray[np.int64], float]]]:
    """Return for each context up to ``n`` possible paths with their scores, the best first, for emissions (B, U, K).

    Fewer than ``n`` where no more paths are possible; a context without units has one, of no tags and score 0.
    """
    _check(emissions, lengths, scores)
    tables = scores.arrays
    rows = zip(emissions, lengths.tolist(), strict=True)
    return [_n_best_of_one(np.asarray(row[:size], np.float64), *tables, n) for row, size in rows]


def _n_best_of_one(
    x: NDArray[np.float64],
    transitions: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    n: int,
) -> list[tuple[NDArray[np.int64], float]]:
    """Viterbi that keeps the n best ways to each tag. What is kept is one axis of (tag, rank) pairs."""
    if not len(x):
        return [(np.zeros(0, np.int64), 0.0)]
    n_tags = len(start)
    best = np.full((n_tags, n), -np.inf)  # (tag, rank)
    best[:, 0] = start + x[0]
    back = []
    for emitted in x[1:]:
        ways = (best[:, :, None] + transitions[:, None, :]).reshape(n_tags * n, n_tags)  # (from and rank, to)
        chosen = np.argsort(-ways, axis=0, kind="stable")[:n]  # (rank, to)
        best = (np.take_along_axis(ways, chosen, 0) + emitted).T
        back.append(chosen.T)
    final = (best + end[:, None]).ravel()
    found = []
    for place in np.argsort(-final, kind="stable")[:n]:
        if final[place] == -np.inf:
            break
        path, at = [int(place) // n], int(place)
        for chosen in reversed(back):
            at = int(chosen[at // n, at % n])
            path.append(at // n)
        found.append((np.array(path[::-1], np.int64), float(final[place])))
    return found


def _check(emissions: NDArray[Any], lengths: NDArray[np.int64], scores: ChainScores | LegalChain) -> None:
    """Raise ValueError unless emissions and lengths fit each other and the K tags of the scores."""
    shape, expected = emissions.shape, (len(lengths), *emissions.shape[1:2], len(scores.start))
    if shape != expected or emissions.dtype.kind != "f":
        raise ValueError(f"emissions: expected floats of shape {expected}, got {emissions.dtype} of shape {shape}")
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= shape[1]:
        raise ValueError(f"lengths: expected at most {shape[1]} units a context, got {lengths.tolist()}")
