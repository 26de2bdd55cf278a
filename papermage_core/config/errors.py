"""The wording of errors: what was given, where, and what would have been right."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Union

import attrs

from papermage_core.config.values import InvalidValueError, read
from papermage_core.config.words import expected
from papermage_core.errors import nearest

__all__ = ["allowed", "invalid", "limits_of", "read_option", "unknown"]

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def read_option(value: Any, wanted: Any, limits: Mapping[str, Any]) -> Any:
    """Return ``value`` as its type and limits have it. Raises `InvalidValueError`, which says all that is allowed."""
    try:
        found = read(value, wanted)
    except InvalidValueError:
        raise InvalidValueError(allowed(wanted, limits)) from None
    if found is not None and not _within(found, limits):
        raise InvalidValueError(allowed(wanted, limits))
    return found


def limits_of(field: attrs.Attribute[Any]) -> dict[str, Any]:
    """Return the range and the choices that `papermage_core.plugin.option` noted on a field."""
    return {name: field.metadata.get(name) for name in (*_BOUNDS, "choices")}


def invalid(key: str, value: Any, source: str, expectation: str) -> str:
    """Return ``head.dropout='2' (config.yaml:4): expected a number at least 0 and below 1``."""
    shown = repr(str(value)) if isinstance(value, str) else repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return f"{key}={shown} ({source}): expected {expectation}"


def unknown(key: str, source: str, what: str, known: Iterable[str]) -> str:
    """Return ``hed=crf (command line): unknown option. Did you mean 'head'?``."""
    return f"{key} ({source}): {what}.{nearest(key, known)}"


def _within(value: Any, limits: Mapping[str, Any]) -> bool:
    choices = limits.get("choices")
    values = value if isinstance(value, tuple) and choices is not None and value not in choices else (value,)
    return (
        (limits.get("ge") is None or value >= limits["ge"])
        and (limits.get("gt") is None or value > limits["gt"])
        and (limits.get("le") is None or value <= limits["le"])
        and (limits.get("lt") is None or value < limits["lt"])
        and (choices is None or all(item in choices for item in values))
    )


def allowed(wanted: Any, limits: Mapping[str, Any]) -> str:
    """Return what a type allows within limits, in words: ``a number at least 0 and below 1, or 'none'``."""
    if limits.get("choices") is not None:
        return expected(typing.Literal[tuple(limits["choices"])])
    bounds = " and ".join(f"{word} {limits[name]}" for name, word in _BOUNDS.items() if limits.get(name) is not None)
    if not bounds:
        return expected(wanted)
    if typing.get_origin(wanted) in (Union, types.UnionType) and types.NoneType in typing.get_args(wanted):
        members = tuple(member for member in typing.get_args(wanted) if member is not types.NoneType)
        return f"{expected(Union[members])} {bounds}, or 'none'"  # noqa: UP007 - made at run time
    return f"{expected(wanted)} {bounds}"
