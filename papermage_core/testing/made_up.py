"""Small labelled documents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import strategies as st

from papermage_core.document import Box, Document, Entity, Metadata, Span

__all__ = ["documents", "make_document", "make_documents", "write_jsonl"]

_TOKEN = re.compile(r"\w+|[^\w\s]")


def make_document(
    pages: str | Sequence[str],
    marked: Mapping[str, Sequence[str]] | None = None,
    *,
    boxes: bool = True,
    doc_id: str = "made-up",
) -> Document:
    """Return a document with the layers tokens, sentences and pages, and a layer for each key of ``marked``.

    A layer of ``marked`` holds every place where one of its phrases stands in the text.

    >>> doc = make_document("Mutations cause cystic fibrosis.", {"Disease": ["cystic fibrosis"]})
    >>> [entity.text for entity in doc.get_layer("Disease")], len(doc.tokens)
    (['cystic fibrosis'], 5)
    """
    pages = [pages] if isinstance(pages, str) else list(pages)
    text = "\n".join(pages)
    doc = Document(text, metadata=Metadata(doc_id=doc_id))
    starts = [sum(len(page) + 1 for page in pages[:i]) for i in range(len(pages))]
    tokens, whole = [], []
    for number, (page, start) in enumerate(zip(pages, starts, strict=True)):
        whole.append(Entity(spans=[Span(start, start + len(page))], boxes=[Box(0, 0, 1, 1, number)] if boxes else None))
        for match in _TOKEN.finditer(page):
            box = [_box(match.start(), len(match[0]), number)] if boxes else None
            tokens.append(Entity(spans=[Span(start + match.start(), start + match.end())], boxes=box))
    doc.annotate_layer("tokens", tokens)
    doc.annotate_layer("sentences", [Entity(spans=list(page.spans)) for page in whole])
    doc.annotate_layer("pages", whole)
    for name, phrases in (marked or {}).items():
        places = sorted(m.span() for phrase in phrases for m in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", text))
        doc.annotate_layer(name, [Entity(spans=[Span(start, stop)]) for start, stop in places])
    return doc


def _box(offset: int, length: int, page: int) -> Box:
    """Return where a line printer with 80 columns and 60 rows would put the characters."""
    row, column = divmod(offset, 80)
    return Box(column / 100, min(row, 59) / 60, min(length, 20) / 100, 0.8 / 60, page)


def make_documents(n: int = 24) -> list[Document]:
    """Return documents in which the layer ``Disease`` can be learned from a few words, the same in every call."""
    diseases = ["cystic fibrosis", "breast cancer", "ataxia", "colorectal tumours", "diabetes"]
    frames = ["Mutations cause {}.", "Patients with {} were seen in Paris.", "No gene of {} is known, but {} is rare."]
    made = []
    for i in range(n):
        first, second = diseases[i % len(diseases)], diseases[(2 * i + 1) % len(diseases)]
        pages = [frames[(i + j) % len(frames)].format(first, second) for j in range(2)]
        made.append(make_document(pages, {"Disease": diseases}, doc_id=f"made-up-{i}"))
    return made


def write_jsonl(documents: Sequence[Document], path: Path) -> Path:
    """Write documents one a line, and return the path."""
    path.write_bytes(b"".join(document.to_bytes() + b"\n" for document in documents))
    return path


def documents() -> st.SearchStrategy[Document]:
    """Return documents of one to three pages, with a layer ``marked`` of some of their words."""
    words = st.lists(
        st.sampled_from(["the", "gene", "p53", "naïve", "(2019)", "日本語", "e.g."]), min_size=1, max_size=8
    )
    pages = st.lists(words.map(" ".join), min_size=1, max_size=3)
    marks = st.sampled_from([[], ["p53"], ["gene", "naïve"]])
    return st.builds(lambda pages, marks: make_document(pages, {"marked": marks}), pages, marks)
