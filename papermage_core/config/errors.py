"""The wording of errors: what was given, where, and what would have been right."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Optional, Union

from papermage_core.config.given import Given
from papermage_core.config.values import InvalidValueError, read
from papermage_core.errors import PluginError, nearest
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import expected, option_type
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = ["allowed", "invalid", "read_given", "read_option", "unknown"]

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def read_option(value: Any, option: OptionDescription) -> Any:
    """Return ``value`` as an option's type and limits have it. Raises `InvalidValueError`, which says what is allowed.

    ``none`` for a list that may be left out is the empty list.
    """
    wanted = Optional[option.type] if option.default == () else option.type  # noqa: UP045 - made at run time
    try:
        found = read(value, wanted)
    except InvalidValueError:
        raise InvalidValueError(allowed(option)) from None
    if found is not None and not _within(found, option.limits):
        raise InvalidValueError(allowed(option))
    return () if found is None and option.default == () else found


def read_given(
    options: Mapping[str, OptionDescription], given: Mapping[str, Given]
) -> tuple[dict[str, Any], list[str]]:
    """Return name → value of the options, by default where none was given, and the errors. Other keys are left out."""
    values: dict[str, Any] = {}
    errors = []
    for name, option in options.items():
        if name in given:
            try:
                values[name] = read_option(given[name].value, option)
            except InvalidValueError as exc:
                errors.append(invalid(name, given[name].value, given[name].source, str(exc)))
        elif option.required:
            errors.append(f"{name} is missing: {option.help}. Type {name}=...")
        else:
            values[name] = option.default
    return values, errors


def invalid(key: str, value: Any, source: str, expectation: str) -> str:
    """Return ``head.dropout='2' (config.yaml:4): expected a number at least 0 and below 1``."""
    shown = repr(str(value)) if isinstance(value, str) else repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return f"{key}={shown} ({source}): expected {expectation}"


def unknown(key: str, source: str, what: str, known: Iterable[str], kinds: Iterable[str] = ()) -> str:
    """Return ``hed=crf (command line): unknown option. Did you mean 'head'?``.

    ``kinds`` are the keys of components whose options may be meant: ``dropout`` for ``head.dropout``.
    """
    of_components = _of_components(key, kinds)
    hint = f" Did you mean {' or '.join(map(repr, of_components))}?" if of_components else nearest(key, known)
    return f"{key} ({source}): {what}.{hint}"


def _of_components(name: str, kinds: Iterable[str]) -> list[str]:
    """Return what is typed for the options of this name that built-in components have."""
    found: dict[str, None] = {}
    for kind in [each for each in KINDS.values() if each.key in kinds]:
        for component in Plugins().components(kind.name):
            if component.origin != "built-in":
                continue  # nothing of it is imported before it is named
            with contextlib.suppress(PluginError):
                options = describe_options(Plugins().config_class(kind.name, component.qualified))
                if any(option.name == name for option in options):
                    found[f"{kind.prefix(component.name)}{name}"] = None
    return list(found)


def _within(value: Any, limits: Mapping[str, Any]) -> bool:
    choices = limits.get("choices")
    values = value if isinstance(value, tuple) and (choices is None or value not in choices) else (value,)
    return all(
        (limits.get("ge") is None or item >= limits["ge"])
        and (limits.get("gt") is None or item > limits["gt"])
        and (limits.get("le") is None or item <= limits["le"])
        and (limits.get("lt") is None or item < limits["lt"])
        and (choices is None or item in choices)
        for item in values
    )


def allowed(option: OptionDescription) -> str:
    """Return what an option's type and limits allow, in words: ``a number at least 0 and below 1, or 'none'``."""
    if "choices" in option.limits:
        return expected(Literal[tuple(option.limits["choices"])])
    bounds = " and ".join(f"{word} {option.limits[name]}" for name, word in _BOUNDS.items() if name in option.limits)
    if not bounds:
        return expected(option.type)
    wanted = option_type(option.type)
    if wanted.is_optional:
        members = tuple(part.declared for part in wanted.parts if part.shape != "none")
        return f"{expected(Union[members])} {bounds}, or 'none'"  # noqa: UP007 - made at run time
    return f"{expected(option.type)} {bounds}"
