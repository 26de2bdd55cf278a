"""magelib's indexers: lists of entities that need not be in a layer, asked by span or by box."""

from __future__ import annotations

import numpy as np

from papermage_core.document.columns import Columns
from papermage_core.document.entity import Entity

__all__ = ["EntityBoxIndexer", "EntitySpanIndexer"]


class EntitySpanIndexer:
    """Entities of which no two spans share a character. Raises ValueError for spans that do."""

    def __init__(self, entities: list[Entity]) -> None:
        self._entities = entities
        self._columns = Columns.of_entities(entities)
        spans = self._columns.spans
        order = np.lexsort((spans.stop, spans.start))
        order = order[spans.stop[order] > spans.start[order]]
        overlaps = np.flatnonzero(spans.start[order][1:] < spans.stop[order][:-1])
        if len(overlaps):
            _refuse(entities, *spans.entity[order[overlaps[0] : overlaps[0] + 2]].tolist())

    def find(self, query: Entity) -> list[Entity]:
        """Return the entities that share characters with the query, by their number in a layer, else by place."""
        return sorted(self._entities[i] for i in self._columns.meeting_spans(query))


class EntityBoxIndexer:
    """Entities with boxes, which may touch each other unless ``allow_overlap`` is false: then ValueError is raised."""

    def __init__(self, entities: list[Entity], allow_overlap: bool = True) -> None:
        self._entities = entities
        self._columns = Columns.of_entities(entities)
        for i, entity in enumerate(() if allow_overlap else entities):
            for box in entity.boxes:
                touching = self._columns.boxes.entity[self._columns.boxes.touching(box)]
                if len(touching) > 1:
                    _refuse(entities, *{i, *touching.tolist()})

    def find(self, query: Entity) -> list[Entity]:
        """Return, in order, the entities with boxes that touch the query's."""
        return [self._entities[i] for i in self._columns.meeting_boxes(query)]


def _refuse(entities: list[Entity], *numbers: int) -> None:
    places = "; ".join(f"entity {i}: {entities[i].to_json()}" for i in numbers)
    raise ValueError(f"spans or boxes overlap, which an index does not allow: {places}")
