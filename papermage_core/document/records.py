"""Entities as msgspec decodes them, and their numbers as arrays.

A Python loop over spans and boxes costs more than decoding them. Instead the records are written out again as
MessagePack, where a float64 always takes nine bytes, and numpy reads the numbers out of that at fixed strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EntityRecord", "OpenEntityRecord", "Places", "places_of"]


class _SpanRecord(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    start: float
    stop: float


class _BoxRecord(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    left: float
    top: float
    width: float
    height: float
    page: float


class _Object(msgspec.Struct, gc=False):
    """Any JSON object; what it holds is skipped."""


class EntityRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An entity with no other keys than these."""

    spans: list[_SpanRecord] | UnsetType = UNSET
    boxes: list[_BoxRecord] | UnsetType = UNSET
    metadata: _Object | UnsetType = UNSET


class OpenEntityRecord(msgspec.Struct, gc=False):
    """An entity that may have other keys, which are skipped."""

    spans: list[_SpanRecord] | UnsetType = UNSET
    boxes: list[_BoxRecord] | UnsetType = UNSET
    metadata: _Object | UnsetType = UNSET


@attrs.frozen(eq=False)
class Places:
    """The numbers of a layer's spans and boxes, as floats, not yet looked at."""

    entities: int
    spans: NDArray[np.float64]
    """Shape (spans, 2)."""
    span_entity: NDArray[np.int64]
    """Shape (spans,)."""
    boxes: NDArray[np.float64]
    """Shape (boxes, 5)."""
    box_entity: NDArray[np.int64]
    """Shape (boxes,)."""
    lists: int
    """How many lists of spans and of boxes the entities have, empty ones included."""


_encode = msgspec.msgpack.Encoder().encode
_FEW = 15  # MessagePack writes the length of so many items in one byte


def places_of(records: Sequence[Any]) -> Places:
    """Return the numbers of all spans and boxes of ``records``."""
    if not records:
        return Places(0, np.zeros((0, 2)), _no_owner(), np.zeros((0, 5)), _no_owner(), 0)
    return _alike(records) or _one_by_one(records)


def _alike(records: Sequence[Any]) -> Places | None:
    """Return the places of records that all have the keys, and as many spans and boxes, as the first; else None."""
    first = records[0]
    spans = 0 if first.spans is UNSET else len(first.spans)
    boxes = 0 if first.boxes is UNSET else len(first.boxes)
    if spans > _FEW or boxes > _FEW:
        return None
    template = np.frombuffer(_encode(first), np.uint8)
    count, stride = len(records), len(template)
    packed = _encode(records)
    if len(packed) - _list_header(count) != count * stride:
        return None
    table = np.frombuffer(packed, np.uint8, offset=_list_header(count)).reshape(count, stride)
    # Once these bytes agree, records are as long as the first one by one, so what stands between are the numbers.
    structure, position = [0], 1
    span_start = box_start = 0
    if first.spans is not UNSET:
        structure += [position + 1, position + 6]
        span_start = position + 7
        position = span_start + 19 * spans
    if first.boxes is not UNSET:
        structure += [position + 1, position + 6]
        box_start = position + 7
        position = box_start + 46 * boxes
    if first.metadata is not UNSET:
        structure.append(position + 1)
    if any((table[:, i] != template[i]).any() for i in structure):
        return None
    owner = np.arange(count)
    return Places(
        count,
        _numbers(table[:, span_start : span_start + 19 * spans], count * spans, 2),
        owner if spans == 1 else np.repeat(owner, spans),
        _numbers(table[:, box_start : box_start + 46 * boxes], count * boxes, 5),
        owner if boxes == 1 else np.repeat(owner, boxes),
        count * ((first.spans is not UNSET) + (first.boxes is not UNSET)),
    )


def _one_by_one(records: Sequence[Any]) -> Places:
    spans = [() if r.spans is UNSET else r.spans for r in records]
    boxes = [() if r.boxes is UNSET else r.boxes for r in records]
    lists = sum((r.spans is not UNSET) + (r.boxes is not UNSET) for r in records)
    span_table, span_entity = _rows(spans, 2)
    box_table, box_entity = _rows(boxes, 5)
    return Places(len(records), span_table, span_entity, box_table, box_entity, lists)


def _rows(lists: Sequence[Sequence[Any]], columns: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rows = list(chain.from_iterable(lists))
    packed = np.frombuffer(_encode(rows), np.uint8, offset=_list_header(len(rows)))
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    return _numbers(packed, len(rows), columns), np.repeat(np.arange(len(lists)), counts)


def _numbers(packed: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float64]:
    """Return the float64s in ``rows`` MessagePack arrays: a byte for the length, then 1 + 8 bytes each number."""
    cells = packed.reshape(rows, 1 + 9 * columns)[:, 1:].reshape(rows, columns, 9)[:, :, 1:]
    return np.ascontiguousarray(cells).view(">f8").reshape(rows, columns).astype(np.float64)


def _list_header(items: int) -> int:
    return 1 if items <= _FEW else 3 if items < 2**16 else 5


def _no_owner() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)
