"""Small charts as inline SVG: no script, no font, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_chart", "reliability_diagram"]

_COLOURS = ("#2563a8", "#c2571a", "#2d8a4e", "#8a3fa0", "#a8323e", "#5b6470")
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 12, 10, 34

Point = tuple[float, float]


def line_chart(
    title: str, series: Mapping[str, Sequence[Point]], *, width: int = 460, height: int = 220, joined: bool = True
) -> str:
    """Return a chart of named lines, or points alone; a value that is not finite leaves a gap. Empty for no points."""
    points = [point for line in series.values() for point in line if _finite(point)]
    if not points:
        return ""
    frame = _Frame(points, width, height)
    lines = [
        f'<g stroke="{colour}" fill="{colour}">{frame.path(line) if joined else ""}{frame.dots(line)}</g>'
        for line, colour in zip(series.values(), _cycled(len(series)), strict=True)
    ]
    return _svg(title, width, height, frame.axes() + "".join(lines) + _legend(list(series), height))


def reliability_diagram(title: str, series: Mapping[str, Sequence[Point]], *, size: int = 280) -> str:
    """Return share correct over score, both from 0 to 1, with the diagonal of perfect calibration."""
    frame = _Frame([(0.0, 0.0), (1.0, 1.0)], size, size)
    diagonal = f'<g stroke="#aaa" stroke-dasharray="4 4" fill="none">{frame.path([(0.0, 0.0), (1.0, 1.0)])}</g>'
    lines = [
        f'<g stroke="{colour}" fill="{colour}">{frame.path(line)}{frame.dots(line)}</g>'
        for line, colour in zip(series.values(), _cycled(len(series)), strict=True)
    ]
    return _svg(title, size, size, frame.axes() + diagonal + "".join(lines) + _legend(list(series), size))


class _Frame:
    """The mapping of values to places in the picture."""

    def __init__(self, points: Sequence[Point], width: int, height: int) -> None:
        self.x_ticks = _ticks(min(x for x, _ in points), max(x for x, _ in points))
        self.y_ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
        self.width, self.height = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def x(self, value: float) -> float:
        first, last = self.x_ticks[0], self.x_ticks[-1]
        return round(_LEFT + self.width * (value - first) / (last - first), 1)

    def y(self, value: float) -> float:
        first, last = self.y_ticks[0], self.y_ticks[-1]
        return round(_TOP + self.height * (1 - (value - first) / (last - first)), 1)

    def path(self, line: Sequence[Point]) -> str:
        steps, pen_up = [], True
        for point in line:
            if _finite(point):
                steps.append(f"{'M' if pen_up else 'L'}{self.x(point[0])} {self.y(point[1])}")
            pen_up = not _finite(point)
        return f'<path fill="none" stroke-width="2" d="{" ".join(steps)}"/>'

    def dots(self, line: Sequence[Point]) -> str:
        return "".join(
            f'<circle cx="{self.x(x)}" cy="{self.y(y)}" r="2.5"><title>{_number(x)}: {_number(y)}</title></circle>'
            for x, y in filter(_finite, line)
        )

    def axes(self) -> str:
        left, right, bottom = _LEFT, _LEFT + self.width, _TOP + self.height
        rows = "".join(
            f'<path stroke="#ddd" d="M{left} {self.y(tick)}H{right}"/>'
            f'<text x="{left - 6}" y="{self.y(tick) + 4}" text-anchor="end">{_number(tick)}</text>'
            for tick in self.y_ticks
        )
        columns = "".join(
            f'<text x="{self.x(tick)}" y="{bottom + 15}" text-anchor="middle">{_number(tick)}</text>'
            for tick in self.x_ticks
        )
        return rows + columns


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers, evenly spaced, from below ``low`` to above ``high``."""
    span = max(high - low, 1e-6 * abs(low), 1e-6 * abs(high), 1e-9)  # a flat line gets a scale as well
    magnitude = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if span <= m * magnitude * count)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [step * i for i in range(first, last + 1)]


def _finite(point: Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _number(value: float) -> str:
    return f"{value:.4g}"


def _cycled(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _legend(names: Sequence[str], height: int) -> str:
    parts, x = [], _LEFT
    for name, colour in zip(names, _cycled(len(names)), strict=True):
        parts.append(f'<text x="{x}" y="{height - 4}" fill="{colour}">● {escape(name)}</text>')
        x += 26 + 7 * len(name)
    return "".join(parts)


def _svg(title: str, width: int, height: int, body: str) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(title)}">{body}</svg></figure>'
    )
