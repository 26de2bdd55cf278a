"""Files of documents → a file or folder of the same documents with predictions, however often it is stopped.

The documents are cut into blocks (`papermage_core.data.blocks`), which one process or many work on; what comes of them
is written in order, and taken down in a journal (`papermage_core.prediction.journal`). The same documents give the same
file to the byte, by one process or by several, in one go or in many.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from inspect import signature
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.booleans import booleans_only
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.writers import writer_for
from papermage_core.data.readers import (
    STDIN,
    AnyReader,
    chosen_reader,
    companions_of,
    expand_paths,
    iter_documents,
    none_usable,
    reader_config,
)
from papermage_core.data.shards import errors_path_of, facts_path
from papermage_core.data.wanted import Wanted
from papermage_core.data.writers import listed
from papermage_core.errors import ConfigError, DataError, PapermageError, PluginError, counted
from papermage_core.files import check_output, compression, is_dead_link, recover
from papermage_core.files.whole import is_written_through
from papermage_core.plugin.blame import built
from papermage_core.plugin.spec import DocumentWriterConfig
from papermage_core.prediction.annotators import (
    Annotator,
    Layers,
    Model,
    ModelAnnotator,
    ModelChoice,
    RecipeAnnotator,
    RecipeChoice,
    Seen,
)
from papermage_core.prediction.journal import differences, open_journal, part_folder
from papermage_core.prediction.made import made_of, remember
from papermage_core.prediction.predictor import EntityClassificationPredictor
from papermage_core.prediction.recipe import Recipe
from papermage_core.prediction.running import Engine, RunningJob, give_up, put_in_place
from papermage_core.prediction.work import Work
from papermage_core.training.stopping import Stopping

__all__ = ["Predicted", "check_job", "is_file_job", "predict_files"]

_log = logging.getLogger(__name__)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_SHOWN = 20
"""Most documents that could not be used that are shown at the end."""
_LISTED = 10_000
"""Most files that a journal lists, to say which one has changed."""


@attrs.frozen(kw_only=True)
class Predicted:
    """What came of a job."""

    documents: int
    """Documents that are written."""
    failed: int
    """Documents that could not be used; they are listed in the file of errors."""
    units: int
    losses: Mapping[str, int]
    """What the format could not hold: kind → how much."""
    seconds: float
    """Of this run, not of those that were stopped."""


def is_file_job(files: Sequence[Path], output_path: str | Path) -> bool:
    """Whether files become a file or folder, so that a job can go on after it was stopped; of pipes nothing stays."""
    written = str(output_path) != STDIN and not is_written_through(output_path)
    return written and all(path.is_file() or is_dead_link(path) for path in files)


@booleans_only
def predict_files(
    model: Model,
    data_path: str | Path | Sequence[str | Path],
    output_path: str | Path,
    *,
    reader: AnyReader = None,
    processors: ProcessorChoice | Sequence[str] = (),
    writer: str | DocumentWriterConfig | None = None,
    layers: Layers | None = None,
    first: int = 0,
    every: int = 1,
    max_errors: int | None = 0,
    errors_path: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    engine: Engine | None = None,
    stopping: Stopping | None = None,
    shown: bool = False,
) -> Predicted:
    """Write the documents of files, folders and globs with what a model or a recipe finds, in order, to one output.

    ``model`` is a checkpoint's folder, a predictor, a recipe, or a `ModelChoice` or `RecipeChoice` of one with options.
    What is done so far is in the folder ``<output_path>.part``; with ``resume``, a job that was stopped goes on there,
    however it was stopped, and the output is the same to the byte. Without ``resume`` an unfinished job is an error,
    and so is an output that is there already, unless they may be overwritten.

    Up to ``max_errors`` documents that cannot be used, None for any number, are passed over and listed in
    ``errors_path``; one more raises DataError. ``first`` and ``every`` choose a share of the documents; where all of
    them are asked for, and none can be used, DataError is raised and no output written. Raises ConfigError for a job
    that goes on as another one than it began, StoppedError when ``stopping`` asks for it, and what reading, predicting
    and writing raise.
    """
    start = time.monotonic()
    paths = [data_path] if isinstance(data_path, (str, Path)) else list(data_path)
    engine, stopping = engine or Engine(), stopping or Stopping()
    choice, annotator = _chosen(model, layers, overwrite)
    config = writer if isinstance(writer, DocumentWriterConfig) else writer_for(Path(output_path), writer)
    readers = chosen_reader(reader)
    listed_at = Path(errors_path) if errors_path is not None else errors_path_of(output_path)
    target = Path(os.path.realpath(output_path))
    files = check_job(paths, output_path, readers, config, choice, overwrite=overwrite or resume)
    if not is_file_job(files, output_path):
        raise ConfigError(f"output_path={output_path}: a job goes from files to a file or folder, not through pipes")
    if every > 1 or resume or engine.is_several:
        _check_decided(choice)
    if errors_path is not None or max_errors != 0:
        inputs = [*files, *paths, *(choice.inputs if choice is not None else ())]
        replaces = overwrite or resume or max_errors == 0  # where nothing is listed, nothing is written over
        _check_listing(listed_at, target, inputs, overwrite=replaces)
    recover(target.parent)
    given = processors if isinstance(processors, ProcessorChoice) else ProcessorChoice(names=tuple(processors))
    bit_by_bit = config.target == "file" and "first" in signature(_built(config, output_path).write).parameters
    work = Work(
        reader=readers,
        processors=given,
        writer=config if bit_by_bit else None,
        skipping=max_errors != 0,
        first=first,
        every=every,
    )
    facts = _facts(choice, annotator, work, config, files, overwrite)
    if resume and _is_made(target, files, choice, facts):
        _log.info(
            "%s is there already, newer than documents and model: nothing is left to do; overwrite=true makes it anew",
            output_path,
        )
        return Predicted(documents=0, failed=0, units=0, losses={}, seconds=time.monotonic() - start)
    layers_made, labels_made = (annotator.makes, annotator.labels) if choice is None else choice.made()  # type: ignore[union-attr]
    makes = [name for each in given.configs for name in each.makes]
    _warn_of_missing(Wanted(config, [*layers_made, *makes], labels_made), files, readers, output_path)
    ending = Path(target.name.removesuffix(compression(target))).suffix
    data_name = f"output{ending}" if bit_by_bit else "documents.jsonl"
    with open_journal(output_path, facts, data_name, resume=resume, overwrite=overwrite) as journal:
        if journal.facts["overwrite"] and choice is not None:  # what a job began with holds for all of it
            choice = choice.overwriting()
        elif target.exists() and not journal.progress.is_done and not journal.facts["overwrite"]:
            raise DataError(f"there is {target} already, and the job began without it: choose what to do with it first")
        job = RunningJob(journal, work, files, stopping, max_errors, shown)
        seen = job.run(choice, annotator, engine)
        if journal.progress.failed and not journal.progress.documents and every == 1:
            give_up(journal, listed_at)
            _warn(seen, journal.progress.failed, listed_at, keep=False)
            raise none_usable(journal.progress.failed)
        placed = put_in_place(journal, work, config, Path(output_path), listed_at, stopping, files, max_errors)
        if placed.losses and bit_by_bit:
            _log.warning("%s: the format cannot hold %s", output_path, listed(placed.losses))
        remember(target, journal.facts)
        done = journal.progress
        failed, documents = done.failed + placed.refused, done.documents - placed.refused
        _warn(seen, failed, listed_at, keep=isinstance(choice, RecipeChoice) and choice.keep)
        if failed and not documents and every == 1:
            raise none_usable(failed)
        seconds = time.monotonic() - start
        _log.info("%s in %.1f s", counted(documents, "documents"), seconds)
        return Predicted(documents=documents, failed=failed, units=done.units, losses=placed.losses, seconds=seconds)


def _check_listing(path: Path, target: Path, inputs: Sequence[str | Path], *, overwrite: bool) -> None:
    """Raise ConfigError or DataError where what is skipped cannot be listed: on what is read, or made, say."""
    if str(path) == "-":
        raise ConfigError("errors_path=-: what is skipped is listed in a file; name one")
    if Path(os.path.realpath(path)) == target:
        raise ConfigError(f"errors_path={path}: output_path names this file, too; name another one")
    check_output(path, option="errors_path", inputs=inputs, overwrite=overwrite)


def _warn_of_missing(wanted: Wanted, files: Sequence[Path], reader: ReaderChoice, output_path: str | Path) -> None:
    """Warn of what is to be written and nothing makes, as far as the first document tells."""
    if wanted.missing:
        with contextlib.suppress(PapermageError, OSError):  # what cannot be read is told when it is read
            documents = iter_documents(files, reader=reader, on_error=lambda _: None)
            next(wanted.warn_at_first(documents, output_path), None)


def _check_decided(choice: ModelChoice | RecipeChoice | None) -> None:
    """Raise ConfigError where several processes, or those of several runs, would each choose an arithmetic."""
    if choice is not None and choice.is_undecided:
        raise ConfigError(
            "precision=auto: each process would choose anew, also after a stop, and parts of the output would not "
            "agree; name what it chooses in a run of its own, such as precision=bf16"
        )


def _warn(seen: Seen, failed: int, errors_path: Path, *, keep: bool) -> None:
    """Tell what was odd in documents, and which could not be used."""
    for told in seen.lines():
        _log.warning("%s", told)
    if failed:
        what = counted(failed, "errors") if keep else f"skipped {counted(failed, 'documents or files')}"
        _log.warning("%s, listed in %s:\n  %s", what, errors_path, "\n  ".join(_some(errors_path)))


def _chosen(
    model: Model, layers: Layers | None, overwrite: bool
) -> tuple[ModelChoice | RecipeChoice | None, Annotator | None]:
    """Return what a process loads the model from, or what is loaded already."""
    given = layers or Layers(overwrite=overwrite)
    if isinstance(model, EntityClassificationPredictor):
        return None, ModelAnnotator(model, given)
    if isinstance(model, Recipe):
        return None, RecipeAnnotator(model, overwrite=overwrite)
    if isinstance(model, (ModelChoice, RecipeChoice)):
        return model, None
    return ModelChoice(model_name_or_path=model, layers=given), None


def check_job(
    data_path: Sequence[str | Path],
    output_path: str | Path,
    reader: ReaderChoice,
    writer: DocumentWriterConfig,
    choice: ModelChoice | RecipeChoice | None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Return the files to read. Raises, before any work is done, what keeps a job from being begun."""
    files = expand_paths(data_path, reader=reader)
    reader.check(files)
    inputs = [*files, *data_path, *(choice.inputs if choice is not None else ())]
    if not overwrite and Path(output_path).exists() and facts_path(output_path).exists():
        raise DataError(
            f"{output_path} is a part already that shard=i/n made: give each part an output_path of its own, such as "
            "part-1.jsonl, or type overwrite=true"
        )
    check_output(output_path, inputs=inputs, overwrite=overwrite, folder=writer.target == "folder")
    return files


def _is_made(
    target: Path, files: Sequence[Path], choice: ModelChoice | RecipeChoice | None, facts: Mapping[str, Any]
) -> bool:
    """Whether the output is there, and there is no unfinished job.

    Raises DataError for one that is out of date, and ConfigError for one that is known to be of another job.
    """
    if part_folder(target).exists() or not target.exists():
        return False
    made = target.stat().st_mtime_ns
    inputs = [*files, *(Path(each) for each in (choice.inputs if choice is not None else ()))]
    newer = [path for path in inputs if path.exists() and path.stat().st_mtime_ns > made]
    anew = "choose another output_path, or type overwrite=true"
    if newer:
        raise DataError(f"there is {target} already, and {newer[0]} is newer: {anew}")
    before = made_of(target)
    if before is not None and (told := differences(before, facts, but=("papermage_core",))):
        raise ConfigError(f"there is {target} already, of another job: {'; '.join(told)}; {anew}")
    return True


def _built(config: DocumentWriterConfig, path: str | Path) -> Any:
    try:
        return built(config)
    except ModuleNotFoundError as exc:
        raise PluginError(f"{path}: writing it needs {exc.name}") from exc


def _facts(
    choice: ModelChoice | RecipeChoice | None,
    annotator: Annotator | None,
    work: Work,
    config: DocumentWriterConfig,
    files: Sequence[Path],
    overwrite: bool,
) -> dict[str, Any]:
    """Return what a job is, for its journal."""
    stamps: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    for path in files:
        for each in (path, *companions_of(path, reader_config(path, work.reader))) if path.is_file() else ():
            found = each.stat()
            stamp = {"path": str(each), "size": found.st_size, "changed": found.st_mtime_ns}
            digest.update(repr(stamp).encode("utf-8", "surrogateescape"))
            if len(stamps) <= _LISTED:
                stamps.append(stamp)
    of_model = choice.fingerprint() if choice is not None else {"model": f"given in Python, for {annotator.makes}"}  # type: ignore[union-attr]
    fingerprint = {
        **of_model,
        "reader": _ADDRESS.sub("", repr(attrs.evolve(work.reader, sources={}))),
        "processors": "; ".join(f"{each!r} {each.fingerprint}" for each in work.processors.configs),
        "writer": repr(config),
        "shard": f"{work.first + 1}/{work.every}",
        "documents": digest.hexdigest(),
        "papermage_core": metadata.version("papermage_core"),
    }
    listed_files = stamps if len(stamps) <= _LISTED else []
    return {"fingerprint": fingerprint, "files": listed_files, "overwrite": overwrite}


def _some(errors_path: Path) -> Iterator[str]:
    """Yield the first lines of a file of errors in words."""
    with contextlib.suppress(OSError), errors_path.open("rb") as file:
        for number, line in enumerate(file):
            if number == _SHOWN:
                yield "…"
                return
            said = json.loads(line)
            page = None if said.get("page") is None else said["page"] - 1
            place = {key: said.get(key) for key in ("line", "document", "stage", "layer", "entity")}
            yield str(DataError(said["reason"], path=said["file"], page=page, **place))
