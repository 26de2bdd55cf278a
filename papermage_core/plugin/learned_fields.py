"""Fields of a config that `settle` fills from the training data: their types, empty values and checks."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from papermage_core.plugin.option_types import OptionType, hints_of, option_type

__all__ = ["can_be_learned", "check_learned", "empty_value", "learned_types", "mark"]

_MARK = "papermage_learned"
_PLAIN = (str, int, float)
mark: Mapping[str, Any] = {_MARK: True}
"""The metadata that distinguishes a learned field from an option."""


def learned_types(config_class: type[Any]) -> dict[str, Any]:
    """Return the learned fields of a config class, name → resolved type."""
    names = [field.name for field in attrs.fields(config_class) if _MARK in field.metadata]
    if not names:
        return {}
    hints = hints_of(config_class)
    return {name: hints[name] for name in names}


def can_be_learned(hint: Any) -> bool:
    """Whether a type is one that a checkpoint keeps as JSON without loss.

    >>> can_be_learned(tuple[str, ...]), can_be_learned(Mapping[str, int] | None), can_be_learned(dict[str, int])
    (True, True, False)
    """
    return _can_be_learned(option_type(hint))


def _can_be_learned(wanted: OptionType) -> bool:
    inner = [part.declared for part in wanted.parts]
    if wanted.shape == "union":
        return all(part.shape == "none" or _can_be_learned(part) for part in wanted.parts)
    if wanted.shape == "mapping":
        return _is_mapping(wanted) and inner[0] is str and inner[1] in (int, float)
    return inner[0] in _PLAIN if wanted.is_tuple else wanted.declared in (*_PLAIN, bytes)


def _is_mapping(wanted: OptionType) -> bool:
    """Whether a type is ``Mapping[...]``, and not a dict, which could be changed."""
    return typing.get_origin(wanted.declared) is Mapping


def empty_value(hint: Any) -> Any:
    """Return what stands in a field of a type until something is learned: an empty tuple or mapping, else None."""
    wanted = option_type(hint)
    return () if wanted.is_tuple else {} if _is_mapping(wanted) else None


def check_learned(config: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise TypeError for a value that would not come back from JSON as it is. A validator of attrs."""
    hint = learned_types(type(config))[field.name]
    if value is not None and can_be_learned(hint) and not _fits(value, option_type(hint)):
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:57]}..."
        raise TypeError(f"{field.name}: expected {inspect.formatannotation(hint)}, plain and finite, got {shown}")


def _fits(value: Any, wanted: OptionType) -> bool:
    if wanted.shape == "union":
        return any(_fits(value, part) for part in wanted.parts)
    if wanted.is_tuple:
        return isinstance(value, tuple) and all(_fits(item, wanted.parts[0]) for item in value)
    if wanted.shape == "mapping":
        return isinstance(value, dict) and all(
            type(key) is str and _fits(item, wanted.parts[1]) for key, item in value.items()
        )
    if wanted.declared is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is wanted.declared
