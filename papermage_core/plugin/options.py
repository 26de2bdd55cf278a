"""Options of a component, as its config class declares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.learned_fields import can_be_learned, empty_value, learned_types
from papermage_core.plugin.option_types import hints_of, option_type
from papermage_core.plugin.part_fields import MARK
from papermage_core.plugin.parts import Part, part_fields

__all__ = ["OptionDescription", "config_class_errors", "default_of", "describe_learned", "describe_options"]

_FACTORY: Any = attrs.Factory
_LIMITS = ("ge", "gt", "le", "lt", "choices")
_NOT_KEYWORD_ONLY = "is not keyword-only: write @attrs.frozen(kw_only=True)"


@attrs.frozen(kw_only=True)
class OptionDescription:
    """One option, for help texts and schemas."""

    name: str
    """Dotted where the option is one of a nested class: ``layout.bins``."""
    type: Any
    """The declared type, resolved: ``int``, ``Literal["a", "b"]``, ``tuple[str, ...]``."""
    default: Any = attrs.NOTHING
    """``attrs.NOTHING`` where the option must be given."""
    help: str = ""
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    """``ge``, ``gt``, ``le``, ``lt`` and ``choices``, those that are set."""
    part: str | None = None
    """The kind of component that it names, whose own options stand under its name; None for other options."""
    search: tuple[Any, ...] | None = None
    """Where good values lie: the least, the greatest, and ``"log"`` where factors count."""

    @property
    def required(self) -> bool:
        """Whether the option must be given."""
        return self.default is attrs.NOTHING

    @property
    def type_name(self) -> str:
        """The type as a user reads it."""
        return option_type(self.type).name


def describe_options(config_class: type[Any]) -> list[OptionDescription]:
    """Return the options of a config class, in their order, those of nested classes under dotted names.

    >>> from papermage_core.plugin.spec import ComponentConfig, option
    >>> @attrs.frozen(kw_only=True)
    ... class C(ComponentConfig):
    ...     layers: int = option(2, help="how many", ge=1)
    >>> [option] = describe_options(C)
    >>> option.name, option.type_name, option.default, option.help, option.limits
    ('layers', 'int', 2, 'how many', {'ge': 1})
    """
    return list(_describe(config_class, ""))


def describe_learned(config_class: type[Any]) -> list[OptionDescription]:
    """Return what a component learns from the training data, in the order of its fields."""
    helps = {field.name: field.metadata["help"] for field in attrs.fields(config_class) if "help" in field.metadata}
    return [
        OptionDescription(name=name, type=hint, default=empty_value(hint), help=helps[name])
        for name, hint in learned_types(config_class).items()
    ]


def _describe(config_class: type[Any], prefix: str, given: Any = attrs.NOTHING) -> Iterator[OptionDescription]:
    """Yield the options of a class; where the class is nested, ``given`` is the default that holds theirs."""
    hints = hints_of(config_class)
    learned = learned_types(config_class)
    parts = part_fields(config_class)
    for field in attrs.fields(config_class):
        if not field.init or field.name in learned:
            continue
        if field.name in parts:
            yield from _describe_part(config_class, parts[field.name], prefix)
            continue
        hint = hints.get(field.name, Any)
        default = default_of(field) if given is attrs.NOTHING else getattr(given, field.name)
        if option_type(hint).shape == "options":
            yield from _describe(hint, f"{prefix}{field.alias}.", default)
        else:
            yield OptionDescription(
                name=f"{prefix}{field.alias}",
                type=hint,
                default=default,
                help=field.metadata.get("help", ""),
                limits={k: field.metadata[k] for k in _LIMITS if field.metadata.get(k) is not None},
                search=field.metadata.get("search"),
            )


def _describe_part(config_class: type[Any], part: Part, prefix: str) -> Iterator[OptionDescription]:
    """Yield the option that names a component, and the options of the one that is there by default."""
    default = attrs.NOTHING if part.default is None else part.default
    yield OptionDescription(name=f"{prefix}{part.name}", type=str, default=default, help=part.help, part=part.kind.name)
    if part.default is not None:
        yield from _describe(part.config_class(config_class, part.default), f"{prefix}{part.name}.")


def default_of(field: attrs.Attribute[Any]) -> Any:
    """Return the default of a field, made by its factory where it has one; ``attrs.NOTHING`` without any."""
    default: Any = field.default
    if isinstance(default, _FACTORY):
        return attrs.NOTHING if default.takes_self else default.factory()
    return default


def config_class_errors(config_class: type[Any]) -> list[str]:
    """Return what keeps a config class from being one, each error with what to do; empty if it is in order."""
    errors = _errors_within(config_class)
    if not errors and learned_types(config_class) and not hasattr(config_class, "settle"):
        errors.append("it has learned fields and no settle(): only context encoders and model heads can learn")
    if attrs.has(config_class) and any(field.init and field.alias == "name" for field in attrs.fields(config_class)):
        errors.append(
            "option 'name' cannot be given: in a config, 'name' is the component's own, as in head: {name: crf}; "
            "call the option otherwise"
        )
    return errors


def _errors_within(config_class: type[Any]) -> list[str]:
    """Return the errors that a class of nested options may have as well."""
    if "__attrs_attrs__" not in vars(config_class):
        return ["it is not decorated: write @attrs.frozen(kw_only=True) above it"]
    errors = [*_class_errors(config_class)]
    try:
        hints = hints_of(config_class)
    except Exception as exc:  # an annotation is any expression
        return [*errors, f"the type of an option cannot be resolved: {exc}"]
    learned = learned_types(config_class)
    for field in attrs.fields(config_class):
        hint = hints.get(field.name, Any)
        if field.name in learned:
            errors += [f"learned field {field.name!r} {error}" for error in _learned_errors(field, hint)]
            continue
        if MARK in field.metadata:
            errors += [f"option {field.name!r} {error}" for error in _part_errors(field, hint)]
            continue
        errors += [f"option {field.name!r} {error}" for error in _field_errors(field, hint)]
        if option_type(hint).shape == "options":
            nested = _errors_within(hint)
            nested += [f"{name!r} is learned; move it to the config class itself" for name in learned_types(hint)]
            errors += [f"option {field.name!r}, of the class {hint.__name__}: {error}" for error in nested]
    return errors


def _class_errors(config_class: type[Any]) -> Iterator[str]:
    missing = sorted(getattr(config_class, "__abstractmethods__", ()))
    if missing:
        yield f"it lacks {', '.join(f'{name}()' for name in missing)}"
    if not _frozen(config_class):
        yield "it is not frozen: write @attrs.frozen(kw_only=True) above it, and no __setattr__ in it"


def _frozen(config_class: type[Any]) -> bool:
    probe = object.__new__(_concrete(config_class))
    for name in [field.name for field in attrs.fields(config_class)] or ["anything"]:
        try:
            setattr(probe, name, None)
        except attrs.exceptions.FrozenInstanceError:
            continue
        except Exception:  # a __setattr__ of the class's own, which may raise anything
            return False
        return False
    return True


def _concrete(config_class: type[Any]) -> type[Any]:
    """Return a class that can be made without the abstract methods, to look at how it takes assignment."""
    names = getattr(config_class, "__abstractmethods__", ())
    metaclass: Any = type(config_class)
    return metaclass("Probe", (config_class,), dict.fromkeys(names)) if names else config_class


def _field_errors(field: attrs.Attribute[Any], hint: Any) -> Iterator[str]:
    if field.init and not field.kw_only:
        yield _NOT_KEYWORD_ONLY
    if field.init and not option_type(hint).is_typable:
        yield (
            f"has the type {option_type(hint).name}; expected bool, int, float, str, Path, Literal, an enum, X | None, "
            "tuple[X, ...], Mapping[str, X] or a frozen attrs class"
        )
    default = default_of(field)
    if default is not attrs.NOTHING and not _hashable(default):
        yield f"has the mutable default {default!r}: use a tuple, or a frozen attrs class"


def _part_errors(field: attrs.Attribute[Any], hint: Any) -> Iterator[str]:
    if not field.kw_only:
        yield _NOT_KEYWORD_ONLY
    bases = [kind.base for kind in KINDS.values()]
    if hint not in bases:
        names = ", ".join(base.__name__ for base in bases)
        yield f"is a component, and has the type {option_type(hint).name}; expected one of {names}"


def _learned_errors(field: attrs.Attribute[Any], hint: Any) -> Iterator[str]:
    if not field.kw_only:
        yield _NOT_KEYWORD_ONLY
    if not can_be_learned(hint):
        yield (
            f"has the type {option_type(hint).name}; expected str, int, float, bytes, a tuple[X, ...] of the first "
            "three, Mapping[str, int], Mapping[str, float], or one of them or None"
        )


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
