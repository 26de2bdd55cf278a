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

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EntityRecord", "OpenEntityRecord", "Places", "places_of"]


class _SpanRecord(
    msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True
):
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

    spans: list[_SpanRecord] = []
    boxes: list[_BoxRecord] = []
    metadata: _Object = msgspec.field(default_factory=_Object)


class OpenEntityRecord(msgspec.Struct, gc=False):
    """An entity that may have other keys, which are skipped."""

    spans: list[_SpanRecord] = []
    boxes: list[_BoxRecord] = []
    metadata: _Object = msgspec.field(default_factory=_Object)


Record = EntityRecord | OpenEntityRecord


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


_encode = msgspec.msgpack.Encoder().encode
_NUMBER = (("type", "V1"), ("value", ">f8"))
_FEW = 15  # MessagePack writes the length of a list of so many items in one byte,
_ONE = 0x91  # which for one item is this


def places_of(records: Sequence[Record]) -> Places:
    """Return the numbers of all spans and boxes of ``records``."""
    spans, span_entity, span_lists = _rows([record.spans for record in records], 2)
    boxes, box_entity, box_lists = _rows([record.boxes for record in records], 5)
    return Places(
        len(records), spans, span_entity, boxes, box_entity, span_lists + box_lists
    )


def _rows(
    lists: Sequence[Sequence[Any]], columns: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Return the numbers in the arrays in ``lists``, the index of each array's list, and how many are not empty."""
    if all_have_one := _one_each(lists, columns):
        return all_have_one
    rows = list(chain.from_iterable(lists))
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    numbers = _numbers(
        _encode(rows), _list_header(len(rows)), len(rows), columns, header=1
    )
    return (
        numbers,
        np.repeat(np.arange(len(lists)), counts),
        int(np.count_nonzero(counts)),
    )


def _one_each(
    lists: Sequence[Sequence[Any]], columns: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], int] | None:
    """Return the same where every list holds one array, else None."""
    count = len(lists)
    packed, offset = _encode(lists), _list_header(count)
    stride = 2 + 9 * columns
    if len(packed) - offset != count * stride:
        return None
    # A list that begins in column 0 and holds one array ends where the row ends, so the next begins in column 0.
    sizes = np.frombuffer(packed, np.uint8, offset=offset)[::stride]
    if (sizes != _ONE).any():
        return None
    return _numbers(packed, offset, count, columns, header=2), np.arange(count), count


def _numbers(
    packed: Any, offset: int, rows: int, columns: int, *, header: int
) -> NDArray[np.float64]:
    """Return the float64s in ``rows`` MessagePack arrays of ``columns``, each with ``header`` bytes before it.

    A number is a byte that says float64, and eight bytes. Shape (rows, columns).
    """
    fields = [
        ("header", f"V{header}"),
        *((f"{i}{part}", kind) for i in range(columns) for part, kind in _NUMBER),
    ]
    table = np.frombuffer(packed, np.dtype(fields), rows, offset)
    numbers = np.empty((columns, rows), np.float64)
    for i in range(columns):
        numbers[i] = table[f"{i}value"]
    return numbers.T


def _list_header(items: int) -> int:
    return 1 if items <= _FEW else 3 if items < 2**16 else 5
