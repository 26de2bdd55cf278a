"""On which page of a document something fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from papermage_core.document import Document, Entity, Metadata, Span
from papermage_core.errors import DataError

__all__ = ["failing_page"]


def failing_page(run: Callable[[Sequence[Document]], Any], document: Document, error: Exception) -> int | None:
    """Return the page, from 0, of what an error names, else the first that fails in the same way alone; or None."""
    if not document.has_layer("pages"):
        return None
    if isinstance(error, DataError) and (entity := _named(error, document)) is not None:
        pages = [int(box.page) for box in entity.boxes]
        pages += [_number(page) for page in entity.intersect_by_span("pages")] if entity.spans else []
        return pages[0] if pages else None
    if len(document.get_layer("pages")) == 1:
        return _number(document.get_layer("pages")[0])
    for number, page in _alone(document):
        try:
            run([page])
        except type(error):
            return number
        except Exception:  # another fault, of a page without the others
            continue
    return None


def _named(error: DataError, document: Document) -> Entity | None:
    """Return the entity that an error names."""
    if error.layer is None or error.entity is None or not document.has_layer(error.layer):
        return None
    layer = document.get_layer(error.layer)
    return layer[error.entity] if 0 <= error.entity < len(layer) else None


def _alone(document: Document) -> Iterator[tuple[int, Document]]:
    """Yield the pages that have text as documents of their own, with what of each layer lies in them."""
    for page in document.get_layer("pages"):
        if not page.spans or page.start >= page.end:
            continue
        start, stop = int(page.start), int(page.end)
        alone = Document((document.symbols or "")[start:stop] or " ", metadata=Metadata(doc_id=document.id))
        for name in document.layer_names:
            inside = []
            for entity in document.get_layer(name).intersect_by_span(Entity(spans=[Span(start, stop)])):
                spans = [Span(max(s.start, start) - start, min(s.end, stop) - start) for s in entity.spans]
                spans = [span for span in spans if span.start < span.end]
                metadata = Metadata.from_json(entity.metadata.to_json())
                if spans:
                    inside.append(Entity(spans=spans, boxes=list(entity.boxes), metadata=metadata))
            alone.annotate_layer(name, inside)
        yield _number(page), alone


def _number(page: Entity) -> int:
    """Return the number of a page, from 0: that of its box; where pages were left out, its place is another."""
    return int(page.boxes[0].page) if page.boxes else page.id or 0
