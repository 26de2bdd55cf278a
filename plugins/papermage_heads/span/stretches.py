"""Questions about entities as spans, without torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

from papermage_core.plugin import UnitSpan

__all__ = ["clash", "gaps", "stretches", "widest_overlap"]


def stretches(span: UnitSpan) -> tuple[tuple[int, int], ...]:
    """Return the contiguous parts of an entity, half-open.

    >>> stretches(UnitSpan(2, 4, "Cell"))
    ((2, 4),)
    """
    return span.fragments or ((span.start, span.stop),)


def gaps(span: UnitSpan) -> list[int]:
    """Return the number of units between neighbouring parts.

    >>> gaps(UnitSpan(0, 6, "Cell", ((0, 1), (4, 6))))
    [3]
    """
    return [right[0] - left[1] for left, right in itertools.pairwise(stretches(span))]


def clash(first: UnitSpan, second: UnitSpan, overlap: Literal["any", "nested", "none"]) -> bool:
    """Whether two entities share units in a way that ``overlap`` does not allow.

    >>> inner, outer, across = UnitSpan(1, 2, "A"), UnitSpan(0, 3, "B"), UnitSpan(2, 5, "A")
    >>> [clash(inner, outer, overlap) for overlap in ("any", "nested", "none")]
    [False, False, True]
    >>> clash(outer, across, "nested")
    True
    """
    if overlap == "any":
        return False
    units, others = _units(first), _units(second)
    shared = units & others
    if overlap == "none":
        return bool(shared)
    return bool(shared) and shared not in (units, others)


def widest_overlap(contexts: Iterable[Sequence[UnitSpan]]) -> Literal["any", "nested", "none"]:
    """Return the least that must be allowed for the entities of these contexts."""
    widest: Literal["nested", "none"] = "none"
    for spans in contexts:
        for first, second in _touching(spans):
            if clash(first, second, "nested"):
                return "any"
            if clash(first, second, "none"):
                widest = "nested"
    return widest


def _touching(spans: Sequence[UnitSpan]) -> Iterable[tuple[UnitSpan, UnitSpan]]:
    """Yield the pairs whose outer ends overlap."""
    open_: list[UnitSpan] = []
    for span in sorted(spans, key=lambda span: (span.start, span.stop)):
        open_ = [other for other in open_ if other.stop > span.start]
        for other in open_:
            yield other, span
        open_.append(span)


def _units(span: UnitSpan) -> frozenset[int]:
    return frozenset(unit for start, stop in stretches(span) for unit in range(start, stop))
