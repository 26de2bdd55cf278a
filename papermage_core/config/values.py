"""Read a value by its declared type: never guess what a text might mean.

Texts come from a command line or a YAML file, other values from Python. ``read("5e-5", float)`` is a number,
``read("on", str)`` stays a text, ``read("1,2", tuple[str, ...])`` are two texts.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union

__all__ = ["MisfitError", "Opaque", "Text", "expected", "is_none_word", "opaque", "read"]

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_NONE = {"none", "null", "~"}
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|\.?inf)", re.IGNORECASE)


class Text(str):
    """A value as a person typed it, unquoted: ``none`` then says None where the type has one."""

    __slots__ = ()


class MisfitError(ValueError):
    """A value that its type does not allow. The message says what was expected."""


class Opaque:
    """Base of types known by name only, whose objects are made in Python: a Lightning ``Callback``."""


@functools.cache
def opaque(name: str) -> type[Opaque]:
    """Return the one type that stands for the unseen class ``name``."""
    return type(name, (Opaque,), {})


def is_none_word(text: str) -> bool:
    """Whether a text says None, where its type has one."""
    return text.strip().lower() in _NONE


def read(value: Any, wanted: Any) -> Any:
    """Return ``value`` as the type ``wanted`` has it. Raises `MisfitError`.

    >>> read("5e-5", float), read("on", str), read("on", bool), read("1,2", tuple[str, ...]), read("none", int | None)
    (5e-05, 'on', True, ('1', '2'), None)
    """
    if wanted is Any:
        return value
    if wanted is None or wanted is types.NoneType:
        return _none(value)
    if _is_opaque(wanted):
        return _made_in_python(value, wanted)
    if isinstance(wanted, typing.NewType):
        return read(value, wanted.__supertype__)
    origin = typing.get_origin(wanted)
    if origin is typing.Annotated:
        return read(value, typing.get_args(wanted)[0])
    if origin in (Union, types.UnionType):
        return _union(value, wanted)
    if origin is Literal:
        return _literal(value, wanted)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return _enum(value, wanted)
    if (origin or wanted) in _CONTAINERS:
        return _CONTAINERS[origin or wanted](value, wanted)
    if wanted in _SCALARS:
        return _SCALARS[wanted](value, wanted)
    if isinstance(wanted, type) and isinstance(value, wanted):
        return value
    raise MisfitError(expected(wanted))


def expected(wanted: Any) -> str:
    """Return what a type allows, in words.

    >>> expected(int | None), expected(tuple[str, ...]), expected(Literal["train", "eval"])
    ("a whole number or 'none'", 'a comma-separated list of texts', "'train' or 'eval'")
    """
    if _is_opaque(wanted):
        return f"{_article(wanted.__name__)} made in Python"
    if isinstance(wanted, typing.NewType):
        return expected(wanted.__supertype__)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        return expected(arguments[0])
    if origin in (Union, types.UnionType):
        return _any_of(
            dict.fromkeys(word for member in sorted(arguments, key=_is_none) for word in _words(member, arguments))
        )
    if origin is Literal:
        return _any_of(repr(choice) for choice in arguments)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return _any_of(repr(member.value) for member in wanted)
    kind = origin or wanted
    if kind is tuple and not (len(arguments) == 2 and arguments[1] is ...) and arguments:
        return f"{len(arguments)} comma-separated values"
    if kind in (tuple, list, Sequence, Iterable):
        return f"a comma-separated list of {_PLURALS.get(arguments[0] if arguments else Any, 'values')}"
    if kind in (dict, Mapping):
        return "a mapping"
    return _WORDS.get(wanted, _article(getattr(wanted, "__name__", str(wanted))))


def _none(value: Any) -> None:
    if value is None or (isinstance(value, str) and (is_none_word(value) or not value)):
        return
    raise MisfitError(expected(None))


def _is_opaque(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, Opaque)


def _made_in_python(value: Any, wanted: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        raise MisfitError(expected(wanted))
    return value


def _union(value: Any, wanted: Any) -> Any:
    members = sorted(typing.get_args(wanted), key=_rank)
    if any(_is_none(member) for member in members):
        if value is None or (isinstance(value, Text) and is_none_word(value)):
            return None
        if isinstance(value, str) and not value and str not in members:
            return None
    for member in members:
        try:
            if not _is_none(member):
                return read(value, member)
        except MisfitError:
            continue
    if isinstance(value, str) and is_none_word(value) and any(_is_none(member) for member in members):
        return None
    raise MisfitError(expected(wanted))


def _literal(value: Any, wanted: Any) -> Any:
    for choice in typing.get_args(wanted):
        if type(choice) is type(value) and choice == value:
            return choice
    if isinstance(value, str):
        for choice in typing.get_args(wanted):
            if str(choice) == value:
                return choice
    raise MisfitError(expected(wanted))


def _enum(value: Any, wanted: type[enum.Enum]) -> enum.Enum:
    if isinstance(value, wanted):
        return value
    for member in wanted:
        if value == member.value or (isinstance(value, str) and value in (member.name, str(member.value))):
            return member
    raise MisfitError(expected(wanted))


def _bool(value: Any, wanted: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if isinstance(word, str) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise MisfitError(expected(wanted))


def _int(value: Any, wanted: Any) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) and len(value) < 100:
        return int(value)
    if hasattr(value, "__index__") and not isinstance(value, bool):
        with contextlib.suppress(TypeError):  # an array of numbers
            return int(value.__index__())
    raise MisfitError(expected(wanted))


def _float(value: Any, wanted: Any) -> float:
    number: float | None = None
    if isinstance(value, str):
        text = value.strip().lower()
        if _NUMBER.fullmatch(text):
            number = float(text.replace(".inf", "inf"))
    elif hasattr(value, "__float__") and not isinstance(value, bool):
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # an array of numbers, say
            number = float(value)
    if number is None or math.isnan(number):
        raise MisfitError(expected(wanted))
    return number


def _str(value: Any, wanted: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise MisfitError(expected(wanted))


def _path(value: Any, wanted: Any) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value and "\0" not in value:
        return Path(value).expanduser() if value.startswith("~") else Path(value)
    raise MisfitError(expected(wanted))


def _timedelta(value: Any, wanted: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    raise MisfitError(expected(wanted))


def _sequence(value: Any, wanted: Any) -> Any:
    kind = list if (typing.get_origin(wanted) or wanted) is list else tuple
    arguments = typing.get_args(wanted)
    parts = _parts(value, wanted)
    if kind is list or len(arguments) != 2 or arguments[1] is not ...:
        if kind is tuple and arguments and (typing.get_origin(wanted) is tuple):
            if len(parts) != len(arguments):
                raise MisfitError(expected(wanted))
            return tuple(read(part, member) for part, member in zip(parts, arguments, strict=True))
        member = arguments[0] if arguments else Any
    else:
        member = arguments[0]
    try:
        return kind(read(part, member) for part in parts)
    except MisfitError:
        raise MisfitError(expected(wanted)) from None


def _parts(value: Any, wanted: Any) -> list[Any]:
    if isinstance(value, str):
        return _split(value)
    if isinstance(value, Path):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, (Mapping, bytes)):
        return list(value)
    raise MisfitError(expected(wanted))


def _split(text: str) -> list[str]:
    """Return the parts of ``a,b``, or of the JSON list ``["a,b", "c"]`` for parts that hold a comma."""
    if text.startswith("[") and text.endswith("]"):
        try:
            parts = json.loads(text)
        except ValueError:
            parts = None
        if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
            return list(parts)
    kind = Text if isinstance(text, Text) else str
    return [kind(part.strip()) for part in text.split(",") if part.strip()]


def _mapping(value: Any, wanted: Any) -> dict[Any, Any]:
    arguments = typing.get_args(wanted)
    if not isinstance(value, Mapping):
        raise MisfitError(expected(wanted))
    keys, values = arguments or (Any, Any)
    return {read(key, keys): read(item, values) for key, item in value.items()}


def _is_none(member: Any) -> bool:
    return member is None or member is types.NoneType


def _rank(member: Any) -> int:
    """Return how exacting a type is: in a union the most exacting that a value fits has it."""
    if typing.get_origin(member) is Literal or (isinstance(member, type) and issubclass(member, enum.Enum)):
        return 0
    if (typing.get_origin(member) or member) in _CONTAINERS:
        return 6
    return {int: 1, float: 2, bool: 3, timedelta: 4, Path: 7, str: 8}.get(member, 5)


def _words(member: Any, others: Sequence[Any]) -> list[str]:
    """Return what a member of a union adds to the others, in words."""
    if typing.get_origin(member) is Literal:
        return [repr(choice) for choice in typing.get_args(member)]
    return [] if member is int and float in others else [expected(member)]


def _any_of(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


_CONTAINERS: dict[Any, Callable[[Any, Any], Any]] = {
    tuple: _sequence,
    list: _sequence,
    Sequence: _sequence,
    Iterable: _sequence,
    dict: _mapping,
    Mapping: _mapping,
}
_SCALARS: dict[Any, Callable[[Any, Any], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: _path,
    timedelta: _timedelta,
}
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
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths", bool: "yes or no"}
