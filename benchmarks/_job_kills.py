"""Jobs killed at random moments: the process, a worker, a Ray node: ``python -m benchmarks._job_kills``."""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_COMMAND = "import sys; from papermage_core.cli.predict import main; sys.exit(main(sys.argv[1:]))"


def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Return papermage-predict, started."""
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, *words, "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with contextlib.suppress(OSError, ValueError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def killed(words: Sequence[str], what: str, kills: int, longest: float, chance: random.Random) -> int:
    """Run a command until it is done, killing something at random moments; return how often that came in time."""
    done = 0
    command = [*words, "resume=auto"]
    while True:
        process = start(command)
        while process.poll() is None and done < kills:
            time.sleep(chance.uniform(0.0, longest))
            if process.poll() is not None:
                break
            if what == "process":
                process.kill()
                done += 1
            else:
                workers = children(process.pid)
                if len(workers) > 1:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(workers), signal.SIGKILL)
                        done += 1
        told = process.communicate()[1]
        if process.returncode == 0:
            return done
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(told.decode())


def killed_nodes(words: Sequence[str], kills: int, longest: float, chance: random.Random) -> int:
    """Run a command on a cluster of two nodes, one of which is taken away and replaced again and again."""
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        process = start([*words, "engine=ray", "processes=2", f"address={cluster.address}"])
        done = 0
        while process.poll() is None and done < kills:
            time.sleep(chance.uniform(longest / 4, longest))
            if process.poll() is None:
                cluster.remove_node(node, allow_graceful=False)
                done += 1
                node = cluster.add_node(num_cpus=1)
        told = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(told.decode())
        return done
    finally:
        cluster.shutdown()


def main() -> None:
    """Kill, compare, and print how many of the outputs were those of an uninterrupted job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50, help="how many in all")
    parser.add_argument("--name", default="found.csv")
    parser.add_argument("--what", default="process,worker,node")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    common = [f"model_name_or_path={arguments.model}", f"data_path={arguments.data}", "on_error=skip"]
    whole = arguments.folder / f"whole-{arguments.name}"
    begun = time.monotonic()
    if not whole.exists():
        process = start([*common, f"output_path={whole}", "num_threads=1"])
        told = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(told.decode())
    longest = time.monotonic() - begun
    kinds = arguments.what.split(",")
    rounds = {
        "process": [*common, "num_threads=1"],
        "worker": [*common, "processes=2", "num_threads=1"],
        "node": [*common, "num_threads=1"],
    }
    total = 0
    for number, kind in enumerate(kinds):
        share = arguments.kills // len(kinds) + (number < arguments.kills % len(kinds))
        here = 0
        runs = equal = 0
        while here < share:
            out = arguments.folder / f"{kind}-{runs}-{arguments.name}"
            words = [*rounds[kind], f"output_path={out}"]
            most = min(share - here, 4)
            if kind == "node":
                here += killed_nodes(words, most, 12.0, chance)
            else:
                here += killed(words, kind, most, max(longest, 4.0) * (1.0 if kind == "process" else 0.3), chance)
            runs += 1
            same = filecmp.cmp(out, whole, shallow=False) and not Path(f"{out}.part").exists()
            equal += same
            print(f"{kind}: {here} kills, {equal} of {runs} outputs equal", flush=True)
            out.unlink()
        total += here
    print(f"{total} kills")


if __name__ == "__main__":
    main()
