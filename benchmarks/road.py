"""The whole road: a folder of PDFs → entities → a table, with ``compact``, against reading the PDFs alone."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import Record, Rows, corpora, record

_PDFS = ("papermage_docs/papermage.pdf", "formats/pdf/2202.00535.pdf", "formats/pdf/1903.10676.pdf")
_FILES, _ROUNDS = 30, 5


def run() -> Rows:
    """Yield the records."""
    given = corpora()
    with tempfile.TemporaryDirectory() as folder:
        papers = Path(folder) / "papers"
        papers.mkdir()
        for number in range(_FILES):
            shutil.copy(given / _PDFS[number % len(_PDFS)], papers / f"{number:03}.pdf")
        checkpoint = _train(given, Path(folder) / "run")
        for processes in (1, 2):
            words = [sys.executable, "-m", "benchmarks.road", checkpoint, papers, Path(folder) / "found.csv", processes]
            done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True)
            yield from _records(processes, json.loads(done.stdout.splitlines()[-1]))


def _records(processes: int, found: dict[str, float]) -> list[Record]:
    name = "PDF → entities → CSV" + (f", processes={processes}" if processes > 1 else "")
    pages, per_page = found["pages"], 1000 / found["pages"]
    note = (
        f"{pages} pages, {found['entities']} entities; processor time of a page {found['cpu'] * per_page:.1f} ms, of "
        f"which reading {found['cpu_reading'] * per_page:.1f}"
    )
    return [
        record(
            name,
            pages / found["whole"],
            "pages/s",
            reference="50 pages/s",
            reference_value=50,
            target=">= 1",
            note=note,
            peers=("pypdfium2", "torch", "numpy"),
        ),
        record(
            f"{name}, time",
            found["whole"],
            "s",
            reference="reading the PDFs alone",
            reference_value=found["reading"],
            target="<= 1.25",
            peers=("pypdfium2", "torch", "numpy"),
        ),
    ]


def _train(corpora: Path, folder: Path) -> Path:
    """Return a checkpoint that is trained a little on pages with boxes and fonts."""
    from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

    config = EntityClassificationTrainConfig(
        data_path=corpora / "docbank_full/train.jsonl.gz",
        label_field="title,author,abstract,section,caption,reference",
        max_steps=60,
        default_root_dir=folder,
        enable_progress_bar=False,
    )
    return EntityClassificationTrainer(config).train().checkpoint


def measure(checkpoint: str, papers: str, output: str, processes: str) -> None:
    """Print seconds of the command, but for its start, and of reading alone, in turn; and of processor time."""
    from papermage_core import read_documents
    from papermage_core.cli import predict

    words = [f"model_name_or_path={checkpoint}", f"data_path={papers}", f"output_path={output}", "overwrite=true"]
    words += [f"processes={processes}"] if int(processes) > 1 else []

    def whole() -> None:
        assert predict.main(["-q", *words]) == 0

    def reading() -> int:
        return sum(len(document.pages) for document in read_documents(papers))

    whole()
    pages = reading()
    times = [(*_seconds(whole), *_seconds(reading)) for _ in range(_ROUNDS)]
    middle = map(statistics.median, zip(*times, strict=True))
    measured = dict(zip(("whole", "cpu", "reading", "cpu_reading"), middle, strict=True))
    entities = Path(output).read_text(encoding="utf-8").count("\n") - 1
    print(json.dumps({"pages": pages, **measured, "entities": entities}))


def _seconds(body: Callable[[], object]) -> tuple[float, float]:
    """Return seconds on the clock, and of this process's and its children's processor time."""
    start, spent = time.perf_counter(), _spent()
    body()
    return time.perf_counter() - start, _spent() - spent


def _spent() -> float:
    """Return processor time so far, also of children that run yet: the one that reads pages does until the end."""
    used = sum(os.times()[:4])
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = (Path("/proc") / child / "stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


if __name__ == "__main__":
    measure(*sys.argv[1:])
