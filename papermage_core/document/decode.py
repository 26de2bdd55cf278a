"""JSON → what a document is made of, checked.

The usual document is decoded in one pass straight into typed records. Only where that pass finds a fault, or keys that
nobody here knows, a slower one runs, which says exactly what is wrong, or goes on with the unknown keys kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from papermage_core.document.explain import check_symbols, explain_entities, kind_of, need_key, parse
from papermage_core.document.faults import Repair, document_id
from papermage_core.document.image import Image
from papermage_core.document.layer import Layer
from papermage_core.document.names import (
    EntitiesFieldName,
    ImagesFieldName,
    MetadataFieldName,
    PagesFieldName,
    RelationsFieldName,
    SymbolsFieldName,
)
from papermage_core.document.records import EntityRecord, OpenEntityRecord, Places, places_of
from papermage_core.document.rows import JsonRows, JsonSource, PlainRows, Rows
from papermage_core.document.validate import Bounds, check_places, page_numbers
from papermage_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Decoded", "decode_bytes", "decode_dict"]


@attrs.frozen(eq=False)
class Decoded:
    """What a document is made of."""

    symbols: str | None
    images: list[Image] | None
    metadata: dict[str, Any]
    layers: dict[str, Layer]
    extras: dict[str, Any]
    repairs: list[Repair]


class _LayerName:
    """A key of ``entities``, one object each time it stands there: msgspec would merge equal strings in silence."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Symbols(str):
    """The text of a document; a type of its own so that msgspec tells each time it stands there."""


class _Metadata(dict[str, Any]):
    """The metadata of a document, likewise."""


class _DocumentRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    symbols: _Symbols
    entities: dict[_LayerName, list[EntityRecord]]
    metadata: _Metadata | UnsetType = UNSET
    relations: Any | UnsetType = UNSET


_seen = threading.local()


def _count(kind: type, value: Any) -> Any:
    _seen.keys.append(kind)
    if kind is _LayerName:
        return _LayerName(value)
    wanted = str if kind is _Symbols else dict
    if type(value) is not wanted:
        raise TypeError(f"expected {wanted.__name__}, got {type(value).__name__}")
    return value


_decode_strictly = msgspec.json.Decoder(_DocumentRecord, dec_hook=_count).decode


def decode_bytes(data: bytes | bytearray | memoryview | str, *, lenient: bool) -> Decoded:
    """Return the parts of the document in ``data``. Raises DataError."""
    line = data.encode() if isinstance(data, str) else bytes(data)
    if line.startswith(b"\xef\xbb\xbf"):
        line = line[3:]
    _check_utf8(line)
    fast = _decode_fast(line)
    if fast is None:
        return decode_dict(parse(line), lenient=lenient)
    source = JsonSource(line)
    metadata = {} if fast.metadata is UNSET else fast.metadata
    places = {key.name: places_of(records) for key, records in fast.entities.items()}
    extras = {} if fast.relations is UNSET else {RelationsFieldName: fast.relations}

    def rows_of(name: str) -> Rows:
        return JsonRows(source, name, False)

    return _assemble(fast.symbols, None, metadata, places, rows_of, extras, lenient)


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
    places: dict[str, Places] = {}
    rows: dict[str, PlainRows] = {}
    for layer, layer_json in entities.items():
        places[layer] = places_of(_records(layer, layer_json, name))
        rows[layer] = _plain_rows(layer_json)
    known = (SymbolsFieldName, MetadataFieldName, EntitiesFieldName, ImagesFieldName)
    extras = {key: value for key, value in doc_json.items() if key not in known}
    return _assemble(symbols, images, dict(metadata), places, rows.__getitem__, extras, lenient)


def _decode_fast(line: bytes) -> _DocumentRecord | None:
    """Return the usual document, or None for one that has to be looked at more closely."""
    _seen.keys = []
    try:
        found = _decode_strictly(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    keys = _seen.keys
    layers = [key.name for key in found.entities]
    once = (
        keys.count(_Symbols) == 1
        and keys.count(_Metadata) <= 1
        and keys.count(_LayerName) == len(layers) == len(set(layers))
    )
    return found if once and found.symbols else None


def _assemble(
    symbols: str | None,
    images: list[Image] | None,
    metadata: dict[str, Any],
    places: dict[str, Places],
    rows_of: Callable[[str], Rows],
    extras: dict[str, Any],
    lenient: bool,
) -> Decoded:
    bounds = Bounds(
        characters=len(symbols or ""),
        pages=page_numbers(places.get(PagesFieldName)),
        lenient=lenient,
        document=document_id(metadata),
    )
    layers = {}
    repairs: list[Repair] = []
    for name, found in places.items():
        columns, mended = check_places(name, found, bounds)
        repairs += mended
        layers[name] = Layer._of_columns(columns, rows_of(name))
    return Decoded(symbols, images, metadata, layers, extras, repairs)


def _records(layer: str, layer_json: Any, document: str | None) -> list[OpenEntityRecord]:
    try:
        return msgspec.convert(layer_json, list[OpenEntityRecord])
    except (msgspec.ValidationError, RecursionError) as exc:
        explain_entities(layer, layer_json, document)
        raise DataError(f"cannot be read: {exc}", document=document, layer=layer) from exc


def _plain_rows(layer_json: list[dict[str, Any]]) -> PlainRows:
    metadata = [dict(entity.get("metadata", ())) for entity in layer_json]
    known = {"spans", "boxes", "metadata"}
    extras = [{k: v for k, v in entity.items() if k not in known} for entity in layer_json]
    return PlainRows(metadata, extras if any(extras) else None)


def _images(found: Any, document: str | None) -> list[Image] | None:
    if not found:
        return None
    if not isinstance(found, list) or not all(isinstance(image, str) for image in found):
        raise DataError(f"`images` should be a list of base64 strings, got {kind_of(found)}", document=document)
    return [Image.from_base64(image) for image in found]


def _check_utf8(line: bytes) -> None:
    if line.isascii():
        return
    try:
        line.decode()
    except UnicodeDecodeError as exc:
        raise DataError(
            f"byte {exc.start + 1} is not UTF-8 (0x{line[exc.start]:02x}: {exc.reason}); convert the file to UTF-8",
            value=line[exc.start : exc.end],
            expected="UTF-8",
        ) from exc
