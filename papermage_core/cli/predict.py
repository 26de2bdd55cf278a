"""``papermage-predict``: documents in, the same documents with the predicted layer out."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core.cli._options import (
    ON_ERROR_HELP,
    extension_choice,
    options_help,
    processor_choice,
    read_options,
    reader_choice,
    skipping,
)
from papermage_core.cli._shell import check_flags, command_parser, run
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.writers import writer_for
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentWriterConfig, option

__all__ = ["main"]

_PROG = "papermage-predict"
_log = logging.getLogger(__name__)
_MISSING = "model_name_or_path is missing: the checkpoint folder. Type model_name_or_path=... or recipe=..."
_OF_A_MODEL = ("layer_name", "layer_per_label", "merge", "entity_name", "context_name", "extensions")
"""Options that a recipe has for each of its stages, or not at all."""


@attrs.frozen(kw_only=True)
class Options:
    """What can be typed as ``key=value``."""

    model_name_or_path: str | None = option(None, help="the checkpoint folder")
    recipe: Path | None = option(
        None, help="in its place a recipe, reader, processors and predictors in order: its file or folder"
    )
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
    records: str | None = option(
        None, help="write records, nested entities put together: bib_entry(author[given,family],title,date)"
    )
    on_error: str = option(
        "raise",
        help=f"{ON_ERROR_HELP}; keep, of a recipe: write it with the layers of the stages that did not fail",
        choices=("raise", "skip", "keep"),
    )
    extensions: tuple[str, ...] = option((), help="extensions to call, in order")
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser(_PROG, __doc__.split(": ", 1)[1].capitalize(), epilog=options_help(Options))
    parser.usage = (
        f"{_PROG} [flags] model_name_or_path=FOLDER data_path=FILE output_path=FILE key=value...\n"
        f"       {_PROG} [flags] recipe=FILE data_path=FILE output_path=FILE key=value..."
    )
    arguments, overrides = parser.parse_known_args(argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    check_flags(arguments, overrides)
    try:
        options, options_of = read_options(Options, overrides)
    except ConfigError as exc:
        named = any(word.startswith(("model_name_or_path=", "recipe=")) for word in overrides)
        raise ConfigError(*exc.errors, *(() if named else (_MISSING,))) from None
    first, every = _shard(options.shard)
    _check_model(options, overrides)
    reader = reader_choice(options, options_of)
    processors = processor_choice(options, options_of)
    extensions = extension_choice(options, options_of)
    plugins = Plugins(options.plugins_path)
    if options.data_path == ("-",) and not any(each.startswith("data_path=") for each in overrides):
        _check_input()
    output_path = options.output_path or "-"
    if options.recipe is not None:
        _recipe(options, options_of, reader, processors, plugins)
        return
    assert options.model_name_or_path is not None
    writer: DocumentWriterConfig = writer_for(
        Path(output_path), options.writer, options_of("writer"), plugins, records=options.records
    )
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
        extensions=extensions,
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
    told = options.output_path or options.writer or options.records
    if listed := not told and _for_a_person(options.data_path, reader):
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


def _check_model(options: Options, overrides: Sequence[str]) -> None:
    """Raise ConfigError unless there is one of model and recipe, with options that it has."""
    if options.recipe is None:
        if options.model_name_or_path is None:
            raise ConfigError(_MISSING)
        if options.on_error == "keep":
            raise ConfigError(
                "on_error=keep: a model has no other stages whose layers could be kept; expected raise or skip"
            )
        return
    if options.model_name_or_path is not None:
        raise ConfigError("recipe and model_name_or_path are both given: give one of them")
    typed = [name for name in _OF_A_MODEL if any(override.startswith(f"{name}=") for override in overrides)]
    if typed:
        raise ConfigError(*(f"{name}: the recipe says it for each stage; write it there" for name in typed))


def _recipe(
    options: Options,
    options_of: Callable[[str], dict[str, Any]],
    reader: ReaderChoice,
    processors: ProcessorChoice,
    plugins: Plugins,
) -> None:
    """Run the stages of a recipe over files."""
    from papermage_core.prediction.listing import Listing
    from papermage_core.prediction.recipe import Recipe
    from papermage_core.prediction.recipe_files import check_recipe_output, run_recipe

    assert options.recipe is not None
    given = {"batch_size": options.batch_size, "min_score": options.min_score}
    recipe = Recipe.from_yaml(options.recipe, device=options.device, plugins_path=options.plugins_path, **given)
    reader = reader if options.reader is not None or options_of("reader") else recipe.config.reader
    output_path = options.output_path or "-"
    writer: DocumentWriterConfig = writer_for(
        Path(output_path),
        options.writer,
        options_of("writer"),
        plugins,
        records=options.records,
        default_records=recipe.config.records,
    )
    check_recipe_output(
        recipe, output_path, options.data_path, reader=reader, overwrite=options.overwrite, writer=writer
    )
    if options.num_threads is not None:
        import torch

        torch.set_num_threads(options.num_threads)
    recipe.tune_process()
    told = options.output_path or options.writer or options.records
    if listed := not told and _for_a_person(options.data_path, reader):
        writer = Listing(layers=recipe.makes)
    first, every = _shard(options.shard)
    with skipping(options.on_error) as on_error:
        run_recipe(
            recipe,
            options.data_path,
            output_path,
            reader=reader,
            processors=processors,
            writer=writer,
            first=first,
            every=every,
            on_error=on_error,
            overwrite=options.overwrite,
            keep=options.on_error == "keep",
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
