"""``key=value`` arguments → a frozen attrs class of options, for commands smaller than ``papermage-train``."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from papermage_core.cli._train_help import as_typed
from papermage_core.config.errors import invalid, read_option, unknown
from papermage_core.config.given import from_overrides
from papermage_core.config.structure import nest, structure
from papermage_core.config.values import InvalidValueError
from papermage_core.data.readers import reader_of
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import DocumentReader, DocumentReaderConfig

__all__ = ["build_reader", "options_help", "read_options"]

T = TypeVar("T")


def read_options(cls: type[T], overrides: Sequence[str]) -> tuple[T, dict[str, Any]]:
    """Return the options, and those of the reader (``reader.key=value``) by key. Raises ConfigError with all errors."""
    fields = {field.name: field for field in attrs.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    of_reader: dict[str, Any] = {}
    errors = []
    for item in from_overrides(overrides):
        if item.key.startswith("reader.") and "reader" in fields:
            of_reader[item.key.removeprefix("reader.")] = item.value
        elif item.key not in fields:
            errors.append(unknown(item.key, item.source, "unknown option", fields))
        else:
            limits = fields[item.key].metadata
            try:
                values[item.key] = read_option(item.value, hints[item.key], limits)
            except InvalidValueError as exc:
                errors.append(invalid(item.key, item.value, item.source, str(exc)))
    for name, field in fields.items():
        if field.default is attrs.NOTHING and name not in values and not any(f.startswith(f"{name}=") for f in errors):
            errors.append(f"{name} is missing: {field.metadata['help']}. Type {name}=...")
    if errors:
        raise ConfigError(*errors)
    return cls(**values), of_reader


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
