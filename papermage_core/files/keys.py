"""The keys of JSON, of which readers keep the last where one stands twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from papermage_core.errors import DataError

__all__ = ["DoubledKey", "check_keys", "column", "doubled_keys"]

_PART = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]', re.DOTALL)


class DoubledKey(NamedTuple):
    """A key that an object has twice."""

    key: str
    path: tuple[str | int, ...]
    """Keys and numbers that lead to the object."""
    at: int
    """The byte of the second."""


def check_keys(data: bytes) -> None:
    """Raise DataError if a key stands twice in an object of ``data``, which is JSON, with its path and place.

    >>> check_keys(b'[{"id": 1, "id": 2}]')
    Traceback (most recent call last):
    papermage_core.errors.DataError: key 'id' stands twice in [0]; readers would keep only the last: column 12, near \
'[{"id": 1, "id": 2}]'
    """
    for found in doubled_keys(data):
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in found.path)
        where = "".join(steps).removeprefix(".") or "the object"
        raise DataError(
            f"key {found.key!r:.100} stands twice in {where:.200}; readers would keep only the last: "
            f"{column(data, found.at)}",
            value=found.key,
            expected="each key once",
        )


def doubled_keys(data: bytes) -> Iterator[DoubledKey]:
    """Yield the keys that stand twice in an object of ``data``, which is JSON of any depth."""
    try:
        json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        yield from _look_for_doubled_keys(data)


def column(data: bytes, at: int) -> str:
    r"""Return in words where a byte stands: the column, in characters from 1, and what is before and after it.

    >>> column(b'{"a": 1}\n{"b": ]', 15)
    'column 7 of its line 2, near \'{"b": ]\''
    """
    above = data.count(b"\n", 0, at)
    before, after = (part.decode(errors="replace") for part in (data[data.rfind(b"\n", 0, at) + 1 : at], data[at:]))
    where = f"column {len(before) + 1}" + (f" of its line {above + 1}" if above else "")
    return f"{where}, near {before[-20:] + after.splitlines()[0][:20] if after else before[-20:]!a}"


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError


class _Open:
    """An object or a list that has begun."""

    def __init__(self, is_object: bool) -> None:
        self.step: str | int = "" if is_object else 0
        self.keys = set[str]()


def _look_for_doubled_keys(data: bytes) -> Iterator[DoubledKey]:
    around: list[_Open] = []
    last = 0, b""
    for part in _PART.finditer(data):
        match part[0]:
            case b"{" | b"[":
                around.append(_Open(part[0] == b"{"))
            case b"}" | b"]":
                around.pop()
            case b"," if isinstance(around[-1].step, int):
                around[-1].step += 1
            case b":":
                inner, (at, name) = around[-1], last
                inner.step = key = json.loads(name)
                if key in inner.keys:
                    yield DoubledKey(key, tuple(each.step for each in around[:-1]), at)
                inner.keys.add(key)
        last = part.start(), part[0]
