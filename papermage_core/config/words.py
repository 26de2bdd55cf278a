"""Types in words, for messages and help texts."""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union

__all__ = ["Opaque", "expected", "is_enum", "is_none", "is_opaque", "is_union", "opaque"]


class Opaque:
    """Base of types known by name only, whose objects are made in Python: a Lightning ``Callback``."""


@functools.cache
def opaque(name: str) -> type[Opaque]:
    """Return the one type that stands for the unseen class ``name``."""
    return type(name, (Opaque,), {})


def is_opaque(wanted: Any) -> bool:
    """Whether a type is known by name only."""
    return isinstance(wanted, type) and issubclass(wanted, Opaque)


def is_enum(wanted: Any) -> bool:
    """Whether a type is an enumeration."""
    return isinstance(wanted, type) and issubclass(wanted, enum.Enum)


def is_none(wanted: Any) -> bool:
    """Whether a type has None only."""
    return wanted is None or wanted is types.NoneType


def is_union(wanted: Any) -> bool:
    """Whether a type is a union, however it was written."""
    return typing.get_origin(wanted) in (Union, types.UnionType)


def expected(wanted: Any) -> str:
    """Return what a type allows, in words.

    >>> expected(int | None), expected(tuple[str, ...]), expected(Literal["train", "eval"])
    ("a whole number or 'none'", 'a comma-separated list of texts', "'train' or 'eval'")
    """
    arguments = typing.get_args(wanted)
    kind = typing.get_origin(wanted) or wanted
    if is_union(wanted):
        members = sorted(arguments, key=is_none)
        return _any_of(dict.fromkeys(word for member in members for word in _of_member(member, members)))
    if kind is Literal:
        return _any_of(map(repr, arguments))
    if is_enum(wanted):
        return _any_of(repr(member.value) for member in wanted)
    if is_opaque(wanted):
        return f"{_with_article(wanted.__name__)} made in Python"
    if kind is tuple and arguments and arguments[1:] != (...,):
        return f"{len(arguments)} comma-separated values"
    if kind in (tuple, list, Sequence, Iterable):
        return f"a comma-separated list of {_PLURALS.get(arguments[0] if arguments else Any, 'values')}"
    if kind in (dict, Mapping):
        return "a mapping"
    return _WORDS.get(wanted, _with_article(getattr(wanted, "__name__", str(wanted))))


def _of_member(member: Any, others: Sequence[Any]) -> list[str]:
    """Return what a member of a union adds to the others."""
    if typing.get_origin(member) is Literal:
        return [repr(choice) for choice in typing.get_args(member)]
    return [] if member is int and float in others else [expected(member)]


def _any_of(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _with_article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


_WORDS: dict[Any, str] = {
    bool: "yes or no",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    timedelta: "a timedelta made in Python",
    None: "'none'",
    types.NoneType: "'none'",
    Any: "anything",
}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}
