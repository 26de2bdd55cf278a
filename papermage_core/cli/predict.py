"""``papermage-predict``: documents in, the same documents with the predicted layer out."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from papermage_core.cli._options import (
    ON_ERROR_HELP,
    options_help,
    processor_choice,
    read_options,
    reader_choice,
    skipping,
)
from papermage_core.cli._shell import command_parser, run
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.writers import writer_for
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentWriterConfig, option

__all__ = ["main"]

_PROG = "papermage-predict"
_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Options:
    """What can be typed as ``key=value``."""

    model_name_or_path: str = option(help="the checkpoint folder")
    data_path: tuple[str, ...] = option(("-",), help="documents: files, folders, globs, or - for standard input")
    output_path: str | None = option(
        None,
        help="file to write, compressed as its name says; - for JSON Lines on standard output; none: those, or on a "
        "terminal and for files of other kinds a line for each entity",
    )
    layer_name: str = option("predictions", help="layer to put the entities in")
    layer_per_label: bool = option(False, help="put each label's entities in a layer of its name instead")
    overwrite: bool = option(False, help="replace the file, and layers of these names, that are there already")
    merge: bool = option(True, help="whole entities; no: one entity for each unit, with its tag")
    min_score: float | None = option(
        None, help="leave out entities scored below; with merge=no every unit stays", ge=0, le=1
    )
    recall: float | None = option(
        None, help="miss no more than this leaves, such as 0.95, as the checkpoint guarantees", ge=0, le=1
    )
    precision: float | None = option(
        None, help="be right so often, such as 0.9, as the checkpoint guarantees", ge=0, le=1
    )
    shard: str = option("1/1", help="of a cluster's processes, which this one is: 3/8 takes every eighth document")
    entity_name: str | None = option(None, help="layer of the units; none: as in training")
    context_name: str | None = option(None, help="layer of the contexts; none: as in training")
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    device: str | None = option(None, help="cpu, cuda, cuda:1; none: the GPU where there is one")
    num_threads: int | None = option(None, help="threads of torch; none: as torch decides", ge=1)
    reader: str | None = option(
        None, help="document reader; none: by the ending of each file; its options as reader.key=value"
    )
    processors: tuple[str, ...] = option(
        (), help="processors that add layers first, in order; their options as processors.NAME.key=value"
    )
    writer: str | None = option(
        None, help="document writer; none: by the ending of output_path; its options as writer.key=value"
    )
    on_error: str = option("raise", help=ON_ERROR_HELP, choices=("raise", "skip"))
    extensions: tuple[str, ...] = option((), help="extensions to call, in order")
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser(_PROG, __doc__.split(": ", 1)[1].capitalize(), epilog=options_help(Options))
    parser.usage = f"{_PROG} [flags] model_name_or_path=FOLDER data_path=FILE output_path=FILE key=value..."
    arguments, overrides = parser.parse_known_args(argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    options, options_of = read_options(Options, overrides)
    first, every = _shard(options.shard)
    reader = reader_choice(options, options_of)
    processors = processor_choice(options, options_of)
    plugins = Plugins(options.plugins_path)
    if options.data_path == ("-",) and not any(each.startswith("data_path=") for each in overrides):
        _check_input()
    output_path = options.output_path or "-"
    writer: DocumentWriterConfig = writer_for(Path(output_path), options.writer, options_of("writer"), plugins)
    from papermage_core.checkpoint import read_blueprint
    from papermage_core.prediction.files import Layers, annotate_files, check_output_path
    from papermage_core.prediction.listing import Listing
    from papermage_core.prediction.predictor import EntityClassificationPredictor

    check_output_path(
        output_path,
        options.data_path,
        options.model_name_or_path,
        reader=reader,
        overwrite=options.overwrite,
    )
    if options.num_threads is not None:
        import torch

        torch.set_num_threads(options.num_threads)
    read_blueprint(options.model_name_or_path, plugins).encoder.tune_process()
    predictor = EntityClassificationPredictor.from_pretrained(
        options.model_name_or_path,
        options.entity_name,
        options.context_name,
        options.batch_size,
        options.device,
        plugins_path=options.plugins_path,
        extensions=options.extensions,
    )
    layers = Layers(
        name=options.layer_name,
        per_label=options.layer_per_label,
        overwrite=options.overwrite,
        merge=options.merge,
        min_score=options.min_score,
        recall=options.recall,
        precision=options.precision,
    )
    try:
        predictor.check_shares(options.recall, options.precision, options.merge)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if listed := options.output_path is None and options.writer is None and _for_a_person(options.data_path, reader):
        writer = Listing(layers=layers.names(predictor))
    with skipping(options.on_error) as on_error:
        annotate_files(
            predictor,
            options.data_path,
            output_path,
            reader=reader,
            processors=processors,
            writer=writer,
            layers=layers,
            first=first,
            every=every,
            on_error=on_error,
        )
    if listed:
        _log.info("output_path=found.html shows them in their documents; .csv, .jsonl and other files hold them")


def _check_input() -> None:
    """Raise ConfigError where standard input would be waited for that nobody types."""
    if sys.stdin is not None and sys.stdin.isatty():
        raise ConfigError("data_path is missing: type data_path=FILE, or data_path=- for standard input")


def _for_a_person(data_path: Sequence[str], reader: ReaderChoice) -> bool:
    """Whether lines for a person are wanted where no output is named: JSON in a pipe is for the next program."""
    from papermage_core.data.readers import expand_paths
    from papermage_core.prediction.listing import is_own

    return sys.stdout.isatty() or not all(map(is_own, expand_paths(data_path, reader=reader)))


def _shard(text: str) -> tuple[int, int]:
    """Return the first document, counted from 0, and the step."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"shard={text!r}: expected i/n with i from 1 to n, such as 3/8")
    return int(found[1]) - 1, int(found[2])


if __name__ == "__main__":
    raise SystemExit(main())
