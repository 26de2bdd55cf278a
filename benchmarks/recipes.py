"""Recipes: a cascade against its stages alone, out-of-fold training against gold, memory from PDF on, failures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from benchmarks import Record, Rows, corpora, record
from papermage_core import Document, read_documents, write_documents
from papermage_core.config.cascade import load_cascade
from papermage_core.errors import DataError
from papermage_core.prediction import Recipe
from papermage_core.prediction.cascade import CascadeTrainer
from papermage_core.prediction.recipe import _chunks

_PDFS = ("papermage_docs/papermage.pdf", "formats/pdf/2202.00535.pdf", "formats/pdf/1903.10676.pdf")
_FIELDS = "author,title,journal,booktitle,date,volume,issue,page_range,publisher,pubnum,web"
_REFERENCES = 5
"""Fewest references of a document of grobid_citation that is taken: most hold one."""


def run() -> Rows:
    """Yield the records."""
    given = corpora()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        trained = cascade_from_pages(root, given)
        yield _speed(trained, given)
        yield from _memory(trained, root, given)
        yield _failures(trained, given)
        yield from _out_of_fold(root, given)


# Models --------------------------------------------------------------------------------------------------------------


def _some(corpora: Path, target: Path, name: str, count: int, wanted: Callable[[Document], bool]) -> str:
    """Write some documents of a corpus; return the path."""
    write_documents(islice(filter(wanted, read_documents(corpora / name)), count), target, overwrite=True)
    return str(target)


def _has_references(document: Document) -> bool:
    return len(document.get_layer("bib_entries")) > _REFERENCES


def _train(root: Path, name: str, stages: list[dict[str, Any]], *words: str, **common: Any) -> Any:
    path = root / f"{name}.yaml"
    content = {"default_root_dir": str(root / name), "enable_progress_bar": False, **common, "stages": stages}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return CascadeTrainer(load_cascade([path], words)).train()


def cascade_from_pages(root: Path, corpora: Path) -> Path:
    """Return the recipe of four stages, from pages to names, trained on small parts of GROBID's data."""
    short = lambda document: document.has_layer("references") and len(document.tokens) < 5000  # noqa: E731
    pages = _some(corpora, root / "pages.jsonl", "grobid_segmentation/train.jsonl.gz", 14, short)
    lists = _some(
        corpora, root / "lists.jsonl", "grobid_references/train.jsonl.gz", 24, lambda each: len(each.tokens) < 2500
    )
    references = _some(corpora, root / "references.jsonl", "grobid_citation/train.jsonl.gz", 24, _has_references)
    stages: list[dict[str, Any]] = [
        {
            "name": "region",
            "data_path": pages,
            "label_field": "references,page,headnote,footnote",
            "max_epochs": 12,
            "predict": {"labels": "references", "join_across": "page,headnote,footnote"},
        },
        {
            "name": "entries",
            "data_path": lists,
            "label_field": "bib_entries",
            "context_name": "references",
            "gold_context_name": "pages",
        },
        {
            "name": "fields",
            "data_path": references,
            "label_field": _FIELDS,
            "context_name": "bib_entries",
            "contexts": "gold",
        },
        {
            "name": "names",
            "data_path": str(corpora / "grobid_name_citation/train.jsonl"),
            "label_field": "forename,middlename,surname,suffix",
            "context_name": "author",
            "gold_context_name": "strings",
        },
    ]
    records = f"bib_entry(author[forename,middlename,surname,suffix],{_FIELDS.partition(',')[2]})"
    found: Path = _train(root, "pages", stages, max_epochs=5, processors="tokens", records=records).recipe
    return found


# Speed ---------------------------------------------------------------------------------------------------------------


def _speed(recipe: Path, corpora: Path) -> Record:
    ready = Recipe.from_yaml(recipe)
    whole = Recipe(ready.config, [stage for stage in ready.stages if stage.name in ("entries", "fields", "names")])

    def documents() -> list[Document]:
        found = list(islice(filter(_has_references, read_documents(corpora / "grobid_citation/dev.jsonl")), 20))
        for document in found:
            document.annotate_layer("references", document.get_layer("pages").from_json(document.pages.to_json()))
            for name in (*whole.makes,):
                document.remove_layer(name)
        return found

    def cascade() -> tuple[float, float]:
        """Return the seconds of the cascade, and of its stages one after the other on the same batches."""
        given = documents()
        start = time.perf_counter()
        done = list(whole.run(given))
        together = time.perf_counter() - start
        alone = 0.0
        for stage in whole.stages:
            fresh = documents()
            for document, other in zip(fresh, done, strict=True):  # what the stages before it made
                for before in whole.stages[: whole.stages.index(stage)]:
                    for name in before.makes:
                        document.annotate_layer(name, other.get_layer(name).from_json(other.get_layer(name).to_json()))
            start = time.perf_counter()
            for chunk in _chunks((each, each) for each in fresh):
                stage.run([document for document, _ in chunk])
            alone += time.perf_counter() - start
        return together, alone

    cascade()
    times = [cascade() for _ in range(5)]
    together, alone = (min(each) for each in zip(*times, strict=True))
    count = len(documents())
    return record(
        "the cascade of three stages",
        count / together,
        "documents/s",
        reference="its stages run alone on the same batches",
        reference_value=count / alone,
        target=">= 0.8",
    )


# Memory --------------------------------------------------------------------------------------------------------------


def _memory(recipe: Path, root: Path, corpora: Path) -> Iterator[Record]:
    """Yield the peak above the memory after imports, of the process and those that it starts, for few PDFs and many."""
    for count in (12, 48):
        folder = root / f"pdfs-{count}"
        folder.mkdir()
        for number in range(count):
            shutil.copy(corpora / _PDFS[number % len(_PDFS)], folder / f"{number:03}.pdf")
        words = [sys.executable, "-m", "benchmarks.recipes", str(recipe), str(folder), str(root / f"{count}.csl.json")]
        found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        yield record(
            f"{count} PDFs → CSL-JSON, peak memory above start",
            found["megabytes"],
            "MB",
            reference="the most",
            reference_value=500,
            target="< 1",
            note=f"{found['references']} references, {found['seconds']:.0f} s",
        )


def measure(recipe: str, folder: str, target: str) -> None:
    """Run a recipe over a folder; print the peak memory above what was there before."""
    import torch

    from papermage_core.config.writers import writer_for
    from papermage_core.prediction.annotators import RecipeAnnotator
    from papermage_core.prediction.files import stream_documents

    torch.set_num_threads(1)  # what is imported, and its threads, are not counted
    peak = _Peak()
    start = time.perf_counter()
    ready = Recipe.from_yaml(recipe)
    writer = writer_for(Path(target), default_records=ready.config.records)
    on_error = lambda error: print(error, file=sys.stderr)  # noqa: E731
    stream_documents(RecipeAnnotator(ready), [folder], target, writer=writer, on_error=on_error)
    found = {
        "megabytes": peak.stop(),
        "references": len(json.loads(Path(target).read_text(encoding="utf-8"))),
        "seconds": time.perf_counter() - start,
    }
    print(json.dumps(found))


class _Peak:
    """Looks twenty times a second how much memory of their own this process and those that it started have."""

    def __init__(self) -> None:
        self._start = self._most = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self._most = max(self._most, self._now())

    @staticmethod
    def _now() -> float:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        total = 0
        for process in ("self", *children):
            try:
                (line,) = re.findall(
                    r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE
                )
            except (OSError, ValueError):  # it has gone
                continue
            total += int(line)
        return total / 1024

    def stop(self) -> float:
        """Return the most above the start, in MB."""
        self._done.set()
        self._thread.join()
        return self._most - self._start


# Failures ------------------------------------------------------------------------------------------------------------


def _failures(recipe: Path, corpora: Path) -> Record:
    """Return the share of documents that come out of those that did not fail, where one lacks a layer."""
    ready = Recipe.from_yaml(recipe)
    stages = Recipe(ready.config, [stage for stage in ready.stages if stage.name in ("fields", "names")])
    documents = list(islice(filter(_has_references, read_documents(corpora / "grobid_citation/dev.jsonl")), 6))
    for document in documents:
        for name in stages.makes:
            document.remove_layer(name)
    documents[3].remove_layer("bib_entries")
    errors: list[DataError] = []
    found = list(stages.run(documents, errors.append))
    (error,) = errors
    assert error.stage == "fields"
    assert error.document == documents[3].id
    return record(
        "documents that come out beside one that fails",
        len(found),
        "documents",
        reference="those that do not fail",
        reference_value=5,
        target="1",
        note=str(error),
    )


# Out of fold ---------------------------------------------------------------------------------------------------------


def _out_of_fold(root: Path, corpora: Path) -> Iterator[Record]:
    """Yield the end-to-end F1 of fields, trained on out-of-fold predictions, against that of training on gold."""
    train = _some(corpora, root / "train.jsonl", "grobid_citation/train.jsonl.gz", 24, _has_references)
    dev = _some(corpora, root / "dev.jsonl", "grobid_citation/dev.jsonl", 8, _has_references)
    paths = {"data_path": train, "val_data_path": dev}
    stages: list[dict[str, Any]] = [
        {"name": "entries", "label_field": "bib_entries", **paths},
        {"name": "fields", "label_field": _FIELDS, "context_name": "bib_entries", **paths},
    ]
    scores = {}
    for name, words in (("predicted", ()), ("gold", ("stages.fields.contexts=gold",))):
        if name == "gold":  # the first stage is the same
            (root / "gold").mkdir()
            for path in root.glob("predicted/entries*"):
                (shutil.copytree if path.is_dir() else shutil.copy)(path, root / "gold" / path.name)
        result = _train(root, name, stages, *words, folds=4, max_epochs=7)
        scores[name] = result.scores.stages["fields"].end_to_end.f1
    yield record(
        "end-to-end F1 of fields, stages trained on out-of-fold predictions",
        scores["predicted"],
        "",
        reference="stages trained on gold",
        reference_value=scores["gold"],
        target="> 1",
    )


if __name__ == "__main__":
    measure(*sys.argv[1:])
