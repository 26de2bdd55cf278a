"""Whether the spans of entities that are put in a layer are in the text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from papermage_core.document.entity import Entity
from papermage_core.document.layer import Layer
from papermage_core.errors import counted

__all__ = ["check_spans"]


def check_spans(entities: Iterable[Any], characters: int, *, layer: str, document: str | None) -> None:
    """Raise ValueError for the first entity of a layer with a span that is not in a text of so many characters.

    It is no DataError: the fault is that of the code which makes the entities, not that of the document.
    """
    if isinstance(entities, Layer) and not entities._made:
        spans = entities.span_arrays()
        bad = (spans.start < 0) | (spans.start > spans.stop) | (spans.stop > characters)
        if not bad.any():
            return
    for number, entity in enumerate(entities):
        for span in entity.spans if isinstance(entity, Entity) else ():
            start, end = span.start, span.end
            if type(start) is int and type(end) is int and 0 <= start <= end <= characters:
                continue
            if problem := _problem(start, end, characters):
                where = "" if document is None else f"document {document!r}, "
                raise ValueError(f"{where}layer {layer!r}, entity {number}: span [{start!r}, {end!r}] {problem}")


def _problem(start: Any, end: Any, characters: int) -> str:
    if not all(isinstance(offset, (int, np.integer)) for offset in (start, end)):
        return "has an offset that is no whole number"
    if start < 0:
        return "begins before the text: offsets count from 0"
    if start > end:
        return "ends before it begins"
    return f"ends past the text: the text has {counted(characters, 'characters')}" if end > characters else ""
