"""``papermage-serve``: a predictor or a recipe as an HTTP service."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

import attrs

from papermage_core.cli._options import (
    check_model_or_recipe,
    options_help,
    processor_choice,
    read_options,
    reader_choice,
)
from papermage_core.cli._shell import check_flags, command_parser, run
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.recipe import read_recipe
from papermage_core.errors import PluginError
from papermage_core.serving.options import ServerOptions

__all__ = ["main"]

_PROG = "papermage-serve"
_OF_A_MODEL = ("layer_name", "entity_name", "context_name")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser(
        _PROG, "Offer a predictor or a recipe as an HTTP service.", epilog=options_help(ServerOptions)
    )
    parser.usage = (
        f"{_PROG} [flags] model_name_or_path=FOLDER key=value...\n       {_PROG} [flags] recipe=FILE key=value..."
    )
    arguments, overrides = parser.parse_known_args(argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    check_flags(arguments, overrides)
    options, options_of = read_options(ServerOptions, overrides)
    check_model_or_recipe(options, overrides, _OF_A_MODEL)
    processors = processor_choice(options, options_of)
    reader = reader_choice(options, options_of)
    if options.recipe is not None and reader.name is None and not reader.options:
        own = read_recipe(options.recipe, options.plugins_path).reader
        reader = own if own.name == "pdf" else reader
    reader = _limited(reader, options)
    try:
        from papermage_core.serving.server import serve
        from papermage_core.serving.settings import Settings
    except ModuleNotFoundError as exc:
        raise PluginError(f"a server needs {exc.name}; type: pip install 'papermage_core[serve]'") from exc
    level = logging.DEBUG if arguments.debug else logging.ERROR if arguments.quiet else logging.WARNING
    serve(Settings(options=options, processors=processors, reader=reader, log_level=level))


def _limited(chosen: ReaderChoice, options: ServerOptions) -> ReaderChoice:
    """Return the reader of PDFs, within the server's limits."""
    name = chosen.name or "pdf"
    own = {"processes": 1, "max_pages": options.max_pages, "max_characters": options.max_characters}
    limited = attrs.evolve(chosen, name=name, options={**(own if name == "pdf" else {}), **chosen.options})
    _ = limited.named
    return limited


if __name__ == "__main__":
    raise SystemExit(main())
