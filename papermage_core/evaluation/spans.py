"""Entities as sets of units: which are the same, and which share a unit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import attrs

from papermage_core.plugin.spec import UnitSpan

__all__ = ["distinct", "fragments_of", "overlap", "pairs_sharing_units", "units_of"]


def fragments_of(span: UnitSpan) -> tuple[tuple[int, int], ...]:
    """Return the stretches that a span is made of, half-open; a continuous span is one.

    >>> fragments_of(UnitSpan(2, 5, "x"))
    ((2, 5),)
    """
    return span.fragments or ((span.start, span.stop),)


def units_of(span: UnitSpan) -> Iterator[int]:
    """Yield the units that belong to a span, in order; those between its fragments do not.

    >>> list(units_of(UnitSpan(1, 6, "x", fragments=((1, 3), (5, 6)))))
    [1, 2, 5]
    """
    for start, stop in fragments_of(span):
        yield from range(start, stop)


def overlap(one: UnitSpan, other: UnitSpan) -> int:
    """Return how many units two spans share."""
    return sum(
        max(0, min(stop, other_stop) - max(start, other_start))
        for start, stop in fragments_of(one)
        for other_start, other_stop in fragments_of(other)
    )


def distinct(spans: Iterable[UnitSpan]) -> set[UnitSpan]:
    """Return the spans as a set, each in the one spelling that equality needs.

    Fragments that touch are joined, and a span of one fragment has none.
    """
    return {_plain(span) if span.fragments else span for span in spans}


def _plain(span: UnitSpan) -> UnitSpan:
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(span.fragments):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    fragments = tuple(joined) if len(joined) > 1 else ()
    return attrs.evolve(span, start=joined[0][0], stop=joined[-1][1], fragments=fragments)


def pairs_sharing_units(left: Iterable[UnitSpan], right: Iterable[UnitSpan]) -> Iterator[tuple[UnitSpan, UnitSpan]]:
    """Yield the pairs, one of each side, that have a unit in common; by start, then stop, of the first.

    Costs a sort and the pairs within reach: spans of ordinary length are compared with their neighbours only.
    """
    others = sorted(right, key=_place)
    starts = [span.start for span in others]
    reach = max((span.stop - span.start for span in others), default=0)
    for span in sorted(left, key=_place):
        for other in others[bisect_left(starts, span.start - reach) : bisect_left(starts, span.stop)]:
            if overlap(span, other):
                yield span, other


def _place(span: UnitSpan) -> tuple[int, int, str, tuple[tuple[int, int], ...]]:
    return span.start, span.stop, span.label, span.fragments
