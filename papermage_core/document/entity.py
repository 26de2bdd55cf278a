"""Annotated stretches of text and places on pages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from papermage_core.document.box import Box
from papermage_core.document.metadata import Metadata
from papermage_core.document.names import TokensFieldName
from papermage_core.document.span import Span

if TYPE_CHECKING:
    from papermage_core.document.document import Document
    from papermage_core.document.image import Image
    from papermage_core.document.layer import Layer

__all__ = ["Entity"]

_KNOWN = ("spans", "boxes", "metadata")


class _Texts(NamedTuple):
    """The text of the places that an entity had when it was pickled or copied."""

    of_spans: dict[tuple[int, int], str]
    of_boxes: list[str]
    """Empty if there are spans."""

    def at(self, spans: list[Span]) -> list[str]:
        """Return the text of each span. Raises ValueError for one that the entity did not have."""
        try:
            return [self.of_spans[span.start, span.end] for span in spans]
        except KeyError:
            raise ValueError("This Entity's spans have changed, and it is not attached to a Layer") from None


class Entity:
    """Spans, boxes, or both, with metadata. Compared by identity.

    Keys of its JSON that nobody here knows are kept in `extras` and written back.

    An entity that a predictor found knows its document before it is put in a layer of it, and keeps the document alive.
    Pickled or copied, it holds the text of its place in place of the document.

    >>> Entity(spans=[Span(0, 4)], metadata=Metadata(label="Task")).to_json()
    {'spans': [[0, 4]], 'metadata': {'label': 'Task'}}
    """

    __slots__ = ("__weakref__", "_extras", "_found_in", "_id", "_images", "_layer", "_metadata", "boxes", "spans")

    spans: list[Span]
    boxes: list[Box]
    _found_in: Document | _Texts | None
    """What counts while the entity is in no layer."""

    def __init__(
        self,
        spans: list[Span] | None = None,
        boxes: list[Box] | None = None,
        images: list[Image] | None = None,
        metadata: Metadata | Mapping[str, Any] | None = None,
    ) -> None:
        if not spans and not boxes:
            raise ValueError("At least one of `spans` or `boxes` must be set.")
        for span in spans or ():
            if not isinstance(span, Span):
                raise TypeError(f"expected a Span, got {type(span).__name__}, in the spans of an entity")
        for box in boxes or ():
            if not isinstance(box, Box):
                raise TypeError(f"expected a Box, got {type(box).__name__}, in the boxes of an entity")
        self.spans = spans if spans is not None else []
        self.boxes = boxes if boxes is not None else []
        self._images = images
        self._metadata: Metadata | None = Metadata.given(metadata)
        self._extras: dict[str, Any] | None = None
        self._id: int | None = None
        self._layer: Layer | None = None
        self._found_in = None

    @classmethod
    def found_in(cls, doc: Document | None, spans: list[Span], boxes: list[Box], metadata: Metadata) -> Entity:
        """Return an entity in no layer that knows its document."""
        entity = cls(spans=spans, boxes=boxes, metadata=metadata)
        entity._found_in = doc
        return entity

    @classmethod
    def _in_layer(cls, layer: Layer, id: int, spans: list[Span], boxes: list[Box]) -> Entity:
        """Return entity ``id`` of a layer, which has its metadata."""
        entity = cls.__new__(cls)
        entity.spans = spans
        entity.boxes = boxes
        entity._images = None
        entity._metadata = None
        entity._extras = None
        entity._id = id
        entity._layer = layer
        entity._found_in = None
        return entity

    @property
    def images(self) -> list[Image]:
        """Pictures of the entity."""
        if self._images is None:
            self._images = []
        return self._images

    @images.setter
    def images(self, images: list[Image]) -> None:
        self._images = images

    @property
    def metadata(self) -> Metadata:
        """What is known of the entity beside its place."""
        if self._metadata is None:
            self._fetch()
        assert self._metadata is not None
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: Metadata | Mapping[str, Any]) -> None:
        if self._metadata is None:
            self._fetch()
        self._metadata = Metadata.given(metadata)

    @property
    def extras(self) -> dict[str, Any]:
        """Keys of the entity's JSON other than spans, boxes and metadata."""
        if self._metadata is None:
            self._fetch()
        if self._extras is None:
            self._extras = {}
        return self._extras

    def _fetch(self) -> None:
        assert self._layer is not None
        assert self._id is not None
        metadata, self._extras = self._layer._row(self._id)
        self._metadata = Metadata._of(metadata)

    def __repr__(self) -> str:
        if self.layer is None:
            return f"Unannotated Entity: {self.to_json()}"
        return (
            f"Annotated Entity:\tID: {self.id}\tSpans: {bool(self.spans)}\tBoxes: {bool(self.boxes)}\tText: {self.text}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return spans, boxes and metadata, each only if there is any, and the keys in `extras`."""
        metadata = self.metadata.to_json()
        written: dict[str, Any] = {}
        if self.spans:
            written["spans"] = [span.to_json() for span in self.spans]
        if self.boxes:
            written["boxes"] = [box.to_json() for box in self.boxes]
        if metadata:
            written["metadata"] = metadata
        return written | self._extras if self._extras else written

    @classmethod
    def from_json(cls, entity_json: dict[str, Any]) -> Entity:
        """Return the entity that `to_json` wrote. Raises ValueError for one without spans and boxes."""
        entity = cls(
            spans=[Span.from_json(span) for span in entity_json.get("spans", [])],
            boxes=[Box.from_json(box) for box in entity_json.get("boxes", [])],
            metadata=Metadata.from_json(entity_json.get("metadata", {})),
        )
        entity._extras = {k: v for k, v in entity_json.items() if k not in _KNOWN} or None
        return entity

    @property
    def layer(self) -> Layer | None:
        """The layer that the entity is in. Raises AttributeError when a second one is set."""
        return self._layer

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        if self._layer is not None and layer is not None:
            raise AttributeError(
                "This Entity already has a Layer. An Entity belongs to one Layer: make a new Entity for another."
            )
        if layer is None and self._metadata is None:
            self._fetch()
        self._layer = layer

    @property
    def id(self) -> int | None:
        """Place of the entity in its layer, from 0."""
        return self._id

    @id.setter
    def id(self, id: int) -> None:
        if self._id:
            raise AttributeError(f"This Entity already has an ID: {self._id}")
        if self._layer is None:
            raise AttributeError("This Entity is missing a Layer")
        self._id = id

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"'Entity' object has no attribute {name!r}")
        doc = self._doc
        if doc is None or name not in doc.layers:
            raise AttributeError(f"Entity has no attribute {name!r}, and its Document no such layer")
        warnings.warn(
            f"`entity.{name}` is ambiguous: use `entity.intersect_by_span({name!r})` or `intersect_by_box`",
            DeprecationWarning,
            stacklevel=2,
        )
        found = self.intersect_by_span(name) if self.spans else []
        return found or (self.intersect_by_box(name) if self.boxes else [])

    def intersect_by_span(self, name: str) -> list[Entity]:
        """Return the entities of layer ``name`` that share characters with this one."""
        return self._document().intersect_by_span(self, name)

    def intersect_by_box(self, name: str) -> list[Entity]:
        """Return the entities of layer ``name`` with boxes that touch this one's."""
        return self._document().intersect_by_box(self, name)

    @property
    def start(self) -> int | float:
        """The first character; minus infinity without spans."""
        return min(span.start for span in self.spans) if self.spans else float("-inf")

    @property
    def end(self) -> int | float:
        """The end of the last character; infinity without spans."""
        return max(span.end for span in self.spans) if self.spans else float("inf")

    @property
    def symbols_from_spans(self) -> list[str]:
        """The text of each span."""
        if self._layer is None and isinstance(self._found_in, _Texts):
            return self._found_in.at(self.spans)
        symbols = self._symbols()
        return [symbols[span.start : span.end] for span in self.spans]

    @property
    def symbols_from_boxes(self) -> list[str]:
        """The text of each span of the tokens that the entity's boxes touch; nothing where there is no such layer."""
        if self._layer is None and isinstance(self._found_in, _Texts) and not self.spans:
            return self._found_in.of_boxes
        symbols = self._symbols()
        if not self._document().has_layer(TokensFieldName):
            return []
        return [symbols[s.start : s.end] for token in self.intersect_by_box(TokensFieldName) for s in token.spans]

    @property
    def text(self) -> str:
        """The metadata's ``text`` if there is one, else the text of the spans, else that of tokens in the boxes."""
        stored = self.metadata.get("text", None)
        if stored:
            return str(stored)
        return " ".join(self.symbols_from_spans or self.symbols_from_boxes).replace("\n", " ")

    @text.setter
    def text(self, text: str | None) -> None:
        self.metadata.text = text

    @property
    def label(self) -> str:
        """The metadata's ``label``. Without one, what other attributes are: the entities of a layer of this name."""
        return cast("str", self._said("label"))

    @property
    def score(self) -> float:
        """The metadata's ``score``: of a predicted entity, the probability that it is right."""
        return cast("float", self._said("score"))

    def _said(self, key: str) -> Any:
        if key in self.metadata:
            return self.metadata.get(key)
        raise AttributeError  # whereupon Python calls __getattr__

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __lt__(self, other: Entity) -> bool:
        if self.id is not None and other.id is not None:
            return self.id < other.id
        return self.start < other.start

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        found_in = None if self._layer is not None else self._found_in
        if found_in is not None and not isinstance(found_in, _Texts):
            text = found_in.symbols or ""
            of_spans = {(span.start, span.end): text[span.start : span.end] for span in self.spans}
            found_in = _Texts(of_spans, self.symbols_from_boxes if text and not self.spans else [])
        return None, {
            "spans": self.spans,
            "boxes": self.boxes,
            "_metadata": self._metadata,
            "_images": self._images,
            "_extras": self._extras,
            "_id": self._id,
            "_layer": self._layer,
            "_found_in": found_in,
        }

    @property
    def _doc(self) -> Document | None:
        """The document that the entity is in, or was found in."""
        if self._layer is not None:
            return self._layer.doc
        return None if isinstance(self._found_in, _Texts) else self._found_in

    def _document(self) -> Document:
        doc = self._doc
        if doc is None and self._layer is None:
            raise ValueError("This Entity is not attached to a Layer")
        if doc is None:
            raise ValueError("This Entity's Layer is not attached to a Document")
        return doc

    def _symbols(self) -> str:
        symbols = self._document().symbols
        if symbols is None:
            raise ValueError("This Entity's Document is missing symbols")
        return symbols
