"""Which entities share units."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from papermage_core.plugin.spec import UnitSpan

__all__ = ["overlap", "pairs_sharing_units"]


def overlap(one: UnitSpan, other: UnitSpan) -> int:
    """Return how many units two spans share."""
    return sum(
        max(0, min(stop, other_stop) - max(start, other_start))
        for start, stop in one.segments
        for other_start, other_stop in other.segments
    )


def pairs_sharing_units(left: Iterable[UnitSpan], right: Iterable[UnitSpan]) -> Iterator[tuple[UnitSpan, UnitSpan]]:
    """Yield the pairs, one of each side, that have a unit in common; by start, then stop, of the first.

    Costs a sort and the pairs within reach: spans of ordinary length are compared with their neighbours only.
    """
    others = sorted(right)
    starts = [span.start for span in others]
    reach = max((span.stop - span.start for span in others), default=0)
    for span in sorted(left):
        for other in others[bisect_left(starts, span.start - reach) : bisect_left(starts, span.stop)]:
            if overlap(span, other):
                yield span, other
