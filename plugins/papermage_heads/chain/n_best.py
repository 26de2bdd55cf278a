"""The n best paths of a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["n_best_paths"]


def n_best_paths(
    emissions: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    transitions: NDArray[np.floating[Any]],
    start: NDArray[np.floating[Any]],
    end: NDArray[np.floating[Any]],
    *,
    n: int,
) -> list[list[tuple[NDArray[np.int64], float]]]:
    """Return for each context up to ``n`` possible paths with their scores, the best first, for emissions (B, T, K).

    Forbidden starts, ends and transitions are minus infinity. Fewer than ``n`` where no more paths are possible; a
    context without units has one, of no tags and score 0.
    """
    rows = zip(emissions, lengths.tolist(), strict=True)
    return [_of_one(np.asarray(row[:size], np.float64), transitions, start, end, n) for row, size in rows]


def _of_one(
    x: NDArray[np.float64],
    transitions: NDArray[np.floating[Any]],
    start: NDArray[np.floating[Any]],
    end: NDArray[np.floating[Any]],
    n: int,
) -> list[tuple[NDArray[np.int64], float]]:
    """Viterbi that keeps the n best ways to each tag. What is kept is one axis of (tag, rank) pairs."""
    if not len(x):
        return [(np.zeros(0, np.int64), 0.0)]
    n_tags = len(start)
    scores = np.full((n_tags, n), -np.inf)  # (tag, rank)
    scores[:, 0] = start + x[0]
    back = []
    for emitted in x[1:]:
        ways = (scores[:, :, None] + transitions[:, None, :]).reshape(n_tags * n, n_tags)
        chosen = np.argsort(-ways, axis=0, kind="stable")[:n]  # (rank, tag)
        scores = (np.take_along_axis(ways, chosen, 0) + emitted).T
        back.append(chosen.T)
    final = (scores + end[:, None]).ravel()
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
