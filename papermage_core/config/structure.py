"""From what was typed to a component's config object; the one cattrs converter.

Every value is read by the type its field declares. All errors are raised at once, each with its dotted key.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import cattrs

from papermage_core.config.errors import OF_COMMANDS, invalid, read_option, unknown
from papermage_core.config.values import InvalidValueError, read
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.blame import calling
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.learned_fields import empty_value, learned_types
from papermage_core.plugin.option_types import expected, option_type
from papermage_core.plugin.options import default_of, describe_options
from papermage_core.plugin.parts import name_of, part_fields

__all__ = ["files_apart", "files_back", "learned_values", "nest", "structure", "unstructure", "with_learned"]

T = TypeVar("T")


def structure(
    cls: type[T], options: Mapping[str, Any], *, key: str, name: str, sources: Mapping[str, str] | None = None
) -> T:
    """Return the config of component ``name`` from its ``options``, which may be nested.

    ``key`` is what the options hang from in messages: ``head`` for ``head.dropout``. ``sources`` says of dotted keys
    where they were given. Raises ConfigError with every error.
    """
    options, parts, errors = _parts(cls, options, key, name, sources or {})
    errors = [*_errors(cls, options, key, name, sources or {}), *errors]
    if errors:
        raise ConfigError(*errors)
    options = {**options, **parts}
    try:
        with calling(cls, "making its config", but=(cattrs.BaseValidationError, ValueError, TypeError)):
            return _converter().structure(_completed(cls, options), cls)
    except (cattrs.BaseValidationError, ValueError, TypeError) as exc:  # a rule between fields, or a validator's own
        for leaf in _leaves(exc):
            if not isinstance(leaf, (ValueError, TypeError)):
                with calling(cls, "making its config"):
                    raise leaf from None
        messages = [str(leaf) for leaf in _leaves(exc)]
        raise ConfigError(*(f"{key}={name}: {message}" for message in dict.fromkeys(messages))) from exc


def unstructure(config: Any) -> dict[str, Any]:
    """Return a config's options as plain values, nested classes as mappings; ``structure`` takes them back."""
    learned, parts = learned_types(type(config)), part_fields(type(config))
    plain = {name: value for name, value in _converter().unstructure(config).items() if name not in learned}
    for name in parts:
        inner = getattr(config, name)
        plain[name] = {"name": name_of(inner), **unstructure(inner)}
    return plain


def learned_values(config: Any) -> dict[str, Any]:
    """Return what a settled config and its parts learned, name → value as JSON has it, for ``with_learned``.

    Bytes, which are files of their own, stay bytes: see `files_apart`.
    """
    values = {name: (getattr(config, name), hint) for name, hint in learned_types(type(config)).items()}
    found = {
        name: list(value) if isinstance(value, tuple) else value
        for name, (value, hint) in values.items()
        if value != empty_value(hint)
    }
    inner = {name: learned_values(getattr(config, name)) for name in part_fields(type(config))}
    return found | {name: of_part for name, of_part in inner.items() if of_part}


def files_apart(values: Mapping[str, Any], write: Callable[[str, bytes], Any], prefix: str = "") -> dict[str, Any]:
    """Return what `learned_values` gave as JSON has it: for bytes ``{"file": ...}`` with what ``write`` returns.

    ``write`` is given a name for the file, and the bytes.
    """
    apart: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            apart[name] = {_FILE: write(f"{prefix}{name}", value)}
        else:
            apart[name] = files_apart(value, write, f"{prefix}{name}.") if isinstance(value, dict) else value
    return apart


def files_back(values: Mapping[str, Any], read: Callable[[Any], bytes]) -> dict[str, Any]:
    """Return what `files_apart` was given: ``read`` returns the bytes of what ``write`` returned."""
    return {
        name: read(value[_FILE])
        if isinstance(value, dict) and value.keys() == {_FILE} and not isinstance(value[_FILE], (int, float))
        else files_back(value, read)
        if isinstance(value, dict)
        else value
        for name, value in values.items()
    }


_FILE = "file"


def with_learned(config: T, values: Mapping[str, Any]) -> T:
    """Return the config with what ``learned_values`` gave. Raises ConfigError for what its class does not learn."""
    known = learned_types(type(config))
    parts = {
        name: with_learned(getattr(config, name), values[name]) for name in part_fields(type(config)) if name in values
    }
    values = {name: value for name, value in values.items() if name not in parts}
    if strange := [name for name in values if name not in known]:
        names = ", ".join(known) or "nothing"
        raise ConfigError(f"{type(config).__name__} does not learn {', '.join(strange)}; it learns {names}")
    try:
        return attrs.evolve(  # type: ignore[misc]  # a config is an attrs class, which T does not say
            config,
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()},
            **parts,
        )
    except TypeError as exc:
        raise ConfigError(f"{type(config).__name__}: {exc}") from exc


def nest(options: Mapping[str, Any], *, named: bool = False) -> dict[str, Any]:
    """Return dotted options as nested mappings. Raises ConfigError where one key is both a value and a mapping.

    With ``named``, the value becomes the mapping's ``name``: it may be a component's, ``inner=hf inner.pooling=max``.

    >>> nest({"dropout": 0.1, "lora.rank": 8})
    {'dropout': 0.1, 'lora': {'rank': 8}}
    """
    nested: dict[str, Any] = {}
    for dotted, value in options.items():
        *folders, last = dotted.split(".")
        place = nested
        for folder in folders:
            if named and folder in place and not isinstance(place[folder], dict):
                place[folder] = {_NAME: place[folder]}
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{dotted}: {folder!r} is given a value of its own as well")
        if isinstance(place.get(last), dict) and named:
            place, last = place[last], _NAME
        if isinstance(place.get(last), dict):
            raise ConfigError(f"{dotted}: it holds options, and is given a value of its own as well")
        place[last] = value
    return nested


_NAME = "name"


def _parts(
    cls: type[Any], options: Mapping[str, Any], key: str, name: str, sources: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return the options that are no components, the configs of those that are, and what is wrong with them."""
    own, found, errors = dict(options), {}, []
    for part in part_fields(cls).values():
        dotted = f"{key}.{part.name}"
        given = own.pop(part.name, {})
        if isinstance(given, part.kind.base):
            found[part.name] = given
            continue
        inner = dict(given) if isinstance(given, Mapping) else {_NAME: given}
        chosen = inner.pop(_NAME, part.default)
        if chosen is None:
            errors.append(f"{dotted} is missing: {name!r} needs it, the name of a {part.kind.label}")
            continue
        try:
            config_class = part.config_class(cls, str(chosen))
            found[part.name] = structure(config_class, inner, key=dotted, name=str(chosen), sources=sources)
        except ConfigError as exc:
            errors += exc.errors
        except PluginError as exc:
            raise PluginError(f"{dotted} ({_source(dotted, sources)}): {exc}") from exc
    return own, found, errors


def _errors(
    cls: type[Any], options: Mapping[str, Any], key: str, name: str, sources: Mapping[str, str]
) -> Iterator[str]:
    learned = learned_types(cls)
    parts = set(part_fields(cls))
    described = {
        f"{key}.{option.name}": option for option in describe_options(cls) if option.name.partition(".")[0] not in parts
    }
    given = dict(_flat(options, key, described))
    for dotted, value in given.items():
        source = _source(dotted, sources)
        option = described.get(dotted)
        if dotted.removeprefix(f"{key}.") in learned:
            yield f"{dotted} ({source}): {name!r} learns it from the training data; it cannot be given"
        elif _is_group(dotted, described):
            if not attrs.has(type(value)):
                yield invalid(dotted, value, source, f"its options: {', '.join(_inside(dotted, described))}")
        elif option is None:
            group = dotted.rpartition(".")[0]
            known = [*_inside(group, described), *(f"{key}.{part}" for part in sorted(parts) if group == key)]
            names = ", ".join(other.rpartition(".")[2] for other in known) or "none"
            yield unknown(dotted, source, f"{name!r} has no such option; it has: {names}", [*known, *OF_COMMANDS])
        elif not option_type(option.type).holds_options:
            try:
                read_option(value, option)
            except InvalidValueError as exc:
                yield invalid(dotted, value, source, str(exc))
    for dotted, option in described.items():
        if option.required and not any(dotted == other or dotted.startswith(f"{other}.") for other in given):
            more = f": {option.help}" if option.help else ""
            yield f"{dotted} is missing: {name!r} needs it, {expected(option.type)}{more}"


def _flat(options: Mapping[str, Any], key: str, described: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of nested options."""
    for name, value in options.items():
        dotted = f"{key}.{name}"
        if isinstance(value, Mapping) and _is_group(dotted, described):
            yield from _flat(value, dotted, described)
        else:
            yield dotted, value


def _is_group(dotted: str, described: Iterable[str]) -> bool:
    return any(other.startswith(f"{dotted}.") for other in described)


def _inside(group: str, described: Iterable[str]) -> Iterable[str]:
    """Return the options and the groups of options in a group, each once, in order."""
    inner = (other[len(group) + 1 :].partition(".")[0] for other in described if other.startswith(f"{group}."))
    return dict.fromkeys(f"{group}.{name}" for name in inner)


def _completed(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with those of a nested class that were not given as the default of the whole has them."""
    completed = dict(options)
    for field in attrs.fields(cls):
        given, default = options.get(field.alias), default_of(field)
        if attrs.has(type(default)) and isinstance(given, Mapping):
            completed[field.alias] = {**unstructure(default), **_completed(type(default), given)}
    return completed


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


@functools.cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook_factory(
        lambda hint: not option_type(hint).holds_options, lambda hint: lambda value, _: read(value, hint)
    )
    for simple in (bool, int, float, str, Path):  # cattrs has hooks of its own for these, and prefers them
        converter.register_structure_hook(simple, lambda value, hint: read(value, hint))
    converter.register_unstructure_hook(Path, str)
    bases = frozenset(kind.base for kind in KINDS.values())  # of parts, which are configs already
    converter.register_structure_hook_func(lambda hint: hint in bases, lambda value, _: value)
    converter.register_unstructure_hook_func(lambda hint: hint in bases, lambda value: value)
    return converter
