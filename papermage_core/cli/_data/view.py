"""``papermage-data view``: documents with their labels marked, on the terminal or on a page of HTML."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import attrs

from papermage_core.cli._data.shared import Labelled, Reading, labelling, read
from papermage_core.cli._options import processor_choice, skipping
from papermage_core.cli._shell import say, say_in_colour
from papermage_core.errors import ConfigError
from papermage_core.plugin.spec import option

__all__ = ["View", "run"]


@attrs.frozen(kw_only=True)
class View(Labelled, Reading):
    """Options of ``view``."""

    document: str | None = option(None, help="its number, counted from 0, or its id; none: the first, or all on a page")
    context: int | None = option(None, help="show this context only, counted from 0; none: the whole document", ge=0)
    colour: str = option("auto", help="auto: on a terminal", choices=("auto", "always", "never"))
    compare: tuple[str, ...] = option((), help="layers of predictions, to be held against the others")
    output_path: Path | None = option(
        None, help="write a page of HTML, which opens in any browser, in place of the text of one document"
    )
    overwrite: bool = option(False, help="replace the page if it is there already")


def run(arguments: argparse.Namespace) -> None:
    """Show documents."""
    from papermage_core.data.viewing import view, view_page
    from papermage_core.plugin.manager import Plugins

    options, reader, options_of = read(View, arguments)
    if options.output_path is not None:
        if options.context is not None:
            raise ConfigError("context= is for the terminal: a page shows whole documents")
        with skipping(options.on_error) as on_error:
            written = view_page(
                options.data_path,
                options.output_path,
                options.document,
                options.label_field,
                compare=options.compare,
                entity_name=options.entity_name,
                label_attribute=options.label_attribute,
                reader=reader,
                processors=processor_choice(options, options_of),
                plugins=Plugins(options.plugins_path),
                on_error=on_error,
                overwrite=options.overwrite,
            )
        return None if str(options.output_path) == "-" else say(f"{options.output_path}: {written}")
    with skipping(options.on_error) as on_error:
        shown = view(
            options.data_path,
            options.document or "0",
            **labelling(options, options_of),
            compare=options.compare,
            context=options.context,
            reader=reader,
            on_error=on_error,
            colour=_in_colour(options.colour),
        )
    return say_in_colour(shown)


def _in_colour(choice: str) -> bool:
    if choice == "auto":
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return choice == "always"
