"""Documents → `Context`: what an encoder may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papermage_core.data.alignment import Places
from papermage_core.document import Document, Layer
from papermage_core.document.queries import context_of_units
from papermage_core.plugin.spec import Context, ContextNeeds

__all__ = ["make_contexts"]

_IS_SPACE = np.array([chr(c).isspace() for c in range(0x3001)] + [False])
"""Code point → whether it is white space; all beyond the last one that is share the last place."""


def make_contexts(document: Document, entity_name: str, places: Places, needs: ContextNeeds) -> list[Context]:
    """Return the contexts of a document, with what ``needs`` asks for where the document has it."""
    units = document.get_layer(entity_name)
    words = units.texts()
    space = _space_before(document.symbols or "", units)
    boxes, pages = _boxes(units) if needs.boxes else (None, None)
    groups = {
        name: context_of_units(units, document.get_layer(name))[0].astype(np.int32)
        for name in needs.groups
        if name in document.layers
    }
    columns = {key: units.metadata_column(key) for key in needs.metadata}
    metadata = {key: column for key, column in columns.items() if column is not None}
    return [_take(ids, words, space, boxes, pages, groups, metadata) for ids in places.units]


def _take(
    ids: NDArray[np.int64],
    words: Sequence[str],
    space: NDArray[np.bool_],
    boxes: NDArray[np.float32] | None,
    pages: NDArray[np.int32] | None,
    groups: Mapping[str, NDArray[np.int32]],
    metadata: Mapping[str, Sequence[Any]],
) -> Context:
    first, last = int(ids[0]), int(ids[-1]) + 1
    if last - first == len(ids):  # the rule: a context's units follow each other

        def pick(values: Sequence[Any]) -> Sequence[Any]:
            return values[first:last]

    else:
        order = ids.tolist()

        def pick(values: Sequence[Any]) -> Sequence[Any]:
            return [values[i] for i in order]

    return Context(
        words=pick(words),
        space_before=space[ids],
        boxes=None if boxes is None else boxes[ids],
        pages=None if pages is None else pages[ids],
        groups={name: group[ids] for name, group in groups.items()},
        metadata={key: pick(column) for key, column in metadata.items()},
    )


def _space_before(symbols: str, units: Layer) -> NDArray[np.bool_]:
    """Return whether the character before each unit is white space; true where there is none. Shape (n,)."""
    result = np.ones(len(units), np.bool_)
    spans = units.span_arrays()
    first = np.ones(len(spans), np.bool_)
    first[1:] = spans.entity[1:] != spans.entity[:-1]
    entity, start = spans.entity[first], spans.start[first]
    inside = (start > 0) & (start <= len(symbols))
    code_points = np.frombuffer(symbols.encode("utf-32-le", "surrogatepass"), np.uint32)
    before = np.minimum(code_points[start[inside] - 1], len(_IS_SPACE) - 1)
    result[entity[inside]] = _IS_SPACE[before]
    return result


def _boxes(units: Layer) -> tuple[NDArray[np.float32] | None, NDArray[np.int32] | None]:
    """Return the box around each unit's boxes on the first of its pages, and that page; None where no unit has one."""
    boxes = units.box_arrays()
    if len(boxes.entity) == 0:
        return None, None
    edges = np.full((len(units), 4), np.nan, np.float32)
    pages = np.full(len(units), -1, np.int32)
    entity, first = np.unique(boxes.entity, return_index=True)
    pages[entity] = boxes.page[first]
    same = boxes.page == pages[boxes.entity]
    low = np.stack([boxes.left, boxes.top], 1)[same]
    high = low + np.stack([boxes.width, boxes.height], 1)[same]
    at = np.searchsorted(boxes.entity[same], entity)
    edges[entity, :2] = np.minimum.reduceat(low, at)
    edges[entity, 2:] = np.maximum.reduceat(high, at)
    return edges, pages
