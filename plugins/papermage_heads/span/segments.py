"""Questions about entities as spans, without torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

from papermage_core.plugin import UnitSpan

__all__ = ["Overlap", "clash", "gaps", "widest_overlap"]


Overlap = Literal["any", "labels", "nested", "none"]
"""Which entities may share units: any; those of different labels, and where one is discontinuous; where one holds the
other; none."""
_SELDOM = 0.02


def gaps(span: UnitSpan) -> list[int]:
    """Return the number of units between neighbouring segments.

    >>> gaps(UnitSpan("Cell", ((0, 1), (4, 6))))
    [3]
    """
    return [right[0] - left[1] for left, right in itertools.pairwise(span.segments)]


def clash(first: UnitSpan, second: UnitSpan, overlap: Overlap) -> bool:
    """Whether two entities share units in a way that ``overlap`` does not allow.

    >>> inner, outer, across = UnitSpan.of("A", 1, 2), UnitSpan.of("B", 0, 3), UnitSpan.of("A", 2, 5)
    >>> [clash(inner, outer, overlap) for overlap in ("any", "nested", "none")]
    [False, False, True]
    >>> clash(outer, across, "nested"), clash(outer, across, "labels"), clash(inner, across, "labels")
    (True, False, False)
    >>> clash(inner, UnitSpan.of("A", 0, 2), "labels")
    True
    """
    if overlap == "any":
        return False
    if overlap == "labels" and (first.label != second.label or first.is_discontinuous or second.is_discontinuous):
        return False
    units, others = set(first.units), set(second.units)
    shared = units & others
    if overlap in ("none", "labels"):
        return bool(shared)
    return bool(shared) and shared not in (units, others)


def widest_overlap(contexts: Iterable[Sequence[UnitSpan]]) -> Overlap:
    """Return the least that must be allowed for the entities of these contexts.

    Where entities of one label share units seldom, once in 50 entities, this counts as never: a head that looks out for
    it takes two readings of one entity for two.
    """
    entities = own = shared = crossing = 0
    own_crosses = False
    for spans in contexts:
        entities += len(spans)
        for first, second in _touching(spans):
            if clash(first, second, "labels"):
                own += 1
                own_crosses |= clash(first, second, "nested")
            else:
                shared += clash(first, second, "none")
                crossing += clash(first, second, "nested")
    if own <= _SELDOM * entities:
        return "labels" if crossing else "nested" if shared else "none"
    return "any" if crossing or own_crosses else "nested"


def _touching(spans: Sequence[UnitSpan]) -> Iterable[tuple[UnitSpan, UnitSpan]]:
    """Yield the pairs whose outer ends overlap."""
    open_: list[UnitSpan] = []
    for span in sorted(spans):
        open_ = [other for other in open_ if other.stop > span.start]
        for other in open_:
            yield other, span
        open_.append(span)
