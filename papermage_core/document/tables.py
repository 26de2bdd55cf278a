"""Entities as the rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from papermage_core.document.document import Document
from papermage_core.document.entity import Entity
from papermage_core.document.names import PagesFieldName, TokensFieldName
from papermage_core.errors import nearest

__all__ = ["ROW_COLUMNS", "entity_rows", "to_rows"]

ROW_COLUMNS = ("document", "page", "label", "text", "start", "end", "score", "box", "layer")
"""The keys of a row, in order."""


def to_rows(documents: Document | Iterable[Document], layer: str | Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each entity of a layer, or of several, as ``pandas.DataFrame`` takes them.

    A row has document (its id, or its number from 1), page (from 0), label (the metadata's, or the layer's name), text,
    start, end, score, box (left, top, width, height in shares of the page) and layer; None where there is none. What a
    discontinuous entity has several of stands with semicolons between: ``"0;9"``. A document without the layer gives
    no rows. Raises ValueError if no document has it, TypeError for what is no document.

    >>> to_rows(Document.from_text("BRCA1 mutations", "a", {"gene": [(0, 5)]}), "gene")[0]["text"]
    'BRCA1'
    """
    layers = [layer] if isinstance(layer, str) else list(layer)
    rows: list[dict[str, Any]] = []
    met: set[str] = set()
    for number, document in enumerate([documents] if isinstance(documents, Document) else documents, 1):
        if not isinstance(document, Document):
            raise TypeError(f"expected documents, got {type(document).__name__}")
        met.update(document.layer_names)
        rows += entity_rows(document, [name for name in layers if document.has_layer(name)], number)
    if missing := [name for name in layers if name not in met]:
        known = ", ".join(sorted(met)) or "none"
        raise ValueError(f"no document has the layer {missing[0]!r}.{nearest(missing[0], met)} Layers: {known}")
    return rows


def entity_rows(document: Document, layers: Iterable[str], number: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the rows of one document's layers, which it must have (see `to_rows`)."""
    name = document.id or str(number)
    for layer in layers:
        for entity in document.get_layer(layer):
            yield dict(zip(ROW_COLUMNS, (name, *_cells(document, layer, entity)), strict=True))


def _cells(document: Document, layer: str, entity: Entity) -> Iterator[Any]:
    pages = dict.fromkeys(int(box.page) for box in entity.boxes)
    if not pages and entity.spans and document.has_layer(PagesFieldName):
        found = entity.intersect_by_span(PagesFieldName)  # whose numbers are not their places where a page is left out
        pages = dict.fromkeys(int(page.boxes[0].page) if page.boxes else page.id or 0 for page in found)
    yield _joined(pages)
    yield str(entity.metadata.get("label", None) or layer)
    yield entity.text if entity.spans or document.has_layer(TokensFieldName) else ""
    yield _joined(span.start for span in entity.spans)
    yield _joined(span.end for span in entity.spans)
    yield entity.metadata.get("score", None)
    yield _joined(f"{box.l:.6g} {box.t:.6g} {box.w:.6g} {box.h:.6g}" for box in entity.boxes)
    yield layer


def _joined(values: Iterable[Any]) -> Any:
    found = list(values)
    return found[0] if len(found) == 1 else ";".join(map(str, found)) or None
