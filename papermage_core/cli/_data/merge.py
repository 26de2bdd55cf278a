"""``papermage-data merge``: the parts that ``papermage-predict shard=i/n`` wrote, put together."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs

from papermage_core.cli._data.shared import said_once, say_written, with_data_path, with_output_path
from papermage_core.cli._options import PLUGINS_PATH_HELP, WRITER_HELP, read_options
from papermage_core.plugin.spec import option

__all__ = ["Merge", "run"]


@attrs.frozen(kw_only=True)
class Merge:
    """Options of ``merge``."""

    data_path: tuple[str, ...] = option(help="all parts: files or globs, such as part-*.jsonl")
    output_path: str = option(help="file or folder to write; - for standard output; or a last PATH that is new")
    writer: str | None = option(None, help=WRITER_HELP)
    plugins_path: tuple[Path, ...] = option((), help=PLUGINS_PATH_HELP)
    overwrite: bool = option(False, help="replace what is there already")


def run(arguments: argparse.Namespace) -> None:
    """Put parts together, once none is missing."""
    from papermage_core.config.writers import writer_for
    from papermage_core.data.shards import merge_shards, parts_of
    from papermage_core.plugin.manager import Plugins

    options, options_of = read_options(Merge, with_data_path(with_output_path(arguments.words)))
    path, plugins = Path(options.output_path), Plugins(options.plugins_path)
    with said_once(options.output_path):
        writer = writer_for(path, options.writer, options_of("writer"), plugins)
        written = merge_shards(parts_of(options.data_path), options.output_path, writer, overwrite=options.overwrite)
    say_written(options.output_path, written, arguments)
