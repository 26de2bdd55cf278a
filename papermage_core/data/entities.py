"""Spans of units → `Entity`, ready for ``annotate_layer``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papermage_core.document import Entity, Layer, Metadata
from papermage_core.document.merging import merged_places
from papermage_core.document.queries import ranges
from papermage_core.plugin.spec import UnitSpan

__all__ = ["merged_entities", "merged_entity"]


def merged_entity(span: UnitSpan, units: Layer, score: float | None) -> Entity:
    """Return the entity that covers a span of document units (see `merged_entities`)."""
    (entity,) = merged_entities([span], units, [score])
    return entity


def merged_entities(
    spans: Sequence[UnitSpan],
    units: Layer,
    scores: Sequence[float | None],
    order: NDArray[np.int64] | None = None,
) -> list[Entity]:
    """Return the entities that cover spans of document units, with the units' spans and boxes joined where they follow.

    ``order`` is the index in the layer of each unit, where the spans count units in another order, shape (units,).
    What ends a span or a box says `papermage_core.document.merging.merged_places`. The entities know their document.
    """
    segments = [(i, start, stop) for i, span in enumerate(spans) for start, stop in span.segments]
    owner, first, stop = np.array(segments, np.int64).reshape(-1, 3).T
    unit, segment = ranges(first, stop - first)
    unit = unit if order is None else order[unit]
    places = merged_places(units, owner[segment], unit, len(spans)).lists()
    return [
        Entity.found_in(units.doc, of_spans, boxes, Metadata(label=span.label, score=score))
        for span, score, (of_spans, boxes) in zip(spans, scores, places, strict=True)
    ]
