"""spaCy's ``DocBin`` ↔ the documents in it: msgpack, compressed, with a row of numbers for each token."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray

from papermage_core.errors import DataError
from papermage_formats.labelled import reason_of
from papermage_formats.spacy_strings import Strings

__all__ = ["ATTRIBUTES", "Group", "Row", "decode_docbin", "encode_docbin"]

ATTRIBUTES = {
    "orth": 65, "norm": 67, "lemma": 73, "pos": 74, "tag": 75, "dep": 76, "ent_iob": 77, "ent_type": 78, "head": 79,
    "sent_start": 80, "ent_kb_id": 452, "morph": 453, "ent_id": 454,
}  # fmt: skip
"""What spaCy writes of a token, by its number there."""
NUMBERS = frozenset({"ent_iob", "head", "sent_start"})
"""Attributes that are numbers; all others are strings."""
_NAMES = {number: name for name, number in ATTRIBUTES.items()}
_SPAN = struct.Struct(">QQQllll")
_decode = msgspec.msgpack.Decoder(strict=False).decode
_encode = msgspec.msgpack.Encoder().encode


@attrs.frozen
class Group:
    """Spans of a document under a name: label, first token, end, identifier, identifier in a knowledge base, score."""

    name: str
    spans: Sequence[tuple[str, int, int, str, str, float | None]]


@attrs.frozen
class Row:
    """A document as spaCy has it."""

    words: Sequence[str]
    spaces: Sequence[bool]
    """Whether a space follows."""
    columns: Mapping[str, Sequence[Any]]
    """Attributes of tokens but ``orth``: strings, None where there is none, or numbers."""
    groups: Sequence[Group] = ()
    cats: Mapping[str, Any] = attrs.field(factory=dict)
    user_data: Mapping[Any, Any] = attrs.field(factory=dict)


def decode_docbin(data: bytes, limit: int) -> tuple[int, Iterator[Row | DataError]]:
    """Return how many documents there are, and them, or why they cannot be read. Raises DataError.

    ``limit`` is the most bytes that are decompressed.
    """
    try:
        unpacker = zlib.decompressobj()
        message = unpacker.decompress(data, limit)
        if unpacker.unconsumed_tail:
            raise DataError(f"holds more than {limit >> 20} MiB, decompressed; reader.max_mb reads more")
        if not unpacker.eof:
            raise DataError("ends too early", expected="a DocBin of spaCy")
        found = _decode(message)
        numbers = [int(number) for number in found["attrs"]]
        lengths = np.frombuffer(found["lengths"], "<i4").astype(np.int64)
        table = np.frombuffer(found["tokens"], "<u8").reshape(-1, len(numbers))
        spaces = np.frombuffer(found["spaces"], np.bool_)
        if ATTRIBUTES["orth"] not in numbers or (lengths < 0).any() or not lengths.sum() == len(table) == len(spaces):
            raise DataError("holds another number of tokens than it says", expected="a DocBin of spaCy")
        names = [_NAMES.get(number, "") for number in numbers]
        return len(lengths), _rows(found, names, lengths, table, spaces, Strings(found["strings"]))
    except DataError:
        raise
    except (zlib.error, msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise DataError(f"cannot be read as a DocBin: {exc}", expected="a DocBin of spaCy") from exc


def _rows(
    found: Mapping[str, Any],
    names: Sequence[str],
    lengths: NDArray[Any],
    table: NDArray[Any],
    spaces: NDArray[Any],
    strings: Strings,
) -> Iterator[Row | DataError]:
    stops = np.cumsum(lengths)
    for number, (start, stop) in enumerate(zip((stops - lengths).tolist(), stops.tolist(), strict=True)):
        try:
            yield _row(found, number, names, table[start:stop], spaces[start:stop], strings)
        except DataError as exc:
            yield exc
        except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError, struct.error) as exc:
            yield DataError(f"cannot be read as a document of spaCy: {reason_of(exc)}", expected="a DocBin of spaCy")


def _row(
    found: Mapping[str, Any],
    number: int,
    names: Sequence[str],
    table: NDArray[Any],
    spaces: NDArray[Any],
    strings: Strings,
) -> Row:
    columns: dict[str, list[Any]] = {}
    for name, column in zip(names, table.T, strict=True):
        if name in NUMBERS:
            columns[name] = column.astype(np.int64).tolist()
        elif name:
            columns[name] = [strings.string(value) or None for value in column.tolist()]
    words = columns.pop("orth")
    if None in words:
        raise DataError(f"the word of token {words.index(None) + 1} is not among the strings", value=words)
    flags = _of(found, "flags", number) or {}
    groups = list(_groups(_of(found, "span_groups", number) or b"", strings, len(words)))
    packed = _of(found, "user_data", number)
    user_data = _decode(packed) if packed else {}
    known = [True] * len(words) if flags.get("has_unknown_spaces") else spaces.tolist()
    return Row(words, known, columns, groups, _of(found, "cats", number) or {}, user_data)


def _of(found: Mapping[str, Any], key: str, number: int) -> Any:
    values = found.get(key) or ()
    return values[number] if number < len(values) else None


def _groups(data: bytes, strings: Strings, tokens: int) -> Iterator[Group]:
    message = _decode(data) if data else ()
    pairs = message.items() if isinstance(message, dict) else ((packed, [None]) for packed in message)
    for packed, keys in pairs:
        group = _decode(packed)
        scores = _scores(group.get("attrs") or {}, len(group["spans"]))
        spans = []
        for span, score in zip(group["spans"], scores, strict=True):
            own, base, label, start, stop, *_ = _SPAN.unpack(span)
            if not 0 <= start < stop <= tokens:
                raise DataError(f"a span is at tokens {start} to {stop}; there are {tokens}", value=[start, stop])
            labels = (strings.string(label), strings.string(own), strings.string(base))
            spans.append((labels[0] or "", start, stop, labels[1] or "", labels[2] or "", score))
        yield from (Group(group["name"] if key is None else key, spans) for key in keys)


def _scores(attributes: Mapping[Any, Any], size: int) -> list[float | None]:
    found = attributes.get("scores")
    if isinstance(found, dict) and found.get(b"nd"):  # an array of numpy
        kind = found[b"type"]
        found = np.frombuffer(found[b"data"], kind.decode() if isinstance(kind, bytes) else kind).tolist()
    if not isinstance(found, list) or len(found) != size:
        return [None] * size
    return [None if math.isnan(score) else float(score) for score in found]


def encode_docbin(rows: Iterator[Row]) -> Iterator[bytes]:
    """Yield the pieces of a ``DocBin``."""
    strings = Strings([""])
    tables, lengths, spaces = [b""], [], [b""]
    groups, cats, user_data = [], [], []
    for row in rows:
        table = np.zeros((len(row.words), len(ATTRIBUTES)), np.int64).view(np.uint64)
        for i, name in enumerate(ATTRIBUTES):
            values = row.words if name == "orth" else row.columns.get(name) or ()
            if name in NUMBERS:
                table[: len(values), i] = np.array(values, np.int64).view(np.uint64)
            elif len(values):
                table[:, i] = np.fromiter((strings.number(value or "") for value in values), np.uint64, len(values))
        tables.append(table.tobytes())
        lengths.append(len(table))
        spaces.append(np.array(row.spaces, np.bool_).tobytes())
        sizes = np.fromiter(map(len, row.words), np.int64, len(row.words))
        stops = np.cumsum(sizes + np.array(row.spaces, np.int64)) - np.array(row.spaces, np.int64)
        places = list(zip((stops - sizes).tolist(), stops.tolist(), strict=True))
        groups.append(_encode({_packed(group, strings, places): [group.name] for group in row.groups} or []))
        cats.append(row.cats)
        user_data.append(_encode(row.user_data))
    message = {
        "version": "0.1",
        "attrs": list(ATTRIBUTES.values()),
        "tokens": b"".join(tables),
        "spaces": b"".join(spaces),
        "lengths": np.array(lengths, "<i4").tobytes(),
        "strings": strings.all(),
        "cats": cats,
        "flags": [{"has_unknown_spaces": False}] * len(lengths),
        "span_groups": groups,
        "user_data": user_data,
    }
    packer = zlib.compressobj()
    yield packer.compress(_encode(message))
    yield packer.flush()


def _packed(group: Group, strings: Strings, places: Sequence[tuple[int, int]]) -> bytes:
    spans = [
        _SPAN.pack(*map(strings.number, (own, base, label)), start, stop, places[start][0], places[stop - 1][1])
        for label, start, stop, own, base, _ in group.spans
    ]
    scores = [math.nan if score is None else score for *_, score in group.spans]
    attributes = {} if all(map(math.isnan, scores)) else {"scores": scores}
    return _encode({"name": group.name, "attrs": attributes, "spans": spans})
