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

from papermage_core.document.json.pieces import pieces_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Coordinates", "OpenEntityRecord", "coordinates_of", "coordinates_of_json"]


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


class _SpanOnlyRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An entity of at most one span: no lists, so less to make and to free."""

    spans: _OneSpan | UnsetType = UNSET


class _SpanBoxRecord(_SpanOnlyRecord, gc=False, forbid_unknown_fields=True):
    """An entity of at most one span and one box."""

    boxes: _OneBox | UnsetType = UNSET


class _SimpleRecord(_SpanBoxRecord, gc=False, forbid_unknown_fields=True):
    """An entity of at most one span and one box, as most are, and metadata."""

    metadata: _Object | UnsetType = UNSET


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
class Coordinates:
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


def coordinates_of_json(data: bytes, start: int = 0, stop: int | None = None) -> tuple[Coordinates, bool]:
    """Return the numbers of a layer's JSON, and whether some entity may have keys that nobody here knows.

    The layer is ``data[start:stop]``. Raises msgspec.DecodeError for what is no list of entities.
    """
    stop = len(data) if stop is None else stop
    for read, has_extras in ((_read_usual, False), (_read_open, True)):
        try:
            return _concatenate([read(piece) for piece in pieces_of(data, start, stop)]), has_extras
        except msgspec.DecodeError:
            continue
    return _read_open(data[start:stop]), True


def coordinates_of(records: Sequence[_EntityRecord | OpenEntityRecord]) -> Coordinates:
    """Return the numbers of all spans and boxes of ``records``."""
    spans, span_entity, span_lists = _from_lists([record.spans for record in records], 2)
    boxes, box_entity, box_lists = _from_lists([record.boxes for record in records], 5)
    return Coordinates(len(records), spans, span_entity, boxes, box_entity, span_lists + box_lists)


_decode_span_only = msgspec.json.Decoder(list[_SpanOnlyRecord]).decode
_decode_span_box = msgspec.json.Decoder(list[_SpanBoxRecord]).decode
_decode_simple = msgspec.json.Decoder(list[_SimpleRecord]).decode
_decode_usual = msgspec.json.Decoder(list[_EntityRecord]).decode
_decode_open = msgspec.json.Decoder(list[OpenEntityRecord]).decode
_encode = msgspec.msgpack.Encoder().encode

_Rows = tuple["NDArray[np.float64]", "NDArray[np.int64]", int]
"""The numbers of each array, the index of its entity, and how many entities have any."""


def _read_usual(piece: bytes) -> Coordinates:
    first = piece[: piece.find(b"}")]
    has_boxes, has_metadata = b'"boxes"' in first, b'"metadata"' in first
    try:
        if not has_metadata:
            alike = _of_alike(*((_decode_span_box(piece), 7) if has_boxes else (_decode_span_only(piece), 2)))
            if alike is not None:
                return alike
    except msgspec.ValidationError:
        pass  # another entity has more keys than the first
    try:
        records = _decode_simple(piece)
    except msgspec.ValidationError:
        return coordinates_of(_decode_usual(piece))
    if (alike := _of_alike(records, 7)) is not None:
        return alike
    spans, span_entity, span_lists = _from_ones([record.spans for record in records], 2)
    boxes, box_entity, box_lists = _from_ones([record.boxes for record in records], 5)
    return Coordinates(len(records), spans, span_entity, boxes, box_entity, span_lists + box_lists)


def _read_open(piece: bytes) -> Coordinates:
    return coordinates_of(_decode_open(piece))


def _of_alike(records: Sequence[_SpanOnlyRecord], columns: int) -> Coordinates | None:
    """Return the coordinates of records of one type, each with all that the type has; None if one lacks some."""
    if not records:
        return None
    layout = _record_layout(type(records[0]))
    written = _encode(records)
    n, header = len(records), _list_header(len(records))
    if len(written) != header + n * layout.itemsize:  # what is left out makes a record shorter; nothing makes it longer
        return None
    table = np.frombuffer(written, layout, n, header)
    numbers = np.empty((columns, n), np.float64)
    for i in range(columns):
        numbers[i] = table[f"{i}value"]
    owners = np.arange(n)
    boxes, box_owners = (numbers[2:].T, owners) if columns == 7 else (np.empty((0, 5)), owners[:0])
    return Coordinates(n, numbers[:2].T, owners, boxes, box_owners, n + len(boxes))


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
def _record_layout(kind: type[_SpanOnlyRecord]) -> np.dtype[np.void]:
    """Return where the numbers of a record stand that lacks nothing."""
    parts: list[Any] = [_OneSpan(_SpanRecord(0.0, 1.0)), _OneBox(_BoxRecord(2.0, 3.0, 4.0, 5.0, 6.0)), _Object()]
    written = _encode(kind(*parts[: len(kind.__struct_fields__)]))
    columns = 2 if kind is _SpanOnlyRecord else 7
    at = [written.index(_encode(float(i))) + 1 for i in range(columns)]
    names = [f"{i}value" for i in range(columns)]
    return np.dtype({"names": names, "formats": [">f8"] * columns, "offsets": at, "itemsize": len(written)})


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


def _concatenate(parts: Sequence[Coordinates]) -> Coordinates:
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *(part.entities for part in parts)]).tolist()
    return Coordinates(
        first[-1],
        np.concatenate([part.spans.T for part in parts], axis=1).T,
        np.concatenate([part.span_entity + n for part, n in zip(parts, first, strict=False)]),
        np.concatenate([part.boxes.T for part in parts], axis=1).T,
        np.concatenate([part.box_entity + n for part, n in zip(parts, first, strict=False)]),
        sum(part.lists for part in parts),
    )
