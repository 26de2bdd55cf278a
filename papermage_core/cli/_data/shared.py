"""What subcommands have in common: options, how they are read, and how results are printed."""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from papermage_core.cli._options import (
    ON_ERROR_HELP,
    PLUGINS_PATH_HELP,
    PROCESSORS_HELP,
    READER_HELP,
    processor_choice,
    read_options,
    reader_choice,
)
from papermage_core.cli._shell import say
from papermage_core.config.readers import ReaderChoice
from papermage_core.errors import ConfigError
from papermage_core.plugin.spec import option

if TYPE_CHECKING:
    from papermage_core.data.writers import Written

__all__ = [
    "Labelled",
    "Reading",
    "Source",
    "as_json",
    "labelling",
    "read",
    "said_once",
    "say_written",
    "with_data_path",
    "with_output_path",
]


@attrs.frozen(kw_only=True)
class Source:
    """Options of every command: what is read."""

    data_path: tuple[str, ...] = option(help="documents: files, folders, globs, or - for standard input")
    reader: str | None = option(None, help=READER_HELP)
    plugins_path: tuple[Path, ...] = option((), help=PLUGINS_PATH_HELP)


@attrs.frozen(kw_only=True, slots=False)
class Reading(Source):
    """Options of the commands that can do without some of the documents."""

    on_error: str = option("raise", help=ON_ERROR_HELP, choices=("raise", "skip"))


@attrs.frozen(kw_only=True, slots=False)
class Labelled(Source):
    """Options of the commands that look at labels; named as for ``papermage-train``."""

    label_field: tuple[str, ...] = option((), help="layers that hold the gold entities")
    entity_name: str = option("tokens", help="layer of the units that get a label")
    context_name: str = option("pages", help="layer of what the encoder looks at together")
    label_attribute: str | None = option(None, help="take labels from this key of the entities' metadata")
    processors: tuple[str, ...] = option((), help=PROCESSORS_HELP)


Options = TypeVar("Options", bound=Source)


def read(
    cls: type[Options], arguments: argparse.Namespace
) -> tuple[Options, ReaderChoice, Callable[[str], dict[str, Any]]]:
    """Return the options, the readers, and what returns a component's options; a word without ``=`` is a path."""
    options, options_of = read_options(cls, with_data_path(arguments.words))
    return options, reader_choice(options, options_of), options_of


def with_data_path(words: Sequence[str]) -> list[str]:
    """Return the words with those that are paths, having no ``=``, put together as ``data_path``."""
    paths = [word for word in words if "=" not in word]
    listed = json.dumps(paths) if any("," in path for path in paths) else ",".join(paths)
    return [*(word for word in words if "=" in word), *([f"data_path={listed}"] if paths else [])]


def with_output_path(words: Sequence[str]) -> list[str]:
    """Return the words with the last of several paths as the output, if none is named and nothing is there yet.

    A last ``-`` is standard output. Raises ConfigError if something is there: it may be meant as an input, and must not
    be lost.
    """
    paths = [word for word in words if "=" not in word]
    sources = len(paths) + any(word.startswith("data_path=") for word in words)
    if not paths or sources < 2 or any(word.startswith("output_path=") for word in words):
        return list(words)
    last = paths[-1]
    if os.path.lexists(last):
        raise ConfigError(
            f"output_path is missing; to write over {last}, which is there already, type output_path={last} "
            "overwrite=true"
        )
    if glob.has_magic(last):
        return list(words)
    at = len(words) - 1 - list(words)[::-1].index(last)  # of "- -", the second
    return [f"output_path={word}" if i == at else word for i, word in enumerate(words)]


@contextlib.contextmanager
def said_once(output_path: str) -> Iterator[None]:
    """Keep silent the writing of documents about what is lost, where `say_written` says it."""
    logger = logging.getLogger("papermage_core.data.writers")
    level = logger.level
    if output_path != "-":
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def labelling(options: Labelled, options_of: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Return the options as functions that look at labels take them."""
    return {
        "label_field": options.label_field,
        "entity_name": options.entity_name,
        "context_name": options.context_name,
        "label_attribute": options.label_attribute,
        "processors": processor_choice(options, options_of),
    }


def as_json(value: Any) -> str:
    """Return JSON for people and machines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def say_written(output_path: str, written: Written, arguments: argparse.Namespace) -> None:
    """Print what was written; nothing where the documents themselves went to standard output."""
    if output_path != "-":
        facts = {"output_path": output_path, **attrs.asdict(written)}
        say(json.dumps(facts, ensure_ascii=False) if arguments.json else f"{output_path}: {written}")
