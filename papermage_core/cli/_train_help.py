"""The help texts of ``papermage-train``, made from the config itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.config.faults import allowed, unknown
from papermage_core.config.given import COMMAND_LINE
from papermage_core.config.keys import KINDS
from papermage_core.config.train import EntityClassificationTrainConfig, lightning_parameters, own_options
from papermage_core.config.values import expected
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = ["help_on", "help_overview"]


def help_overview(plugins: Plugins) -> str:
    """Return the options of the command. Reads the names of installed components, and imports none of them."""
    lines = ["options, typed as key=value:", *_table(_described(name) for name in own_options()), ""]
    lines += ["components, and whether they can be used:"]
    for key, kind in KINDS.items():
        names = dict.fromkeys(_shown(component) for component in plugins.components(kind))
        lines.append(f"  {key + '=':16} {', '.join(names)}")
    lines += [
        "  Their options are dotted, head.dropout=0.1; papermage-train --help head=crf lists those of a component.",
        "",
        "every parameter of Lightning's Trainer, by its own name:",
        *_wrapped(lightning_parameters()),
        "  papermage-train --help NAME says what a parameter or an option takes.",
    ]
    return "\n".join(lines)


def help_on(arguments: Sequence[str], plugins: Plugins) -> str:
    """Return what is to be known of ``head=crf`` (its options), ``head``, ``seed`` or ``gradient_clip_val``."""
    return "\n\n".join(_help_on(*argument.partition("=")[::2], plugins) for argument in arguments)


def _help_on(key: str, value: str, plugins: Plugins) -> str:
    if key in KINDS:
        return _help_on_component(key, value or str(own_options()[key].default), plugins)
    if key in own_options():
        return "\n".join(_table([_described(key)]))
    if key in lightning_parameters():
        parameter = lightning_parameters()[key]
        return f"  {key}={_default(parameter.default)}  of Lightning's Trainer: {expected(parameter.type)}"
    first, _, rest = key.partition(".")
    if first in KINDS and rest:
        return _help_on_component(first, str(own_options()[first].default), plugins)
    raise ConfigError(unknown(key, COMMAND_LINE, "unknown option", [*own_options(), *lightning_parameters()]))


def _help_on_component(key: str, name: str, plugins: Plugins) -> str:
    cls = plugins.config_class(KINDS[key], name)
    component = plugins.find(KINDS[key], name)
    options = [attrs.evolve(option, name=f"{key}.{option.name}") for option in describe_options(cls)]
    doc = (cls.__doc__ or "").strip().partition("\n")[0]
    title = f"{key}={name} of {component.source}" + (f": {doc}" if doc and "Method generated" not in doc else "")
    return "\n".join([title, *(_table(options) if options else ["  It has no options."])])


def _described(name: str) -> OptionDescription:
    return _descriptions()[name]


def _descriptions() -> Mapping[str, OptionDescription]:
    return {option.name: option for option in describe_options(EntityClassificationTrainConfig)}


def _table(options: Iterable[OptionDescription]) -> Iterator[str]:
    for option in options:
        default = "..." if option.required else _default(option.default)
        name = f"{option.name}={default}"
        notes = "; ".join(filter(None, [allowed(option.type, option.limits), option.help]))
        yield f"  {name:34} {notes}" if len(name) <= 34 else f"  {name}\n  {'':34} {notes}"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(getattr(value, "value", value))


def _shown(component: Any) -> str:
    return component.name if component.status == "ok" else f"{component.name} ({component.status})"


def _wrapped(names: Iterable[str], width: int = 116) -> Iterator[str]:
    line = " "
    for name in names:
        if len(line) + len(name) + 1 > width:
            yield line
            line = " "
        line += f" {name}"
    yield line
