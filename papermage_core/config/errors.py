"""The wording of errors: what was given, where, and what would have been right."""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, Optional, Union

from papermage_core.config.given import Given
from papermage_core.config.values import InvalidValueError, read
from papermage_core.errors import PluginError, nearest
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import expected, option_type
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = [
    "OF_COMMANDS",
    "allowed",
    "gathered",
    "invalid",
    "missing",
    "of_processors",
    "read_given",
    "read_option",
    "unknown",
]

_OTHER_WORDS = {
    "data_path": "data train train_file train_path input",
    "val_data_path": "dev dev_path val val_path valid validation validation_file",
    "test_data_path": "test test_path test_file",
    "label_field": "labels layer",
    "model_name_or_path": "model checkpoint",
    "learning_rate": "lr",
    "max_epochs": "epochs n_epochs num_epochs num_train_epochs",
    "batch_size": "bs per_device_train_batch_size",
    "output_path": "output out default_root_dir",
    "default_root_dir": "output output_dir output_path out out_dir dir folder run",
    "patience": "early_stopping",
    "devices": "gpu gpus",
    "device": "gpu cuda",
    "entity_name": "unit units",
}
"""Options, and words for them that other tools have."""
OF_COMMANDS = tuple(_OTHER_WORDS)
"""Options of commands that may be typed as a component's: ``optimizer.learning_rate``."""
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def read_option(value: Any, option: OptionDescription) -> Any:
    """Return ``value`` as an option's type and limits have it. Raises `InvalidValueError`, which says what is allowed.

    ``none`` for a list that may be left out is the empty list. Infinity is a number for options that have it by default
    or as a limit.
    """
    wanted = Optional[option.type] if option.default == () else option.type  # noqa: UP045 - made at run time
    try:
        found = read(value, wanted)
    except InvalidValueError:
        raise InvalidValueError(allowed(option)) from None
    if found is not None and not _within(found, option.limits):
        raise InvalidValueError(allowed(option))
    if _is_infinite(found) and not any(map(_is_infinite, (option.default, *option.limits.values()))):
        raise InvalidValueError(f"{allowed(option)}; infinity is not allowed")
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
                values[name] = read_option(_as_one(name, given[name].value), option)
            except InvalidValueError as exc:
                errors.append(invalid(name, given[name].value, given[name].source, str(exc)))
        elif option.required:
            errors.append(missing(option))
        else:
            values[name] = option.default
    return values, errors


def gathered(
    options: Mapping[str, OptionDescription], given: Mapping[str, Given]
) -> tuple[dict[str, Given], list[str]]:
    """Return what was given, with ``min_score.Disease`` and its like put together where ``min_score`` may be a mapping.

    The errors are of those that have a value of their own as well.
    """
    found, errors = dict(given), []
    for key, item in given.items():
        name, dot, inner = key.partition(".")
        if not dot or name not in options or option_type(options[name].type).mapped is None:
            continue
        if name in given:
            errors.append(f"{name} and {key} are both given ({item.source}): give one for all, or one for each name")
            del found[key]
            continue
        whole = found.setdefault(name, Given(name, {}, item.source))
        whole.value[inner] = found.pop(key).value
    return found, errors


def _as_one(name: str, value: Any) -> Any:
    """Return a value of a list of paths that is, with its commas, the name of a file there is, as a list of one."""
    if name.endswith("_path") and isinstance(value, str) and "," in value and os.path.lexists(value):
        return [value]
    return value


def missing(option: OptionDescription) -> str:
    """Return what to say of an option that must be given. It is no news where a word was not understood."""
    return f"{option.name} is missing: {option.help}. Type {option.name}=..."


def invalid(key: str, value: Any, source: str, expectation: str) -> str:
    """Return ``head.dropout='2' (config.yaml:4): expected a number at least 0 and below 1``."""
    shown = repr(str(value)) if isinstance(value, str) else repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return f"{key}={shown} ({source}): expected {expectation}"


def unknown(key: str, source: str, what: str, known: Iterable[str], kinds: Collection[str] = ()) -> str:
    """Return ``hed=crf (command line): unknown option. Did you mean 'head'?``.

    ``kinds`` are the keys of components whose options may be meant: ``dropout`` for ``head.dropout``.
    """
    known = list(known)
    meant = list(dict.fromkeys(_meant(key, known, kinds)))
    hint = f" Did you mean {' or '.join(map(repr, meant))}?" if meant else _nearest(key, known)
    return f"{key} ({source}): {what}.{hint}"


def _meant(key: str, known: Collection[str], kinds: Collection[str]) -> list[str]:
    """Return the options of a name, or of a word for it, which was typed without what is before it, or with more.

    ``dropout`` for ``encoder.dropout``, ``trainer.max_epochs`` for ``max_epochs``.
    """
    group, dot, name = key.rpartition(".")
    if dot and (longer := [option for option in known if option.endswith(f".{key}")]):
        return longer
    components = [dotted for kind, dotted in _of_built_ins().get(name, ()) if kind in kinds]
    own = [option for option, words in _OTHER_WORDS.items() if option in known and name in words.split()]
    if dot and name in known:
        own.append(name)
    if dot:
        near = difflib.get_close_matches(key, components, n=1, cutoff=0.8)
        components = near or ([] if own or "." in group else components)
    return [*components, *own]


def _nearest(key: str, known: Collection[str]) -> str:
    """Return the hint at what is written much the same; of the options of one component, by what they differ in."""
    group, dot, name = key.rpartition(".")
    inside = [other.rpartition(".")[2] for other in known if dot and other.rpartition(".")[0] == group]
    return nearest(name, inside).replace("'", f"'{group}.", 1) if inside else nearest(key, known)


def of_processors(key: str) -> list[str]:
    """Return ``processors.tokens.style`` for ``tokens.style``: what may be meant where a processor has the name."""
    first, dot, _ = key.partition(".")
    return [f"processors.{key}"] if dot and Plugins().named("document_processor", first) else []


@functools.cache
def _of_built_ins() -> dict[str, list[tuple[str, str]]]:
    """Return the name of each option of a built-in component → keys of kinds, and what is typed for it.

    Nothing of another is imported before it is named.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    plugins = Plugins()
    for component in plugins.components():
        if component.origin == "built-in":
            kind = KINDS[component.kind]
            with contextlib.suppress(PluginError):
                for option in describe_options(plugins.config_class(component.kind, component.qualified)):
                    dotted = f"{kind.prefix(component.name)}{option.name}"
                    found.setdefault(option.name, []).append((kind.key, dotted))
    return found


def _within(value: Any, limits: Mapping[str, Any]) -> bool:
    choices = limits.get("choices")
    values = _each(value) if choices is None or value not in choices else (value,)
    return all(
        (limits.get("ge") is None or item >= limits["ge"])
        and (limits.get("gt") is None or item > limits["gt"])
        and (limits.get("le") is None or item <= limits["le"])
        and (limits.get("lt") is None or item < limits["lt"])
        and (choices is None or item in choices)
        for item in values
    )


def _is_infinite(value: Any) -> bool:
    """Whether a number is infinite, or one of those in a list."""
    return any(isinstance(each, float) and math.isinf(each) for each in _each(value))


def _each(value: Any) -> Iterable[Any]:
    """Return the values of a list or a mapping, or the one that there is."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (tuple, list)) else (value,)


def allowed(option: OptionDescription) -> str:
    """Return what an option's type and limits allow, in words: ``a number at least 0 and below 1, or 'none'``."""
    if "choices" in option.limits:
        return expected(Literal[tuple(option.limits["choices"])])
    limits = {name: limit for name, limit in option.limits.items() if not _is_infinite(limit)}
    bounds = " and ".join(f"{word} {limits[name]}" for name, word in _BOUNDS.items() if name in limits)
    if not bounds:
        return expected(option.type)
    wanted = option_type(option.type)
    if wanted.shape == "union":
        members = tuple(part.declared for part in wanted.parts if part.shape not in ("none", "mapping"))
        others = ["one for each name, typed as .NAME=..."] if wanted.mapped else []
        others += ["'none'"] if wanted.is_optional else []
        found = f"{expected(Union[members])} {bounds}"  # noqa: UP007 - made at run time
        return f"{', '.join([found, *others[:-1]])}, or {others[-1]}" if others else found
    return f"{expected(option.type)} {bounds}"
