"""Jobs of papermage-predict: against their stages, two processes against one, Ray, memory, kills."""

from __future__ import annotations

import io
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch

from benchmarks import Record, record
from benchmarks._kills import equal_after_kills, equal_after_lost_nodes
from papermage_core import read_documents
from papermage_core.data import blocks
from papermage_core.prediction import Engine, EntityClassificationPredictor, ModelChoice, predict_files
from papermage_core.prediction.journal import Journal
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

_DOCUMENTS = 4000
"""Abstracts, for the rates."""
_MANY = 100_000
"""Documents over which memory is looked at."""
_PAPERS = 400
_KILLS = 50


def run() -> list[Record]:
    """Return the records; none without PAPERMAGE_CORPORA."""
    corpora = os.environ.get("PAPERMAGE_CORPORA")
    if not corpora:
        return []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # in all that is compared
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            model = _model(Path(corpora), root)
            predictor = EntityClassificationPredictor.from_pretrained(model)
            abstracts = _repeated(Path(corpora) / "ncbi_disease" / "train.jsonl", root / "abstracts.jsonl", _DOCUMENTS)
            return [
                *_stages(predictor, abstracts, root),
                _papers(corpora, root),
                *_ray(model, abstracts, root),
                _memory(predictor, abstracts, root),
                *_kills(predictor, model, Path(corpora), root),
            ]
    finally:
        torch.set_num_threads(threads)


def _model(corpora: Path, root: Path) -> Path:
    options = {"label_field": "Disease", "context_name": "sentences", "max_steps": 50, "enable_progress_bar": False}
    data = corpora / "ncbi_disease" / "dev.jsonl"
    config = EntityClassificationTrainConfig(data_path=data, default_root_dir=root / "run", **options)  # type: ignore[arg-type]
    return EntityClassificationTrainer(config).train().checkpoint


def _repeated(source: Path, target: Path, documents: int) -> Path:
    lines = source.read_bytes().splitlines(keepends=True)
    with target.open("wb") as file:
        for number in range(documents):
            file.write(lines[number % len(lines)])
    return target


def _seconds(body: Callable[[], object]) -> float:
    start = time.perf_counter()
    body()
    return time.perf_counter() - start


_numbers = count()


def _job(predictor: EntityClassificationPredictor, data: Path, root: Path, processes: int, ending: str) -> float:
    out = root / f"out-{next(_numbers)}.{ending}"
    seconds = _seconds(lambda: predict_files(predictor, data, out, max_errors=None, engine=Engine(processes=processes)))
    out.unlink()
    return seconds


def _stages(predictor: EntityClassificationPredictor, abstracts: Path, root: Path) -> list[Record]:
    """Reading, the model and writing, timed apart by one process, and the job by one and by two."""
    documents = list(read_documents(abstracts))
    for document in documents:
        for name in document.layer_names:
            len(document.get_layer(name))
    list(predictor.predict_many(documents[:200]))
    reading = _seconds(lambda: sum(1 for _ in read_documents(abstracts)))
    model = _seconds(lambda: list(predictor.predict_many(documents)))
    for document, found in zip(documents, predictor.predict_many(documents), strict=True):
        document.annotate_layer("predictions", found)
    writing = _seconds(lambda: io.BytesIO().writelines(document.to_bytes() + b"\n" for document in documents))
    documents.clear()
    one, two = (_job(predictor, abstracts, root, processes, "jsonl") for processes in (1, 2))
    slowest = max(reading, model, writing)
    rates = ", ".join(
        f"{name} {_DOCUMENTS / seconds:.0f}"
        for name, seconds in (("reading", reading), ("model", model), ("writing", writing))
    )
    return [
        record(
            f"job: JSONL to JSONL, processes={processes}",
            _DOCUMENTS / seconds,
            "docs/s",
            reference="the slowest stage, timed apart",
            reference_value=_DOCUMENTS / slowest,
            target=">= 0.9",
            note=f"{rates} a second",
        )
        for processes, seconds in ((1, one), (2, two))
    ]


def _papers(corpora: str, root: Path) -> Record:
    """PDF files to a table, by two processes and by one."""
    folder = root / "papers"
    folder.mkdir()
    sources = sorted((Path(corpora) / "formats" / "pdf").glob("*.pdf")) or sorted(Path(corpora).rglob("*.pdf"))[:4]
    for number in range(_PAPERS):
        shutil.copy(sources[number % len(sources)], folder / f"{number:04}.pdf")
    predictor = EntityClassificationPredictor.from_pretrained(root / "run", context_name="pages")
    _job(predictor, folder, root, 1, "csv")  # once for nothing
    one, two = (_job(predictor, folder, root, processes, "csv") for processes in (1, 2))
    return record(
        "job: PDF folder to CSV, processes=2",
        _PAPERS / two,
        "papers/s",
        reference="processes=1",
        reference_value=_PAPERS / one,
        target=">= 1.8",
        peers=("pypdfium2",),
    )


def _ray(model: Path, abstracts: Path, root: Path) -> list[Record]:
    """Two actors of a local Ray against two processes: the time that as many documents more take, without the start."""
    try:
        import ray
    except ModuleNotFoundError:
        return []
    short = _repeated(abstracts, root / "short.jsonl", _DOCUMENTS // 4)
    choice, more = ModelChoice(model_name_or_path=model), _DOCUMENTS - _DOCUMENTS // 4
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    rates = {}
    try:
        for name in ("local", "ray"):
            seconds = {}
            for data in (short, abstracts):
                out = root / f"{name}-{data.stem}.jsonl"
                engine = Engine(name=name, processes=2, num_threads=1)
                start = time.perf_counter()
                predict_files(choice, data, out, engine=engine)
                seconds[data] = time.perf_counter() - start
            rates[name] = more / (seconds[abstracts] - seconds[short])
        same = (root / "local-abstracts.jsonl").read_bytes() == (root / "ray-abstracts.jsonl").read_bytes()
    finally:
        ray.shutdown()
    return [
        record(
            "job: Ray, two workers",
            rates["ray"],
            "docs/s",
            reference="processes=2",
            reference_value=rates["local"],
            target=">= 0.85",
            note="the same bytes" if same else "OTHER BYTES",
            peers=("ray",),
        )
    ]


def _memory(predictor: EntityClassificationPredictor, abstracts: Path, root: Path) -> Record:
    """Memory of a job in its last tenth against its second."""
    many = _repeated(abstracts, root / "many.jsonl", _MANY)
    seen: list[tuple[int, int]] = []
    journals: list[Journal] = []
    real = Journal.__init__

    def made(self: Journal, *arguments: object) -> None:
        real(self, *arguments)  # type: ignore[arg-type]
        journals.append(self)

    Journal.__init__ = made  # type: ignore[method-assign]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            if journals:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                seen.append((journals[0].progress.documents, pages * 4096))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        predict_files(predictor, many, root / "many.out.jsonl")
    finally:
        over.set()
        thread.join()
        Journal.__init__ = real  # type: ignore[method-assign]
    most = [max(size for done, size in seen if _MANY * k // 10 <= done < _MANY * (k + 1) // 10) for k in (1, 9)]
    return record(
        f"job: memory over {_MANY} documents, last tenth",
        most[1] / 2**20,
        "MiB",
        reference="second tenth",
        reference_value=most[0] / 2**20,
        target="<= 1.02",
    )


def _kills(predictor: EntityClassificationPredictor, model: Path, corpora: Path, root: Path) -> list[Record]:
    chance = random.Random(0)
    data = _repeated(corpora / "ncbi_disease" / "train.jsonl", root / "kill.jsonl", 400)
    with data.open("ab") as file:
        file.write(b"{broken\n")
    before, blocks._BYTES = blocks._BYTES, 300_000
    found = []
    try:
        for name, share in (("process", 20), ("worker", 20)):
            folder = root / name
            folder.mkdir()
            equal, runs = equal_after_kills(predictor, data, folder, share, chance, worker=name == "worker")
            found.append((name, share, equal, runs))
    finally:
        blocks._BYTES = before
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        return [_of_kills(*each) for each in found]
    share, whole = _KILLS - 40, root / "whole.csv"
    predict_files(predictor, data, whole, max_errors=None)
    found.append(("node", share, *equal_after_lost_nodes(model, data, root, whole, share, chance)))
    return [_of_kills(*each) for each in found]


def _of_kills(name: str, kills: int, equal: int, runs: int) -> Record:
    return record(
        f"job: {kills} kills of a {name}, equal outputs",
        equal,
        "jobs",
        reference="jobs that were killed",
        reference_value=runs,
        target="1",
    )
