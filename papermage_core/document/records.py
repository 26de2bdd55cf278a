"""Entities as msgspec decodes them, and their numbers as arrays.

A Python loop over spans and boxes costs more than decoding them. Instead the records are written out again as
MessagePack, where a float64 always takes nine bytes, and numpy reads the numbers out of that at fixed strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from papermage_core.document.pieces import pieces_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OpenEntityRecord", "Places", "places_of", "places_of_json"]


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


class _OneSpan(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    one: _SpanRecord


class _OneBox(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    one: _BoxRecord


class _SimpleRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An entity of at most one span and one box, as most are: no lists, so less to make and to free."""

    spans: _OneSpan | UnsetType = UNSET
    boxes: _OneBox | UnsetType = UNSET
    metadata: _Object = msgspec.field(default_factory=_Object)


class _EntityRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An entity with no other keys than these."""

    spans: list[_SpanRecord] = []
    boxes: list[_BoxRecord] = []
    metadata: _Object = msgspec.field(default_factory=_Object)


class OpenEntityRecord(msgspec.Struct, gc=False):
    """An entity that may have other keys, which are skipped."""

    spans: list[_SpanRecord] = []
    boxes: list[_BoxRecord] = []
    metadata: _Object = msgspec.field(default_factory=_Object)


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
    """How many lists of spans and of boxes the entities have, empty ones not counted."""


def places_of_json(data: bytes) -> tuple[Places, bool]:
    """Return the numbers of a layer's JSON, and whether some entity may have keys that nobody here knows.

    Raises msgspec.DecodeError for what is no list of entities.
    """
    for read, has_extras in ((_read_usual, False), (_read_open, True)):
        try:
            return _concatenate([read(piece) for piece in pieces_of(data)]), has_extras
        except msgspec.DecodeError:
            continue
    return _read_open(data), True


def places_of(records: Sequence[_EntityRecord | OpenEntityRecord]) -> Places:
    """Return the numbers of all spans and boxes of ``records``."""
    spans, span_entity, span_lists = _from_lists([record.spans for record in records], 2)
    boxes, box_entity, box_lists = _from_lists([record.boxes for record in records], 5)
    return Places(len(records), spans, span_entity, boxes, box_entity, span_lists + box_lists)


_decode_simple = msgspec.json.Decoder(list[_SimpleRecord]).decode
_decode_usual = msgspec.json.Decoder(list[_EntityRecord]).decode
_decode_open = msgspec.json.Decoder(list[OpenEntityRecord]).decode
_encode = msgspec.msgpack.Encoder().encode

_Rows = tuple["NDArray[np.float64]", "NDArray[np.int64]", int]
"""The numbers of each array, the index of its entity, and how many entities have any."""


def _read_usual(piece: bytes) -> Places:
    try:
        records = _decode_simple(piece)
    except msgspec.ValidationError:
        return places_of(_decode_usual(piece))
    spans, span_entity, span_lists = _from_ones([record.spans for record in records], 2)
    boxes, box_entity, box_lists = _from_ones([record.boxes for record in records], 5)
    return Places(len(records), spans, span_entity, boxes, box_entity, span_lists + box_lists)


def _read_open(piece: bytes) -> Places:
    return places_of(_decode_open(piece))


def _from_ones(ones: Sequence[Any], columns: int) -> _Rows:
    """Return the rows of records that hold one array each, or are missing."""
    owners = [i for i, one in enumerate(ones) if one is not UNSET] if UNSET in ones else range(len(ones))
    rows = ones if len(owners) == len(ones) else [ones[i] for i in owners]
    return _numbers(rows, columns, header=2), np.fromiter(owners, np.int64, len(owners)), len(owners)


def _from_lists(lists: Sequence[Sequence[Any]], columns: int) -> _Rows:
    """Return the rows of lists of arrays."""
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    rows = list(chain.from_iterable(lists))
    return _numbers(rows, columns, header=1), np.repeat(np.arange(len(lists)), counts), int(np.count_nonzero(counts))


def _numbers(rows: Sequence[Any], columns: int, *, header: int) -> NDArray[Any]:
    """Return the float64s in arrays of ``columns``, which MessagePack writes with ``header`` bytes before each.

    Shape (rows, columns).
    """
    numbers = np.empty((columns, len(rows)), np.float64)
    if rows:
        table = np.frombuffer(_encode(rows), _layout(columns, header), len(rows), _list_header(len(rows)))
        for i in range(columns):
            numbers[i] = table[f"{i}value"]
    return np.transpose(numbers)


@cache
def _layout(columns: int, header: int) -> np.dtype[np.void]:
    """Return what stands in an array of ``columns`` numbers: each a byte that says float64, and eight bytes."""
    fields = [("header", f"V{header}")]
    for i in range(columns):
        fields += [(f"{i}type", "V1"), (f"{i}value", ">f8")]
    return np.dtype(fields)


def _list_header(items: int) -> int:
    """Return how many bytes MessagePack writes before so many items."""
    return 1 if items < 2**4 else 3 if items < 2**16 else 5


def _concatenate(parts: Sequence[Places]) -> Places:
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *(part.entities for part in parts)]).tolist()
    return Places(
        first[-1],
        np.concatenate([part.spans.T for part in parts], axis=1).T,
        np.concatenate([part.span_entity + n for part, n in zip(parts, first, strict=False)]),
        np.concatenate([part.boxes.T for part in parts], axis=1).T,
        np.concatenate([part.box_entity + n for part, n in zip(parts, first, strict=False)]),
        sum(part.lists for part in parts),
    )
