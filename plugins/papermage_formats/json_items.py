"""Records in JSON: one a line, in a list, under a key, or one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from papermage_core.errors import DataError
from papermage_core.files import check_keys, column, kind_of_file, open_bytes
from papermage_formats.labelled import decode_text, stem_of

__all__ = ["decode_item", "json_bytes", "json_items", "json_value", "named_items"]

_MARK = b"\xef\xbb\xbf"
_RECORD = re.compile(rb'\{|\[\s*"|null')
"""How a record in a list begins; in place of one there may be nothing."""
_Item = tuple[int, int, bytes]
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_is_json = msgspec.json.Decoder(msgspec.Raw).decode


def json_items(path: Path, *keys: str, nested: bool = False) -> Iterator[_Item]:
    """Yield line, byte and JSON of each record: a line each, if the first line is JSON; else those in the whole file.

    The records of a list are in it, those of an object with a list of records under one of ``keys`` in that; with
    ``nested``, such objects may stand in a list. A list that begins with a text is a record. Raises DataError, also
    where there is none.
    """
    empty = True
    for item in _items_of(path, _Within(keys, nested)):
        empty = False
        yield item
    if empty:
        raise DataError("this file holds no document", expected="JSON")


class _Within(NamedTuple):
    """Where records are in a value."""

    keys: Sequence[str]
    nested: bool


def _items_of(path: Path, within: _Within) -> Iterator[_Item]:
    with open_bytes(path) as file:
        byte = 0
        for line, data in enumerate(file, 1):
            mark = len(_MARK) if line == 1 and data.startswith(_MARK) else 0
            if data[mark:].strip():
                break
            byte += len(data)
        else:
            return
        begin = (line, byte + mark, data[mark:])
        if kind := kind_of_file(begin[2]):
            raise DataError(f"is {kind}", line=line, expected="JSON")
        if _sound(begin[2]):
            yield from _items(*begin, within)
            yield from chain.from_iterable(_items(*each, within) for each in _lines(file, line + 1, byte + len(data)))
            return
        rest = file.read()
    whole = begin[2] + rest
    if _sound(whole):
        yield from _items(line, begin[1], whole, within)
    elif begin[2].strip() != b"[" and any(each.startswith(b"{") and _sound(each) for each in rest.splitlines()):
        lines = whole.splitlines(True)  # of which only some are broken
        yield from chain.from_iterable(_items(*each, within) for each in _lines(lines, line, begin[1]))
    else:
        yield from _one_after_the_other(line, begin[1], whole)


def named_items(path: Path, *keys: str) -> Iterator[tuple[int, int, tuple[str, bytes]]]:
    """Yield the same, with a name made of that of the file before the JSON of each record."""
    stem = stem_of(path)
    for number, (line, byte, data) in enumerate(json_items(path, *keys), 1):
        yield line, byte, (f"{stem}-{number}", data)


def decode_item(data: bytes) -> Any:
    """Return the value of a record. Raises DataError for what is no JSON, and for a key that stands twice."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        try:
            data.decode()
        except UnicodeDecodeError as bad:
            message = f"is not UTF-8: {bad.reason} at byte {bad.start} of it (0x{data[bad.start]:02x}); JSON always is"
            raise DataError(message, expected="JSON") from exc
        raise DataError(f"is not JSON: {_reason(exc, data)}", expected="JSON") from exc
    check_keys(data)
    return found


def _reason(exc: Exception, data: bytes) -> str:
    """Return what msgspec says of JSON that is none, with what stands there instead of the number of a byte."""
    reason = str(exc).removeprefix("JSON is malformed: ")
    if not (place := re.search(r" \(byte (\d+)\)$", reason)):
        return reason
    at = int(place[1])
    comma = (
        "; no comma stands between records of JSON Lines"
        if reason.startswith("trailing characters") and data[at - 1 : at] == b","
        else ""
    )
    return f"{reason[: place.start()]}, {column(data, at)}{comma}"


def json_value(value: Any) -> Any:
    """Return a value as JSON holds it: other keys and values than JSON has as text."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))
    except (TypeError, ValueError, RecursionError):
        return str(value)


def json_bytes(value: Any, document: str | None = None) -> bytes:
    """Return a value as JSON, numpy's numbers and arrays too. Raises DataError for what JSON has no form for."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise DataError(f"cannot be written as JSON: {exc}", document=document, expected="values of JSON") from exc


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"there is a value of type {type(value).__name__} in it, {value!r:.100}")


def _lines(lines: Any, first: int, byte: int) -> Iterator[_Item]:
    for number, line in enumerate(lines, first):
        if not line.isspace():
            yield number, byte, line
        byte += len(line)


def _sound(data: bytes) -> bool:
    try:
        _is_json(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return data.strip()[:1] in (b"{", b"[")


def _items(line: int, byte: int, data: bytes, within: _Within) -> Iterator[_Item]:
    pieces = _pieces(data, within.keys)
    if pieces is None:
        yield line, byte, data
        return
    at = 0
    for piece in pieces:
        raw = bytes(memoryview(piece))
        found = data.find(raw, at)
        line, at = line + data.count(b"\n", at, found), found
        if within.nested and raw.startswith(b"{"):
            yield from _items(line, byte + found, raw, within)
        else:
            yield line, byte + found, raw
        line, at = line + raw.count(b"\n"), at + len(raw)


def _pieces(data: bytes, keys: Sequence[str]) -> list[msgspec.Raw] | None:
    """Return the records in a value; None where it is one itself, or no JSON."""
    try:
        if data.lstrip()[:1] != b"[":
            values = _decode_keys(data)
            key = next((key for key in keys if key in values), None)
            if key is None or not all(map(_is_record, (found := _decode_list(values[key]))[:1])):
                return None
            _check_around(data, values[key])
            return found
        pieces = _decode_list(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if pieces and bytes(memoryview(pieces[0])).startswith(b'"') else pieces


def _check_around(data: bytes, records: msgspec.Raw) -> None:
    """Raise DataError for a key that stands twice beside the records, whose own keys are looked at one by one."""
    inner = bytes(memoryview(records))
    before, _, after = data.rpartition(inner)
    check_keys(before + b"null" + b"\n" * inner.count(b"\n") + after)


def _is_record(piece: msgspec.Raw) -> bool:
    return _RECORD.match(memoryview(piece)) is not None


def _one_after_the_other(line: int, byte: int, data: bytes) -> Iterator[_Item]:
    """Yield objects, each over several lines, that are not in a list."""
    at = 0
    for found in re.finditer(rb"^\}[ \t\r]*(?:\n|$)", data, re.MULTILINE):
        raw = data[at : found.end()]
        if not _sound(raw):
            break
        yield line, byte + at, raw
        line, at = line + raw.count(b"\n"), found.end()
    if data[at:].strip():
        decode_text(data[at:], line=line, byte=byte + at, advice=False)
        try:
            msgspec.json.decode(data[at:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            place = re.search(r"byte (\d+)", str(exc))
            more = data.count(b"\n", at, at + int(place[1])) if place else 0
            raise DataError(f"is not JSON: {_reason(exc, data[at:])}", line=line + more, expected="JSON") from exc
        raise DataError("is no object and no list", line=line, expected="JSON objects")
