"""Places in lines, where units have no boxes: a line is a run of units that stand in the same row."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_compact.hashing import runs_of
from papermage_compact.units import log_bucket
from papermage_core.plugin import Context

__all__ = ["LINE_ROWS", "Lines", "lines_of"]

_SIZES = {"from start": 10, "from end": 10, "from top": 16, "from bottom": 16, "length": 10}
LINE_ROWS = sum(_SIZES.values())
"""Rows of the table that `Lines.rows` points into."""


@attrs.frozen(eq=False)
class Lines:
    """The lines of n units."""

    rows: NDArray[np.uint16]
    """Rows in the table of places in lines. Shape (n, len(_SIZES))."""
    lines: NDArray[np.int32]
    """The line that holds the unit, counted from the start of its context. Shape (n,)."""


def lines_of(contexts: Sequence[Context], lengths: NDArray[np.int64]) -> Lines:
    """Return the lines of all units of the contexts, one context after the other.

    A unit in no row goes on with the line before it.
    """
    context_starts, _ = runs_of(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    row = np.concatenate([np.zeros(0, np.int64), *(_rows(context) for context in contexts)])
    known = np.maximum.accumulate(np.where(row >= 0, np.arange(len(row)), -1))
    row = np.where(known >= context_starts[owner], row[known], -1)
    first = np.ones(len(row), bool)
    first[1:] = owner[1:] != owner[:-1]
    starts = first.copy()
    starts[1:] |= row[1:] != row[:-1]
    line = np.cumsum(starts) - 1
    length = np.bincount(line)
    _, place = runs_of(length)
    count = np.bincount(owner[starts], minlength=len(lengths))
    _, of_context = runs_of(count)
    longest = np.maximum.reduceat(length, np.cumsum(count)[count > 0] - count[count > 0]) if len(length) else length
    share = length * (_SIZES["length"] - 1) // np.repeat(longest, count[count > 0])
    columns = {
        "from start": log_bucket(place, 10),
        "from end": log_bucket(length[line] - 1 - place, 10),
        "from top": log_bucket(of_context, 16)[line],
        "from bottom": log_bucket(np.repeat(count, count) - 1 - of_context, 16)[line],
        "length": share[line],
    }
    firsts = np.cumsum([0, *_SIZES.values()])
    rows = np.stack([columns[name] + start for name, start in zip(_SIZES, firsts, strict=False)], 1)
    return Lines(rows.astype(np.uint16), of_context[line].astype(np.int32))


def _rows(context: Context) -> NDArray[np.int64]:
    rows = context.groups.get("rows")
    return np.full(len(context), -1, np.int64) if rows is None else rows.astype(np.int64)
