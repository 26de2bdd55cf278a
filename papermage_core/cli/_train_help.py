"""The help texts of ``papermage-train``, made from the config itself."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from papermage_core.config.errors import allowed, unknown
from papermage_core.config.given import COMMAND_LINE
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.kinds import KINDS, OPTIONED, Kind, kind_called
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = ["as_typed", "help_on", "help_overview", "row"]

_NAME_WIDTH = 34
_KEY_WIDTH = 16
_KINDS = {kind.key: kind for kind in KINDS.values()}


def help_overview(plugins: Plugins) -> str:
    """Return the options of the command. Reads the names of installed components, and imports none of them."""
    lines = ["options, typed as key=value:", *_table(own_options().values()), ""]
    lines += ["components, and whether they can be used:"]
    lines += [row(f"{key}=", _names(kind, plugins), _KEY_WIDTH) for key, kind in _KINDS.items() if key in OPTIONED]
    lines += [
        "  Their options are dotted, head.dropout=0.1 and processors.tokens.style=words;",
        "  papermage-train --help head=crf lists those of a component, and --help writer=csv those of a writer.",
        "",
        "every parameter of Lightning's Trainer, by its own name:",
        row("", " ".join(lightning_parameters()), 0).strip("\n"),
        "  papermage-train --help NAME says what a parameter or an option takes.",
    ]
    return "\n".join(lines)


def help_on(arguments: Sequence[str], plugins: Plugins) -> str:
    """Return what is to be known of ``head=crf`` or ``crf`` (its options), ``processors=tokens,rows``, ``seed`` …"""
    return "\n\n".join(_help_on(*argument.partition("=")[::2], plugins) for argument in arguments)


def _help_on(key: str, value: str, plugins: Plugins) -> str:
    if value and (kind := kind_called(key)):
        key = kind.key
    if key in _KINDS:
        return _help_on_kind(_KINDS[key], value, plugins)
    for known in (own_options(), lightning_parameters()):
        if key in known:
            return "\n".join(_table([known[key]]))
    first, _, rest = key.partition(".")
    if first in _KINDS and rest:
        return _help_on_option(_KINDS[first], rest, plugins)
    named = [] if value else [kind for kind in _KINDS.values() if plugins.named(kind.name, key)]
    if named:
        return "\n\n".join(_help_on_component(kind, key, plugins) for kind in named)
    components = (component.name for kind in _KINDS.values() for component in plugins.components(kind.name))
    raise ConfigError(
        unknown(key, COMMAND_LINE, "unknown option", [*own_options(), *lightning_parameters(), *components])
    )


def _help_on_kind(kind: Kind, value: str, plugins: Plugins) -> str:
    """Return the options of the components named, else of the default one, else which components there are."""
    own = own_options().get(kind.key)
    names = value.split(",") if value else [own.default] if own is not None and own.default else []
    if names:
        return "\n\n".join(_help_on_component(kind, name.strip(), plugins) for name in names)
    lines = list(_table([own])) if own is not None else [f"{kind.label}s, for papermage-predict and papermage-data:"]
    known = row(f"{kind.key}=", _names(kind, plugins), _KEY_WIDTH)
    return "\n".join([*lines, known, f"  papermage-train --help {kind.key}=NAME lists the options of one."])


def _help_on_option(kind: Kind, option: str, plugins: Plugins) -> str:
    """Return the options of the component that a dotted one is of: the default one, else all that have it."""
    name, _, of_processor = option.partition(".")
    if kind.key == "processors" and of_processor:
        return _help_on_component(kind, name, plugins)
    own = own_options().get(kind.key)
    if own is not None and own.default:
        return _help_on_component(kind, str(own.default), plugins)
    having = [each.name for each in plugins.components(kind.name) if option in _options_of(kind, each.name, plugins)]
    if having:
        return "\n\n".join(_help_on_component(kind, name, plugins) for name in having)
    raise ConfigError(f"{kind.key}.{option} ({COMMAND_LINE}): no {kind.label} has this option")


def _options_of(kind: Kind, name: str, plugins: Plugins) -> list[str]:
    try:
        return [option.name for option in describe_options(plugins.config_class(kind.name, name))]
    except PluginError:
        return []


def _help_on_component(kind: Kind, name: str, plugins: Plugins) -> str:
    cls = plugins.config_class(kind.name, name)
    component = plugins.find(kind.name, name)
    options = [attrs.evolve(option, name=f"{kind.prefix(name)}{option.name}") for option in describe_options(cls)]
    doc = (cls.__doc__ or "").strip().partition("\n")[0]
    title = f"{kind.key}={name} of {component.source}" + (f": {doc}" if doc and "Method generated" not in doc else "")
    return "\n".join([title, *(_table(options) if options else ["  It has no options."])])


def _names(kind: Kind, plugins: Plugins) -> str:
    return ", ".join(dict.fromkeys(_shown(component) for component in plugins.components(kind.name)))


def _table(options: Iterable[OptionDescription]) -> Iterator[str]:
    for option in options:
        name = f"{option.name}={'...' if option.required else as_typed(option.default)}"
        notes = "; ".join(filter(None, [allowed(option), option.help]))
        yield row(name, notes)


def row(name: str, text: str, name_width: int = _NAME_WIDTH) -> str:
    """Return a name and the text beside it, wrapped to the terminal."""
    indent = " " * (name_width + 3)
    lines = textwrap.wrap(text, _width(), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    if len(name) > name_width:
        return "\n".join([f"  {name}", *lines])
    first, *others = lines or [indent]
    return "\n".join([f"  {name:{name_width}} {first.strip()}".rstrip(), *others])


def _width() -> int:
    return min(max(shutil.get_terminal_size((120, 24)).columns, 72), 120)


def as_typed(value: Any) -> str:
    """Return a default as a user would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(getattr(value, "value", value))


def _shown(component: Any) -> str:
    return component.name if component.status == "ok" else f"{component.name} ({component.status})"
