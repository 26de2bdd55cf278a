"""Which window answers for which unit, and pieces of contexts short enough to train on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.plugin.spec import UnitSpan, Window

__all__ = ["Piece", "cut", "owners", "whole"]


def owners(windows: Sequence[Window], n_units: int) -> NDArray[np.int64]:
    """Return, for each unit of a context, the index of the window that sees most around it. Shape (n_units,).

    What a window sees around a unit is the shorter of its two sides; a side that reaches the context's own end counts
    as unbounded, for there is nothing more to see. Ties go to the earlier window.

    >>> w = [Window(0, 6, {}, 6), Window(4, 10, {}, 6)]
    >>> owners(w, 10).tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    """
    best = np.full(n_units, -1, np.int64)
    owner = np.zeros(n_units, np.int64)
    far = n_units + 1
    for index, window in enumerate(windows):
        units = np.arange(window.start, window.stop)
        left = units - window.start if window.start > 0 else np.full(len(units), far)
        right = window.stop - 1 - units if window.stop < n_units else np.full(len(units), far)
        sees = np.minimum(left, right)
        better = sees > best[units]
        owner[units[better]] = index
        best[units[better]] = sees[better]
    if n_units and int(best.min()) < 0:
        missing = int(np.flatnonzero(best < 0)[0])
        raise ValueError(f"the encoder's windows do not cover unit {missing} of a context of {n_units} units")
    return owner


@attrs.frozen(eq=False)
class Piece:
    """Units ``start`` to ``stop`` of a context with the windows that answer for them; mostly the whole context."""

    context: int
    """Index of the context in its corpus."""
    start: int
    stop: int
    windows: tuple[Window, ...]
    owner: NDArray[np.int64]
    """Index into `windows` for each unit. Shape (stop - start,)."""

    @property
    def cost(self) -> int:
        """Cost of a batch of the piece's windows alone, padded to the longest."""
        if len(self.windows) == 1:
            return self.windows[0].cost
        return len(self.windows) * max((w.cost for w in self.windows), default=0)


def whole(context: int, windows: Sequence[Window], n_units: int) -> Piece:
    """Return the piece that is the whole context."""
    return Piece(context, 0, n_units, tuple(windows), owners(windows, n_units))


def cut(piece: Piece, gold: Sequence[UnitSpan], max_cost: int) -> list[Piece]:
    """Return pieces of a whole context that cost at most about ``max_cost`` each, none of them cutting an entity.

    Only training cuts, so that one step fits in memory however long a context is; prediction and evaluation read
    contexts whole. Cuts fall where one window hands over to the next, moved left to where no entity is open.
    """
    if piece.cost <= max_cost or len(piece.windows) < 2:
        return [piece]
    each = max(1, max_cost * len(piece.windows) // piece.cost)
    inside = np.zeros(piece.stop + 1, np.int64)
    for span in gold:
        inside[span.start + 1] += 1
        inside[span.stop] -= 1
    closed = np.flatnonzero(np.cumsum(inside) == 0)  # cutting before these units cuts no entity
    handover = np.flatnonzero(np.diff(piece.owner)) + 1
    wanted = [int(u) for u in handover if piece.owner[u] % each == 0]
    at = sorted({int(closed[np.searchsorted(closed, u, "right") - 1]) for u in wanted} - {0, piece.stop})
    bounds = [0, *at, piece.stop]
    pieces = []
    for start, stop in itertools.pairwise(bounds):
        used, owner = np.unique(piece.owner[start:stop], return_inverse=True)
        chosen = tuple(piece.windows[i] for i in used.tolist())
        pieces.append(Piece(piece.context, start, stop, chosen, owner.reshape(-1)))
    return pieces
