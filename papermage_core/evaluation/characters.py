"""Entities in units, found again in other units of the same text."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.units import ParsedDocument
from papermage_core.plugin.spec import UnitSpan

__all__ = ["UnitsByCharacter", "in_characters"]


@attrs.frozen(eq=False)
class UnitsByCharacter:
    """The units of a document that have a place in its text, by their first character."""

    units: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    reached: NDArray[np.int64]
    """The largest of the stops up to each."""

    @classmethod
    def of(cls, parsed: ParsedDocument) -> UnitsByCharacter:
        """Return those of a document."""
        placed = np.flatnonzero(parsed.starts < parsed.stops)
        units = placed[np.argsort(parsed.starts[placed], kind="stable")]
        stops = parsed.stops[units]
        return cls(units, parsed.starts[units], stops, np.maximum.accumulate(stops))

    def touched(self, segments: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], bool]:
        """Return the units that share a character with segments of the text, and whether an end is within a unit."""
        found: list[tuple[int, int]] = []
        is_cut = False
        for start, stop in segments:
            near = slice(np.searchsorted(self.reached, start, "right"), np.searchsorted(self.starts, stop))
            shares = self.stops[near] > start
            units, starts, stops = (each[near][shares] for each in (self.units, self.starts, self.stops))
            is_cut = is_cut or bool((starts < start).any() or (stops > stop).any())
            found += ((unit, unit + 1) for unit in units.tolist())
        return found, is_cut


def in_characters(span: UnitSpan, parsed: ParsedDocument) -> list[tuple[int, int]]:
    """Return the segments of the text that an entity's units cover, those without a place left out."""
    if parsed.order is None:
        found = [(int(parsed.starts[start]), int(parsed.stops[stop - 1])) for start, stop in span.segments]
        if all(0 <= start < stop for start, stop in found):
            return found
    units = list(span.units)
    places = zip(parsed.starts[units].tolist(), parsed.stops[units].tolist(), strict=True)
    return [(start, stop) for start, stop in places if start < stop]
