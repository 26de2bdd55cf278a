"""Processors: words a second against spaCy's blank English tokenizer; ends of sentences against people's."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from benchmarks import Record, Rows, interleaved, record
from papermage_core import Document
from papermage_core.data import processed, read_documents
from papermage_processors.tokens import TokensConfig

_SENTENCE = "However, BMP-2 (3.5 ng/ml; cf. Fig. 2A) didn't change α-actin levels in vivo [12]. "


def run() -> Rows:
    """Yield the records."""
    corpora = os.environ.get("PAPERMAGE_CORPORA")
    texts = {"made up": [_SENTENCE * 300] * 6}
    if corpora:
        files = {"articles": "craft/dev.jsonl", "abstracts": "ncbi_disease/dev.jsonl"}
        texts = {name: [str(d.symbols) for d in read_documents(Path(corpora) / file)] for name, file in files.items()}
    for name, found in texts.items():
        yield from _tokens(name, found)
    if corpora:
        yield from _sentences(Path(corpora))


def _tokens(name: str, texts: list[str]) -> list[Record]:
    words = sum(len(text.split()) for text in texts)
    functions: dict[str, Any] = {
        style: lambda style=style: _consume(TokensConfig(style=style), texts)
        for style in ("punctuation", "words", "grobid")
    }
    try:
        spacy = importlib.import_module("spacy").blank("en")
    except ImportError:
        spacy = None
    if spacy is not None:
        functions["spacy"] = lambda: [len(spacy.tokenizer(text)) for text in texts]
    times = interleaved(functions, repeats=5)
    reference = times.pop("spacy", None)
    return [
        record(
            f"tokens, style={style}, {name}",
            words / seconds,
            "words/s",
            reference="spaCy's blank English tokenizer" if reference else "none",
            reference_value=words / reference if reference else words / seconds,
            target=">= 10",
            peers=("numpy", "spacy"),
        )
        for style, seconds in times.items()
    ]


def _consume(config: TokensConfig, texts: list[str]) -> int:
    return sum(len(document.tokens) for document in processed(map(Document, texts), [config]))


def _sentences(corpora: Path) -> Rows:
    for file in ("craft/dev.jsonl", "craft/train.jsonl.gz", "ncbi_disease/dev.jsonl", "ncbi_disease/train.jsonl"):
        right = found = wanted = 0
        for document in read_documents(corpora / file):
            gold = {*document.sentences.span_arrays().stop.tolist()}
            text = str(document.symbols)
            text = text if file.startswith("craft") else text.replace("\n", " ")  # there, a line is a sentence
            (copy,) = processed([Document(text)], "sentences")
            ours = {*copy.sentences.span_arrays().stop.tolist()}
            gold.discard(max(gold))
            ours.discard(max(ours))
            right, found, wanted = right + len(gold & ours), found + len(ours), wanted + len(gold)
        note = f"precision {right / found:.4f}, recall {right / wanted:.4f}"
        yield record(
            f"F1 of ends of sentences, {file}",
            2 * right / (found + wanted),
            "",
            reference="people",
            reference_value=1.0,
            target=">= 0.99",
            note=note,
        )
