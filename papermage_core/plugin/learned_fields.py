"""Fields of a config that `settle` fills from the training data: their types, empty values and checks."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Union

import attrs

__all__ = ["can_be_learned", "check_learned", "empty_value", "learned_types", "mark"]

_MARK = "papermage_learned"
_PLAIN = (str, int, float)
mark: Mapping[str, Any] = {_MARK: True}
"""The metadata that tells a learned field from an option."""


def learned_types(config_class: type[Any]) -> dict[str, Any]:
    """Return the learned fields of a config class, name → resolved type."""
    names = [field.name for field in attrs.fields(config_class) if _MARK in field.metadata]
    if not names:
        return {}
    hints = typing.get_type_hints(config_class)
    return {name: hints[name] for name in names}


def can_be_learned(hint: Any) -> bool:
    """Whether a type is one that a checkpoint keeps as JSON without loss.

    >>> can_be_learned(tuple[str, ...]), can_be_learned(Mapping[str, int] | None), can_be_learned(dict[str, int])
    (True, True, False)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return all(argument is types.NoneType or can_be_learned(argument) for argument in arguments)
    if origin is tuple:
        return len(arguments) == 2 and arguments[0] in _PLAIN and arguments[1] is ...
    if origin is Mapping:
        return arguments[0] is str and arguments[1] in (int, float)
    return hint in _PLAIN


def empty_value(hint: Any) -> Any:
    """Return what stands in a field of a type until something is learned: an empty tuple or mapping, else None."""
    return {tuple: (), Mapping: {}}.get(typing.get_origin(hint))


def check_learned(config: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise TypeError for a value that would not come back from JSON as it is. A validator of attrs."""
    hint = learned_types(type(config))[field.name]
    if value is not None and can_be_learned(hint) and not _fits(value, hint):
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:57]}..."
        raise TypeError(f"{field.name}: expected {inspect.formatannotation(hint)}, plain and finite, got {shown}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(
            type(key) is str and _fits(of, arguments[1]) for key, of in value.items()
        )
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is hint
