"""Which writer writes which file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from papermage_core.config.given import Given
from papermage_core.config.readers import OF_STREAMS, shown_ending
from papermage_core.config.structure import nest, structure
from papermage_core.errors import ConfigError, PluginError
from papermage_core.files import compression
from papermage_core.plugin.endings import Endings, has_ending
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import is_none_word
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import DocumentWriterConfig

__all__ = ["records_config", "records_errors", "writer_for"]

_KIND = "document_writer"
_RECORDS = "records"
"""The option that makes a writer one of records, and the writer that has no ending of its own."""


def writer_for(
    path: Path,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    *,
    option: str = "output_path",
    records: str | None = None,
    default_records: str | None = None,
) -> DocumentWriterConfig:
    """Return the config of the writer named, else of the one whose ending ``path`` has; JSON Lines without an ending.

    With ``records`` the writer is one that writes such; ``default_records`` are for one that is told nothing else.
    ``option`` is what named the path, for messages. Raises ConfigError for a file that no writer has, and for wrong
    options; PluginError for a writer that cannot be used.
    """
    plugins = plugins or Plugins()
    config_class: type[DocumentWriterConfig]
    options = nest(options or {})
    if name is None and records is not None:
        name, config_class = _of_records(path, plugins, option)
    elif name is None:
        name, config_class = _found(path, plugins, option)
    else:
        config_class = plugins.config_class(_KIND, name)
    if (packed := compression(path)) and (config_class.target == "folder" or not config_class.compressed):
        raise ConfigError(f"{option}={path}: writer={name} writes nothing compressed; take the {packed} off the name")
    if _writes_records(config_class):
        given = records if records is not None else default_records
        options = (
            options if given is None or (records is None and "records" in options) else options | {"records": given}
        )
    elif records is not None:
        raise ConfigError(f"records={records}: writer={name} writes no records")
    return structure(config_class, options, key="writer", name=name)


def records_errors(item: Given | None, plugins: Plugins) -> Iterator[str]:
    """Yield what is wrong with the records that a recipe names, which are read when they are written first."""
    text = None if item is None else str(item.value)
    if item is None or text is None or is_none_word(text):
        return
    try:
        records_config(text, plugins)
    except ConfigError as exc:
        yield from (f"{item.source}: {error.removeprefix(f'writer={_RECORDS}: ')}" for error in exc.errors)
    except PluginError:
        return  # told where records are written


def records_config(text: str, plugins: Plugins) -> DocumentWriterConfig:
    """Return the config of a writer of records that a recipe names. Raises ConfigError, PluginError."""
    found: DocumentWriterConfig = structure(
        plugins.config_class(_KIND, _RECORDS), {_RECORDS: text}, key="writer", name=_RECORDS
    )
    return found


def _writes_records(config_class: type[DocumentWriterConfig]) -> bool:
    return any(described.name == _RECORDS for described in describe_options(config_class))


def _of_records(path: Path, plugins: Plugins, option: str) -> tuple[str, type[DocumentWriterConfig]]:
    """Return the writer of records whose ending a path has; JSON Lines without an ending."""
    endings = Endings(plugins, _KIND)
    named = path if shown_ending(path) else Path(f"a.{OF_STREAMS}")
    found = [each for each in endings.claimants(named) if _writes_records(each[1])]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"writer={component}" for component, _ in found)
        raise ConfigError(f"{option}={path}: several writers write records to files of this ending; type {names}")
    raise ConfigError(
        f"{option}={path}: no writer is known that writes records to files that end in {shown_ending(path)}; "
        "writer=NAME writes a file whatever its ending"
    )


def _found(path: Path, plugins: Plugins, option: str) -> tuple[str, type[DocumentWriterConfig]]:
    ending = shown_ending(path)
    if not ending:
        return OF_STREAMS, plugins.config_class(_KIND, OF_STREAMS)
    endings = Endings(plugins, _KIND)
    claimants = [each for each in endings.claimants(path) if has_ending(each[1], path) or not _writes_records(each[1])]
    owners = [each for each in claimants if has_ending(each[1], path)]
    found = [each for each in owners if f".{each[0]}" == ending] or owners or claimants
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"writer={component}" for component, _ in found)
        raise ConfigError(f"{option}={path}: several writers write files of this ending; type {names}")
    reads = Endings(plugins, "document_reader").named(path)
    only_read = f"; reader={reads[0]} only reads them" if reads else ""
    raise ConfigError(
        f"{option}={path}: no writer is known for files that end in {ending}{only_read}; known: {endings}; writer=NAME "
        "writes a file whatever its ending"
    )
