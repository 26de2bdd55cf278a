"""Entities of one kind, in order."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, overload

from papermage_core.document.arrays import BoxArrays, SpanArrays
from papermage_core.document.box import Box
from papermage_core.document.columns import Columns
from papermage_core.document.entity import Entity
from papermage_core.document.metadata import Metadata
from papermage_core.document.rows import ColumnRows, JsonRows, PlainRows
from papermage_core.document.span import Span

if TYPE_CHECKING:
    from papermage_core.document.document import Document
    from papermage_core.document.rows import Rows

__all__ = ["Layer"]


class Layer:
    """A sequence of entities, which may overlap, with queries by span and by box.

    A layer that was read holds arrays; an `Entity` is made when it is asked for. The arrays show the places that the
    entities had when the layer was read, or, for a layer made from entities, when first asked for.
    """

    __slots__ = ("__weakref__", "_columns", "_doc", "_entities", "_made", "_name", "_rows", "metadata")

    def __init__(self, entities: list[Entity], metadata: Metadata | Mapping[str, Any] | None = None) -> None:
        self.metadata = Metadata.given(metadata)
        self._entities: list[Any] = entities
        self._made = len(entities)
        self._columns: Columns | None = None
        self._rows: Rows | None = None
        self._name: str | None = None
        self._doc: Document | None = None
        attached = 0
        try:
            for i, entity in enumerate(entities):
                if not isinstance(entity, Entity):
                    raise TypeError(f"expected an Entity, got {type(entity).__name__}, as number {i} of a layer")
                entity.layer = self
                attached += 1
                entity.id = i
        except (AttributeError, TypeError):
            for entity in entities[:attached]:  # so that they can be given to another layer
                entity._layer = entity._id = None
            raise

    @classmethod
    def _of_columns(cls, columns: Columns, rows: Rows) -> Layer:
        """Return a layer whose entities are made when asked for."""
        layer = cls([])
        layer._entities = [None] * columns.entities
        layer._columns = columns
        layer._rows = rows
        return layer

    @classmethod
    def from_arrays(
        cls,
        spans: SpanArrays,
        boxes: BoxArrays | None = None,
        metadata: list[dict[str, Any]] | Mapping[str, Sequence[Any]] | None = None,
    ) -> Layer:
        """Return a layer of spans, boxes and metadata, which are taken as they are.

        ``metadata`` is a dict of its own for each entity, or for each key a column of values, of which None stands for
        no value. Entities are made when asked for, so a layer of a million tokens costs little more than its arrays.
        Raises ValueError for metadata of another number of entities than spans and boxes are of.

        >>> layer = Layer.from_arrays(SpanArrays.one_each([0, 6], [5, 8]), metadata={"bold": [True, None]})
        >>> [(token.spans, token.metadata.to_json()) for token in layer]
        [([Span[0, 5]], {'bold': True}), ([Span[6, 8]], {})]
        """
        boxes = BoxArrays.none() if boxes is None else boxes
        entities = 1 + max((int(part.entity[-1]) for part in (spans, boxes) if len(part)), default=-1)
        known = [metadata] if isinstance(metadata, list) else list((metadata or {}).values())
        if any(len(column) != entities for column in known):
            raise ValueError(f"expected metadata of {entities} entities, got {', '.join(str(len(c)) for c in known)}")
        rows = PlainRows(metadata, None) if isinstance(metadata, list) else ColumnRows(entities, metadata or {})
        return cls._of_columns(Columns(entities, spans, boxes, spans), rows)

    # As a sequence

    @property
    def entities(self) -> list[Entity]:
        """All entities, in order."""
        if self._made < len(self._entities):
            self._make_all()
        return self._entities

    @overload
    def __getitem__(self, key: int) -> Entity: ...
    @overload
    def __getitem__(self, key: slice) -> list[Entity]: ...
    def __getitem__(self, key: int | slice) -> Entity | list[Entity]:
        if isinstance(key, slice):
            indices = range(*key.indices(len(self._entities)))
            if len(indices) * 4 > len(self._entities):
                return self.entities[key]
            return [self._make(i) for i in indices]
        found = self._entities[key]
        if found is None:
            found = self._make(key if key >= 0 else key + len(self._entities))
        return found  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self._entities)

    def __iter__(self) -> Iterator[Entity]:
        return iter(self.entities)

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Entity) and any(item is entity for entity in self._entities)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Layer) and self.entities == other.entities)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        lines = "\n".join(f"\t{entity}" for entity in self)
        return f"Layer with {len(self)} Entities:\n{lines}"

    def to_json(self) -> list[dict[str, Any]]:
        """Return the JSON of each entity."""
        return [entity.to_json() for entity in self]

    @classmethod
    def from_json(cls, layer_json: list[dict[str, Any]]) -> Layer:
        """Return the layer that `to_json` wrote."""
        return cls([Entity.from_json(entity_json) for entity_json in layer_json])

    # As arrays

    def span_arrays(self) -> SpanArrays:
        """Return the spans of all entities, one row a span."""
        return self._places().spans

    def box_arrays(self) -> BoxArrays:
        """Return the boxes of all entities, one row a box."""
        return self._places().boxes

    def texts(self) -> list[str]:
        """Return the text of each entity, as ``entity.text`` has it."""
        symbols = self._doc.symbols if self._doc is not None else None
        columns = self._places()
        if symbols is None or not columns.one_span_each or self._has_key("text"):
            return [entity.text for entity in self]
        spans = zip(columns.written.start.tolist(), columns.written.stop.tolist(), strict=True)
        if "\n" not in symbols:
            return [symbols[start:stop] for start, stop in spans]
        flat = symbols.replace("\n", " ")
        return [flat[start:stop] for start, stop in spans]

    def metadata_column(self, key: str) -> list[Any] | None:
        """Return the value that each entity's metadata has for ``key``, None where missing; None if all lack it."""
        if isinstance(self._rows, ColumnRows) and not self._made:
            return self._rows.column(key)
        if not self._has_key(key):
            return None
        return [values.get(key) for values in self.metadata_dicts()]

    def metadata_keys(self, most: int | None = None) -> list[str]:
        """Return the keys that the entities' metadata have, the ``most`` frequent ones first."""
        rows = self._rows
        if isinstance(rows, ColumnRows) and not self._made:
            return rows.keys()[:most]
        if isinstance(rows, JsonRows) and not self._made and not rows.may_mention("metadata"):
            return []
        counts = Counter(chain.from_iterable(self.metadata_dicts()))
        return [key for key, _ in counts.most_common(most)]

    # Queries

    def find(self, query: Span | Box) -> list[Entity]:
        """Return entities that meet a span or a box. Deprecated: use `intersect_by_span` or `intersect_by_box`."""
        warnings.warn(
            "`find` is ambiguous: use intersect_by_span or intersect_by_box", DeprecationWarning, stacklevel=2
        )
        if isinstance(query, Span):
            return self.intersect_by_span(Entity(spans=[query]))
        if isinstance(query, Box):
            return self.intersect_by_box(Entity(boxes=[query]))
        raise TypeError(f"Unsupported query type {type(query)}")

    def intersect_by_span(self, query: Entity) -> list[Entity]:
        """Return, in order, the entities with a span that shares characters with one of the query's."""
        return [self[i] for i in self._places().meeting_spans(query)]

    def intersect_by_box(self, query: Entity) -> list[Entity]:
        """Return, in order, the entities with a box that touches one of the query's, edges included."""
        return [self[i] for i in self._places().meeting_boxes(query)]

    # In a document

    @property
    def doc(self) -> Document | None:
        """The document that the layer is in. Raises AttributeError when a second one is set."""
        return self._doc

    @doc.setter
    def doc(self, doc: Document | None) -> None:
        if self._doc is not None and doc is not None:
            raise AttributeError(
                "This Layer already has a Document. A Layer belongs to one Document: make a new Layer for another."
            )
        self._doc = doc

    @property
    def name(self) -> str | None:
        """The layer's name in its document. Raises AttributeError when a second one is set."""
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        if self._name and name:
            raise AttributeError(f"This Layer already has a name: {self._name}")
        self._name = name

    def __getattr__(self, name: str) -> list[Entity]:
        if name.startswith("_"):
            raise AttributeError(f"'Layer' object has no attribute {name!r}")
        if self._doc is None:
            raise AttributeError(f"Layer has no attribute {name!r}, and no Document to look for such a layer")
        if name not in self._doc.layers:
            raise AttributeError(f"Layer {name} not found in Document")
        return self.crossref_layers_by_span(self, self._doc.get_layer(name))

    @classmethod
    def crossref_layers_by_span(cls, source: Layer, target: Layer) -> list[Entity]:
        """Return, in order, the entities of ``target`` that share characters with any of ``source``."""
        spans = [Span(start, stop) for start, stop in _unions(source.span_arrays())]
        return target.intersect_by_span(Entity(spans=spans)) if spans else []

    # Inside

    def _places(self) -> Columns:
        if self._columns is None:
            self._columns = Columns.of_entities(self._entities)
        return self._columns

    def _make(self, i: int) -> Entity:
        found = self._entities[i]
        if found is None:
            columns = self._places()
            (a, b), (c, d) = (columns.span_offsets[i : i + 2].tolist(), columns.box_offsets[i : i + 2].tolist())
            spans, boxes = columns.written, columns.boxes
            found = Entity._in_layer(
                self,
                i,
                [Span(int(spans.start[k]), int(spans.stop[k])) for k in range(a, b)],
                [_box(boxes, k) for k in range(c, d)],
            )
            self._entities[i] = found
            self._made += 1
        return found  # type: ignore[no-any-return]

    def _make_all(self) -> None:
        for i, (entity, (spans, boxes)) in enumerate(zip(self._entities, self._places().lists(), strict=True)):
            if entity is None:
                self._entities[i] = Entity._in_layer(self, i, spans, boxes)
        self._made = len(self._entities)

    def _row(self, i: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return metadata and unknown keys of an entity that was read."""
        assert self._rows is not None
        extras = self._rows.extras
        return self._rows.metadata[i], extras[i] if extras else None

    def metadata_dicts(self) -> list[dict[str, Any]]:
        """Return the metadata of each entity as they are kept: to be looked at, not to be changed."""
        if self._rows is None:
            return [entity.metadata.__dict__ for entity in self._entities]
        rows = self._rows.metadata
        if not self._made:
            return rows
        return [
            row if entity is None or entity._metadata is None else entity._metadata.__dict__
            for row, entity in zip(rows, self._entities, strict=True)
        ]

    def _has_key(self, key: str) -> bool:
        if self._rows is not None and not self._made and not self._rows.may_mention(key):
            return False
        if isinstance(self._rows, ColumnRows) and not self._made:
            return self._rows.column(key) is not None
        return any(key in values for values in self.metadata_dicts())


def _box(boxes: BoxArrays, row: int) -> Box:
    return Box(
        float(boxes.left[row]),
        float(boxes.top[row]),
        float(boxes.width[row]),
        float(boxes.height[row]),
        int(boxes.page[row]),
    )


def _unions(spans: SpanArrays) -> Sequence[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(zip(spans.start.tolist(), spans.stop.tolist(), strict=True)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
