"""A layer's places in columns, made from what msgspec decoded or from entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.document.arrays import BoxArrays, SpanArrays, offsets_of
from papermage_core.document.box import Box
from papermage_core.document.entity import Entity
from papermage_core.document.span import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Columns"]


@attrs.frozen(eq=False, slots=False)
class Columns:
    """Spans and boxes of a layer of `entities` entities."""

    entities: int
    spans: SpanArrays
    boxes: BoxArrays
    written: SpanArrays
    """The spans as they were read: `spans` itself, unless some were repaired."""

    @cached_property
    def span_offsets(self) -> NDArray[np.int64]:
        """Where each entity's rows begin in the spans. Shape (entities + 1,)."""
        return offsets_of(self.spans.entity, self.entities)

    @cached_property
    def box_offsets(self) -> NDArray[np.int64]:
        """Where each entity's rows begin in the boxes. Shape (entities + 1,)."""
        return offsets_of(self.boxes.entity, self.entities)

    @cached_property
    def one_span_each(self) -> bool:
        """Whether each entity has one span."""
        owner = self.spans.entity
        return len(owner) == self.entities and bool((owner[1:] > owner[:-1]).all())

    @cached_property
    def spans_follow(self) -> bool:
        """Whether each entity has one span, none is empty, and each begins where the one before it ends, or later."""
        start, stop = self.spans.start, self.spans.stop
        return self.one_span_each and bool((start < stop).all()) and bool((start[1:] >= stop[:-1]).all())

    def lists(self) -> Iterator[tuple[list[Span], list[Box]]]:
        """Yield the spans, as they were read, and the boxes of each entity."""
        spans = list(map(Span, self.written.start.tolist(), self.written.stop.tolist()))
        b = self.boxes
        boxes = list(map(Box, b.left.tolist(), b.top.tolist(), b.width.tolist(), b.height.tolist(), b.page.tolist()))
        span_at, box_at = self.span_offsets.tolist(), self.box_offsets.tolist()
        for i in range(self.entities):
            yield spans[span_at[i] : span_at[i + 1]], boxes[box_at[i] : box_at[i + 1]]

    def meeting_spans(self, query: Entity) -> list[int]:
        """Return the entities with a span that shares characters with one of the query's, rising."""
        _check_query(query)
        start, stop = self.spans.start, self.spans.stop
        hits = [self.spans.entity[(start < span.end) & (stop > span.start)].tolist() for span in query.spans]
        return sorted(set(chain.from_iterable(hits)))

    def meeting_boxes(self, query: Entity) -> list[int]:
        """Return the entities with a box that touches one of the query's, edges included, rising."""
        _check_query(query)
        return sorted(set(chain.from_iterable(self.boxes.entity[self.boxes.touching(b)].tolist() for b in query.boxes)))

    @classmethod
    def of_entities(cls, entities: Sequence[Entity]) -> Columns:
        """Return the columns of entities as they are now."""
        spans = [(s.start, s.end) for entity in entities for s in entity.spans]
        boxes = [(b.l, b.t, b.w, b.h, b.page) for entity in entities for b in entity.boxes]
        span_table = _table(spans, 2, np.int64)
        box_table = _table(boxes, 5, np.float64)
        span_arrays = SpanArrays(
            span_table[:, 0].copy(), span_table[:, 1].copy(), _owners(len(entity.spans) for entity in entities)
        )
        left, top, width, height = (box_table[:, i].copy() for i in range(4))
        page = box_table[:, 4].astype(np.int64)
        box_owners = _owners(len(entity.boxes) for entity in entities)
        return cls(len(entities), span_arrays, BoxArrays(left, top, width, height, page, box_owners), span_arrays)


def _check_query(query: object) -> None:
    if not isinstance(query, Entity):
        raise TypeError(f"expected an Entity as query, got {type(query).__name__}")


def _table(rows: Sequence[tuple[Any, ...]], columns: int, dtype: Any) -> NDArray[Any]:
    return np.fromiter(chain.from_iterable(rows), dtype, len(rows) * columns).reshape(len(rows), columns)


def _owners(counts: Iterable[int]) -> NDArray[np.int64]:
    per_entity = np.fromiter(counts, np.int64)
    return np.repeat(np.arange(len(per_entity)), per_entity)
