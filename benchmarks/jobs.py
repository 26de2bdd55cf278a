"""Jobs of papermage-predict: against their stages, two processes against one, Ray, memory, kills.

``PAPERMAGE_BENCH_JOBS=stages,papers,ray,memory,kills`` chooses some.
"""

from __future__ import annotations

import importlib.util
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

from benchmarks import NotMeasured, Record, Rows, corpora, record
from benchmarks._kills import Outcome, killed_nodes, killed_processes, killed_workers, of_small_jobs
from papermage_core import read_documents
from papermage_core.plugin import DocumentReaderConfig
from papermage_core.prediction import Engine, EntityClassificationPredictor, ModelChoice, predict_files
from papermage_core.prediction.journal import Journal
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_formats.pdf import PdfReaderConfig

_DOCUMENTS = 4000
"""Abstracts, for the rates."""
_MANY = 100_000
"""Documents over which memory is looked at."""
_PAPERS = 400
_KILLS = {"process": 20, "worker": 15, "node": 15}


def run() -> Rows:
    """Yield the records."""
    folder = corpora()
    chosen = os.environ.get("PAPERMAGE_BENCH_JOBS", "stages,papers,ray,memory,kills").split(",")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # in all that is compared
    try:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            model = _model(folder, root)
            predictor = EntityClassificationPredictor.from_pretrained(model)
            abstracts = _repeated(folder / "ncbi_disease" / "train.jsonl", root / "abstracts.jsonl", _DOCUMENTS)
            if "stages" in chosen:
                yield from _stages(predictor, abstracts, root)
            if "papers" in chosen:
                yield from _papers(folder, root)
            if "ray" in chosen:
                yield from _ray(model, abstracts, root)
            if "memory" in chosen:
                yield _memory(predictor, abstracts, root)
            if "kills" in chosen:
                yield from _kills(predictor, model, folder, root)
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


def _job(
    predictor: EntityClassificationPredictor,
    data: Path,
    root: Path,
    processes: int,
    ending: str,
    reader: DocumentReaderConfig | None = None,
) -> float:
    out, engine = root / f"out-{next(_numbers)}.{ending}", Engine(processes=processes)
    seconds = _seconds(lambda: predict_files(predictor, data, out, reader=reader, max_errors=None, engine=engine))
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


def _papers(corpora: Path, root: Path) -> Rows:
    """PDF files to a table, by two processes and by one, which reads in a second process or not."""
    folder = root / "papers"
    folder.mkdir()
    sources = sorted((corpora / "formats" / "pdf").glob("*.pdf")) or sorted(corpora.rglob("*.pdf"))[:4]
    for number in range(_PAPERS):
        shutil.copy(sources[number % len(sources)], folder / f"{number:04}.pdf")
    predictor = EntityClassificationPredictor.from_pretrained(root / "run", context_name="pages")
    _job(predictor, folder, root, 1, "csv")  # once for nothing
    two = _job(predictor, folder, root, 2, "csv")
    for readers, reference in ((2, "processes=1"), (1, "processes=1 reader.processes=1")):
        one = _job(predictor, folder, root, 1, "csv", PdfReaderConfig(processes=readers))
        yield record(
            "job: PDF folder to CSV, processes=2",
            _PAPERS / two,
            "papers/s",
            reference=reference,
            reference_value=_PAPERS / one,
            target=">= 1.8",
            peers=("pypdfium2",),
        )


def _ray(model: Path, abstracts: Path, root: Path) -> Rows:
    """Two actors of a local Ray against two processes: the time that as many documents more take, without the start."""
    try:
        import ray
    except ModuleNotFoundError:
        yield _WITHOUT_RAY
        return
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
    yield record(
        "job: Ray, two workers",
        rates["ray"],
        "docs/s",
        reference="processes=2",
        reference_value=rates["local"],
        target=">= 0.85",
        note="the same bytes" if same else "OTHER BYTES",
        peers=("ray",),
    )


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


def _kills(predictor: EntityClassificationPredictor, model: Path, corpora: Path, root: Path) -> Rows:
    """Jobs of a second, killed once each and gone on with, whose files are to be those of a job that nobody kills."""
    chance = random.Random(0)
    data = _repeated(corpora / "ncbi_disease" / "train.jsonl", root / "kill.jsonl", 60)
    with data.open("ab") as file:
        file.write(b"{broken\n")
    with of_small_jobs():
        for name, kill in (("process", killed_processes), ("worker", killed_workers)):
            yield _of_kills(name, kill(predictor, data, _made(root / name), _KILLS[name], chance))
        if importlib.util.find_spec("ray") is None:
            yield _WITHOUT_RAY
        else:
            yield _of_kills("node", killed_nodes(model, data, _made(root / "node"), _KILLS["node"], chance))


_WITHOUT_RAY = NotMeasured("jobs on Ray", "pip install ray")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _of_kills(name: str, found: Outcome) -> Record:
    return record(
        f"job: its {name} killed, files as of a job that nobody kills",
        found.equal,
        "jobs",
        reference="jobs that were killed",
        reference_value=found.killed,
        target="1",
        note=found.note,
    )
