"""``papermage-predict``: documents in, the same documents with the predicted layer out."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.cli._options import (
    ARITHMETIC_HELP,
    BACKEND_HELP,
    MODEL_MISSING,
    ON_ERROR_HELP,
    PLUGINS_PATH_HELP,
    READER_HELP,
    WRITER_HELP,
    check_model_or_recipe,
    extension_choice,
    options_help,
    precisions,
    processor_choice,
    read_options,
    reader_choice,
    skippable,
    skipping,
    tell_passed_over,
)
from papermage_core.cli._shell import check_flags, command_parser, run
from papermage_core.cli._signals import go_on_with, stopping_on_signals, with_advice
from papermage_core.config.by_label import ByLabel
from papermage_core.config.extensions import ExtensionChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.writers import writer_for
from papermage_core.errors import BrokenRunError, ConfigError, DataError, StoppedError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import option

if TYPE_CHECKING:
    from papermage_core.config.recipe import RecipeConfig
    from papermage_core.prediction.annotators import ModelChoice, RecipeChoice

__all__ = ["main"]

_PROG = "papermage-predict"
_log = logging.getLogger(__name__)
_PROCESSES, _PROCESSES_OF_A_CORE = 64, 8
"""More processes than either are no help, and bring a machine to a stop."""
_OF_A_MODEL = ("layer_name", "layer_per_label", "merge", "entity_name", "context_name", "extensions")
"""Options that a recipe has for each of its stages, or not at all."""


@attrs.frozen(kw_only=True)
class Options:
    """What can be typed as ``key=value``."""

    model_name_or_path: str | None = option(None, help="the checkpoint folder, or hf:owner/name on Hugging Face's hub")
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
    min_score: ByLabel = option(
        None,
        help="leave out entities scored below; min_score.Disease=0.8: of one label; with merge=no every unit stays",
        ge=0,
        le=1,
    )
    min_recall: ByLabel = option(
        None,
        help="guaranteed share of the entities there are that is found, such as 0.95; recall=0.95 says the same; "
        "min_recall.Disease=0.95: of one label",
        ge=0,
        le=1,
    )
    min_precision: ByLabel = option(
        None,
        help="guaranteed share of the entities found that is right, such as 0.9; precision=0.9 says the same; "
        "min_precision.Disease=0.9: of one label",
        ge=0,
        le=1,
    )
    precision: tuple[str, ...] = option((), help=ARITHMETIC_HELP)
    backend: str | None = option(None, help=BACKEND_HELP, choices=("torch", "onnx"))
    shard: str = option("1/1", help="of a cluster's processes, which this one is: 3/8 takes every eighth document")
    entity_name: str | None = option(None, help="layer of the units; none: as in training")
    context_name: str | None = option(None, help="layer of the contexts; none: as in training")
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    device: str | None = option(None, help="cpu, cuda, cuda:1; none: the GPU where there is one")
    num_threads: int | None = option(None, help="threads of torch; none: as torch decides", ge=1, le=4096)
    reader: str | None = option(None, help=READER_HELP)
    processors: tuple[str, ...] = option(
        (), help="processors that add layers first, in order; their options as processors.NAME.key=value"
    )
    writer: str | None = option(None, help=WRITER_HELP)
    records: str | None = option(
        None, help="write records, nested entities put together: bib_entry(author[given,family],title,date)"
    )
    on_error: str = option(
        "raise",
        help=f"{ON_ERROR_HELP}; keep, of a recipe: write it with the layers of the stages that did not fail",
        choices=("raise", "skip", "keep"),
    )
    max_errors: int | None = option(
        None, help="skip documents that cannot be used, and stop once there are more than so many", ge=0
    )
    errors_path: Path | None = option(
        None, help="file for what is skipped, with the reason; none: found.csv.errors.jsonl beside found.csv"
    )
    resume: str = option("no", help="auto: go on with a job that was stopped, or begin one", choices=("no", "auto"))
    processes: int | None = option(
        None, help="processes that share the work on this machine; with engine=ray, actors; none: one, or all", ge=1
    )
    engine: str = option("local", help="local: this machine; ray: a Ray cluster", choices=("local", "ray"))
    address: str | None = option(None, help="of the Ray cluster, such as auto; none: one of this machine alone")
    extensions: tuple[str, ...] = option((), help="extensions to call, in order")
    plugins_path: tuple[Path, ...] = option((), help=PLUGINS_PATH_HELP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser(_PROG, __doc__.split(": ", 1)[1].capitalize(), epilog=options_help(Options))
    parser.usage = (
        f"{_PROG} [flags] model_name_or_path=FOLDER data_path=FILE output_path=FILE key=value...\n"
        f"       {_PROG} [flags] recipe=FILE data_path=FILE output_path=FILE key=value..."
    )
    argv = sys.argv[1:] if argv is None else argv
    arguments, overrides = parser.parse_known_args(argv)
    arguments.again = go_on_with(_PROG, argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    check_flags(arguments, overrides)
    try:
        options, options_of = read_options(Options, overrides)
    except ConfigError as exc:
        named = any(word.startswith(("model_name_or_path=", "recipe=")) for word in overrides)
        raise ConfigError(*exc.errors, *(() if named else (MODEL_MISSING,))) from None
    first, every = _shard(options.shard)
    share, _ = precisions(options.precision, options.min_precision)  # before torch is imported
    check_model_or_recipe(options, overrides, _OF_A_MODEL)
    if options.recipe is None and options.on_error == "keep":
        raise ConfigError(
            "on_error=keep: a model has no other stages whose layers could be kept; expected raise or skip"
        )
    if options.recipe is not None and (options.min_recall is not None or share is not None):
        raise ConfigError("min_recall and min_precision are guarantees of one checkpoint; a recipe has several stages")
    reader = reader_choice(options, options_of)
    processors = processor_choice(options, options_of)
    extensions = extension_choice(options, options_of)
    plugins = Plugins(options.plugins_path)
    if options.data_path == ("-",) and not any(each.startswith("data_path=") for each in overrides):
        _check_input()
    output_path = options.output_path or "-"
    if options.recipe is None:  # before torch is imported
        writer = writer_for(Path(output_path), options.writer, options_of("writer"), plugins, records=options.records)
        _check_not_empty(options, reader)
    from papermage_core.prediction.job import check_job, is_file_job

    choice: ModelChoice | RecipeChoice
    if options.recipe is None:
        choice = _model(options, extensions)
    else:
        choice, config = _recipe(options)
        reader = reader if options.reader is not None or options_of("reader") else config.reader
        writer = writer_for(
            Path(output_path),
            options.writer,
            options_of("writer"),
            plugins,
            records=options.records,
            default_records=config.records,
        )
    resume = options.resume == "auto"
    files = check_job(options.data_path, output_path, reader, writer, choice, overwrite=options.overwrite or resume)
    tell_passed_over(options.data_path, reader, files)
    is_job = is_file_job(files, output_path)
    _check_engine(options, is_job)
    _set_threads(options)
    choice.tune_process()
    given: dict[str, Any] = {"reader": reader, "processors": processors, "first": first, "every": every}
    if is_job:
        _job(arguments, options, choice, output_path, {**given, "writer": writer})
    else:
        _stream(options, choice, output_path, {**given, "writer": writer})


def _check_not_empty(options: Options, reader: ReaderChoice) -> None:
    from papermage_core.data.first_documents import check_not_empty
    from papermage_core.data.readers import expand_paths

    if _is_tolerant(options):
        expand_paths(options.data_path, reader=reader)
        return
    try:
        check_not_empty(options.data_path, reader)
    except DataError as error:
        is_file = error.path is not None and Path(error.path).is_file()
        raise (skippable(error) if is_file else error) from error


def _model(options: Options, extensions: ExtensionChoice) -> ModelChoice:
    """Return what loads the model."""
    from papermage_core.prediction.annotators import Layers, ModelChoice

    assert options.model_name_or_path is not None
    share, arithmetic = precisions(options.precision, options.min_precision)
    layers = Layers(
        name=options.layer_name,
        per_label=options.layer_per_label,
        overwrite=options.overwrite,
        merge=options.merge,
        min_score=options.min_score,
        recall=options.min_recall,
        precision=share,
    )
    given = {
        "entity_name": options.entity_name,
        "context_name": options.context_name,
        "batch_size": options.batch_size,
        "device": options.device,
        "plugins_path": options.plugins_path,
        "extensions": extensions,
        "backend": options.backend,
        "precision": arithmetic,
    }
    return ModelChoice(model_name_or_path=options.model_name_or_path, layers=layers, options=given)


def _recipe(options: Options) -> tuple[RecipeChoice, RecipeConfig]:
    """Return what loads a recipe, and what its file says."""
    from papermage_core.prediction import Recipe
    from papermage_core.prediction.annotators import RecipeChoice

    assert options.recipe is not None
    given: dict[str, Any] = {"batch_size": options.batch_size, "min_score": options.min_score}
    given |= {"device": options.device, "plugins_path": options.plugins_path, "backend": options.backend}
    given["precision"] = precisions(options.precision)[1]
    config = Recipe.from_yaml(options.recipe, **given).config
    keep = options.on_error == "keep"
    return RecipeChoice(recipe=options.recipe, options=given, overwrite=options.overwrite, keep=keep), config


def _job(
    arguments: argparse.Namespace,
    options: Options,
    choice: ModelChoice | RecipeChoice,
    output_path: str,
    given: dict[str, Any],
) -> None:
    """Do a job that can go on after it was stopped."""
    from papermage_core.prediction.job import predict_files
    from papermage_core.prediction.journal import part_folder
    from papermage_core.prediction.running import Engine, TooManyErrors
    from papermage_core.training.stopping import Stopping

    engine = Engine(
        name=options.engine,
        processes=options.processes,
        num_threads=_threads(options),
        address=options.address,
        device=options.device,
    )
    stopping = Stopping()
    tolerant = _is_tolerant(options)
    try:
        with stopping_on_signals(stopping.ask):
            predict_files(
                choice,
                options.data_path,
                output_path,
                max_errors=options.max_errors if tolerant else 0,
                errors_path=options.errors_path,
                resume=options.resume == "auto",
                overwrite=options.overwrite,
                engine=engine,
                stopping=stopping,
                shown=True,
                **given,
            )
    except StoppedError as error:
        raise with_advice(error, arguments.again) from error
    except (DataError, BrokenRunError, OSError) as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = output_path
        if isinstance(error, TooManyErrors) and tolerant:
            _log.info("what is done so far is kept in %s", part_folder(output_path))  # the same command ends likewise
        elif part_folder(output_path).is_dir():
            more = "" if tolerant or not isinstance(error, DataError) else " on_error=skip"
            _log.info("what is done so far is kept; go on with:  %s%s", arguments.again, more)
        elif isinstance(error, DataError) and not tolerant and error.path is not None and Path(error.path).is_file():
            raise skippable(error) from error
        raise


def _is_tolerant(options: Options) -> bool:
    return options.on_error != "raise" or options.max_errors is not None


def _stream(options: Options, choice: ModelChoice | RecipeChoice, output_path: str, given: dict[str, Any]) -> None:
    """Write documents as they come, to a pipe or for a person."""
    from papermage_core.prediction.files import stream_documents
    from papermage_core.prediction.listing import Listing

    annotator = choice.load()
    told = options.output_path or options.writer or options.records
    if listed := not told and _for_a_person(options.data_path, given["reader"]):
        given["writer"] = Listing(layers=annotator.makes)
    with skipping(options.on_error, options.max_errors) as on_error:
        stream_documents(
            annotator,
            options.data_path,
            output_path,
            on_error=on_error,
            on_refused=on_error if _is_tolerant(options) else None,
            overwrite=options.overwrite,
            **given,
        )
    if listed:
        _log.info("output_path=found.html shows them in their documents; .csv, .jsonl and other files hold them")


def _check_engine(options: Options, is_job: bool) -> None:
    """Raise ConfigError for what only goes from files to a file, and for options that do not go together."""
    errors = []
    if not is_job:
        for name, wanted in (("processes", options.processes), ("engine", options.engine != "local")):
            if wanted and wanted != 1:
                errors.append(f"{name}: several processes go from files to a file; name data_path and output_path")
        if options.resume == "auto":
            errors.append("resume=auto: what goes through pipes cannot be gone on with; name data_path and output_path")
        if options.errors_path is not None:
            errors.append("errors_path: a list is kept where files go to a file; name data_path and output_path")
    elif options.errors_path is not None and not _is_tolerant(options):
        errors.append("errors_path: with on_error=raise nothing is skipped that could be listed; type on_error=skip")
    if options.address is not None and options.engine != "ray":
        errors.append(f"address={options.address}: this is for engine=ray")
    most = max(_PROCESSES, _PROCESSES_OF_A_CORE * _cores())
    if options.engine == "local" and (options.processes or 1) > most:
        errors.append(f"processes={options.processes}: this machine has {_cores()} cores; expected at most {most}")
    several = options.engine == "local" and (options.processes or 1) > 1
    if several and (options.device or "cpu").startswith(("cuda", "gpu")):
        errors.append(f"device={options.device}: processes share the processor; for GPUs, type engine=ray or shard=i/n")
    if errors:
        raise ConfigError(*errors)


def _threads(options: Options) -> int | None:
    """Return the threads of each process: those of the machine are divided."""
    if options.num_threads is not None or options.engine == "ray" or (options.processes or 1) == 1:
        return options.num_threads
    return max(1, _cores() // (options.processes or 1))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _set_threads(options: Options) -> None:
    import torch

    if options.engine == "local" and (options.processes or 1) > 1:
        torch.set_num_threads(1)  # forks cannot use threads that were there before them
    elif options.num_threads is not None:
        torch.set_num_threads(options.num_threads)


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
