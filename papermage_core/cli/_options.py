"""``key=value`` arguments → a frozen attrs class of options, for commands smaller than ``papermage-train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from papermage_core.cli._train_help import as_typed
from papermage_core.config.errors import read_given, unknown
from papermage_core.config.given import from_overrides
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.errors import ConfigError
from papermage_core.plugin.options import describe_options

__all__ = ["options_help", "processor_choice", "read_options", "reader_choice"]

T = TypeVar("T")
_COMPONENTS = frozenset({"reader", "writer", "processors"})


def read_options(cls: type[T], overrides: Sequence[str]) -> tuple[T, Callable[[str], dict[str, Any]]]:
    """Return the options, and what returns those of a component (``reader.key=value`` for ``"reader"``) by key.

    Raises ConfigError with all errors.
    """
    options = {option.name: option for option in describe_options(cls)}
    given = {item.key: item for item in from_overrides(overrides)}
    of_components = {key: item.value for key, item in given.items() if _component(key) in _COMPONENTS & options.keys()}
    strange = [
        unknown(key, item.source, "unknown option", options)
        for key, item in given.items()
        if key not in options and key not in of_components
    ]
    values, errors = read_given(options, given)
    if strange or errors:
        raise ConfigError(*strange, *errors)

    def options_of(component: str) -> dict[str, Any]:
        dot = f"{component}."
        return {key.removeprefix(dot): value for key, value in of_components.items() if key.startswith(dot)}

    return cls(**values), options_of


def reader_choice(options: Any, options_of: Callable[[str], dict[str, Any]]) -> ReaderChoice:
    """Return the readers that a command's options choose. Raises PluginError and ConfigError for one named wrongly."""
    choice = ReaderChoice(name=options.reader, options=options_of("reader"), plugins_path=options.plugins_path)
    _ = choice.named
    return choice


def processor_choice(options: Any, options_of: Callable[[str], dict[str, Any]]) -> ProcessorChoice:
    """Return the processors that a command's options choose. Raises PluginError and ConfigError for wrong ones."""
    choice = ProcessorChoice(
        names=options.processors, options=options_of("processors"), plugins_path=options.plugins_path
    )
    _ = choice.configs
    return choice


def _component(key: str) -> str | None:
    first, dot, _ = key.partition(".")
    return first if dot else None


def options_help(cls: type[Any]) -> str:
    """Return a line for each option: its name, default and help."""
    lines = []
    for found in describe_options(cls):
        default = "" if found.required else f"={as_typed(found.default)}"
        lines.append(f"  {found.name + default:34} {found.help}")
    return "\n".join(["options, each typed as key=value:", *lines])
