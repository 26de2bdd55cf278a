"""Predictions in units → `Entity`, ready for ``annotate_layer``."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from papermage_core.data.entities import merged_entities, merged_entity
from papermage_core.document import Entity

__all__ = ["best_tags", "merged_entities", "merged_entity", "unit_entity"]


def unit_entity(unit: Entity, tag: str, score: float) -> Entity:
    """Return an entity in the place of a unit, with the unit's metadata and its tag. It knows the unit's document."""
    metadata = deepcopy(unit.metadata)
    metadata.label, metadata.score = tag, score
    doc = None if unit.layer is None else unit.layer.doc
    return Entity.found_in(doc, deepcopy(unit.spans), deepcopy(unit.boxes), metadata)


def best_tags(tags: Sequence[str], scores: Sequence[float]) -> tuple[str, float]:
    """Return the tag that counts where several heads speak of one unit: the surest that is not ``O``, else ``O``."""
    said = [(score, tag) for tag, score in zip(tags, scores, strict=True) if tag != "O"]
    if said:
        score, tag = max(said)
        return tag, score
    return "O", min(scores)
