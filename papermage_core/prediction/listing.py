"""Predicted entities as lines to read: what ``papermage-predict`` prints where no file is asked for."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from papermage_core.document import Document, Entity
from papermage_core.files import compression
from papermage_core.plugin.spec import DocumentWriterConfig
from papermage_core.terminal import printable

__all__ = ["Listing", "is_own"]

_OWN = (".jsonl", ".json", ".parquet")
_WIDEST = 24
"""Characters of a label that are shown."""
_LEAST = 40


def is_own(path: str | Path) -> bool:
    """Whether a file holds documents as this program writes them, by its name; standard input does.

    >>> is_own("a.jsonl.gz"), is_own("-"), is_own("paper.pdf")
    (True, True, False)
    """
    name = str(path)
    ending = Path(name).with_suffix("").suffix if compression(Path(name)) else Path(name).suffix
    return name == "-" or ending.lower() in _OWN


@attrs.frozen(kw_only=True)
class Listing(DocumentWriterConfig):
    """Writes a line for each entity of some layers: page, label, score and text."""

    layers: tuple[str, ...]

    def build(self) -> Listing:
        """Return a writer."""
        return self

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write each document's entities when it comes, in the order of their places."""
        width = shutil.get_terminal_size((100, 24)).columns
        for number, document in enumerate(documents):
            lines = "\n".join(_lines(document, document.id or f"document {number}", self.layers, width))
            target.write(f"{lines}\n".encode("utf-8", "replace"))
            target.flush()
        return {}


def _lines(document: Document, name: str, layers: Sequence[str], width: int) -> Iterator[str]:
    entities = [entity for layer in layers if document.has_layer(layer) for entity in document.get_layer(layer)]
    entities.sort(key=lambda entity: entity.start)
    rows = [(_page(document, entity), _label(entity), _score(entity), _text(entity)) for entity in entities]
    counts = ", ".join(f"{label} {count}" for label, count in Counter(row[1] for row in rows).most_common())
    yield f"{printable(name)}: {counts or 'nothing found'}"
    paged = len({page for page, *_ in rows}) > 1 or any(page for page, *_ in rows)
    longest = max((len(label) for _, label, *_ in rows), default=0)
    for page, label, score, text in rows:
        where = f"page {'?' if page is None else page + 1:<4} " if paged else ""
        start = f"  {where}{label:{longest}}  {score}  "
        yield start + _cut(text, max(width - len(start), _LEAST))


def _page(document: Document, entity: Entity) -> int | None:
    if entity.boxes:
        return int(entity.boxes[0].page)
    if not (entity.spans and document.has_layer("pages")):
        return None
    return next((page.boxes[0].page if page.boxes else page.id for page in entity.intersect_by_span("pages")), None)


def _label(entity: Entity) -> str:
    return _cut(printable(str(entity.metadata.get("label", entity.layer.name if entity.layer else ""))), _WIDEST)


def _score(entity: Entity) -> str:
    score: Any = entity.metadata.get("score", None)
    return f"{score:.2f}" if isinstance(score, float | int) else "    "


def _text(entity: Entity) -> str:
    return printable(" ".join(entity.text.split()))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
