"""From files to examples: speed, memory, and how soon a second run takes its first step.

Needs ``PAPERMAGE_CORPORA`` with ``docbank_full``: documents are one to four of its pages, drawn by chance (10,000 of
them are 1.7 GB).
Every figure is of a fresh process, memory the most that is resident in it or in one of its children.
``PAPERMAGE_BENCH_DOCUMENTS=500,10000`` says how many documents are compared. ``PAPERMAGE_BENCH_BEFORE`` may name a
checkout of an older version, of commit fd00960 or before, whose single pass (reading, labelling, windows, and keeping
them) is then the reference of making examples.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import Record, Rows, corpora, record, versions

_LABELS = "abstract,author,caption,date,equation,footer,list,paragraph,reference,section,table,title"

_TRAIN = """
import json, resource, sys, time
start = time.perf_counter()
import pytorch_lightning as pl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
imported = time.perf_counter() - start
class First(pl.Callback):
    seconds = None
    def on_train_batch_end(self, *_):
        First.seconds = First.seconds or time.perf_counter() - start - imported
data, folder, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
config = EntityClassificationTrainConfig(
    data_path=data, default_root_dir=folder, head="crf", max_steps=2, overwrite=True, callbacks=[First()],
    enable_progress_bar=False, **options,
)
EntityClassificationTrainer(config).train()
most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"first_step": First.seconds, "memory": most / 1024}))
"""
_EVALUATE = """
import json, resource, sys
from papermage_core.training.evaluate import evaluate_checkpoint
from pathlib import Path
found = evaluate_checkpoint(Path(sys.argv[2]), [Path(sys.argv[1])])
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"memory": most / 1024, "f1": found.evaluation.scores.f1}))
"""
_MAKE = """
import json, sys, time
from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.data.issues import Issues
from papermage_core.training.prepare import Preparation
config = EntityClassificationTrainConfig(
    data_path=sys.argv[1], head="crf", val_split=0, num_workers=int(sys.argv[2]), **json.loads(sys.argv[3])
)
components = config.components()
import torch
torch.set_num_threads(1)
start = time.perf_counter()
prepare = Preparation(config=config, components=components)
splits = prepare.splits()
blueprint = prepare.blueprint(splits)
model = blueprint.build_model()
examples = prepare.examples(splits.train, blueprint, model, Issues(), 4096)
print(json.dumps({"seconds": time.perf_counter() - start, "documents": len(splits.train)}))
"""
_BEFORE = """
import json, sys, time
from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.naming import cache_folder
from papermage_core.config.structure import unstructure
from papermage_core.data.cache import FeatureCache
from papermage_core.data.pieces import make_pieces, training_pieces
from papermage_core.data.readers import reader_of
from papermage_core.training.prepare import make_blueprint, read_splits
config = EntityClassificationTrainConfig(data_path=sys.argv[1], head="crf", val_split=0, **json.loads(sys.argv[3]))
components = config.components()
import torch
torch.set_num_threads(1)
start = time.perf_counter()
splits = read_splits(config, components.encoder.needs, reader_of(components.reader))
blueprint, train = make_blueprint(config, components, splits)
model = blueprint.build_model()
made_by = {**blueprint.sources["context_encoder"], "options": unstructure(blueprint.encoder)}
pieces = make_pieces(model.encoder, train.contexts, 32, FeatureCache(cache_folder() / "features", made_by))
training_pieces(train, pieces, 4096)
print(json.dumps({"seconds": time.perf_counter() - start, "documents": len(splits.train)}))
"""


def _make_corpus(path: Path, count: int) -> None:
    source = corpora() / "docbank_full" / "train.jsonl.gz"
    with gzip.open(source, "rt", encoding="utf-8") as file:
        pages = [page for line in file for page in _pages(json.loads(line))]
    chance = random.Random(0)
    with path.open("w", encoding="utf-8") as out:
        for i in range(count):
            document = _joined([chance.choice(pages) for _ in range(chance.randint(1, 4))])
            document["metadata"] = {"doc_id": f"document-{i}"}
            out.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


def _pages(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each page of a document as a document, with the entities that lie in it."""
    for number, page in enumerate(document["entities"]["pages"]):
        (start, stop), entities = page["spans"][0], {}
        for name, layer in document["entities"].items():
            inside = (each for each in layer if each.get("spans"))
            inside = (each for each in inside if all(start <= a and b <= stop for a, b in each["spans"]))
            entities[name] = [_moved(each, -start, -number) for each in inside]
        yield {"symbols": document["symbols"][start:stop], "entities": entities}


def _moved(entity: dict[str, Any], characters: int, pages: int) -> dict[str, Any]:
    spans = [[start + characters, stop + characters] for start, stop in entity["spans"]]
    return {**entity, "spans": spans, "boxes": [[*box[:4], box[4] + pages] for box in entity.get("boxes", [])]}


def _joined(pages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a document of these pages, one after the other."""
    entities: dict[str, Any] = {}
    start = 0
    for number, page in enumerate(pages):
        for name, layer in page["entities"].items():
            entities.setdefault(name, []).extend(_moved(entity, start, number) for entity in layer)
        start += len(page["symbols"]) + 1
    return {"symbols": "\n".join(page["symbols"] for page in pages), "entities": entities}


def _run(code: str, *arguments: str, cache: Path, checkout: Path | None = None) -> dict[str, Any]:
    environment = os.environ | {"PAPERMAGE_CACHE_DIR": str(cache), "PYTHONWARNINGS": "ignore"}
    if checkout is not None:
        environment["PYTHONPATH"] = f"{checkout}{os.pathsep}{checkout / 'plugins'}"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=checkout,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run() -> Rows:
    """Yield the records; several minutes and some gigabytes of disk."""
    few, many = map(int, os.environ.get("PAPERMAGE_BENCH_DOCUMENTS", "500,10000").split(","))
    before = os.environ.get("PAPERMAGE_BENCH_BEFORE")
    options = json.dumps({"label_field": _LABELS})

    def memory(what: str, found: dict[Path, dict[str, Any]]) -> Record:
        return record(
            f"{what}: memory of {many} documents",
            found[large]["memory"],
            "MB",
            reference=f"{few} documents",
            reference_value=found[small]["memory"],
            target="<= 1.2",
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = folder / "small.jsonl", folder / "large.jsonl"
        _make_corpus(small, few)
        _make_corpus(large, many)
        training = {
            path: _run(_TRAIN, str(path), str(folder / f"run-{path.stem}"), options, cache=folder / "cache")
            for path in (small, large)
        }
        yield memory("training and validation", training)
        warm = _run(_TRAIN, str(large), str(folder / "run-large"), options, cache=folder / "cache")
        yield Record(
            name=f"first step of a second run, {many} documents, above import",
            value=warm["first_step"],
            unit="s",
            target="< 5 s",
            versions=versions("torch"),
        )
        scored = {
            path: _run(_EVALUATE, str(path), str(folder / "run-small"), cache=folder / "cache")
            for path in (small, large)
        }
        yield memory("evaluation", scored)
        made = {}
        for workers in (0, 2):
            found = _run(_MAKE, str(small), str(workers), options, cache=folder / f"make-{workers}")
            made[workers] = found["documents"] / found["seconds"]
        reference = made[0]
        if before is not None:
            found = _run(_BEFORE, str(small), "0", options, cache=folder / "before", checkout=Path(before))
            reference = found["documents"] / found["seconds"]
    for workers, target in ((0, ">= 1.0"), (2, ">= 1.6")):
        yield record(
            f"making examples, {'2 processes' if workers else 'one process'}",
            made[workers],
            "documents/s",
            reference="the single pass of before" if before else "one process",
            reference_value=reference,
            target=target,
        )
