"""Files of other formats → documents, against splitting the same lines and fields, which is the least there is to do.

Uses the corpora that ``PAPERMAGE_CORPORA`` names, written in each format, else made-up documents.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks import Record, Rows, interleaved, record
from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.document import Layer, SpanArrays
from papermage_core.plugin import DocumentReaderConfig
from papermage_formats.conll import ConllReaderConfig, ConllWriterConfig

_DOCUMENTS = 300
_CORPORA = (
    ("ncbi_disease", ("Disease",)),
    ("bc5cdr", ("Chemical", "Disease")),
    ("grobid_citation", ("author", "date")),
)
_TARGET = 1e6
_SMALL = 20


def run() -> Rows:
    """Yield the records: tokens a second of each table, which ``reference`` splits into fields only."""
    with tempfile.TemporaryDirectory() as folder:
        for name, documents, layers in _inputs():
            for kind, columns, comments in (
                ("token, tag", ("token", "tag"), True),
                ("four columns", ("token", "pos", "chunk", "tag"), False),
            ):
                path = Path(folder) / "table.conll"
                with path.open("wb") as file:
                    ConllWriterConfig(columns=columns, layers=layers, comments=comments).build().write(documents, file)
                yield _speed(f"conll to Document, {name}, {kind}", path, ConllReaderConfig())


def _speed(name: str, path: Path, config: DocumentReaderConfig) -> Record:
    def ours() -> int:
        return sum(len(each.document.get_layer("tokens")) for each in config.build().read(path))

    def split() -> list[list[str]]:
        return [row.split("\t") for row in path.read_text(encoding="utf-8").split("\n") if row]

    tokens = ours()
    times = interleaved({"ours": ours, "split": split}, repeats=9)
    return record(
        name,
        tokens / times["ours"],
        "tokens/s",
        reference="rows split into fields",
        reference_value=tokens / times["split"],
        target=f">= {_TARGET:.0e} tokens/s",
        note=f"{tokens} tokens",
    )


def _inputs() -> Iterator[tuple[str, list[Document], tuple[str, ...]]]:
    corpora = os.environ.get("PAPERMAGE_CORPORA")
    for name, layers in _CORPORA if corpora else ():
        files = sorted(Path(corpora or "", name).glob("train.jsonl*"))
        if files:
            yield name, list(islice(read_documents(files[0]), _DOCUMENTS)), layers
    if not corpora:
        yield "made up", [_made_up(random.Random(number)) for number in range(_DOCUMENTS)], ("X",)


def _made_up(chance: random.Random) -> Document:
    words = [
        chance.choice(("a", "gene", "of", "interest", ",", "𝛼-synuclein")) for _ in range(chance.randint(100, 500))
    ]
    starts, at = [], 0
    for word in words:
        starts.append(at)
        at += len(word) + 1
    document = Document(" ".join(words))
    stops = [start + len(word) for start, word in zip(starts, words, strict=True)]
    document.annotate_layer("tokens", Layer.from_arrays(SpanArrays.one_each(starts, stops)))
    first = range(0, len(words), _SMALL)
    document.annotate_layer(
        "sentences",
        Layer.from_arrays(
            SpanArrays.one_each([starts[i] for i in first], [stops[min(i + _SMALL, len(words)) - 1] for i in first])
        ),
    )
    marked = range(0, len(words), 7)
    spans = SpanArrays.one_each([starts[i] for i in marked], [stops[i] for i in marked])
    document.annotate_layer("X", Layer.from_arrays(spans))
    return document
