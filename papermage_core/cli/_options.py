"""``key=value`` arguments → a frozen attrs class of options, for commands smaller than ``papermage-train``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from papermage_core.cli._train_help import as_typed
from papermage_core.config.errors import read_given, unknown
from papermage_core.config.given import from_overrides
from papermage_core.config.structure import nest, structure
from papermage_core.data.readers import reader_of
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import DocumentReader, DocumentReaderConfig

__all__ = ["build_reader", "options_help", "read_options"]

T = TypeVar("T")


def read_options(cls: type[T], overrides: Sequence[str]) -> tuple[T, dict[str, Any]]:
    """Return the options, and those of the reader (``reader.key=value``) by key. Raises ConfigError with all errors."""
    options = {option.name: option for option in describe_options(cls)}
    given = {item.key: item for item in from_overrides(overrides)}
    of_reader = {key: item.value for key, item in given.items() if key.startswith("reader.") and "reader" in options}
    strange = [
        unknown(key, item.source, "unknown option", options)
        for key, item in given.items()
        if key not in options and key not in of_reader
    ]
    values, errors = read_given(options, given)
    if strange or errors:
        raise ConfigError(*strange, *errors)
    return cls(**values), {key.removeprefix("reader."): value for key, value in of_reader.items()}


def build_reader(name: str, options: dict[str, Any], plugins: Plugins) -> DocumentReader:
    """Return the document reader of a name, with its options."""
    config_class = plugins.config_class("document_reader", name)
    config: DocumentReaderConfig = structure(config_class, nest(options), key="reader", name=name)
    return reader_of(config)


def options_help(cls: type[Any]) -> str:
    """Return a line for each option: its name, default and help."""
    lines = []
    for found in describe_options(cls):
        default = "" if found.required else f"={as_typed(found.default)}"
        lines.append(f"  {found.name + default:34} {found.help}")
    return "\n".join(["options, each typed as key=value:", *lines])
