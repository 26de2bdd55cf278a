"""The whole road: a folder of PDFs → entities → a table, with ``compact``, against reading the PDFs alone."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import Rows, corpora, record

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
        words = [sys.executable, "-m", "benchmarks.road", checkpoint, papers, Path(folder) / "found.csv"]
        done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    pages, whole, reading = found["pages"], found["whole"], found["reading"]
    peers = ("pypdfium2", "torch", "numpy")
    note = f"{pages} pages, {found['entities']} entities"
    yield record(
        "PDF → entities → CSV",
        pages / whole,
        "pages/s",
        reference="50 pages/s",
        reference_value=50,
        target=">= 1",
        note=note,
        peers=peers,
    )
    yield record(
        "PDF → entities → CSV, time",
        whole,
        "s",
        reference="reading the PDFs alone",
        reference_value=reading,
        target="<= 1.25",
        note=note,
        peers=peers,
    )


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


def measure(checkpoint: str, papers: str, output: str) -> None:
    """Print seconds of the command, but for its start, and of reading alone, in turn."""
    from papermage_core import read_documents
    from papermage_core.cli import predict

    words = [f"model_name_or_path={checkpoint}", f"data_path={papers}", f"output_path={output}", "overwrite=true"]

    def whole() -> float:
        start = time.perf_counter()
        assert predict.main(["-q", *words]) == 0
        return time.perf_counter() - start

    pages = 0

    def reading() -> float:
        nonlocal pages
        start = time.perf_counter()
        pages = sum(len(document.pages) for document in read_documents(papers))
        return time.perf_counter() - start

    whole(), reading()
    times = [(whole(), reading()) for _ in range(_ROUNDS)]
    middle = [statistics.median(each) for each in zip(*times, strict=True)]
    entities = Path(output).read_text(encoding="utf-8").count("\n") - 1
    print(json.dumps({"pages": pages, "whole": middle[0], "reading": middle[1], "entities": entities}))


if __name__ == "__main__":
    measure(*sys.argv[1:])
