"""The writer ``csv``: a row an entity, for pandas and spreadsheets."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import IO, Any, ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.plugin import DocumentWriterConfig, hookimpl, option
from papermage_formats.labelled import LAYERS, TEXT_LAYERS, losses

__all__ = ["COLUMNS", "CsvWriter", "CsvWriterConfig"]

COLUMNS = ("document", "page", "label", "text", "start", "end", "score", "box")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_OWN = {"label", "score", "text"}


@attrs.frozen(kw_only=True)
class CsvWriterConfig(DocumentWriterConfig):
    """Options of the writer ``csv``."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    layers: tuple[str, ...] = option((), help=LAYERS)
    mark: bool = option(
        False, help="begin with a byte order mark, without which Excel takes UTF-8 for another encoding"
    )
    safe: bool = option(
        True, help="put ' before texts that a spreadsheet would run as a formula, those that begin with ="
    )

    def build(self) -> CsvWriter:
        """Return a new writer."""
        return CsvWriter(self)


class CsvWriter:
    """Writes document, page, label, text, start, end, score and box of each entity.

    A discontinuous entity has several offsets in its cells, divided by semicolons: ``0;9`` and ``5;12``; a box is left,
    top, width and height, in shares of the page, and several boxes are divided by semicolons, too.
    """

    def __init__(self, config: CsvWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the documents; return what the table does not hold."""
        lost: Counter[str] = Counter()
        target.write(b"\xef\xbb\xbf" if self.config.mark else b"")
        target.write(_line(COLUMNS))
        for number, document in enumerate(documents, 1):
            name = document.id or str(number)
            for row in self._rows(document, lost):
                target.write(_line(tuple(map(self._cell, (name, *row)))))
        return losses(lost)

    def _rows(self, document: Document, lost: Counter[str]) -> Iterator[tuple[Any, ...]]:
        names = document.layer_names
        chosen = [name for name in names if name in (self.config.layers or set(names) - TEXT_LAYERS)]
        lost.update({name: len(document.get_layer(name)) for name in names if name not in chosen})
        lost["texts of documents"] += bool(document.symbols)
        lost["images"] += len(document.images or ())
        for name in chosen:
            for entity in document.get_layer(name):
                lost["metadata of entities"] += bool(set(entity.metadata) - _OWN)
                pages = dict.fromkeys(int(box.page) for box in entity.boxes)
                if not pages and entity.spans and document.has_layer("pages"):
                    pages = dict.fromkeys(page.id or 0 for page in entity.intersect_by_span("pages"))
                boxes = (f"{box.l:.6g} {box.t:.6g} {box.w:.6g} {box.h:.6g}" for box in entity.boxes)
                yield (
                    _joined(pages),
                    str(entity.metadata.get("label", None) or name),
                    entity.text if entity.spans or document.has_layer("tokens") else "",
                    _joined(span.start for span in entity.spans),
                    _joined(span.end for span in entity.spans),
                    entity.metadata.get("score", ""),
                    _joined(boxes),
                )

    def _cell(self, value: Any) -> Any:
        """Return a text that no spreadsheet runs; numbers stay numbers."""
        return f"'{value}" if self.config.safe and isinstance(value, str) and value.startswith(_FORMULA) else value


def _joined(values: Iterable[Any]) -> Any:
    found = list(values)
    return found[0] if len(found) == 1 else ";".join(map(str, found))


def _line(row: tuple[Any, ...]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(row)
    return text.getvalue().encode()


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return CsvWriterConfig
