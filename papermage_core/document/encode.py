"""A document → JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from papermage_core.document.names import (
    EntitiesFieldName,
    ImagesFieldName,
    MetadataFieldName,
    RelationsFieldName,
    SymbolsFieldName,
)

if TYPE_CHECKING:
    from papermage_core.document.document import Document
    from papermage_core.document.entity import Entity
    from papermage_core.document.layer import Layer

__all__ = ["document_bytes", "document_dict"]


def document_dict(doc: Document, layers: list[str] | None, with_images: bool) -> dict[str, Any]:
    """Return the document as a dict for JSON."""
    names = list(doc._layers) if layers is None else layers
    entities = {name: doc.get_layer(name).to_json() for name in names}
    return _outline(doc, doc.metadata.to_json(), entities, with_images)


def document_bytes(doc: Document, layers: list[str] | None, with_images: bool) -> bytes:
    """Return the document as one line of JSON."""
    names = list(doc._layers) if layers is None else layers
    entities = {name: _layer_json(doc.get_layer(name)) for name in names}
    return _encode(_outline(doc, doc.metadata.__dict__, entities, with_images))


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


def _layer_json(layer: Layer) -> Any:
    return layer._json() or [_entity_json(entity) for entity in layer]


def _entity_json(entity: Entity) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if entity.spans:
        written["spans"] = entity.spans
    if entity.boxes:
        written["boxes"] = entity.boxes
    if metadata := entity.metadata.__dict__:
        written["metadata"] = metadata
    if extras := entity._extras:
        written.update(extras)
    return written


def _numpy_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write a {type(value).__name__} as JSON: {value!r}")


_encode = msgspec.json.Encoder(enc_hook=_numpy_value).encode
