"""``papermage-data convert``: what any reader reads, as any writer writes it."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs

from papermage_core.cli._data.shared import Reading, read, said_once, say_written, with_output_path
from papermage_core.cli._options import PROCESSORS_HELP, WRITER_HELP, processor_choice, skipping, tell_passed_over
from papermage_core.plugin.spec import option

__all__ = ["Convert", "run"]


@attrs.frozen(kw_only=True)
class Convert(Reading):
    """Options of ``convert``."""

    output_path: str = option(
        help="file to write, compressed as its name says; - for standard output; or a last PATH that is new"
    )
    writer: str | None = option(None, help=WRITER_HELP)
    records: str | None = option(
        None, help="write records, nested entities put together: bib_entry(author[given,family],title,date)"
    )
    processors: tuple[str, ...] = option((), help=PROCESSORS_HELP)
    unique: bool = option(False, help="leave out documents whose text stands in an earlier one: corrected files first")
    overwrite: bool = option(False, help="replace what is there already")


def run(arguments: argparse.Namespace) -> None:
    """Write documents in another format."""
    from papermage_core.config.writers import writer_for
    from papermage_core.data.converting import convert
    from papermage_core.plugin.manager import Plugins

    arguments.words = with_output_path(arguments.words)
    options, reader, options_of = read(Convert, arguments)
    plugins = Plugins(options.plugins_path)
    writer = writer_for(
        Path(options.output_path), options.writer, options_of("writer"), plugins, records=options.records
    )
    tell_passed_over(options.data_path, reader)
    with skipping(options.on_error) as on_error, said_once(options.output_path):
        written = convert(
            options.data_path,
            options.output_path,
            reader=reader,
            writer=writer,
            processors=processor_choice(options, options_of),
            plugins=plugins,
            on_error=on_error,
            on_refused=on_error if options.on_error == "skip" else None,
            unique=options.unique,
            overwrite=options.overwrite,
        )
    say_written(options.output_path, written, arguments)
