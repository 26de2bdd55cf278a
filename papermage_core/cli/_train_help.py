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
from papermage_core.errors import ConfigError
from papermage_core.plugin.kinds import IN_CONFIG, kind_called
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = ["as_typed", "help_on", "help_overview"]

_NAME_WIDTH = 34
_KEY_WIDTH = 16


def help_overview(plugins: Plugins) -> str:
    """Return the options of the command. Reads the names of installed components, and imports none of them."""
    lines = ["options, typed as key=value:", *_table(own_options().values()), ""]
    lines += ["components, and whether they can be used:"]
    for key, kind in IN_CONFIG.items():
        names = dict.fromkeys(_shown(component) for component in plugins.components(kind.name))
        lines.append(_row(f"{key}=", ", ".join(names), _KEY_WIDTH))
    lines += [
        "  Their options are dotted, head.dropout=0.1; papermage-train --help head=crf lists those of a component.",
        "",
        "every parameter of Lightning's Trainer, by its own name:",
        _row("", " ".join(lightning_parameters()), 0).strip("\n"),
        "  papermage-train --help NAME says what a parameter or an option takes.",
    ]
    return "\n".join(lines)


def help_on(arguments: Sequence[str], plugins: Plugins) -> str:
    """Return what is to be known of ``head=crf`` or ``crf`` (its options), ``head``, ``seed`` or ``max_steps``."""
    return "\n\n".join(_help_on(*argument.partition("=")[::2], plugins) for argument in arguments)


def _help_on(key: str, value: str, plugins: Plugins) -> str:
    if value and (kind := kind_called(key)):
        key = kind.key
    if key in IN_CONFIG:
        return _help_on_component(key, value or str(own_options()[key].default), plugins)
    if key in own_options():
        return "\n".join(_table([own_options()[key]]))
    if key in lightning_parameters():
        return "\n".join(_table([lightning_parameters()[key]]))
    first, _, rest = key.partition(".")
    if first in IN_CONFIG and rest:
        return _help_on_component(first, str(own_options()[first].default), plugins)
    named = [] if value else [kind for kind in IN_CONFIG.values() if plugins.named(kind.name, key)]
    if named:
        return "\n\n".join(_help_on_component(kind.key, key, plugins) for kind in named)
    components = (component.name for kind in IN_CONFIG.values() for component in plugins.components(kind.name))
    known = [*own_options(), *lightning_parameters(), *components]
    raise ConfigError(unknown(key, COMMAND_LINE, "unknown option", known))


def _help_on_component(key: str, name: str, plugins: Plugins) -> str:
    cls = plugins.config_class(IN_CONFIG[key].name, name)
    component = plugins.find(IN_CONFIG[key].name, name)
    options = [attrs.evolve(option, name=f"{key}.{option.name}") for option in describe_options(cls)]
    doc = (cls.__doc__ or "").strip().partition("\n")[0]
    title = f"{key}={name} of {component.source}" + (f": {doc}" if doc and "Method generated" not in doc else "")
    return "\n".join([title, *(_table(options) if options else ["  It has no options."])])


def _table(options: Iterable[OptionDescription]) -> Iterator[str]:
    for option in options:
        name = f"{option.name}={'...' if option.required else as_typed(option.default)}"
        notes = "; ".join(filter(None, [allowed(option), option.help]))
        yield _row(name, notes, _NAME_WIDTH)


def _row(name: str, text: str, name_width: int) -> str:
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
