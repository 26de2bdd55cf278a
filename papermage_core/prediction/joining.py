"""Entities that a page or a footnote cuts apart, put together again."""

from __future__ import annotations

from collections.abc import Sequence

from papermage_core.document import Document, Entity, Metadata

__all__ = ["joined"]


def joined(document: Document, entities: Sequence[Entity], between: Sequence[Entity]) -> list[Entity]:
    """Return entities with neighbours of one label as one, with all their spans and boxes and the least of the scores.

    Neighbours have only white space between them, and text that entities in ``between`` cover.
    """
    symbols = document.symbols or ""
    covered = bytearray(len(symbols))
    for each in between:
        for span in each.spans:
            covered[span.start : span.end] = b"\1" * (span.end - span.start)
    found: list[Entity] = []
    for entity in sorted(entities, key=lambda each: each.start):
        last = found[-1] if found else None
        if last is None or not _follows(last, entity, symbols, covered):
            found.append(entity)
            continue
        scores = [each.score for each in (last, entity) if each.metadata.get("score", None) is not None]
        metadata = last.metadata.to_json() | ({"score": min(scores)} if scores else {})
        spans, boxes = [*last.spans, *entity.spans], [*last.boxes, *entity.boxes]
        found[-1] = Entity.found_in(document, spans, boxes, Metadata.from_json(metadata))
    return found


def _follows(one: Entity, other: Entity, symbols: str, covered: bytearray) -> bool:
    if one.metadata.get("label", None) != other.metadata.get("label", None) or not (one.spans and other.spans):
        return False
    start, stop = int(one.end), int(other.start)
    return all(covered[place] or symbols[place].isspace() for place in range(start, stop))
