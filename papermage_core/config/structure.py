"""From what was typed to a component's config object; the one cattrs converter.

Every value is read by the type its field declares. All errors are raised at once, each with its dotted key.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import cattrs

from papermage_core.config.errors import invalid, limits_of, read_option, unknown
from papermage_core.config.values import InvalidValueError, read
from papermage_core.config.words import expected
from papermage_core.errors import ConfigError
from papermage_core.plugin.learned_fields import empty_value, learned_types

__all__ = ["learned_values", "nest", "structure", "unstructure", "with_learned"]

T = TypeVar("T")


def structure(
    cls: type[T], options: Mapping[str, Any], *, key: str, name: str, sources: Mapping[str, str] | None = None
) -> T:
    """Return the config of component ``name`` from its ``options``, which may be nested.

    ``key`` is what the options hang from in messages: ``head`` for ``head.dropout``. ``sources`` says of dotted keys
    where they were given. Raises ConfigError with every error.
    """
    errors = list(_errors(cls, options, key, name, sources or {}))
    if errors:
        raise ConfigError(*errors)
    try:
        return _converter().structure(options, cls)
    except (cattrs.BaseValidationError, ValueError, TypeError) as exc:  # a rule between fields, or a validator's own
        messages = [str(leaf) for leaf in _leaves(exc)]
        raise ConfigError(*(f"{key}={name}: {message}" for message in dict.fromkeys(messages))) from exc


def unstructure(config: Any) -> dict[str, Any]:
    """Return a config's options as plain values, nested classes as mappings; ``structure`` takes them back."""
    learned = learned_types(type(config))
    return {name: value for name, value in _converter().unstructure(config).items() if name not in learned}


def learned_values(config: Any) -> dict[str, Any]:
    """Return what a settled config learned, name → value as JSON has it; ``with_learned`` takes them back."""
    values = {name: (getattr(config, name), hint) for name, hint in learned_types(type(config)).items()}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, (value, hint) in values.items()
        if value != empty_value(hint)
    }


def with_learned(config: T, values: Mapping[str, Any]) -> T:
    """Return the config with what ``learned_values`` gave. Raises ConfigError for what its class does not learn."""
    known = learned_types(type(config))
    if strange := [name for name in values if name not in known]:
        names = ", ".join(known) or "nothing"
        raise ConfigError(f"{type(config).__name__} does not learn {', '.join(strange)}; it learns {names}")
    try:
        return attrs.evolve(  # type: ignore[misc]  # a config is an attrs class, which T does not say
            config, **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )
    except TypeError as exc:
        raise ConfigError(f"{type(config).__name__}: {exc}") from exc


def nest(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted options as nested mappings. Raises ConfigError where one key is both a value and a mapping.

    >>> nest({"dropout": 0.1, "lora.rank": 8})
    {'dropout': 0.1, 'lora': {'rank': 8}}
    """
    nested: dict[str, Any] = {}
    for dotted, value in options.items():
        *folders, last = dotted.split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{dotted}: {folder!r} is given a value of its own as well")
        if isinstance(place.get(last), dict):
            raise ConfigError(f"{dotted}: it holds options, and is given a value of its own as well")
        place[last] = value
    return nested


def _errors(
    cls: type[Any], options: Mapping[str, Any], key: str, name: str, sources: Mapping[str, str]
) -> Iterator[str]:
    learned = learned_types(cls)
    fields = {field.alias: field for field in attrs.fields(cls) if field.init and field.name not in learned}
    hints = typing.get_type_hints(cls)
    for option, value in options.items():
        dotted = f"{key}.{option}"
        source = _source(dotted, sources)
        if option in learned:
            yield f"{dotted} ({source}): {name!r} learns it from the training data; it cannot be given"
            continue
        if option not in fields:
            known = ", ".join(fields) or "none"
            yield unknown(
                dotted, source, f"{name!r} has no such option; it has: {known}", [f"{key}.{f}" for f in fields]
            )
            continue
        field = fields[option]
        hint = hints.get(field.name, Any)
        if isinstance(hint, type) and attrs.has(hint):
            if isinstance(value, Mapping):
                yield from _errors(hint, value, dotted, name, sources)
            elif not isinstance(value, hint):
                inner = ", ".join(f"{dotted}.{f.alias}" for f in attrs.fields(hint))
                yield invalid(dotted, value, source, f"its options: {inner}")
            continue
        if _has_class(hint):
            continue
        try:
            read_option(value, hint, limits_of(field))
        except InvalidValueError as exc:
            yield invalid(dotted, value, source, str(exc))
    for option, field in fields.items():
        if field.default is attrs.NOTHING and option not in options:
            yield f"{key}.{option} is missing: {name!r} needs it, {expected(hints.get(field.name, Any))}"


def _source(dotted: str, sources: Mapping[str, str]) -> str:
    if dotted in sources:
        return sources[dotted]
    return next((place for key, place in sources.items() if key.startswith(f"{dotted}.")), "Python")


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, cattrs.BaseValidationError):
        for inner in exc.exceptions:
            yield from _leaves(inner)
    else:
        yield exc


def _has_class(hint: Any) -> bool:
    """Whether a type is, or holds, an attrs class: what cattrs takes apart; all other types are read whole."""
    if isinstance(hint, type) and attrs.has(hint):
        return True
    return any(_has_class(argument) for argument in typing.get_args(hint))


@functools.cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook_factory(
        lambda hint: not _has_class(hint), lambda hint: lambda value, _: read(value, hint)
    )
    for simple in (bool, int, float, str, Path):  # cattrs has hooks of its own for these, and prefers them
        converter.register_structure_hook(simple, lambda value, hint: read(value, hint))
    converter.register_unstructure_hook(Path, str)
    return converter
