"""The blocks of a job, in order, through one process or many into its journal, and what is there into its place."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from papermage_core.data.blocks import Block, Plan
from papermage_core.data.shards import ShardFacts, write_facts
from papermage_core.data.writers import write_documents
from papermage_core.errors import ConfigError, DataError, StoppedError, counted
from papermage_core.files import compression, open_output
from papermage_core.files.whole import made_folder
from papermage_core.plugin.blame import built
from papermage_core.plugin.spec import DocumentWriterConfig
from papermage_core.prediction.annotators import Annotator, ModelChoice, RecipeChoice, Seen
from papermage_core.prediction.journal import Journal
from papermage_core.prediction.refused import Refused, find_refused, stored_documents
from papermage_core.prediction.shown import JobBar
from papermage_core.prediction.work import BlockWorker, Work
from papermage_core.prediction.workers import ForkedWorkers, Outcome, Workers
from papermage_core.training.stopping import Stopping

__all__ = ["Engine", "RunningJob", "TooManyErrors", "check_errors", "give_up", "put_in_place"]

_log = logging.getLogger(__name__)
_BLOCKS_AHEAD = 16
"""How many blocks per process may be under way, or done before their turn to be written."""
_LAST = 4
"""How many blocks per process are the last ones, of which a process is given one at a time."""


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

    @property
    def is_several(self) -> bool:
        """Whether the work may be shared."""
        return self.name != "local" or (self.processes or 1) > 1


class TooManyErrors(DataError):  # noqa: N818 - "error" is what there are too many of
    """More documents could not be used than a job may pass over."""


def check_errors(journal: Journal, failed: int, max_errors: int | None) -> None:
    """Raise TooManyErrors where more documents could not be used than are allowed."""
    if max_errors is not None and failed > max_errors:
        raise TooManyErrors(
            f"{counted(failed, 'documents')} could not be used, and max_errors={max_errors}; listed in "
            f"{journal.errors_path}. A larger max_errors with resume=auto goes on"
        )


class RunningJob:
    """Blocks in order, through processes, into the journal."""

    def __init__(
        self,
        journal: Journal,
        work: Work,
        files: Sequence[Path],
        stopping: Stopping,
        max_errors: int | None,
        shown: bool,
    ) -> None:
        self._journal, self._work = journal, work
        self._stopping, self._max_errors = stopping, max_errors
        self._plan = Plan(files, work.reader, work.every)
        self._bar = JobBar(
            sum(path.stat().st_size for path in files if path.is_file()), work.every, journal.progress, shown=shown
        )

    def run(self, choice: ModelChoice | RecipeChoice | None, annotator: Annotator | None, engine: Engine) -> Seen:
        """Do the blocks that are left; return what was odd in them."""
        done = self._journal.progress
        check_errors(self._journal, done.failed, self._max_errors)
        if done.is_done:
            return Seen()
        if done.blocks:
            _log.info("going on after %s", counted(done.documents + done.failed, "documents"))
        self._stopping.is_fitting, self._stopping.is_done = True, False
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
                while not is_over and self._room(workers) and len(given) < _BLOCKS_AHEAD * workers.size:
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

    def _room(self, workers: Workers) -> int:
        """Return how many more blocks can be given; of the last ones none that would wait behind another."""
        return workers.room if self._plan.has(_LAST * workers.size) else workers.idle

    def _add(self, block: Block, outcome: Outcome, written: bool = False) -> None:
        """Take down the next block in order. Raises its error, and DataError for more errors than are allowed."""
        if outcome.error is not None:
            raise outcome.error
        done = outcome.done
        assert done is not None
        if not written:
            outcome.write(self._journal.data)
        lengths = done.lengths if self._work.every > 1 or self._work.writer is None else ()
        self._journal.add(done.documents, done.units, done.losses, done.errors, lengths)
        self._bar.done(block)
        failed = self._journal.progress.failed
        if self._max_errors is not None and failed > self._max_errors:
            self._journal.commit()
            check_errors(self._journal, failed, self._max_errors)

    def _check_stop(self) -> None:
        if self._stopping.why is not None:
            done = self._journal.progress
            raise StoppedError(
                f"stopped by {self._stopping.why}: {counted(done.documents, 'documents', 'are')} done and kept",
                self._stopping.why,
            )


def give_up(journal: Journal, errors_path: Path) -> None:
    """Leave nothing of a job but the list of what could not be used."""
    _list_errors(journal, errors_path)
    journal.remove()


@attrs.frozen(kw_only=True)
class Placed:
    """What came of putting an output in its place."""

    losses: Mapping[str, int]
    """What the format could not hold: kind → how much."""
    refused: int = 0
    """Documents that the format could not hold at all."""


def put_in_place(
    journal: Journal,
    work: Work,
    config: DocumentWriterConfig,
    output_path: Path,
    errors_path: Path,
    stopping: Stopping,
    files: Sequence[Path],
    max_errors: int | None,
) -> Placed:
    """Put the output in its place, whole. May be done again at any point.

    Once it is there, nothing stops the job any more. Where the format can hold none of the documents, nothing is left
    but the list of errors. Raises what writing raises; DataError for a document that the format cannot hold, unless
    such are passed over, TooManyErrors for more than ``max_errors`` in all.
    """
    placed = Placed(losses={kind: count for kind, count in journal.progress.losses.items() if count})
    target = Path(os.path.realpath(output_path))
    numbers_and_lengths = journal.lengths()
    if journal.data_path.exists():
        journal.close()
        if work.writer is None:
            placed, refused = _written(journal, work, config, output_path, files, max_errors)
            numbers_and_lengths = refused.left(numbers_and_lengths)
            if placed.refused and work.every == 1 and placed.refused == journal.progress.documents:
                give_up(journal, errors_path)
                return placed
        if (journal.progress.failed or placed.refused) and journal.errors_path.exists():
            _list_errors(journal, errors_path)
        elif not journal.progress.failed and journal.facts.get("overwrite") and errors_path.is_file():
            errors_path.unlink()  # the list of what was skipped for the output that is replaced
        if work.writer is not None and compression(target):
            with open_output(target) as file, journal.data_path.open("rb") as data:
                shutil.copyfileobj(data, file, 1 << 20)
        elif work.writer is not None:
            with contextlib.suppress(FileNotFoundError):
                journal.data_path.chmod(stat.S_IMODE(target.stat().st_mode) & 0o777)
            journal.data_path.replace(target)
    stopping.is_done = True
    if work.every > 1:
        fingerprint = {key: value for key, value in journal.facts["fingerprint"].items() if key != "shard"}
        write_facts(
            output_path,
            ShardFacts(shard=work.first + 1, of=work.every, job=fingerprint, lengths=numbers_and_lengths),
        )
    journal.remove()
    return placed


def _list_errors(journal: Journal, errors_path: Path) -> None:
    """Move the list of what could not be used to its place."""
    if journal.errors_path.exists():
        with made_folder(errors_path.parent):
            shutil.move(journal.errors_path, errors_path)


def _written(
    journal: Journal,
    work: Work,
    config: DocumentWriterConfig,
    output_path: Path,
    files: Sequence[Path],
    max_errors: int | None,
) -> tuple[Placed, Refused]:
    """Write a format that is made at the end, without the documents that it cannot hold if such are passed over."""
    none = Refused()
    try:
        written = write_documents(stored_documents(journal.data_path), output_path, config, overwrite=True)
        return Placed(losses=written.losses), none
    except DataError:
        if not work.skipping:
            raise
        refused = find_refused(journal, config, Plan(files, work.reader, work.every))
        if not refused.positions:
            raise
    failed = journal.progress.failed + len(refused.positions)
    refused.list_in(journal.errors_path)
    check_errors(journal, failed, max_errors)
    placed = Placed(losses={}, refused=len(refused.positions))
    if placed.refused < journal.progress.documents or work.every > 1:
        documents = stored_documents(journal.data_path, refused.positions)
        placed = attrs.evolve(placed, losses=write_documents(documents, output_path, config, overwrite=True).losses)
    return placed, refused
