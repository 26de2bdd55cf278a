"""Documents: reading, writing, memory, whole-layer queries and targets, against orjson and papermage 0.20.

Uses the corpora that ``PAPERMAGE_CORPORA`` names, else a made-up document. Records against papermage are left out where
it is not installed (``pip install papermage==0.20.*``), those against orjson likewise.
"""

from __future__ import annotations

import functools
import gc
import gzip
import importlib
import json
import os
import random
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import NotMeasured, Record, Rows, interleaved, record
from papermage_core.data.readers import iter_documents
from papermage_core.document import Document
from papermage_core.document.queries import context_of_units, unit_ranges, units_in_boxes, units_of_contexts
from papermage_formats.jsonl import JsonlReaderConfig

_SCALE_DOCUMENTS = 300


def run() -> Rows:
    """Yield the records."""
    orjson, magelib = _optional("orjson"), _optional("papermage.magelib")
    inputs = _inputs()
    for name, data in inputs.items():
        if orjson:
            yield from _against_orjson(name, data, orjson)
        if magelib:
            yield from _against_papermage(name, data, magelib)
    if magelib:
        yield from _queries(next(iter(inputs.values())), magelib)
    if not orjson:
        yield NotMeasured("what orjson does", "pip install orjson")
    if not magelib:
        yield NotMeasured("what papermage does", "pip install papermage==0.20.*, in this environment")
    yield _scale(list(inputs.values()))


def _against_orjson(name: str, data: bytes, orjson: Any) -> Iterator[Record]:
    doc, plain = Document.from_bytes(data), orjson.loads(data)
    touched = Document.from_bytes(data)
    for layer in touched._layers.values():
        for entity in layer:
            _ = entity.metadata
    for collector in (True, False):
        with _collector(collector):
            times = interleaved(
                {"ours": lambda: _ready(data), "orjson": lambda: orjson.loads(data)}, repeats=15, warmup=2
            )
        yield _ratio(f"bytes to Document, {name}, {_gc(collector)}", times, "orjson", "<= 0.8")
    times = interleaved({"ours": doc.to_bytes, "orjson": lambda: orjson.dumps(plain)}, repeats=15, warmup=2)
    yield _ratio(f"Document to bytes, {name}", times, "orjson", "<= 1.0")
    times = interleaved({"ours": touched.to_bytes, "orjson": lambda: orjson.dumps(plain)}, repeats=9, warmup=1)
    note = "every entity has been looked at, so none is written as it was read"
    yield _ratio(f"Document to bytes, {name}, all entities made", times, "orjson", "-", note)


def _against_papermage(name: str, data: bytes, magelib: Any) -> Iterator[Record]:
    def theirs() -> Any:
        return magelib.Document.from_json(json.loads(data))

    for collector in (True, False):
        with _collector(collector):
            times = interleaved({"ours": lambda: _ready(data), "papermage": theirs}, repeats=5)
        yield _ratio(f"bytes to Document, {name}, {_gc(collector)}", times, "papermage", "<= 1/15")
    doc, other = Document.from_bytes(data), theirs()
    times = interleaved({"ours": doc.to_bytes, "papermage": lambda: json.dumps(other.to_json()).encode()}, repeats=5)
    yield _ratio(f"Document to bytes, {name}", times, "papermage", "<= 1/15")
    held = {"ours": _held(lambda: Document.from_bytes(bytes(bytearray(data)))), "papermage": _held(theirs)}
    yield _ratio(f"memory of a Document, {name}", held, "papermage", "<= 0.5", unit="bytes")


def _queries(data: bytes, magelib: Any) -> Iterator[Record]:
    doc, other = Document.from_bytes(data), magelib.Document.from_json(json.loads(data))
    everywhere = np.ones(len(doc.rows), bool)
    labels = "bibs" if "bibs" in doc.layers else "rows"

    def fresh() -> Document:
        """Return the document without the arrays that queries derive and keep."""
        for layer in doc._layers.values():
            for derived in ("span_offsets", "box_offsets", "one_span_each", "spans_follow"):
                layer._places().__dict__.pop(derived, None)
        return doc

    def targets() -> Any:
        found = unit_ranges(fresh().get_layer(labels), doc.tokens)
        context_of_units(doc.tokens, doc.pages)
        tags = np.zeros(len(doc.tokens), np.int64)
        for start, stop in zip(found.start.tolist(), found.stop.tolist(), strict=True):
            tags[start:stop] = 2
            tags[start] = 1
        return tags

    def by_span() -> Any:
        return units_of_contexts(fresh().tokens, doc.pages), units_of_contexts(doc.tokens, doc.rows)

    def their_labels() -> list[int]:
        """Look up what compute_labels_from_entities does: from the page's side each token, its labels, their first."""
        found = []
        for page in other.pages:
            for i in range(len(page.intersect_by_span("tokens"))):
                token = page.intersect_by_span("tokens")[i]
                overlap = token.intersect_by_span(labels)
                begins = bool(overlap) and overlap[0].intersect_by_span("tokens")[0] is token
                found.append((1 if begins else 2) if overlap else 0)
        return found

    cases = (
        (
            "units of every page and row",
            by_span,
            lambda: [e.intersect_by_span("tokens") for layer in (other.pages, other.rows) for e in layer],
            "<= 1/50",
            "",
        ),
        (
            "tokens of every row by box",
            lambda: units_in_boxes(fresh().rows, doc.tokens, everywhere),
            lambda: [row.intersect_by_box("tokens") for row in other.rows],
            "<= 1/20",
            "centres in boxes, against papermage's boxes that touch",
        ),
        (
            "label entities to unit targets",
            targets,
            their_labels,
            "<= 1/200",
            "against the look-ups that compute_labels_from_entities makes, without its tokenizer",
        ),
    )
    for name, ours, theirs, target, note in cases:
        times = interleaved({"ours": ours, "papermage": theirs}, repeats=1 if ours is targets else 3, warmup=0)
        yield _ratio(name, times, "papermage", target, note)


def _scale(documents: list[bytes]) -> Record:
    """Return the peak of resident memory over a pass of a file, above what it was before."""
    resource = importlib.import_module("resource")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.jsonl"
        with path.open("wb") as handle:
            for i in range(_SCALE_DOCUMENTS):
                handle.write(documents[i % len(documents)].strip() + b"\n")
        size = path.stat().st_size
        before = _resident()
        for located in iter_documents(path, reader=JsonlReaderConfig().build()):
            units_of_contexts(located.document.tokens, located.document.pages)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    note = f"a pass over {_SCALE_DOCUMENTS} documents, {size / 1e6:.0f} MB; the peak may be of an earlier benchmark"
    return record(
        "peak memory above start, a pass over a file",
        max(0.0, peak - before) / 1e6,
        "MB",
        reference="300 MB",
        reference_value=300.0,
        target="< 1",
        note=note,
        peers=("msgspec", "numpy"),
    )


def _ready(data: bytes) -> Document:
    """Return a document ready for queries: its places are in arrays and checked."""
    doc = Document.from_bytes(data)
    for layer in doc._layers.values():
        layer.span_arrays()
        layer.box_arrays()
    return doc


def _held(make: Callable[[], Any]) -> float:
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del made
    return float(held)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _ratio(name: str, values: dict[str, float], reference: str, target: str, note: str = "", unit: str = "s") -> Record:
    return record(
        name,
        values["ours"],
        unit,
        reference=reference,
        reference_value=values[reference],
        target=target,
        note=note,
        peers=("msgspec", "numpy", reference),
    )


@contextmanager
def _collector(on: bool) -> Iterator[None]:
    was = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was else gc.disable)()


def _gc(on: bool) -> str:
    return f"collector {'on' if on else 'off'}"


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@functools.cache
def _inputs() -> dict[str, bytes]:
    folder = os.environ.get("PAPERMAGE_CORPORA")
    if not folder:
        return {"made up": _made_up()}
    docs = Path(folder) / "papermage_docs"
    with gzip.open(Path(folder) / "docbank_full" / "dev.jsonl.gz") as handle:
        docbank = handle.readline()
    return {
        "predictor_training_docs:2": (docs / "predictor_training_docs.jsonl").read_bytes().split(b"\n")[1],
        "2304.02623v1": (docs / "2304.02623v1.json").read_bytes(),
        "docbank_full/dev:1": docbank,
    }


def _made_up() -> bytes:
    """Return a document of 12,000 tokens in 1,200 rows on 12 pages, with boxes and fonts."""
    chance = random.Random(0)
    words = ["x" * chance.randint(1, 12) for _ in range(12_000)]
    layers: dict[str, list[Any]] = {"tokens": [], "rows": [], "pages": []}
    at = 0
    for i, word in enumerate(words):
        page, row, column = i // 1000, i // 10 % 100, i % 10
        box = [0.05 + 0.09 * column, 0.05 + 0.009 * row, 0.08, 0.008, page]
        font = {"fontname": "Times-Roman", "size": chance.random() * 20}
        layers["tokens"].append({"spans": [[at, at + len(word)]], "boxes": [box], "metadata": font})
        at += len(word) + 1
    for name, each in (("rows", 10), ("pages", 1000)):
        for i in range(0, len(words), each):
            first, last = layers["tokens"][i], layers["tokens"][i + each - 1]
            top, page = first["boxes"][0][1], first["boxes"][0][4]
            height = last["boxes"][0][1] + 0.008 - top
            span = [first["spans"][0][0], last["spans"][0][1]]
            layers[name].append({"spans": [span], "boxes": [[0.05, top, 0.9, height, page]]})
    return json.dumps({"symbols": " ".join(words), "metadata": {}, "entities": layers, "relations": {}}).encode()
