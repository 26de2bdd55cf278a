"""Layout features of units: their boxes, fonts and lines, and the white space around them.

A *line* is a run of units at one height of one page: a row of the layer ``rows`` where there is one, else what the
boxes say. All is computed for many contexts at once; medians are taken over a context's units on a page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_compact.hashing import buckets, code_points, hash_runs, runs_of
from papermage_compact.units import log_bucket
from papermage_core.plugin import Context

__all__ = ["LAYOUT_ROWS", "LAYOUT_VALUES", "Layout", "layout_of"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_GRID = 24  # buckets of a position on the page
_STEPS = np.array([-20, -8, -4, -2, -1, -0.5, -0.2, -0.05, 0.05, 0.2, 0.35, 0.5, 0.8, 1.2, 1.6, 2, 3, 5, 10, 20])
_RATIOS = np.array([0.5, 0.62, 0.72, 0.8, 0.88, 0.95, 0.985, 1.015, 1.05, 1.12, 1.2, 1.35, 1.6, 2.0, 2.6])
_MOVES = np.array([-0.4, -0.2, -0.1, -0.05, -0.03, -0.02, -0.01, -0.005, -0.001])
_MOVES = np.concatenate([_MOVES, -_MOVES[::-1]])  # in shares of the page
_DROPS = np.array([-8, -4, -2, -1, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 0.9, 1.1, 1.3, 1.6, 2, 2.5, 3, 4, 6, 12])
_FONTS = 512
_STYLES = (
    ("bold", re.compile(r"bold|bd\d|bx|[-,.]b($|[^a-z])|demi|black|heavy|medi$|tb$|-bol", re.I)),
    ("slanted", re.compile(r"ital|obli|ti\d|sl\d|[-,.]i($|[^a-z])|ti$|cmmi|[-.]it", re.I)),
    ("math", re.compile(r"cmmi|cmsy|cmex|msam|msbm|math|symbol|eufm|rsfs|euex|stmary|lasy|esint", re.I)),
    ("mono", re.compile(r"mono|courier|cmtt|typewriter|consol|inconsol|code", re.I)),
    ("capitals", re.compile(r"csc|smallcap|sc($|\d)", re.I)),
)

_SIZES = {
    "left": _GRID + 1,
    "top": _GRID + 1,
    "right": _GRID + 1,
    "height": len(_RATIOS) + 1,
    "size": len(_RATIOS) + 1,
    "gap": len(_STEPS) + 1,
    "next gap": len(_STEPS) + 1,
    "move": len(_MOVES) + 1,
    "drop": len(_DROPS) + 1,
    "next drop": len(_DROPS) + 1,
    "jump": 8,
    "next jump": 8,
    "line gap": len(_STEPS) + 1,
    "next line gap": len(_STEPS) + 1,
    "indent": len(_STEPS) + 1,
    "next indent": len(_STEPS) + 1,
    "line left": len(_STEPS) + 1,
    "line right": len(_STEPS) + 1,
    "line from top": 16,
    "line from bottom": 16,
    "from line start": 10,
    "from line end": 10,
    "style": 1 << len(_STYLES),
    "font change": 4,
    "font share": 8,
    "font": _FONTS,
}
LAYOUT_ROWS = sum(_SIZES.values())
"""Rows of the table that `Layout.rows` points into."""
LAYOUT_VALUES = 17
"""Columns of `Layout.values`."""


@attrs.frozen(eq=False)
class Layout:
    """Layout features of n units."""

    rows: NDArray[np.uint16]
    """Rows in the table of layout features. Shape (n, len(_SIZES))."""
    values: NDArray[np.float16]
    """Positions, sizes and distances as numbers about -4 to 4. Shape (n, LAYOUT_VALUES)."""
    lines: NDArray[np.int32]
    """The line that holds the unit, counted from the start of its context. Shape (n,)."""


def layout_of(contexts: Sequence[Context], lengths: Ints) -> Layout:
    """Return the layout features of all units of the contexts, one context after the other."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(_boxes(context) for context in contexts)])
    pages = np.concatenate([np.zeros(0, np.int64), *(_pages(context) for context in contexts)])
    row = np.concatenate([np.zeros(0, np.int64), *(_rows(context) for context in contexts)])
    seen = ~np.isnan(boxes).any(1)
    boxes = _carried(np.clip(boxes, -1, 2), seen, owner)
    left, top, right, bottom = boxes.T
    height = np.maximum(bottom - top, 1e-4)
    first = _is_first(owner)
    owner_rank = np.cumsum(first) - 1
    sheet = np.cumsum(first | _is_first(_carried(pages[:, None], pages >= 0, owner)[:, 0])) - 1  # a page of a context
    starts_line = first | _breaks(boxes, sheet, row)
    line = np.cumsum(starts_line) - 1
    unit = np.maximum(_median_by(height, sheet), 1e-4)  # distances are measured in it

    lines = _Lines.of(boxes, line, starts_line)
    sheet_of_line = sheet[starts_line]
    same_above = ~_is_first(sheet_of_line)
    line_unit = unit[starts_line]
    line_gap = np.where(same_above, (lines.top - _before(lines.bottom)) / line_unit, 0)
    indent = np.where(same_above, (lines.left - _before(lines.left)) / line_unit, 0)
    usual_left, usual_right = _median_by(lines.left, sheet_of_line), _median_by(lines.right, sheet_of_line)
    line_left, line_right = (lines.left - usual_left) / line_unit, (lines.right - usual_right) / line_unit
    line_count = np.bincount(sheet_of_line)
    _, line_place = runs_of(line_count)
    from_bottom = np.repeat(line_count, line_count) - 1 - line_place

    starts_sheet = _is_first(sheet)
    ends_sheet = np.roll(starts_sheet, -1)
    gap = np.where(starts_sheet, 0, (left - _before(right)) / unit)
    next_gap = np.where(ends_sheet, 0, (_after(left) - right) / unit)
    move = np.where(starts_sheet, 0, top - _before(top))
    drop = move / np.maximum(height, _before(height))
    jump = _jumps(boxes, unit, starts_line, starts_sheet)
    next_jump = np.where(ends_sheet, 0, _after(jump))
    _, from_start = runs_of(np.bincount(line, minlength=len(lines.left)))
    length = np.bincount(line, minlength=len(lines.left))
    from_end = length[line] - 1 - from_start

    fonts = _Fonts.of(contexts, owner)
    size = np.where(np.isnan(fonts.size), height, fonts.size)
    has_size = ~np.isnan(fonts.size)
    size_ratio = size / np.maximum(np.where(has_size, _median_by(np.where(has_size, size, np.nan), sheet), unit), 1e-4)
    same_font = (fonts.code == _before(fonts.code)) & ~first
    same_size = (np.abs(size - _before(size)) < 0.02 * size) & ~first
    share = _share_by(fonts.code, sheet)

    columns: dict[str, Ints] = {
        "left": _grid(left),
        "top": _grid(top),
        "right": _grid(right),
        "height": np.searchsorted(_RATIOS, height / unit),
        "size": np.searchsorted(_RATIOS, size_ratio),
        "gap": np.searchsorted(_STEPS, gap),
        "next gap": np.searchsorted(_STEPS, next_gap),
        "move": np.searchsorted(_MOVES, move),
        "drop": np.searchsorted(_DROPS, drop),
        "next drop": np.searchsorted(_DROPS, np.where(ends_sheet, 0, _after(drop))),
        "jump": jump,
        "next jump": next_jump,
        "line gap": np.searchsorted(_STEPS, line_gap)[line],
        "next line gap": np.searchsorted(_STEPS, _next_on(line_gap, same_above))[line],
        "indent": np.searchsorted(_STEPS, indent)[line],
        "next indent": np.searchsorted(_STEPS, _next_on(indent, same_above))[line],
        "line left": np.searchsorted(_STEPS, line_left)[line],
        "line right": np.searchsorted(_STEPS, line_right)[line],
        "line from top": log_bucket(line_place, 16)[line],
        "line from bottom": log_bucket(from_bottom, 16)[line],
        "from line start": log_bucket(from_start, 10),
        "from line end": log_bucket(from_end, 10),
        "style": fonts.style,
        "font change": same_font * 2 + same_size,
        "font share": np.minimum((share * 8).astype(np.int64), 7),
        "font": fonts.bucket,
    }
    firsts = np.cumsum([0, *_SIZES.values()])
    rows = np.stack([columns[name] + start for name, start in zip(_SIZES, firsts, strict=False)], 1)
    values = np.stack(
        [
            2 * left - 1,
            2 * top - 1,
            2 * right - 1,
            2 * bottom - 1,
            4 * (right - left),
            np.log2(height / unit),
            np.log2(np.maximum(size_ratio, 1e-3)),
            np.arcsinh(gap) / 2,
            np.arcsinh(next_gap) / 2,
            np.arcsinh(drop) / 2,
            np.arcsinh(line_gap)[line] / 2,
            np.arcsinh(_next_on(line_gap, same_above))[line] / 2,
            np.arcsinh(indent)[line] / 2,
            np.arcsinh(line_left)[line] / 2,
            np.arcsinh(line_right)[line] / 2,
            (bottom - lines.bottom[line]) / unit,
            seen.astype(np.float32),
        ],
        1,
    )
    values = np.clip(values, -4, 4)
    values[~seen] = 0
    return Layout(rows.astype(np.uint16), values.astype(np.float16), (line - line[first][owner_rank]).astype(np.int32))


@attrs.frozen(eq=False)
class _Lines:
    """The outer box of each line."""

    left: Floats
    top: Floats
    right: Floats
    bottom: Floats

    @classmethod
    def of(cls, boxes: Floats, line: Ints, starts_line: Bools) -> _Lines:
        starts = np.flatnonzero(starts_line)
        if not len(starts):
            return cls(*np.zeros((4, 0), np.float32))
        low, high = np.minimum.reduceat(boxes, starts), np.maximum.reduceat(boxes, starts)
        return cls(low[:, 0], low[:, 1], high[:, 2], high[:, 3])


@attrs.frozen(eq=False)
class _Fonts:
    """Fonts, from the units' metadata."""

    code: NDArray[np.uint64]
    bucket: Ints
    style: Ints
    size: NDArray[np.float64]

    @classmethod
    def of(cls, contexts: Sequence[Context], owner: Ints) -> _Fonts:
        names = list(_values(contexts, ("fontname", "font")))
        kinds = {name: i for i, name in enumerate(dict.fromkeys(names))}
        plain = [_plain_font(name) for name in kinds]
        codes = hash_runs(*code_points(plain))
        styles = np.fromiter(map(_style, plain), np.int64, len(plain))
        kind = np.fromiter(map(kinds.__getitem__, names), np.int64, len(names))
        size = _sizes(_values(contexts, ("size",)))
        return cls(codes[kind], buckets(codes, _FONTS, 1)[kind], styles[kind], size)


def _values(contexts: Sequence[Context], keys: Sequence[str]) -> Sequence[Any]:
    """Return the value of each unit under the first of the keys that its context has."""
    found: list[Any] = []
    for context in contexts:
        values = next((context.metadata[key] for key in keys if key in context.metadata), None)
        found.extend([None] * len(context) if values is None else values)
    return found


def _plain_font(name: object) -> str:
    """Return a font's name without the mark of a subset, as in ``ABCDEF+Times-Roman``; empty for no name."""
    return re.sub(r"^[A-Z]{6}\+", "", name).lower()[:80] if isinstance(name, str) else ""


def _style(name: str) -> int:
    return sum(1 << bit for bit, (_, pattern) in enumerate(_STYLES) if pattern.search(name))


def _sizes(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return font sizes; NaN for what is none."""
    if not set(map(type, values)) <= {float}:
        values = [value if isinstance(value, (int, float)) and value < 1e4 else np.nan for value in values]
    sizes = np.fromiter(values, np.float64, len(values))
    return np.where((sizes > 0) & (sizes < 1e4), sizes, np.nan)


def _boxes(context: Context) -> Floats:
    return np.full((len(context), 4), np.nan, np.float32) if context.boxes is None else context.boxes


def _pages(context: Context) -> Ints:
    return np.zeros(len(context), np.int64) if context.pages is None else context.pages.astype(np.int64)


def _rows(context: Context) -> Ints:
    rows = context.groups.get("rows")
    return np.full(len(context), -1, np.int64) if rows is None else rows.astype(np.int64)


def _is_first(groups: Ints) -> Bools:
    """Return which elements begin a run of equal ones, the first element among them."""
    first = np.ones(len(groups), bool)
    first[1:] = groups[1:] != groups[:-1]
    return first


def _before(x: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([x[:1], x[:-1]])


def _after(x: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([x[1:], x[-1:]])


def _next_on(x: NDArray[Any], same_above: Bools) -> NDArray[Any]:
    """Return the value of the line below, 0 for the last line of a page."""
    return np.where(np.concatenate([same_above[1:], [False]])[: len(x)], _after(x), 0)


def _carried(x: NDArray[Any], seen: Bools, owner: Ints) -> NDArray[Any]:
    """Return rows in which an unseen one is that of the unit before, or else after, in its context, or else zero."""
    count = len(seen)
    if seen.all():
        return x
    last = np.maximum.accumulate(np.where(seen, np.arange(count), -1))
    following = np.minimum.accumulate(np.where(seen, np.arange(count), count)[::-1])[::-1]
    padded = np.concatenate([x, np.zeros_like(x[:1])])  # the last row, which is also row -1, belongs to no unit
    owners = np.concatenate([owner, [-1]])
    source = np.where(owners[last] == owner, last, np.where(owners[following] == owner, following, count))
    carried: NDArray[Any] = padded[source]
    return carried


def _breaks(boxes: Floats, sheet: Ints, row: Ints) -> Bools:
    """Return which units begin a line."""
    left, top, _, bottom = boxes.T
    height = np.minimum(bottom - top, _before(bottom - top))
    overlap = np.minimum(bottom, _before(bottom)) - np.maximum(top, _before(top))
    moved = (height > 0) & ((overlap < 0.3 * height) | (left < _before(left) - 2 * height))
    known = (row >= 0) & (_before(row) >= 0)
    begins: Bools = _is_first(sheet) | np.where(known, row != _before(row), moved)
    return begins


def _jumps(boxes: Floats, unit: Floats, starts_line: Bools, starts_sheet: Bools) -> Ints:
    """Return how the reading position moves to a unit from the one before.

    0 from nowhere, 1 touching, 2 over a space, 3 over a wide space, 4 to the next line, 5 down over blank lines,
    6 up (to another column), 7 far aside.
    """
    left, top, right, bottom = boxes.T
    gap = (left - _before(right)) / unit
    down = (top - _before(bottom)) / unit
    aside = left > _before(right) + 2 * unit
    inside = np.select([gap < 0.08, gap < 0.9], [1, 2], 3)
    across = np.select([down < -1.5, aside, down < 1.2], [6, 7, 4], 5)
    return np.where(starts_sheet, 0, np.where(starts_line, across, inside)).astype(np.int64)


def _median_by(x: NDArray[Any], groups: Ints) -> NDArray[Any]:
    """Return for each element the lower median of its group, groups being runs; NaN is left out, 1 if all are NaN."""
    if not len(x):
        return x
    order = np.lexsort((x, groups))  # NaN goes last
    _, starts, counts = np.unique(groups, return_index=True, return_counts=True)
    known = np.add.reduceat((~np.isnan(x)).astype(np.int64), starts)
    medians = x[order[starts + np.maximum(known - 1, 0) // 2]]
    return np.repeat(np.where(np.isnan(medians), 1.0, medians), counts)


def _share_by(codes: NDArray[np.uint64], groups: Ints) -> Floats:
    """Return for each element how large a share of its group has the same code."""
    _, code = np.unique(codes, return_inverse=True)
    _, pair, counts = np.unique(groups * (len(codes) + 1) + code.reshape(-1), return_inverse=True, return_counts=True)
    return np.asarray(counts[pair.reshape(-1)] / np.bincount(groups)[groups], np.float32)


def _grid(x: Floats) -> Ints:
    return np.clip((x * _GRID).astype(np.int64), 0, _GRID)
