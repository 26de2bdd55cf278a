"""A document → JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from papermage_core.document.box import Box
from papermage_core.document.json.explain import not_finite
from papermage_core.document.names import (
    EntitiesFieldName,
    ImagesFieldName,
    MetadataFieldName,
    RelationsFieldName,
    SymbolsFieldName,
)
from papermage_core.document.span import Span
from papermage_core.errors import DataError

if TYPE_CHECKING:
    from papermage_core.document.document import Document
    from papermage_core.document.entity import Entity
    from papermage_core.document.layer import Layer

__all__ = ["document_bytes", "document_dict", "numpy_value"]


def document_dict(doc: Document, layers: list[str] | None, with_images: bool) -> dict[str, Any]:
    """Return the document as a dict for JSON. Raises DataError for metadata nested too deep."""
    names = doc.layer_names if layers is None else layers
    entities = {name: [_entity_dict(doc, name, entity) for entity in doc.get_layer(name)] for name in names}
    try:
        return _outline(doc, doc.metadata.to_json(), entities, with_images)
    except DataError as exc:
        raise exc.replace(document=doc.id) from exc


def _entity_dict(doc: Document, name: str, entity: Entity) -> dict[str, Any]:
    try:
        return entity.to_json()
    except DataError as exc:
        place = {} if exc.layer is not None else {"layer": name, "entity": entity.id}
        raise exc.replace(document=doc.id, **place) from exc


def document_bytes(doc: Document, layers: list[str] | None, with_images: bool) -> bytes:
    """Return the document as one line of JSON. Raises DataError for what JSON does not have, with its place."""
    names = doc.layer_names if layers is None else layers
    entities = {name: _layer_json(doc.get_layer(name)) for name in names}
    outline = _outline(doc, doc.metadata.__dict__, entities, with_images)
    try:
        written = _encode(outline)
    except _UNWRITABLE:
        _check_parts(outline, doc.id)
        raise
    if b"null" in written:  # what msgspec makes of numbers that JSON lacks
        _check_parts(outline, doc.id)
    return written


def _outline(doc: Document, metadata: Any, entities: dict[str, Any], with_images: bool) -> dict[str, Any]:
    outline = {
        SymbolsFieldName: doc.symbols,
        MetadataFieldName: metadata,
        EntitiesFieldName: entities,
        RelationsFieldName: doc.extras.get(RelationsFieldName, {}),
    }
    if with_images:
        outline[ImagesFieldName] = [image.to_base64() for image in doc.images or []]
    return outline | {key: value for key, value in doc.extras.items() if key not in outline}


class _EntityOut(msgspec.Struct, omit_defaults=True, gc=False):
    spans: list[Span] = []
    boxes: list[Box] = []
    metadata: dict[str, Any] = {}


def _layer_json(layer: Layer) -> Any:
    """Return something that msgspec writes as the layer: as it was read where no entity has been asked for."""
    raw = None if layer._rows is None else layer._rows.json()
    if raw is None:
        return [_entity_json(entity) for entity in layer]
    if not layer._made:
        return raw
    if layer._made == len(layer):
        return [_entity_json(entity) for entity in layer]
    pieces = _decode_pieces(raw)
    return [
        piece if entity is None else _entity_json(entity) for piece, entity in zip(pieces, layer._entities, strict=True)
    ]


def _entity_json(entity: Entity) -> Any:
    written = _EntityOut(entity.spans, entity.boxes, entity.metadata.__dict__)
    if not entity._extras:
        return written
    return {key: value for key, value in msgspec.structs.asdict(written).items() if value} | entity._extras


def _check_parts(outline: dict[str, Any], document: str | None) -> None:
    """Raise DataError for the first part of a document that cannot be written."""
    for layer, entities in outline[EntitiesFieldName].items():
        for i, entity in enumerate(entities if isinstance(entities, list) else ()):
            _check_part(entity, document=document, layer=layer, entity=i)
    _check_part(outline | {EntitiesFieldName: list(outline[EntitiesFieldName])}, document=document)


def _check_part(part: Any, **place: Any) -> None:
    try:
        _encode(part)
    except UnicodeEncodeError as exc:
        raise DataError(f"cannot be written: {exc}", **place, expected="text without surrogates") from exc
    except RecursionError as exc:
        raise DataError("is nested too deep to be written", **place, expected="JSON of ordinary depth") from exc
    except _UNWRITABLE as exc:
        raise DataError(f"cannot be written: {exc}", **place, expected="what JSON has") from exc
    if (number := not_finite(part)) is not None:
        what = f"{number} cannot be written: JSON has no such number"
        raise DataError(what, **place, value=number, expected="a finite number")


def numpy_value(value: Any) -> Any:
    """Return the plain value of a numpy one. Raises TypeError for anything else."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write a {type(value).__name__} as JSON: {value!r}")


_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
_encode = msgspec.json.Encoder(enc_hook=numpy_value).encode
_decode_pieces = msgspec.json.Decoder(list[msgspec.Raw]).decode
