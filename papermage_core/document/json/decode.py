"""JSON → what a document is made of, checked.

The usual document is decoded in one pass straight into typed records. Only where that pass finds an error, or keys that
nobody here knows, a slower one runs, which says exactly what is wrong, or goes on with the unknown keys kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from papermage_core.document.errors import Repair, document_id
from papermage_core.document.image import Image
from papermage_core.document.json.cuts import Cuts, cut_layers
from papermage_core.document.json.encode import numpy_value
from papermage_core.document.json.explain import (
    check_keys_stand_once,
    check_metadata_keys,
    check_symbols,
    check_utf8,
    explain_entities,
    kind_of,
    need_key,
    not_json,
    parse,
)
from papermage_core.document.json.records import Coordinates, OpenEntityRecord, coordinates_of, coordinates_of_json
from papermage_core.document.json.validate import Bounds, check_coordinates, page_numbers
from papermage_core.document.layer import Layer
from papermage_core.document.names import (
    EntitiesFieldName,
    ImagesFieldName,
    MetadataFieldName,
    PagesFieldName,
    RelationsFieldName,
    SymbolsFieldName,
)
from papermage_core.document.rows import JsonRows, JsonSource, PlainRows, Rows
from papermage_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Decoded", "decode_bytes", "decode_dict"]

_PIECE = 1 << 17
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNCONVERTIBLE = (msgspec.ValidationError, ValueError, RecursionError, SystemError)
"""What msgspec raises for values of another form: 0.20 also a ValueError, 0.19 a SystemError for huge integers."""


@attrs.frozen(eq=False)
class Decoded:
    """What a document is made of."""

    symbols: str | None
    images: list[Image] | None
    metadata: dict[str, Any]
    layers: dict[str, Layer]
    extras: dict[str, Any]
    repairs: list[Repair]


class _Noted:
    """A JSON value that is noted each time it stands there; of equal keys msgspec would keep the last in silence."""

    __slots__ = ("value",)
    expected: ClassVar[type]
    value: Any

    def __init__(self, value: Any) -> None:
        if type(value) is not self.expected:
            raise TypeError(f"expected {self.expected.__name__}, got {type(value).__name__}")
        self.value = value


class _LayerName(_Noted):
    expected = str


class _Symbols(_Noted):
    expected = str


class _Metadata(_Noted):
    expected = dict


class _DocumentRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    symbols: _Symbols
    entities: dict[_LayerName, msgspec.Raw]
    metadata: _Metadata | UnsetType = UNSET
    relations: Any | UnsetType = UNSET


@attrs.frozen(eq=False)
class _JsonLayer:
    name: str
    raw: msgspec.Raw
    coordinates: Coordinates
    has_extras: bool
    """Whether some entity may have keys that nobody here knows."""


class _OpenDocumentRecord(msgspec.Struct, gc=False):
    symbols: _Symbols
    entities: dict[_LayerName, msgspec.Raw]
    metadata: _Metadata | UnsetType = UNSET
    relations: Any | UnsetType = UNSET


_AnyDocumentRecord = _DocumentRecord | _OpenDocumentRecord

_noted = threading.local()


def _note(kind: type[_Noted], value: Any) -> _Noted:
    _noted.kinds.append(kind)
    return kind(value)


_decode_usual = msgspec.json.Decoder(_DocumentRecord, dec_hook=_note).decode
_decode_open = msgspec.json.Decoder(_OpenDocumentRecord, dec_hook=_note).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def decode_bytes(data: bytes | bytearray | memoryview | str, *, lenient: bool) -> Decoded:
    """Return the parts of the document in ``data``. Raises DataError."""
    line = data.encode(errors="surrogatepass") if isinstance(data, str) else bytes(data)
    if line.startswith(_BYTE_ORDER_MARK):
        line = line[len(_BYTE_ORDER_MARK) :]
    check_utf8(line)
    cuts = cut_layers(line)
    usual = None if cuts is None else _decode_usual_bytes(line, cuts)
    if cuts is None or usual is None:
        cuts = Cuts(line, {})
        usual = _decode_usual_bytes(line, cuts)
    if usual is None:
        return decode_dict(parse(line), lenient=lenient)
    found, layers = usual
    metadata = {} if found.metadata is UNSET else found.metadata.value
    coordinates = {layer.name: layer.coordinates for layer in layers}
    lists = _lists_of(coordinates) + found.symbols.value.count("[")
    if lists != _count_byte(line, b"[") or b"\\u005" in cuts.rest:  # or a bracket written otherwise
        check_keys_stand_once(line, coordinates)
    extras = {} if found.relations is UNSET else {RelationsFieldName: found.relations}
    images = None
    if not isinstance(found, _DocumentRecord):
        extras, images = _unknown_keys(line, document_id(metadata))
    source = JsonSource(line)
    source.layers = {layer.name: layer.raw for layer in layers}
    rows = {layer.name: JsonRows(source, layer.name, layer.has_extras) for layer in layers}
    return _assemble(found.symbols.value, images, metadata, coordinates, rows.__getitem__, extras, lenient)


def decode_dict(doc_json: Mapping[str, Any], *, lenient: bool) -> Decoded:
    """Return the parts of the document in a dict. Raises DataError."""
    if not isinstance(doc_json, Mapping):
        raise DataError(f"expected a document (an object), got {kind_of(doc_json)}", value=doc_json, expected="object")
    metadata = doc_json.get(MetadataFieldName, {})
    if not isinstance(metadata, dict):
        raise DataError(f"`metadata` should be an object, got {kind_of(metadata)}", value=metadata, expected="object")
    name = document_id(metadata)
    images = _images(doc_json.get(ImagesFieldName), name)
    symbols = check_symbols(need_key(doc_json, SymbolsFieldName, name), bool(images), name)
    entities = need_key(doc_json, EntitiesFieldName, name)
    if not isinstance(entities, Mapping):
        raise DataError(
            f"`entities` should be an object of layers, got {kind_of(entities)}", document=name, expected="object"
        )
    coordinates: dict[str, Coordinates] = {}
    rows: dict[str, PlainRows] = {}
    for layer, layer_json in entities.items():
        if not isinstance(layer, str):
            raise DataError(f"the name of a layer should be a string, got {kind_of(layer)}", document=name, value=layer)
        coordinates[layer] = coordinates_of(_records(layer, layer_json, name))
        rows[layer] = _plain_rows(layer, layer_json, name)
    known = (SymbolsFieldName, MetadataFieldName, EntitiesFieldName, ImagesFieldName)
    extras = {key: value for key, value in doc_json.items() if key not in known}
    return _assemble(symbols, images, dict(metadata), coordinates, rows.__getitem__, extras, lenient)


def _decode_once(decode: Callable[[bytes], Any], line: bytes) -> Any | None:
    """Return the record that a decoder makes of a line; None if it cannot, or a key of the document stands twice."""
    _noted.kinds = []
    try:
        found = decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    kinds = _noted.kinds
    layers = {key.value for key in found.entities}
    once = kinds.count(_Symbols) == 1 and kinds.count(_Metadata) <= 1 and kinds.count(_LayerName) == len(layers)
    return found if once and found.symbols.value else None


def _decode_usual_bytes(line: bytes, cuts: Cuts) -> tuple[_AnyDocumentRecord, list[_JsonLayer]] | None:
    """Return what a line holds, and its layers; None if it cannot be read so, or was not cut at its layers."""
    found = _decode_once(_decode_usual, cuts.rest) or _decode_once(_decode_open, cuts.rest)
    if found is None:
        return None
    view, left = memoryview(line), dict(cuts.places)
    layers = []
    try:
        for key, raw in found.entities.items():
            written = bytes(memoryview(raw))
            where = left.pop(written, None)
            if where:
                raw, read = msgspec.Raw(view[slice(*where)]), coordinates_of_json(line, *where)
            else:
                read = coordinates_of_json(written)
            layers.append(_JsonLayer(key.value, raw, *read))
    except (msgspec.DecodeError, RecursionError):
        return None
    return None if left else (found, layers)


def _lists_of(coordinates: dict[str, Coordinates]) -> int:
    """Return how many lists layers of these coordinates are written with, lists of no spans or no boxes not counted."""
    return sum(1 + found.lists + len(found.span_entity) + len(found.box_entity) for found in coordinates.values())


def _count_byte(line: bytes, byte: bytes) -> int:
    """Return how often a byte stands in a line; in pieces that the cache holds, faster than ``bytes.count``."""
    values = np.frombuffer(line, np.uint8)
    return sum(int(np.count_nonzero(values[i : i + _PIECE] == ord(byte))) for i in range(0, len(values), _PIECE))


def _unknown_keys(line: bytes, document: str | None) -> tuple[dict[str, Any], list[Image] | None]:
    """Return the keys of a document that nobody here knows, with relations, and its images."""
    raw = _decode_keys(line)
    known = (SymbolsFieldName, MetadataFieldName, EntitiesFieldName)
    try:
        found = {key: msgspec.json.decode(value) for key, value in raw.items() if key not in known}
    except msgspec.ValidationError as exc:  # a number out of range
        raise not_json(line, str(exc)) from exc
    images = _images(found.pop(ImagesFieldName, None), document)
    return found, images


def _assemble(
    symbols: str | None,
    images: list[Image] | None,
    metadata: dict[str, Any],
    coordinates: dict[str, Coordinates],
    rows_of: Callable[[str], Rows],
    extras: dict[str, Any],
    lenient: bool,
) -> Decoded:
    bounds = Bounds(
        characters=len(symbols or ""),
        pages=page_numbers(coordinates.get(PagesFieldName)),
        lenient=lenient,
        document=document_id(metadata),
    )
    layers = {}
    repairs = check_metadata_keys(metadata, lenient)
    for name, found in coordinates.items():
        columns, repaired = check_coordinates(name, found, bounds)
        repairs += repaired
        layers[name] = Layer._of_columns(columns, rows_of(name))
    return Decoded(symbols, images, metadata, layers, extras, repairs)


def _records(layer: str, layer_json: Any, document: str | None) -> list[OpenEntityRecord]:
    try:
        return msgspec.convert(layer_json, list[OpenEntityRecord])
    except _UNCONVERTIBLE:
        pass
    try:
        layer_json = msgspec.to_builtins(layer_json, enc_hook=numpy_value)
        return msgspec.convert(layer_json, list[OpenEntityRecord])
    except (TypeError, *_UNCONVERTIBLE) as exc:
        explain_entities(layer, layer_json, document)
        raise DataError(f"cannot be read: {exc.__cause__ or exc}", document=document, layer=layer) from exc


def _plain_rows(layer: str, layer_json: list[dict[str, Any]], document: str | None) -> PlainRows:
    metadata = [dict(entity.get("metadata", ())) for entity in layer_json]
    known = {"spans", "boxes", "metadata"}
    extras = [{k: v for k, v in entity.items() if k not in known} for entity in layer_json]
    if not all(isinstance(key, str) for key in {*chain.from_iterable(metadata), *chain.from_iterable(extras)}):
        explain_entities(layer, layer_json, document)
    return PlainRows(metadata, extras if any(extras) else None)


def _images(found: Any, document: str | None) -> list[Image] | None:
    if not found:
        return None
    if not isinstance(found, list) or not all(isinstance(image, str) for image in found):
        raise DataError(f"`images` should be a list of base64 strings, got {kind_of(found)}", document=document)
    return [Image.from_base64(image) for image in found]
