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

__all__ = ["LAYOUT_ROWS", "LAYOUT_VALUES", "Layout", "LayoutFacts"]

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
_BLOCK = 8192  # units whose features are made at a time, in arrays that stay in the processor's cache
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
_FIRSTS = np.cumsum([0, *_SIZES.values()]).tolist()
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


@attrs.frozen(eq=False, kw_only=True)
class LayoutFacts:
    """What must be known of n units, on L lines and S sheets, before the features of some can be told.

    A sheet is a page of a context. Some 50 bytes a unit, where its features and what they are made of take hundreds.
    """

    boxes: Floats
    """The box of each unit, or of a neighbour if it has none. Shape (n, 4)."""
    seen: Bools
    """Whether a unit has a box. Shape (n,)."""
    first: Bools
    """Whether a unit begins a context. Shape (n,)."""
    sheet: NDArray[np.int32]
    line: NDArray[np.int32]
    """The sheet and the line of each unit. Shapes (n,)."""
    starts: Ints
    """The first unit of each line, and n. Shape (L + 1,)."""
    place: NDArray[np.int32]
    """How many lines of its context are before each line. Shape (L,)."""
    line_rows: dict[str, Ints]
    """Features of lines by name. Shapes (L,)."""
    line_values: Floats
    """Distances around lines, as they stand in `Layout.values`. Shape (5, L)."""
    line_bottom: Floats
    """Shape (L,)."""
    unit: Floats
    """What distances are measured in: the usual height of units on each sheet. Shape (S,)."""
    usual_size: NDArray[np.float64]
    """The usual size of letters on each sheet. Shape (S,)."""
    fonts: _Fonts
    font: NDArray[np.int32]
    """Which of these fonts each unit has. Shape (n,)."""
    size: NDArray[np.float64]
    """The size of each unit's letters, NaN for unknown. Shape (n,)."""
    share: NDArray[np.uint16]
    """How many eighths of its sheet have the font of the unit. Shape (n,)."""

    @classmethod
    def of(cls, contexts: Sequence[Context], lengths: Ints) -> LayoutFacts:
        """Return what is known of all units of the contexts, one context after the other."""
        owner = np.repeat(np.arange(len(lengths)), lengths)
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(_boxes(context) for context in contexts)])
        pages = np.concatenate([np.zeros(0, np.int32), *(_pages(context) for context in contexts)])
        row = np.concatenate([np.zeros(0, np.int32), *(_rows(context) for context in contexts)])
        seen = ~np.isnan(boxes).any(1)
        boxes = _carried(np.clip(boxes, -1, 2), seen, owner)
        first = _is_first(owner)
        sheet = np.cumsum(first | _is_first(_carried(pages[:, None], pages >= 0, owner)[:, 0]), dtype=np.int32) - 1
        starts_line = first | _breaks(boxes, sheet, row)
        starts = np.flatnonzero(starts_line)
        line = np.cumsum(starts_line, dtype=np.int32) - 1
        unit = np.maximum(_medians(np.maximum(boxes[:, 3] - boxes[:, 1], 1e-4), sheet), 1e-4)
        lines = _Lines.of(boxes, starts)
        line_rows, line_values = _of_lines(lines, sheet[starts], unit)
        fonts, font = _fonts(contexts)
        size = _sizes(_values(contexts, ("size",)))
        of_context = np.cumsum(first[starts]) - 1
        return cls(
            boxes=boxes,
            seen=seen,
            first=first,
            sheet=sheet,
            line=line,
            starts=np.append(starts, len(seen)),
            place=(np.arange(len(starts)) - np.flatnonzero(first[starts])[of_context]).astype(np.int32),
            line_rows=line_rows,
            line_values=line_values,
            line_bottom=lines.bottom,
            unit=unit,
            usual_size=_medians(size, sheet),
            fonts=fonts,
            font=font,
            size=size,
            share=np.minimum((_share_by(fonts.code[font], sheet) * 8).astype(np.uint16), 7),
        )

    def take(self, start: int, stop: int) -> Layout:
        """Return the features of units ``start`` to ``stop``."""
        rows = np.empty((stop - start, len(_SIZES)), np.uint16)
        values = np.empty((stop - start, LAYOUT_VALUES), np.float16)
        for a in range(start, stop, _BLOCK):
            b = min(a + _BLOCK, stop)
            self._fill(a, b, rows[a - start : b - start], values[a - start : b - start])
        return Layout(rows, values, self.place[self.line[start:stop]])

    def _fill(self, start: int, stop: int, rows: NDArray[np.uint16], values: NDArray[np.float16]) -> None:
        """Write the features of units ``start`` to ``stop``."""
        low, high = max(start - 1, 0), min(stop + 1, len(self.seen))  # with their neighbours, which are left out again
        own = slice(start - low, stop - low)
        left, top, right, bottom = np.ascontiguousarray(self.boxes[low:high].T)
        sheet, line = self.sheet[low:high], self.line[low:high]
        first, seen, unit = self.first[low:high], self.seen[low:high], self.unit[sheet]
        starts_sheet = _is_first(sheet)
        ends_sheet = np.append(starts_sheet[1:], True)
        height = np.maximum(bottom - top, 1e-4)
        gap = np.where(starts_sheet, 0, (left - _before(right)) / unit)
        next_gap = np.where(ends_sheet, 0, (_after(left) - right) / unit)
        move = np.where(starts_sheet, 0, top - _before(top))
        drop = move / np.maximum(height, _before(height))
        jump = _jumps((left, top, right, bottom), unit, _is_first(line), starts_sheet)
        number = np.arange(low, high)

        font, given = self.font[low:high], self.size[low:high]
        has_size = ~np.isnan(given)
        size = np.where(has_size, given, height)
        size_ratio = size / np.maximum(np.where(has_size, self.usual_size[sheet], unit), 1e-4)
        code = self.fonts.code[font]
        same_font = (code == _before(code)) & ~first
        same_size = (np.abs(size - _before(size)) < 0.02 * size) & ~first

        columns = {
            "left": _grid(left),
            "top": _grid(top),
            "right": _grid(right),
            "height": _bucket(_RATIOS, height / unit),
            "size": _bucket(_RATIOS, size_ratio),
            "gap": _bucket(_STEPS, gap),
            "next gap": _bucket(_STEPS, next_gap),
            "move": _bucket(_MOVES, move),
            "drop": _bucket(_DROPS, drop),
            "next drop": _bucket(_DROPS, np.where(ends_sheet, 0, _after(drop))),
            "jump": jump,
            "next jump": np.where(ends_sheet, 0, _after(jump)),
            **{name: of_lines[line] for name, of_lines in self.line_rows.items()},
            "from line start": log_bucket(number - self.starts[line], 10),
            "from line end": log_bucket(self.starts[line + 1] - 1 - number, 10),
            "style": self.fonts.style[font],
            "font change": same_font * 2 + same_size,
            "font share": self.share[low:high],
            "font": self.fonts.bucket[font],
        }
        numbers = [
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
            *self.line_values[:, line],
            (bottom - self.line_bottom[line]) / unit,
            seen.astype(np.float32),
        ]
        for column, name in enumerate(_SIZES):
            rows[:, column] = columns[name][own] + _FIRSTS[column]
        for column, each in enumerate(numbers):
            values[:, column] = np.where(seen, np.clip(each, -4, 4), 0)[own]


def _of_lines(lines: _Lines, sheet: NDArray[np.int32], unit: Floats) -> tuple[dict[str, Ints], Floats]:
    """Return the features of lines by name, shapes (L,), and distances, (5, L); ``unit`` is that of each sheet."""
    same_above, unit = ~_is_first(sheet), unit[sheet]
    gap = np.where(same_above, (lines.top - _before(lines.bottom)) / unit, 0)
    indent = np.where(same_above, (lines.left - _before(lines.left)) / unit, 0)
    left = (lines.left - _medians(lines.left, sheet)[sheet]) / unit
    right = (lines.right - _medians(lines.right, sheet)[sheet]) / unit
    count = np.bincount(sheet)
    _, place = runs_of(count)
    next_gap, next_indent = _next_on(gap, same_above), _next_on(indent, same_above)
    rows = {
        "line gap": _bucket(_STEPS, gap),
        "next line gap": _bucket(_STEPS, next_gap),
        "indent": _bucket(_STEPS, indent),
        "next indent": _bucket(_STEPS, next_indent),
        "line left": _bucket(_STEPS, left),
        "line right": _bucket(_STEPS, right),
        "line from top": log_bucket(place, 16),
        "line from bottom": log_bucket(np.repeat(count, count) - 1 - place, 16),
    }
    return rows, np.arcsinh(np.stack([gap, next_gap, indent, left, right])) / 2


@attrs.frozen(eq=False)
class _Lines:
    """The outer box of each line."""

    left: Floats
    top: Floats
    right: Floats
    bottom: Floats

    @classmethod
    def of(cls, boxes: Floats, starts: Ints) -> _Lines:
        if not len(starts):
            return cls(*np.zeros((4, 0), np.float32))
        low, high = np.minimum.reduceat(boxes, starts), np.maximum.reduceat(boxes, starts)
        return cls(low[:, 0], low[:, 1], high[:, 2], high[:, 3])


@attrs.frozen(eq=False)
class _Fonts:
    """Fonts by number. Shapes (fonts,)."""

    code: NDArray[np.int32]
    """Equal for names that differ in the mark of a subset alone."""
    bucket: Ints
    style: Ints


def _fonts(contexts: Sequence[Context]) -> tuple[_Fonts, NDArray[np.int32]]:
    """Return the fonts of the units, from their metadata, and which of them each unit has, shape (n,)."""
    names = [name if isinstance(name, str) else None for name in _values(contexts, ("fontname", "font"))]
    kinds = {name: i for i, name in enumerate(dict.fromkeys(names))}
    plain = [_plain_font(name) for name in kinds]
    hashes = hash_runs(*code_points(plain))
    _, code = np.unique(hashes, return_inverse=True)
    styles = np.fromiter(map(_style, plain), np.int64, len(plain))
    font = np.fromiter(map(kinds.__getitem__, names), np.int32, len(names))
    return _Fonts(code.reshape(-1).astype(np.int32), buckets(hashes, _FONTS, 1), styles), font


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


def _pages(context: Context) -> NDArray[np.int32]:
    return np.zeros(len(context), np.int32) if context.pages is None else context.pages


def _rows(context: Context) -> NDArray[np.int32]:
    rows = context.groups.get("rows")
    return np.full(len(context), -1, np.int32) if rows is None else rows


def _is_first(groups: NDArray[Any]) -> Bools:
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


def _breaks(boxes: Floats, sheet: NDArray[Any], row: NDArray[Any]) -> Bools:
    """Return which units begin a line."""
    left, top, _, bottom = boxes.T
    height = np.minimum(bottom - top, _before(bottom - top))
    overlap = np.minimum(bottom, _before(bottom)) - np.maximum(top, _before(top))
    moved = (height > 0) & ((overlap < 0.3 * height) | (left < _before(left) - 2 * height))
    known = (row >= 0) & (_before(row) >= 0)
    begins: Bools = _is_first(sheet) | np.where(known, row != _before(row), moved)
    return begins


def _jumps(sides: Sequence[Floats], unit: Floats, starts_line: Bools, starts_sheet: Bools) -> Ints:
    """Return how the reading position moves to a unit from the one before.

    0 from nowhere, 1 touching, 2 over a space, 3 over a wide space, 4 to the next line, 5 down over blank lines,
    6 up (to another column), 7 far aside.
    """
    left, top, right, bottom = sides
    gap = (left - _before(right)) / unit
    down = (top - _before(bottom)) / unit
    aside = left > _before(right) + 2 * unit
    inside = np.select([gap < 0.08, gap < 0.9], [1, 2], 3)
    across = np.select([down < -1.5, aside, down < 1.2], [6, 7, 4], 5)
    return np.where(starts_sheet, 0, np.where(starts_line, across, inside)).astype(np.int64)


def _medians(x: NDArray[Any], groups: NDArray[Any]) -> NDArray[Any]:
    """Return the lower median of each group, groups being runs that rise; NaN is left out, 1 if all are NaN."""
    if not len(x):
        return x
    order = np.lexsort((x, groups))  # NaN goes last
    starts = np.flatnonzero(_is_first(groups))
    known = np.add.reduceat((~np.isnan(x)).astype(np.int64), starts)
    medians: NDArray[Any] = x[order[starts + np.maximum(known - 1, 0) // 2]]
    return np.where(np.isnan(medians), 1.0, medians)


def _share_by(codes: NDArray[Any], groups: NDArray[Any]) -> Floats:
    """Return for each element how large a share of its group has the same code; both are numbers from 0 on."""
    pairs = groups.astype(np.int64) * (int(codes.max(initial=0)) + 1) + codes
    if int(pairs.max(initial=0)) > 4 * len(pairs):  # with many fonts on many pages most pairs are none
        pairs = np.unique(pairs, return_inverse=True)[1].reshape(-1)
    return np.asarray(np.bincount(pairs)[pairs] / np.bincount(groups)[groups], np.float32)


def _grid(x: Floats) -> Ints:
    return np.clip((x * _GRID).astype(np.int64), 0, _GRID)


def _bucket(bounds: NDArray[np.float64], x: NDArray[Any]) -> Ints:
    """Return how many of the bounds are below each number."""
    return np.searchsorted(bounds, x)
