"""``papermage-predict``: documents in, the same documents with the predicted layer out."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

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
from papermage_core.config.writers import writer_for
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentWriterConfig, option
from papermage_core.terminal import printable

if TYPE_CHECKING:
    from papermage_core.document import Document

__all__ = ["main"]

_PROG = "papermage-predict"


@attrs.frozen(kw_only=True)
class Options:
    """What can be typed as ``key=value``."""

    model_name_or_path: str = option(help="the checkpoint folder")
    data_path: tuple[str, ...] = option(("-",), help="documents: files, folders, globs, or - for standard input")
    output_path: str | None = option(
        None,
        help="file to write, compressed as its name says; - for standard output; none: on a terminal the entities "
        "found, else standard output",
    )
    layer_name: str = option("predictions", help="layer to put the entities in")
    layer_per_label: bool = option(False, help="put each label's entities in a layer of its name instead")
    overwrite: bool = option(False, help="replace the file, and layers of these names, that are there already")
    merge: bool = option(True, help="whole entities; no: one entity for each unit, with its tag")
    min_score: float | None = option(
        None, help="leave out entities scored below; with merge=no every unit stays", ge=0, le=1
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
    writer: DocumentWriterConfig
    if options.output_path is None and options.writer is None and sys.stdout.isatty():
        writer = EntityListConfig()
    else:
        writer = writer_for(Path(output_path), options.writer, options_of("writer"), plugins)
    from papermage_core.checkpoint import read_blueprint
    from papermage_core.prediction.files import Layers, annotate_files, check_output_path
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
    )
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


def _check_input() -> None:
    """Raise ConfigError where standard input would be waited for that nobody types."""
    if sys.stdin is not None and sys.stdin.isatty():
        raise ConfigError("data_path is missing: type data_path=FILE, or data_path=- for standard input")


@attrs.frozen(kw_only=True)
class EntityListConfig(DocumentWriterConfig):
    """What was found, for people to read."""

    def build(self) -> EntityList:
        """Return a new writer."""
        return EntityList()


class EntityList:
    """Writes each document's name, then a line for each entity that has a score."""

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the list, as documents come."""
        from papermage_core.document import entity_rows

        for number, document in enumerate(documents, 1):
            rows = [row for row in entity_rows(document, document.layer_names, number) if row["score"] is not None]
            width = max((len(row["label"]) for row in rows), default=0)
            lines = [_line(row, width) for row in rows] or ["  nothing found"]
            name = document.id or str(number)
            target.write("".join(f"{printable(line)}\n" for line in (name, *lines)).encode())
            target.flush()
        return {}


def _line(row: Mapping[str, Any], width: int) -> str:
    page = "" if row["page"] is None else f"  (page {int(str(row['page']).partition(';')[0]) + 1})"
    return f"  {row['score']:4.2f}  {row['label']:{width}}  {' '.join(row['text'].split())}{page}"


def _shard(text: str) -> tuple[int, int]:
    """Return the first document, counted from 0, and the step."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"shard={text!r}: expected i/n with i from 1 to n, such as 3/8")
    return int(found[1]) - 1, int(found[2])


if __name__ == "__main__":
    raise SystemExit(main())
