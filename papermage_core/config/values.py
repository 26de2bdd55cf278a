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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from papermage_core.plugin.option_types import OptionType, expected, is_none_word, option_type

__all__ = ["InvalidValueError", "Text", "read"]

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|\.?inf)", re.ASCII)
_LONGEST_NUMBER = 100


class Text(str):
    """A value as a person typed it, unquoted: ``none`` then says None where the type has one."""

    __slots__ = ()


class InvalidValueError(ValueError):
    """A value that its type does not allow. The message says what was expected."""


def read(value: Any, wanted: Any) -> Any:
    """Return ``value`` as the type ``wanted`` has it. Raises `InvalidValueError`.

    >>> read("5e-5", float), read("on", str), read("on", bool), read("1,2", tuple[str, ...]), read("none", int | None)
    (5e-05, 'on', True, ('1', '2'), None)
    """
    return _read(value, option_type(wanted))


def _read(value: Any, wanted: OptionType) -> Any:
    if wanted.shape == "any":
        return value
    reader = _SIMPLE.get(wanted.declared, _instance) if wanted.shape == "simple" else _READERS[wanted.shape]
    return reader(value, wanted)


def _invalid(wanted: OptionType) -> InvalidValueError:
    return InvalidValueError(expected(wanted.declared))


def _union(value: Any, wanted: OptionType) -> Any:
    """Return the value as the most exacting member has it that takes it: ``1`` is an int before it is a str."""
    if wanted.is_optional and isinstance(value, Text) and is_none_word(value):
        return None  # before str or Path take the word
    for member in sorted(wanted.parts, key=_rank):
        with contextlib.suppress(InvalidValueError):
            return _read(value, member)
    raise _invalid(wanted)


def _rank(member: OptionType) -> int:
    ranks = {"choice": 0, "list": 6, "tuple": 6, "mapping": 6, "none": 9}
    return ranks.get(member.shape, {int: 1, float: 2, bool: 3, Path: 7, str: 8}.get(member.declared, 5))


def _none(value: Any, wanted: OptionType) -> None:
    if value is not None and not (isinstance(value, str) and (not value or is_none_word(value))):
        raise _invalid(wanted)


def _choice(value: Any, wanted: OptionType) -> Any:
    """Return the choice that is the value, before one that is written like it."""
    for choice in wanted.choices:
        if type(choice) is type(value) and choice == value:
            return choice
    for choice in wanted.choices:
        names = (choice.name, choice.value, str(choice.value)) if isinstance(choice, enum.Enum) else (str(choice),)
        if (isinstance(value, str) or isinstance(choice, enum.Enum)) and value in names:
            return choice
    raise _invalid(wanted)


def _made_in_python(value: Any, wanted: OptionType) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        raise _invalid(wanted)
    return value


def _instance(value: Any, wanted: OptionType) -> Any:
    if isinstance(wanted.declared, type) and isinstance(value, wanted.declared):
        return value
    raise _invalid(wanted)


def _readable(value: Any, wanted: OptionType) -> Any:
    try:
        return wanted.declared.read(value)
    except ValueError:
        raise _invalid(wanted) from None


def _bool(value: Any, wanted: OptionType) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise _invalid(wanted)


def _int(value: Any, wanted: OptionType) -> int:
    if isinstance(value, str):
        if _WHOLE.fullmatch(value.strip()) and len(value) <= _LONGEST_NUMBER:
            return int(value)
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        with contextlib.suppress(TypeError):  # an array of numbers
            return int(value.__index__())
    raise _invalid(wanted)


def _float(value: Any, wanted: OptionType) -> float:
    number = math.nan
    if isinstance(value, str):
        text = value.strip().lower()
        if _NUMBER.fullmatch(text) and len(text) <= _LONGEST_NUMBER:
            number = float(text.replace(".inf", "inf"))
            number = math.nan if math.isinf(number) and "inf" not in text else number  # 1e400 is not what was meant
    elif hasattr(value, "__float__") and not isinstance(value, bool):
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # an array of numbers, a huge integer
            number = float(value)
    if math.isnan(number):
        raise _invalid(wanted)
    return number


def _str(value: Any, wanted: OptionType) -> str:
    if isinstance(value, str):
        return str(value)
    raise _invalid(wanted)


def _path(value: Any, wanted: OptionType) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value and "\0" not in value:
        return Path(value).expanduser() if Path(value).parts[:1] == ("~",) else Path(value)
    raise _invalid(wanted)


def _list(value: Any, wanted: OptionType) -> Any:
    kind = list if typing.get_origin(wanted.declared) is list else tuple
    try:
        return kind(_read(part, wanted.parts[0]) for part in _parts(value, wanted))
    except InvalidValueError:
        raise _invalid(wanted) from None


def _tuple(value: Any, wanted: OptionType) -> Any:
    parts = _parts(value, wanted)
    try:
        return tuple(_read(part, member) for part, member in zip(parts, wanted.parts, strict=True))
    except ValueError:  # of another length, or an InvalidValueError
        raise _invalid(wanted) from None


def _parts(value: Any, wanted: OptionType) -> list[Any]:
    if isinstance(value, str):
        return _split(value)
    if isinstance(value, (Path, Mapping)):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise _invalid(wanted)


def _split(text: str) -> list[str]:
    """Return the parts of ``a,b``, or of the JSON list ``["a,b", "c"]`` for parts that hold a comma."""
    if text.startswith("[") and text.endswith("]"):
        with contextlib.suppress(ValueError, RecursionError):
            parts = json.loads(text)
            if all(isinstance(part, str) for part in parts):
                return list(parts)
    return [Text(part.strip()) for part in text.split(",") if part.strip()]


def _mapping(value: Any, wanted: OptionType) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _invalid(wanted)
    keys, values = wanted.parts
    items = value.items() if values.shape in ("mapping", "any", "union") else _dotted(value)
    found = {_read(key, keys): _read(item, values) for key, item in items}
    return found if typing.get_origin(wanted.declared) is dict else _Named(found)


class _Named(dict[str, Any]):
    """A value for each name, in a config: these are hashable."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def _dotted(value: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[Any, Any]]:
    """Yield keys and values; what lies deeper is of a name with dots, ``min_score.a.b=0.5``."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _dotted(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}" if prefix else key, item


_READERS: Mapping[str, Callable[[Any, OptionType], Any]] = {
    "none": _none,
    "union": _union,
    "choice": _choice,
    "list": _list,
    "tuple": _tuple,
    "mapping": _mapping,
    "options": _instance,
    "readable": _readable,
    "opaque": _made_in_python,
}
_SIMPLE: Mapping[Any, Callable[[Any, OptionType], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: _path,
}
