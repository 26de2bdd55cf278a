"""``papermage-serve`` under load: throughput and latency at 32 clients against ``predict_many``; bad input mixed in.

Server, clients and ``predict_many`` run in processes of their own on the same cores. ``python -m benchmarks.serving
load PORT FILE CLIENTS SECONDS`` drives a server that runs; ``hostile`` in place of ``load`` adds what clients do wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks import Record, record

_CLIENTS, _SECONDS, _ROUNDS = 32, 8.0, 3
_SOAK = 120.0
_SETS = {"abstracts": ("ncbi_disease", "Disease", 100), "papers": ("docbank_full", "title,author,abstract", 40)}


def run() -> list[Record]:
    """Return the records; none without PAPERMAGE_CORPORA."""
    corpora = os.environ.get("PAPERMAGE_CORPORA")
    if not corpora:
        return []
    found: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        for encoder, name in (("compact", "abstracts"), ("compact", "papers"), ("hf", "abstracts")):
            documents = Path(folder) / f"{name}.jsonl"
            corpus, fields, most = _SETS[name]
            _write(Path(corpora) / corpus, documents, most)
            trained = _train(encoder, Path(corpora) / corpus, fields, Path(folder) / f"{encoder}-{name}")
            with serving(trained) as port:
                found += _speed(f"{encoder}, {name}", trained, documents, port)
                if name == "papers":
                    found.append(_soak(documents, port))
    return found


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
    _write(corpus, few, 12)
    config = EntityClassificationTrainConfig(
        data_path=few,
        label_field=fields,
        max_epochs=1 if encoder == "hf" else 6,
        val_split=0.0,
        default_root_dir=folder,
        enable_progress_bar=False,
        **more,
    )
    return EntityClassificationTrainer(config).train().checkpoint


@contextlib.contextmanager
def serving(checkpoint: Path, *words: str) -> Iterator[int]:
    """Have a server; yield its port."""
    command = [sys.executable, "-m", "papermage_core.cli.serve", f"model_name_or_path={checkpoint}", "port=0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while not (found := re.search(r"listening at \S+:(\d+)", said)):
        line = process.stderr.readline()
        if not line:
            raise RuntimeError(said)
        said += line
    try:
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _speed(name: str, checkpoint: Path, documents: Path, port: int) -> Iterator[Record]:
    _asked("load", port, documents, _CLIENTS, 2)
    loads, alone = [], []
    for _ in range(_ROUNDS):
        alone.append(_asked("alone", checkpoint, documents, _SECONDS))
        loads.append(_asked("load", port, documents, _CLIENTS, _SECONDS))
    rate, reference = (statistics.median(each["rate"] for each in times) for times in (loads, alone))
    middle, slow = (statistics.median(each[key] for each in loads) for key in ("median", "p99"))
    peers = ("fastapi", "uvicorn", "torch")
    yield record(
        f"server, {_CLIENTS} clients, {name}",
        rate,
        "docs/s",
        reference="predict_many on the same documents",
        reference_value=reference,
        target=">= 0.8",
        peers=peers,
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


def _soak(documents: Path, port: int) -> Record:
    """Return the memory of the server after a load with bad input, against that after a quarter of it."""
    quarter = _asked("hostile", port, documents, _CLIENTS, _SOAK / 4)["memory"]
    said = _asked("hostile", port, documents, _CLIENTS, _SOAK * 3 / 4)
    return record(
        f"server, memory after {_SOAK:.0f} s with bad input",
        said["memory"] / 1e6,
        "MB",
        reference="after a quarter of it",
        reference_value=quarter / 1e6,
        target="<= 1.05",
        note=f"{said['statuses']}",
    )


def _asked(*words: Any) -> dict[str, Any]:
    """Return what this module, run as a program, prints."""
    command = [sys.executable, "-m", "benchmarks.serving", *map(str, words)]
    env = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as for commands
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# predict_many --------------------------------------------------------------------------------------------------------


def alone(checkpoint: str, documents: str, seconds: str) -> dict[str, Any]:
    """Predict documents that are in memory for some seconds, as the command does."""
    from papermage_core import checkpoint as checkpoints
    from papermage_core.document import Document
    from papermage_core.plugin.manager import Plugins
    from papermage_core.prediction import EntityClassificationPredictor

    checkpoints.read_blueprint(checkpoint, Plugins()).encoder.tune_process()
    predictor = EntityClassificationPredictor.from_pretrained(checkpoint)
    lines = Path(documents).read_bytes().splitlines()

    def once() -> float:
        given = [Document.from_bytes(line) for line in lines]
        start = time.perf_counter()
        for _ in predictor.predict_many(given, mixed=True):
            pass
        return time.perf_counter() - start

    once()
    times: list[float] = []
    while sum(times) < float(seconds):
        times.append(once())
    return {"rate": len(lines) * len(times) / sum(times)}


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
        print(json.dumps(alone(*given)))
    else:
        print(json.dumps(drive(*given, nuisances=8 if what == "hostile" else 0)))
