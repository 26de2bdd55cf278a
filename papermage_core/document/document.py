"""A scientific document: text, and layers of entities over it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from papermage_core.document.box import Box
from papermage_core.document.characters import has_surrogates
from papermage_core.document.entity import Entity
from papermage_core.document.errors import LayerNameError, MissingLayerError, Repair, document_id
from papermage_core.document.image import Image
from papermage_core.document.json.explain import listed
from papermage_core.document.layer import Layer
from papermage_core.document.metadata import Metadata
from papermage_core.document.names import ImagesFieldName, MetadataFieldName, SymbolsFieldName
from papermage_core.document.placing import check_spans
from papermage_core.document.prediction import Prediction
from papermage_core.document.span import Span
from papermage_core.errors import DataError, counted, nearest

if TYPE_CHECKING:
    from papermage_core.document.json.decode import Decoded

__all__ = ["Document"]

_TAKEN = frozenset(
    (
        *("SPECIAL_FIELDS", "annotate", "annotate_images", "annotate_layer", "annotate_relation", "find", "from_json"),
        *("get_layer", "get_relation", "intersect_by_box", "intersect_by_span", "layers", "remove_images"),
        *("remove_layer", "remove_relation", "to_json", "validate_layer_name_availability", "_layers"),
    )
)


class Document:
    """Text (`symbols`), pictures of pages, metadata, and layers, which can be read as attributes.

    >>> doc = Document("BRCA1 mutations")
    >>> doc.annotate_layer("tokens", [Entity(spans=[Span(0, 5)]), Entity(spans=[Span(6, 15)])])
    >>> [token.text for token in doc.tokens]
    ['BRCA1', 'mutations']
    >>> Document.from_bytes(doc.to_bytes()).tokens[1].text
    'mutations'
    """

    SPECIAL_FIELDS: ClassVar[list[str]] = [SymbolsFieldName, ImagesFieldName, MetadataFieldName]

    tokens: Layer
    rows: Layer
    blocks: Layer
    words: Layer
    sentences: Layer
    paragraphs: Layer
    pages: Layer

    def __init__(
        self,
        symbols: str | None = None,
        images: list[Image] | None = None,
        metadata: Metadata | Mapping[str, Any] | None = None,
    ) -> None:
        if symbols is not None and not isinstance(symbols, str):
            raise TypeError(f"expected text as symbols, got {type(symbols).__name__}")
        self.symbols = symbols if symbols else None
        self.images = images if images else None
        if not self.symbols and not self.images:
            raise ValueError("Document must have at least one of `symbols` or `images`")
        self.metadata = metadata
        self._layers: dict[str, Layer] = {}
        self.extras: dict[str, Any] = {}
        self.repairs: list[Repair] = []

    @classmethod
    def from_text(
        cls, text: str, doc_id: str | None = None, layers: Mapping[str, Iterable[tuple[int, int]]] | None = None
    ) -> Document:
        """Return a document of a text, which stays as it is; ``layers`` are half-open places of entities by name.

        Raises TypeError for what is no text, ValueError for an empty one, and DataError, a ValueError too, for a place
        that is not in it.

        >>> doc = Document.from_text("BRCA1 mutations", doc_id="a1", layers={"gene": [(0, 5)]})
        >>> doc.id, doc.gene[0].text
        ('a1', 'BRCA1')
        """
        if not isinstance(text, str):
            raise TypeError(f"expected a text, got {type(text).__name__}")
        if not text:
            raise ValueError("a document must have text, and this is empty")
        doc = cls(text, metadata=Metadata() if doc_id is None else Metadata(doc_id=doc_id))
        for name, places in (layers or {}).items():
            doc.annotate_layer(name, [Entity(spans=[_place(name, place, len(text))]) for place in places])
        return doc

    @property
    def metadata(self) -> Metadata:
        """What is known of the document."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: Metadata | Mapping[str, Any] | None) -> None:
        self._metadata = Metadata.given(metadata)

    # Layers

    @property
    def layers(self) -> list[str]:
        """Names of the document's own fields, then of its layers."""
        return [*self.SPECIAL_FIELDS, *self._layers]

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers."""
        return list(self._layers)

    @property
    def id(self) -> str | None:
        """The metadata's ``doc_id``, ``id`` or ``paper_id``: what messages call the document."""
        return document_id(self.metadata.__dict__)

    def validate_layer_name_availability(self, name: str) -> None:
        """Raise AssertionError for a name that a layer cannot have, or that a layer or an attribute has."""
        if not isinstance(name, str):
            raise LayerNameError(f"the name of a layer should be a string, got {name!r}", expected="string")
        if has_surrogates(name):
            raise LayerNameError(f"a layer cannot be named {name!r}: no file can hold a lone surrogate")
        if name in self.SPECIAL_FIELDS:
            raise LayerNameError(f"a layer cannot be named {name!r}: this is one of the document's own fields")
        if name in self._layers:
            raise LayerNameError(f"there is a layer {name!r} already; doc.remove_layer({name!r}) removes it")
        special = name.startswith("__") and name.endswith("__") and hasattr(Document, name)
        if name in _TAKEN or special or (name in self.__dict__ and name not in ("extras", "repairs")):
            raise LayerNameError(f"a layer cannot be named {name!r}: it clashes with a Document property")

    def has_layer(self, name: str) -> bool:
        """Say whether there is a layer of this name."""
        return name in self._layers

    def get_layer(self, name: str) -> Layer:
        """Return a layer by name. Raises DataError, an AttributeError too, if there is none."""
        found = self._layers.get(name)
        if found is None:
            raise self._missing(name)
        return found

    def __getattr__(self, name: str) -> Any:
        layers = self.__dict__.get("_layers", {})
        if name in layers:
            return layers[name]
        raise self._missing(name)

    if not TYPE_CHECKING:  # else any attribute could be set, for those who check types

        def __setattr__(self, name: str, value: Any) -> None:
            if name in self.__dict__.get("_layers", ()):
                raise AttributeError(
                    f"there is a layer {name!r}, which nothing can be assigned to: doc.remove_layer({name!r}) and then "
                    f"doc.annotate_layer({name!r}, ...) replace it"
                )
            object.__setattr__(self, name, value)

    def __copy__(self) -> Document:
        """Return a document with layers of its own: they know the document that they are in."""
        return copy.deepcopy(self, {id(self.images): self.images})

    def _missing(self, name: str) -> MissingLayerError:
        layers = list(self.__dict__.get("_layers", ()))
        own = (
            ", which is one of its own fields (layer_names lists the layers alone)"
            if name in self.SPECIAL_FIELDS
            else ""
        )
        known = f"{nearest(str(name), layers)} Layers here: {listed(layers)}"
        return MissingLayerError(f"Document has no layer {name!r}{own}.{known}", expected="the name of a layer")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._layers]

    def annotate(self, *predictions: Prediction | Sequence[Prediction]) -> None:
        """Add each prediction as a layer."""
        for prediction in chain.from_iterable([p] if isinstance(p, Prediction) else p for p in predictions):
            self.annotate_layer(prediction.name, prediction.entities)

    def annotate_layer(self, name: str, entities: Iterable[Entity] | Layer) -> None:
        """Add a layer.

        Raises AssertionError where the name is taken, TypeError for what are no entities, ValueError for a span that is
        not in the text.
        """
        self.validate_layer_name_availability(name)
        if not isinstance(entities, Iterable):
            raise TypeError(f"expected entities as layer {name!r}, got {type(entities).__name__}")
        given = entities if isinstance(entities, (Layer, list)) else [*entities]
        if self.symbols is not None and not (isinstance(given, Layer) and given.doc is not None):
            check_spans(given, len(self.symbols), layer=name, document=self.id)
        layer = given if isinstance(given, Layer) else Layer(given)
        layer.doc = self
        layer.name = name
        self._layers[name] = layer

    def remove_layer(self, name: str) -> None:
        """Remove a layer; nothing happens if there is none of this name."""
        layer = self._layers.pop(name, None)
        if layer is not None:
            layer.doc = None
            layer.name = None

    def get_relation(self, name: str) -> Any:
        """Raise NotImplementedError: there are no relations yet, in papermage neither."""
        raise NotImplementedError

    def annotate_relation(self, name: str) -> None:
        """Raise NotImplementedError."""
        self.validate_layer_name_availability(name)
        raise NotImplementedError

    def remove_relation(self, name: str) -> None:
        """Raise NotImplementedError."""
        raise NotImplementedError

    # Images

    def annotate_images(self, images: list[Image]) -> None:
        """Set the pictures of the pages. Raises ValueError for none, TypeError for a mixture of types."""
        if len(images) == 0:
            raise ValueError("No images were provided")
        types = {type(image) for image in images}
        if len(types) > 1:
            raise TypeError(f"Images contain multiple types: {types}")
        if not issubclass(image_type := types.pop(), Image):
            raise NotImplementedError(f"Unsupported image type {image_type} for {ImagesFieldName}")
        self.images = images

    def remove_images(self) -> None:
        """Raise NotImplementedError, as in papermage."""
        raise NotImplementedError

    # Queries

    def find(self, query: Span | Box, name: str) -> list[Entity]:
        """Return entities of a layer that meet a span or a box. Deprecated: use `intersect_by_span` or `_box`."""
        warnings.warn(
            "`find` is ambiguous: use intersect_by_span or intersect_by_box", DeprecationWarning, stacklevel=2
        )
        if isinstance(query, Span):
            return self.intersect_by_span(Entity(spans=[query]), name)
        if isinstance(query, Box):
            return self.intersect_by_box(Entity(boxes=[query]), name)
        raise TypeError(f"Unsupported query type {type(query)}")

    def intersect_by_span(self, query: Entity, name: str) -> list[Entity]:
        """Return, in order, the entities of layer ``name`` that share characters with the query."""
        return self.get_layer(name).intersect_by_span(query)

    def intersect_by_box(self, query: Entity, name: str) -> list[Entity]:
        """Return, in order, the entities of layer ``name`` with boxes that touch the query's."""
        return self.get_layer(name).intersect_by_box(query)

    # JSON

    def to_json(self, layers: list[str] | None = None, with_images: bool = False) -> dict[str, Any]:
        """Return symbols, metadata, layers (all, or those named) and relations as a dict for JSON.

        Keys that nobody here knows come after them, as they were read.
        """
        from papermage_core.document.json.encode import document_dict

        return document_dict(self, layers, with_images)

    @classmethod
    def from_json(cls, doc_json: dict[str, Any], *, lenient: bool = True) -> Document:
        """Return the document that `to_json` wrote. Raises DataError (see `from_bytes`)."""
        from papermage_core.document.json.decode import decode_dict

        return cls._of_decoded(decode_dict(doc_json, lenient=lenient))

    def to_bytes(self, layers: list[str] | None = None, with_images: bool = False) -> bytes:
        """Return one line of JSON, without its line end. Layers that nobody touched are written as they were read."""
        from papermage_core.document.json.encode import document_bytes

        return document_bytes(self, layers, with_images)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview | str, *, lenient: bool = True) -> Document:
        """Return the document in a piece of JSON.

        Raises DataError with layer, entity, value and what was expected for: what is not JSON, keys that are missing,
        layers, spans or boxes that would be lost because their key stands twice, values of a wrong type, reversed or
        negative spans, spans past the end of the text, entities without a place, tokens that overlap, boxes outside the
        page or on a page that is not there.

        Read leniently, a page may end after the text and boxes may hang over the edge (both listed in ``repairs``),
        and spans may be empty. Strictly, these raise too.
        """
        from papermage_core.document.json.decode import decode_bytes

        return cls._of_decoded(decode_bytes(data, lenient=lenient))

    @classmethod
    def _of_decoded(cls, decoded: Decoded) -> Document:
        doc = cls(decoded.symbols, decoded.images, Metadata._of(decoded.metadata))
        doc.extras = decoded.extras
        doc.repairs = decoded.repairs
        for name, layer in decoded.layers.items():
            doc.annotate_layer(name, layer)
        return doc

    def __repr__(self) -> str:
        return f"Document with {counted(len(self.layers), 'layers')}: {self.layers}"


def _place(name: str, place: tuple[int, int], length: int) -> Span:
    start, end = place
    if not 0 <= start < end <= length:
        raise DataError(
            f"layer {name!r}: an entity is at {start} to {end}; the text has {length} characters",
            layer=name,
            value=[start, end],
            expected="0 <= start < end <= length of the text",
        )
    return Span(start, end)
