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
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from inspect import signature
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.writers import writer_for
from papermage_core.data.blocks import Block, Plan
from papermage_core.data.readers import (
    STDIN,
    AnyReader,
    chosen_reader,
    companions_of,
    expand_paths,
    reader_config,
)
from papermage_core.data.shards import ShardFacts, errors_path_of, write_facts
from papermage_core.data.writers import listed, write_documents
from papermage_core.document import Document
from papermage_core.errors import ConfigError, DataError, PluginError, StoppedError
from papermage_core.files import Lines, check_output, compression, open_output, recover
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
from papermage_core.prediction.journal import Journal, open_journal, part_folder
from papermage_core.prediction.predictor import EntityClassificationPredictor
from papermage_core.prediction.recipe import Recipe
from papermage_core.prediction.shown import JobBar
from papermage_core.prediction.work import BlockWorker, Work
from papermage_core.prediction.workers import ForkedWorkers, Outcome, Workers
from papermage_core.training.stopping import Stopping

__all__ = ["Engine", "Predicted", "check_job", "is_file_job", "predict_files"]

_log = logging.getLogger(__name__)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_BLOCKS_AHEAD = 16
"""How many blocks per process may be under way, or done before their turn to be written."""
_SHOWN = 20
"""Most documents that could not be used that are shown at the end."""
_LISTED = 10_000
"""Most files that a journal lists, to say which one has changed."""


@attrs.frozen(kw_only=True)
class Engine:
    """Which processes do the work."""

    name: str = "local"
    """``local``: this process, or forks of it; ``ray``: actors of a cluster."""
    processes: int | None = None
    """How many; None: this one, or as many actors as a cluster has GPUs or CPUs."""
    num_threads: int | None = None
    """Threads of each, where there are several."""
    address: str | None = None
    """Of the Ray cluster; None: one of this machine alone."""
    device: str | None = None


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
    return written and all(path.is_file() for path in files)


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
    ``errors_path``; one more raises DataError. ``first`` and ``every`` choose a share of the documents. Raises
    ConfigError for a job that goes on as another one than it began, StoppedError when ``stopping`` asks for it, and
    what reading, predicting and writing raise.
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
    alone = engine.name == "local" and (engine.processes or 1) == 1 and every == 1 and not resume
    if choice is not None and choice.is_undecided and not alone:
        raise ConfigError(
            "precision=auto: each process would choose anew, also after a stop, and parts of the output would not "
            "agree; name what it chooses in a run of its own, such as precision=bf16"
        )
    if max_errors != 0:
        check_output(listed_at, option="errors_path", inputs=files, overwrite=overwrite or resume)
    recover(target.parent)
    if resume and _is_made(target, files, choice):
        _log.info(
            "%s is there already, newer than documents and model: nothing is left to do; overwrite=true makes it anew",
            output_path,
        )
        return Predicted(documents=0, failed=0, units=0, losses={}, seconds=time.monotonic() - start)
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
    ending = Path(target.name.removesuffix(compression(target))).suffix
    data_name = f"output{ending}" if bit_by_bit else "documents.jsonl"
    with open_journal(output_path, facts, data_name, resume=resume, overwrite=overwrite) as journal:
        if journal.facts["overwrite"] and choice is not None:  # what a job began with holds for all of it
            choice = choice.overwriting()
        elif target.exists() and not journal.progress.is_done and not journal.facts["overwrite"]:
            raise DataError(f"there is {target} already, and the job began without it: choose what to do with it first")
        job = _Job(journal, work, files, config, stopping, max_errors, shown)
        seen = job.run(choice, annotator, engine)
        losses = _finish(journal, work, config, Path(output_path), listed_at)
        if losses and bit_by_bit:
            _log.warning("%s: the format cannot hold %s", output_path, listed(losses))
        done = journal.progress
        for told in seen.lines():
            _log.warning("%s", told)
        if done.failed:
            what = "%d errors" if isinstance(choice, RecipeChoice) and choice.keep else "skipped %d documents or files"
            _log.warning(f"{what}; they are listed in %s:\n  %s", done.failed, listed_at, "\n  ".join(_some(listed_at)))
        seconds = time.monotonic() - start
        _log.info("%d documents in %.1f s", done.documents, seconds)
        return Predicted(documents=done.documents, failed=done.failed, units=done.units, losses=losses, seconds=seconds)


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
    check_output(output_path, inputs=inputs, overwrite=overwrite, folder=writer.target == "folder")
    return files


def _is_made(target: Path, files: Sequence[Path], choice: ModelChoice | RecipeChoice | None) -> bool:
    """Whether the output is there, and there is no unfinished job. Raises DataError for one that is out of date."""
    if part_folder(target).exists() or not target.exists():
        return False
    made = target.stat().st_mtime_ns
    inputs = [*files, *(Path(each) for each in (choice.inputs if choice is not None else ()))]
    newer = [path for path in inputs if path.exists() and path.stat().st_mtime_ns > made]
    if newer:
        raise DataError(
            f"there is {target} already, and {newer[0]} is newer: choose another output_path, or type overwrite=true"
        )
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


class _Job:
    """Blocks in order, through processes, into the journal."""

    def __init__(
        self,
        journal: Journal,
        work: Work,
        files: Sequence[Path],
        config: DocumentWriterConfig,
        stopping: Stopping,
        max_errors: int | None,
        shown: bool,
    ) -> None:
        self._journal, self._work, self._config = journal, work, config
        self._stopping, self._max_errors = stopping, max_errors
        self._plan = Plan(files, work.reader, work.every)
        self._bar = JobBar(
            sum(path.stat().st_size for path in files if path.is_file()), work.every, journal.progress, shown=shown
        )

    def run(self, choice: ModelChoice | RecipeChoice | None, annotator: Annotator | None, engine: Engine) -> Seen:
        """Do the blocks that are left; return what was odd in them."""
        done = self._journal.progress
        if done.is_done:
            return Seen()
        if done.blocks:
            _log.info("going on after %d documents", done.documents + done.failed)
        self._stopping.is_fitting = True
        try:
            with self._bar:
                self._begin()
                seen = self._blocks_done(choice, annotator, engine)
                self._journal.finish()
                return seen
        except BaseException as exc:
            if not done.blocks and isinstance(exc, Exception) and not isinstance(exc, StoppedError):
                self._journal.remove()  # nothing is done that is worth going on with
            else:
                with contextlib.suppress(OSError):  # a full disk: then the last line of the journal counts
                    self._journal.commit()
            raise
        finally:
            self._stopping.is_fitting = False

    def _begin(self) -> None:
        """Write what comes before the first document; pass over the blocks that are done."""
        for _ in range(self._journal.progress.blocks):
            block = self._plan.take()
            if block is not None:
                self._bar.passed(block)
        if not self._journal.progress.blocks and self._work.writer is not None:
            built(self._work.writer).write([], self._journal.data)

    def _blocks_done(
        self, choice: ModelChoice | RecipeChoice | None, annotator: Annotator | None, engine: Engine
    ) -> Seen:
        if engine.name == "ray":
            from papermage_core.prediction.cluster import RayWorkers

            if choice is None:
                raise ConfigError(
                    "engine=ray: give the checkpoint's folder, or a ModelChoice: actors load it themselves"
                )
            work = attrs.evolve(self._work, processors=attrs.evolve(self._work.processors))
            arguments = (engine.processes, work, choice, engine.num_threads, engine.address, engine.device)
            return self._several(RayWorkers(*arguments))
        if annotator is None:
            assert choice is not None
            annotator = choice.load()
        worker = BlockWorker(self._work, annotator)
        if (engine.processes or 1) == 1:
            return self._alone(worker)
        count = engine.processes or 1
        return self._several(ForkedWorkers(count, worker, self._journal.folder, engine.num_threads or 1))

    def _alone(self, worker: BlockWorker) -> Seen:
        self._bar.look_ahead(self._plan, 1.0)

        def tick() -> None:
            self._check_stop()
            self._bar.tick()

        for block in self._plan:
            done = worker.run(block, self._journal.data, tick)
            self._add(block, Outcome(block.index, done), written=True)
            self._bar.look_ahead(self._plan, 0.01)
        return worker.seen()

    def _several(self, workers: Workers) -> Seen:
        given: dict[int, Block] = {}
        come: dict[int, Outcome] = {}
        at, is_over = self._journal.progress.blocks, False
        try:
            while not is_over or given:
                while not is_over and workers.room and len(given) < _BLOCKS_AHEAD * workers.size:
                    block = self._plan.take()
                    is_over = block is None
                    if block is not None:
                        given[block.index] = block
                        workers.give(block)
                self._bar.look_ahead(self._plan, 0.05)
                for outcome in workers.poll(0.25):
                    come[outcome.index] = outcome
                while at in come:
                    self._add(given.pop(at), come.pop(at))
                    at += 1
                self._check_stop()
                self._bar.tick()
            found = workers.finish()
        finally:
            workers.stop()
        seen = Seen()
        seen.merge(found)
        return seen

    def _add(self, block: Block, outcome: Outcome, written: bool = False) -> None:
        """Take down the next block in order. Raises its error, and DataError for more errors than are allowed."""
        if outcome.error is not None:
            raise outcome.error
        done = outcome.done
        assert done is not None
        if not written:
            outcome.write(self._journal.data)
        lengths = done.lengths if self._work.every > 1 else ()
        self._journal.add(done.documents, done.units, done.losses, done.errors, lengths)
        self._bar.done(block)
        failed = self._journal.progress.failed
        if self._max_errors is not None and failed > self._max_errors:
            self._journal.commit()
            raise DataError(
                f"{failed} documents could not be used, and max_errors={self._max_errors}; they are listed in "
                f"{self._journal.errors_path}. A larger max_errors with resume=auto goes on"
            )

    def _check_stop(self) -> None:
        if self._stopping.why is not None:
            done = self._journal.progress
            raise StoppedError(
                f"stopped by {self._stopping.why}: {done.documents} documents are done and kept", self._stopping.why
            )


def _finish(
    journal: Journal, work: Work, config: DocumentWriterConfig, output_path: Path, errors_path: Path
) -> Mapping[str, int]:
    """Put the output in its place, whole; return what the format could not hold. May be done again at any point."""
    losses: Mapping[str, int] = {kind: count for kind, count in journal.progress.losses.items() if count}
    target = Path(os.path.realpath(output_path))
    if work.every > 1:
        fingerprint = {key: value for key, value in journal.facts["fingerprint"].items() if key != "shard"}
        facts = ShardFacts(shard=work.first + 1, of=work.every, job=fingerprint, lengths=journal.lengths())
    if journal.data_path.exists():
        if journal.progress.failed and journal.errors_path.exists():
            shutil.move(journal.errors_path, errors_path)
        elif not journal.progress.failed and journal.facts.get("overwrite"):
            errors_path.unlink(missing_ok=True)
        journal.close()
        if work.writer is None:
            written = write_documents(_stored(journal.data_path), output_path, config, overwrite=True)
            losses = written.losses
        elif compression(target):
            with open_output(target) as file, journal.data_path.open("rb") as data:
                shutil.copyfileobj(data, file, 1 << 20)
        else:
            with contextlib.suppress(FileNotFoundError):
                journal.data_path.chmod(stat.S_IMODE(target.stat().st_mode) & 0o777)
            journal.data_path.replace(target)
    if work.every > 1:
        write_facts(output_path, facts)
    journal.remove()
    return losses


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


def _stored(path: Path) -> Iterator[Document]:
    with path.open("rb") as file:
        for line in Lines(file, 1 << 62):
            yield Document.from_bytes(line.rstrip(b"\n"))
