"""Read a value by its declared type: never guess what a text might mean.

Texts come from a command line or a YAML file, other values from Python. ``read("5e-5", float)`` is a number,
``read("on", str)`` stays a text, ``read("1,2", tuple[str, ...])`` are two texts.
"""

from __future__ import annotations

import contextlib
import enum
import json
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from papermage_core.config.words import expected, is_enum, is_none, is_opaque, is_union

__all__ = ["InvalidValueError", "Text", "is_none_word", "read"]

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_NONE = {"none", "null", "~"}
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|\.?inf)", re.ASCII)
_LONGEST_NUMBER = 100


class Text(str):
    """A value as a person typed it, unquoted: ``none`` then says None where the type has one."""

    __slots__ = ()


class InvalidValueError(ValueError):
    """A value that its type does not allow. The message says what was expected."""


def is_none_word(text: str) -> bool:
    """Whether a text says None, where its type has one."""
    return text.strip().lower() in _NONE


def read(value: Any, wanted: Any) -> Any:
    """Return ``value`` as the type ``wanted`` has it. Raises `InvalidValueError`.

    >>> read("5e-5", float), read("on", str), read("on", bool), read("1,2", tuple[str, ...]), read("none", int | None)
    (5e-05, 'on', True, ('1', '2'), None)
    """
    if wanted is Any:
        return value
    if is_union(wanted):
        return _union(value, wanted)
    return _reader(wanted)(value, wanted)


def _reader(wanted: Any) -> Callable[[Any, Any], Any]:
    if is_none(wanted):
        return _none
    if is_enum(wanted):
        return _enum
    if is_opaque(wanted):
        return _made_in_python
    return _READERS.get(typing.get_origin(wanted) or wanted, _instance)


def _union(value: Any, wanted: Any) -> Any:
    """Return the value as the most exacting member has it that takes it: ``1`` is an int before it is a str."""
    members = sorted(typing.get_args(wanted), key=_rank)
    optional = any(is_none(member) for member in members)
    if optional and isinstance(value, Text) and is_none_word(value):
        return None  # before str or Path take the word
    for member in members:
        with contextlib.suppress(InvalidValueError):
            return read(value, member)
    raise InvalidValueError(expected(wanted))


def _rank(member: Any) -> int:
    kind = typing.get_origin(member) or member
    if is_enum(member) or kind is Literal:
        return 0
    return {int: 1, float: 2, bool: 3, Path: 7, str: 8, type(None): 9}.get(kind, 6 if kind in _READERS else 5)


def _none(value: Any, wanted: Any) -> None:
    if value is not None and not (isinstance(value, str) and (not value or is_none_word(value))):
        raise InvalidValueError(expected(wanted))


def _literal(value: Any, wanted: Any) -> Any:
    choices = typing.get_args(wanted)
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    for choice in choices:
        if isinstance(value, str) and str(choice) == value:
            return choice
    raise InvalidValueError(expected(wanted))


def _enum(value: Any, wanted: type[enum.Enum]) -> enum.Enum:
    for member in wanted:
        if value in (member, member.value) or (isinstance(value, str) and value in (member.name, str(member.value))):
            return member
    raise InvalidValueError(expected(wanted))


def _made_in_python(value: Any, wanted: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        raise InvalidValueError(expected(wanted))
    return value


def _instance(value: Any, wanted: Any) -> Any:
    if isinstance(wanted, type) and isinstance(value, wanted):
        return value
    raise InvalidValueError(expected(wanted))


def _bool(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise InvalidValueError(expected(wanted))


def _int(value: Any, wanted: Any) -> int:
    if isinstance(value, str):
        if _WHOLE.fullmatch(value.strip()) and len(value) <= _LONGEST_NUMBER:
            return int(value)
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        with contextlib.suppress(TypeError):  # an array of numbers
            return int(value.__index__())
    raise InvalidValueError(expected(wanted))


def _float(value: Any, wanted: Any) -> float:
    number = math.nan
    if isinstance(value, str):
        text = value.strip().lower()
        if _NUMBER.fullmatch(text) and len(text) <= _LONGEST_NUMBER:
            number = float(text.replace(".inf", "inf"))
    elif hasattr(value, "__float__") and not isinstance(value, bool):
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # an array of numbers, a huge integer
            number = float(value)
    if math.isnan(number):
        raise InvalidValueError(expected(wanted))
    return number


def _str(value: Any, wanted: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise InvalidValueError(expected(wanted))


def _path(value: Any, wanted: Any) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value and "\0" not in value:
        return Path(value).expanduser() if Path(value).parts[:1] == ("~",) else Path(value)
    raise InvalidValueError(expected(wanted))


def _sequence(value: Any, wanted: Any) -> Any:
    kind = list if typing.get_origin(wanted) is list else tuple
    parts = _parts(value, wanted)
    members = _members(wanted, len(parts))
    if len(members) != len(parts):
        raise InvalidValueError(expected(wanted))
    try:
        return kind(read(part, member) for part, member in zip(parts, members, strict=True))
    except InvalidValueError:
        raise InvalidValueError(expected(wanted)) from None


def _members(wanted: Any, n: int) -> Sequence[Any]:
    """Return the type of each of n parts; of as many as there must be, for a tuple of fixed length."""
    arguments = typing.get_args(wanted) or (Any, ...)
    if typing.get_origin(wanted) is tuple and arguments[-1] is not ...:
        return arguments
    return [arguments[0]] * n


def _parts(value: Any, wanted: Any) -> list[Any]:
    if isinstance(value, str):
        return _split(value)
    if isinstance(value, Path):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, (Mapping, bytes)):
        return list(value)
    raise InvalidValueError(expected(wanted))


def _split(text: str) -> list[str]:
    """Return the parts of ``a,b``, or of the JSON list ``["a,b", "c"]`` for parts that hold a comma."""
    if text.startswith("[") and text.endswith("]"):
        with contextlib.suppress(ValueError):
            parts = json.loads(text)
            if all(isinstance(part, str) for part in parts):
                return list(parts)
    return [Text(part.strip()) for part in text.split(",") if part.strip()]


def _mapping(value: Any, wanted: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValueError(expected(wanted))
    keys, values = typing.get_args(wanted) or (Any, Any)
    return {read(key, keys): read(item, values) for key, item in value.items()}


_READERS: Mapping[Any, Callable[[Any, Any], Any]] = {
    Literal: _literal,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: _path,
    timedelta: _instance,
    tuple: _sequence,
    list: _sequence,
    Sequence: _sequence,
    Iterable: _sequence,
    dict: _mapping,
    Mapping: _mapping,
}
