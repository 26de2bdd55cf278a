"""Jobs killed once each, at random moments: the process, a worker of it, a node of a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core.data import blocks
from papermage_core.prediction import Engine, EntityClassificationPredictor, ModelChoice, journal, predict_files

__all__ = ["Outcome", "killed_nodes", "killed_processes", "killed_workers", "of_small_jobs"]

_NAMES = ("found.csv", "found.bioc")
"""Written bit by bit, and at the end."""
Files = dict[str, bytes]


@attrs.frozen
class Outcome:
    """How many jobs were killed and how many of these ended with the right files; when they were killed."""

    killed: int
    equal: int
    note: str


@contextlib.contextmanager
def of_small_jobs() -> Iterator[None]:
    """Have blocks and what is made sure of as small, against a job of a second, as they are against one of an hour."""
    before = blocks._BYTES, journal._BETWEEN_LINES
    blocks._BYTES, journal._BETWEEN_LINES = 60_000, 0.02
    try:
        yield
    finally:
        blocks._BYTES, journal._BETWEEN_LINES = before


@attrs.frozen
class _Jobs:
    """The same job again and again, each in a folder of its own, by forks of this process, which has the model."""

    predictor: EntityClassificationPredictor
    data: Path
    folder: Path

    def start(self, out: Path, processes: int) -> int:
        """Start a job, or go on with it; return the number of its process."""
        out.parent.mkdir(exist_ok=True)
        return _forked(
            lambda: predict_files(
                self.predictor, self.data, out, max_errors=None, resume=True, engine=Engine(processes=processes)
            )
        )

    def whole(self, name: str, processes: int) -> tuple[Files, float]:
        """Return what a job writes that nobody kills, and its seconds."""
        out = self.folder / f"whole-{processes}-{name}" / name
        start = time.monotonic()
        if _end(self.start(out, processes)) != 0:
            raise RuntimeError("the uninterrupted job failed")
        return _files(out.parent), time.monotonic() - start


def killed_processes(
    predictor: EntityClassificationPredictor, data: Path, folder: Path, count: int, chance: random.Random
) -> Outcome:
    """Kill jobs of one process and of two, spread evenly over all of a job, and go on with them."""
    jobs = _Jobs(predictor, data, folder)
    wholes = {(name, n): jobs.whole(name, n) for name in _NAMES for n in (1, 2)}
    equal, moments, begun = 0, [], 0
    for number in range(count):
        name, processes = _NAMES[number % 2], 1 + number // 2 % 2
        expected, seconds = wholes[name, processes]
        out, share = folder / f"process-{number}" / name, (number + chance.random()) / count
        while True:
            process = jobs.start(out, processes)
            time.sleep(share * seconds)
            os.kill(process, signal.SIGKILL)
            if _end(process) == -signal.SIGKILL:
                break
            shutil.rmtree(out.parent)  # it was done already: a little earlier
            share *= 0.97
        moments.append(share)
        begun += (Path(f"{out}.part") / "journal.jsonl").exists()
        equal += _end(jobs.start(out, processes)) == 0 and _files(out.parent) == expected
    return Outcome(count, equal, f"{_told(moments)}; {begun} of them with something done")


def killed_workers(
    predictor: EntityClassificationPredictor, data: Path, folder: Path, count: int, chance: random.Random
) -> Outcome:
    """Kill one of the two workers of jobs, which go on without it."""
    jobs = _Jobs(predictor, data, folder)
    wholes = {name: jobs.whole(name, 2) for name in _NAMES}
    equal, moments = 0, []
    for number in range(count):
        name = _NAMES[number % 2]
        expected, seconds = wholes[name]
        out = folder / f"worker-{number}" / name
        while True:
            process, share = jobs.start(out, 2), chance.random()
            time.sleep(share * seconds)
            if killed := _one_killed(_children(process), chance):
                break
            _end(process)
            shutil.rmtree(out.parent)  # there were none yet, or no more
        moments.append(share)
        equal += killed and _end(process) == 0 and _files(out.parent) == expected
    return Outcome(count, equal, _told(moments))


def killed_nodes(model: Path, data: Path, folder: Path, count: int, chance: random.Random) -> Outcome:
    """Take one of the two nodes of a cluster away, once a job: while actors start, or once so many blocks are done."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # else raylets print into the tables
    choice = ModelChoice(model_name_or_path=model)
    expected: dict[str, Files] = {}
    for name in _NAMES:
        out = folder / f"whole-{name}" / name
        out.parent.mkdir()
        with _Watched() as watched:
            predict_files(choice, data, out, max_errors=None)
        expected[name] = _files(out.parent)
    total, equal, moments = watched.blocks, 0, []
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        engine = Engine(name="ray", processes=2, num_threads=1)
        while len(moments) < count:
            name, out = _NAMES[len(moments) % 2], folder / f"node-{len(moments)}" / _NAMES[len(moments) % 2]
            out.parent.mkdir()
            after = round((len(moments) / count - _OF_START) / (1 - _OF_START) * total)
            node = cluster.add_node(num_cpus=1)
            with _Watched() as watched:
                killer = threading.Thread(target=_taken_away, args=(cluster, node, watched, after, chance))
                killer.start()
                try:
                    predict_files(choice, data, out, max_errors=None, engine=engine)
                finally:
                    watched.is_over.set()
                    killer.join()
            if watched.killed_at is None:  # it was done before the moment came
                cluster.remove_node(node, allow_graceful=False)
                shutil.rmtree(out.parent)
                continue
            moments.append(watched.killed_at / total)
            equal += _files(out.parent) == expected[name]
    finally:
        ray.shutdown()
        cluster.shutdown()
    return Outcome(count, equal, _told(moments))


_OF_START = 0.2
"""The share of the jobs whose node goes while actors start."""


class _Watched:
    """Counts the blocks of the job that runs meanwhile."""

    def __init__(self) -> None:
        self.blocks = 0
        self.killed_at: int | None = None
        self.is_over = threading.Event()
        self._real = journal.Journal.add

    def __enter__(self) -> _Watched:
        real = self._real

        def add(made: journal.Journal, *arguments: Any) -> None:
            real(made, *arguments)
            self.blocks += 1

        journal.Journal.add = add  # type: ignore[method-assign]
        return self

    def __exit__(self, *exc: object) -> None:
        journal.Journal.add = self._real  # type: ignore[method-assign]


def _taken_away(cluster: Any, node: Any, watched: _Watched, after: int, chance: random.Random) -> None:
    """Take a node away after so many blocks; where none are to be done, at a moment of the first seconds."""
    if after <= 0:
        watched.is_over.wait(chance.uniform(0, 5))
    while watched.blocks < after and not watched.is_over.wait(0.005):
        pass
    if not watched.is_over.is_set():
        watched.killed_at = watched.blocks
        cluster.remove_node(node, allow_graceful=False)


# Processes -----------------------------------------------------------------------------------------------------------


def _forked(body: Callable[[], Any]) -> int:
    """Start a fork of this process, which has the model already; return its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid


def _end(pid: int) -> int:
    """Wait until a process has ended; return how."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError, ValueError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _one_killed(processes: list[int], chance: random.Random) -> bool:
    """Kill one of some processes, if there are any; return whether one was."""
    if not processes:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(processes), signal.SIGKILL)
        return True
    return False


# Files ---------------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> Files:
    """Return all that a folder holds: nothing but the output and the errors is to be left."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _told(moments: Sequence[float]) -> str:
    tenths = Counter(min(9, int(10 * share)) for share in moments)
    return f"killed in each tenth of a job: {', '.join(str(tenths[each]) for each in range(10))}"
