"""Small charts as inline SVG: no script, no font, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_chart", "reliability_diagram"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by those who are colour-blind, too (Okabe and Ito 2008)."""
_SHAPES = (
    "M-2.8 0a2.8 2.8 0 1 0 5.6 0a2.8 2.8 0 1 0-5.6 0z",
    "M-2.5-2.5h5v5h-5z",
    "M0-3.4l3.2 5.6h-6.4z",
    "M0-3.6l3 3.6l-3 3.6l-3-3.6z",
)
"""Of the points of each line: circle, square, triangle, diamond."""
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_LEFT, _TOP, _RIGHT, _BOTTOM = 62, 12, 12, 40
_LINE = 16

Point = tuple[float, float]


def line_chart(
    title: str,
    series: Mapping[str, Sequence[Point]],
    *,
    x_name: str = "",
    y_name: str = "",
    width: int = 460,
    height: int = 240,
    joined: bool = True,
) -> str:
    """Return a chart of named lines, or points alone; a value that is not finite leaves a gap. Empty for no points."""
    points = [point for line in series.values() for point in line if _finite(point)]
    if not points:
        return ""
    frame = _Frame(points, width, height)
    lines = [_line(i, frame, line, joined) for i, line in enumerate(series.values())]
    return _svg(title, series, frame, frame.axes(x_name, y_name) + "".join(lines))


def reliability_diagram(
    title: str, series: Mapping[str, Sequence[Point]], *, x_name: str = "", y_name: str = "", size: int = 300
) -> str:
    """Return share correct over score, both from 0 to 1, with the diagonal of perfect calibration."""
    frame = _Frame([(0.0, 0.0), (1.0, 1.0)], size, size)
    diagonal = f'<path stroke="#888" stroke-dasharray="4 4" d="{frame.steps([(0.0, 0.0), (1.0, 1.0)])}"/>'
    lines = [_line(i, frame, line, True) for i, line in enumerate(series.values())]
    return _svg(title, series, frame, frame.axes(x_name, y_name) + diagonal + "".join(lines))


class _Frame:
    """The mapping of values to places in the picture."""

    def __init__(self, points: Sequence[Point], width: int, height: int) -> None:
        self.x_ticks = _ticks(min(x for x, _ in points), max(x for x, _ in points))
        self.y_ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
        self.width, self.height = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
        self.whole = (width, height)

    def x(self, value: float) -> float:
        first, last = self.x_ticks[0], self.x_ticks[-1]
        return round(_LEFT + self.width * (value - first) / (last - first), 1)

    def y(self, value: float) -> float:
        first, last = self.y_ticks[0], self.y_ticks[-1]
        return round(_TOP + self.height * (1 - (value - first) / (last - first)), 1)

    def steps(self, line: Sequence[Point]) -> str:
        """Return the path of a line, broken where a value is not finite."""
        steps, pen_up = [], True
        for point in line:
            if _finite(point):
                steps.append(f"{'M' if pen_up else 'L'}{self.x(point[0])} {self.y(point[1])}")
            pen_up = not _finite(point)
        return " ".join(steps)

    def axes(self, x_name: str, y_name: str) -> str:
        left, right, bottom, height = _LEFT, _LEFT + self.width, _TOP + self.height, self.whole[1]
        rows = "".join(
            f'<path class="grid" stroke="#bbb" stroke-width=".6" d="M{left} {self.y(tick)}H{right}"/>'
            f'<text x="{left - 6}" y="{self.y(tick) + 4}" text-anchor="end">{_number(tick)}</text>'
            for tick in self.y_ticks
        )
        columns = "".join(
            f'<text x="{self.x(tick)}" y="{bottom + 15}" text-anchor="middle">{_number(tick)}</text>'
            for tick in self.x_ticks
        )
        middle = _TOP + self.height / 2
        return (
            f'{rows}{columns}<text x="{left + self.width / 2}" y="{height - 6}" text-anchor="middle">{escape(x_name)}'
            f'</text><text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
            f"{escape(y_name)}</text>"
        )


def _line(number: int, frame: _Frame, line: Sequence[Point], joined: bool) -> str:
    colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
    drawn = f'<path fill="none" stroke-width="2" stroke-dasharray="{dash}" d="{frame.steps(line)}"/>' if joined else ""
    points = "".join(
        _point(number, frame.x(x), frame.y(y), f"{_number(x)}: {_number(y)}") for x, y in filter(_finite, line)
    )
    return f'<g class="series{number % len(_COLOURS)}" stroke="{colour}" fill="{colour}">{drawn}{points}</g>'


def _point(number: int, x: float, y: float, title: str) -> str:
    """Return the mark of a point: each line has a shape of its own."""
    told = f"<title>{title}</title>"
    if number % len(_SHAPES) == 0:
        return f'<circle cx="{x}" cy="{y}" r="2.8">{told}</circle>'
    return f'<path stroke="none" d="{_SHAPES[number % len(_SHAPES)]}" transform="translate({x} {y})">{told}</path>'


_LEAST = 1e-200
"""Below it a number is drawn as zero: the logarithm of a fraction of it may be none."""


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers, evenly spaced, from below ``low`` to above ``high``."""
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _LEAST):  # a flat line gets a scale as well
        room = 0.1 * abs(low) if abs(low) > _LEAST else 0.5
        low, high = low - room, high + room
    span = high - low
    magnitude = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if span <= m * magnitude * count)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [step * i for i in range(first, last + 1)]


def _finite(point: Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _number(value: float) -> str:
    return f"{value:.4g}"


def _svg(title: str, series: Mapping[str, Sequence[Point]], frame: _Frame, body: str) -> str:
    width, height = frame.whole
    legend = "".join(_legend(i, name, height + _LINE * i + 6) for i, name in enumerate(series))
    below = _LINE * len(series) + 4
    told = "; ".join(filter(None, (_told(name, line) for name, line in series.items())))
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {width} {height + below}" width="{width}" '
        f'height="{height + below}" font-size="11" fill="currentColor" role="img" '
        f'aria-label="{escape(f"{title}. {told}")}">{body}{legend}</svg></figure>'
    )


def _legend(number: int, name: str, y: int) -> str:
    colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
    return (
        f'<g class="series{number % len(_COLOURS)}" stroke="{colour}" fill="{colour}">'
        f'<line stroke-width="2" stroke-dasharray="{dash}" x1="{_LEFT}" y1="{y}" x2="{_LEFT + 26}" y2="{y}"/>'
        f'<path stroke="none" d="{_SHAPES[number % len(_SHAPES)]}" transform="translate({_LEFT + 13} {y})"/></g>'
        f'<text x="{_LEFT + 34}" y="{y + 4}">{escape(name)}</text>'
    )


def _told(name: str, line: Sequence[Point]) -> str:
    """Return a line in words, for those who do not see it."""
    values = [y for x, y in line if _finite((x, y))]
    if not values:
        return ""
    first, last, least, most = map(_number, (values[0], values[-1], min(values), max(values)))
    return f"{name}: {first} at first, {last} at last, from {least} to {most}"
