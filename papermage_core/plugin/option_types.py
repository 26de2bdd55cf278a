"""The types that an option may have, taken apart in one place: to read values, name types, and make schemas."""

from __future__ import annotations

import enum
import functools
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, Union
from weakref import WeakKeyDictionary

import attrs

__all__ = ["Opaque", "OptionType", "Readable", "expected", "hints_of", "is_none_word", "opaque", "option_type"]


_NONE = {"none", "null", "~"}


def is_none_word(text: str) -> bool:
    """Whether a text says None, where its type has one."""
    return text.strip().lower() in _NONE


_SIMPLE = (bool, int, float, str, Path)
_HINTS: WeakKeyDictionary[type, Mapping[str, Any]] = WeakKeyDictionary()


def hints_of(cls: type[Any]) -> Mapping[str, Any]:
    """Return the types of a class's fields, resolved once. Raises what resolving them raises."""
    if cls not in _HINTS:
        _HINTS[cls] = types.MappingProxyType(typing.get_type_hints(cls))
    return _HINTS[cls]


class Opaque:
    """Base of types known by name only, whose objects are made in Python: a Lightning ``Callback``."""


@functools.cache
def opaque(name: str) -> type[Opaque]:
    """Return the one type that stands for the unseen class ``name``."""
    return type(name, (Opaque,), {})


class Readable(ABC):
    """Base of values whose class reads them itself from what a person writes."""

    plural: ClassVar[str]
    """What they are called, for messages: ``"paths"``."""
    singular: ClassVar[str] = ""
    """What one is called: ``"a path"``; empty for its class."""
    json_schema: ClassVar[Mapping[str, Any]]

    @classmethod
    @abstractmethod
    def read(cls, value: Any) -> Any:
        """Return the value that is meant. Raises ValueError."""

    @abstractmethod
    def plain(self) -> Any:
        """Return plain values that `read` takes back."""


@attrs.frozen
class OptionType:
    """A declared type, taken apart."""

    declared: Any
    shape: Literal[
        "any", "none", "union", "choice", "list", "tuple", "mapping", "options", "readable", "opaque", "simple"
    ]
    """``list`` holds any number of one type, ``tuple`` a fixed number; ``options`` is an attrs class."""
    parts: tuple[OptionType, ...] = ()
    """The members of a union, the type in a list, the types of a tuple, the key and value of a mapping."""
    choices: tuple[Any, ...] = ()
    """The values of a ``Literal``, the members of an enum."""

    @property
    def name(self) -> str:
        """The type as Python programmers read it: ``int or none``, ``str,str,...``."""
        if self.shape == "union":
            return " or ".join(part.name for part in self.parts)
        if typing.get_origin(self.declared) is Mapping:
            return f"NAME={self.parts[1].name}"
        if self.shape == "choice":
            return " or ".join(_choices(self))
        if self.is_tuple:
            return f"{self.parts[0].name},{self.parts[0].name},..."
        return "none" if self.shape == "none" else str(getattr(self.declared, "__name__", self.declared))

    @property
    def is_tuple(self) -> bool:
        """Whether the type is ``tuple[X, ...]``, and not another list."""
        return self.shape == "list" and typing.get_origin(self.declared) is tuple

    @property
    def is_optional(self) -> bool:
        """Whether the type is a union with None."""
        return self.shape == "union" and any(part.shape == "none" for part in self.parts)

    @property
    def holds_options(self) -> bool:
        """Whether the type is, or holds, an attrs class."""
        return self.shape == "options" or any(part.holds_options for part in self.parts)

    @property
    def is_typable(self) -> bool:
        """Whether values of the type can be typed as ``key=value``."""
        if self.shape == "union" or self.is_tuple:
            return all(part.is_typable for part in self.parts)
        if self.shape == "mapping":
            return self.parts[0].declared is str and self.parts[1].declared in _SIMPLE
        return self.shape in ("none", "choice", "options") or self.declared in _SIMPLE

    @property
    def mapped(self) -> OptionType | None:
        """The type of the values where names may have one each, as in ``float | Mapping[str, float]``; else None."""
        if self.shape == "mapping":
            return self.parts[1]
        return next(filter(None, (part.mapped for part in self.parts)), None) if self.shape == "union" else None


def option_type(declared: Any) -> OptionType:
    """Return a type, taken apart.

    >>> found = option_type(tuple[str, ...] | None)
    >>> found.shape, [part.shape for part in found.parts], found.is_optional
    ('union', ['list', 'none'], True)
    """
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    kind = origin or declared
    if declared is Any:
        return OptionType(declared, "any")
    if declared in (None, types.NoneType):
        return OptionType(declared, "none")
    if origin in (Union, types.UnionType):
        return OptionType(declared, "union", tuple(map(option_type, arguments)))
    if origin is Literal:
        return OptionType(declared, "choice", choices=arguments)
    if kind is tuple and arguments and arguments[1:] != (...,):
        return OptionType(declared, "tuple", tuple(map(option_type, arguments)))
    if kind in (tuple, list, Sequence, Iterable):
        return OptionType(declared, "list", (option_type(arguments[0] if arguments else Any),))
    if kind in (dict, Mapping):
        return OptionType(declared, "mapping", tuple(map(option_type, arguments or (Any, Any))))
    if isinstance(declared, type):
        if issubclass(declared, enum.Enum):
            return OptionType(declared, "choice", choices=tuple(declared))
        if issubclass(declared, Opaque):
            return OptionType(declared, "opaque")
        if issubclass(declared, Readable):
            return OptionType(declared, "readable")
        if attrs.has(declared):
            return OptionType(declared, "options")
    return OptionType(declared, "simple")


def expected(declared: Any) -> str:
    """Return what a type allows, in words.

    >>> expected(int | None), expected(tuple[str, ...]), expected(Literal["train", "eval"])
    ("a whole number or 'none'", 'a comma-separated list of texts', "'train' or 'eval'")
    """
    return _in_words(option_type(declared))


def _in_words(wanted: OptionType) -> str:
    if wanted.shape == "union":
        members = sorted(wanted.parts, key=lambda part: part.shape == "none")
        return _any_of(dict.fromkeys(word for member in members for word in _of_member(member, members)))
    if wanted.shape == "choice":
        return _any_of(_choices(wanted))
    if wanted.shape == "opaque":
        return f"{_with_article(wanted.declared.__name__)} made in Python"
    if wanted.shape == "tuple":
        return f"{len(wanted.parts)} comma-separated values"
    if wanted.shape == "list":
        (item,) = wanted.parts
        plural = item.declared.plural if item.shape == "readable" else _PLURALS.get(item.declared, "values")
        return f"a comma-separated list of {plural}"
    if wanted.shape == "mapping":
        return "one for each name"
    if wanted.shape == "readable" and wanted.declared.singular:
        return str(wanted.declared.singular)
    return _WORDS.get(wanted.declared, _with_article(getattr(wanted.declared, "__name__", str(wanted.declared))))


def _of_member(member: OptionType, others: Sequence[OptionType]) -> list[str]:
    """Return what a member of a union adds to the others."""
    if member.shape == "choice":
        return _choices(member)
    return [] if member.declared is int and any(other.declared is float for other in others) else [_in_words(member)]


def _choices(wanted: OptionType) -> list[str]:
    return [repr(choice.value if isinstance(choice, enum.Enum) else choice) for choice in wanted.choices]


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
