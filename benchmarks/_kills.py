"""Jobs killed at random moments: the process, a worker of it, a node of a Ray cluster."""

from __future__ import annotations

import contextlib
import filecmp
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from papermage_core.prediction import Engine, EntityClassificationPredictor, predict_files

__all__ = ["equal_after_kills", "equal_after_lost_nodes"]

_COMMAND = "import sys; from papermage_core.cli.predict import main; sys.exit(main(sys.argv[1:]))"
_KILLS_OF_A_JOB = 5


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


def _end(pid: int, flags: int = 0) -> int | None:
    """Return how a process ended; None while it has not."""
    found, status = os.waitpid(pid, flags)
    return os.waitstatus_to_exitcode(status) if found else None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError, ValueError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _same(one: Path, other: Path) -> bool:
    pairs = [(one, other), (Path(f"{one}.errors.jsonl"), Path(f"{other}.errors.jsonl"))]
    return not Path(f"{one}.part").exists() and all(filecmp.cmp(*pair, shallow=False) for pair in pairs)


def equal_after_kills(
    predictor: EntityClassificationPredictor,
    data: Path,
    folder: Path,
    kills: int,
    chance: random.Random,
    *,
    worker: bool,
) -> tuple[int, int]:
    """Kill a job, or one of its two workers, at so many random moments; return how many outputs are equal, of how many.

    A job is killed some times and gone on with, until it is done; then comes the next.
    """
    whole = folder / "whole.csv"

    def job(out: Path, engine: Engine) -> int:
        return _forked(lambda: predict_files(predictor, data, out, max_errors=None, resume=True, engine=engine))

    start = time.monotonic()
    if _end(job(whole, Engine())) != 0:
        raise RuntimeError("the uninterrupted job failed")
    longest = time.monotonic() - start
    done = runs = equal = 0
    while done < kills:
        out, here = folder / f"{runs}.csv", 0
        end: int | None = -signal.SIGKILL
        while end != 0:
            pid = job(out, Engine(processes=2 if worker else 1))
            end = None
            while end is None:
                time.sleep(chance.uniform(0, longest * (0.2 if worker else 0.5)))
                end = _end(pid, os.WNOHANG)
                if end is None and (done >= kills or here >= _KILLS_OF_A_JOB):
                    end = _end(pid)
                elif end is None:
                    victims = _children(pid) if worker else [pid]
                    with contextlib.suppress(ProcessLookupError, IndexError):
                        os.kill(chance.choice(victims), signal.SIGKILL)
                        done, here = done + 1, here + 1
                    end = None if worker else _end(pid)
            if end not in (0, -signal.SIGKILL):
                raise RuntimeError(f"a job ended with code {end}")
        runs += 1
        equal += _same(out, whole)
    return equal, runs


def equal_after_lost_nodes(
    model: Path, data: Path, folder: Path, whole: Path, kills: int, chance: random.Random
) -> tuple[int, int]:
    """Take one of the two nodes of a cluster away at random moments; return how many outputs are equal, of how many."""
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    done = runs = equal = 0
    try:
        node = cluster.add_node(num_cpus=1)
        while done < kills:
            out = folder / f"node-{runs}.csv"
            words = [f"model_name_or_path={model}", f"data_path={data}", f"output_path={out}", "on_error=skip", "-q"]
            words += ["engine=ray", "processes=2", "num_threads=1", f"address={cluster.address}"]
            job = subprocess.Popen([sys.executable, "-c", _COMMAND, *words], stderr=subprocess.PIPE)
            begun = Path(f"{out}.part")
            while job.poll() is None:
                time.sleep(chance.uniform(1.0, 8.0))
                if done < kills and begun.exists() and job.poll() is None:
                    cluster.remove_node(node, allow_graceful=False)
                    done += 1
                    node = cluster.add_node(num_cpus=1)
            if job.returncode:
                raise RuntimeError((job.communicate()[1] or b"").decode())
            runs += 1
            equal += _same(out, whole)
    finally:
        cluster.shutdown()
    return equal, runs
