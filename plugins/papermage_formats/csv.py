"""The writer ``csv``: a row an entity, for pandas and spreadsheets."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from typing import IO, Any, ClassVar

import attrs

from papermage_core.document import ROW_COLUMNS, Document, entity_rows
from papermage_core.plugin import DocumentWriterConfig, hookimpl, option
from papermage_formats.labelled import LAYERS, TEXT_LAYERS, losses

__all__ = ["CsvWriter", "CsvWriterConfig"]

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
    """Writes document, page, label, text, start, end, score, box and layer of each entity.

    A discontinuous entity has several offsets in its cells, divided by semicolons: ``0;9`` and ``5;12``; a box is left,
    top, width and height, in shares of the page, and several boxes are divided by semicolons, too.
    """

    def __init__(self, config: CsvWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes], first: int | None = None) -> dict[str, int]:
        """Write the documents; return what the table does not hold."""
        lost: Counter[str] = Counter()
        if first is None:
            target.write(b"\xef\xbb\xbf" if self.config.mark else b"")
            target.write(_line(ROW_COLUMNS))
        for number, document in enumerate(documents, (first or 0) + 1):
            for row in entity_rows(document, self._chosen(document, lost), number):
                target.write(_line(map(self._cell, row.values())))
        return losses(lost)

    def _chosen(self, document: Document, lost: Counter[str]) -> list[str]:
        """Return the layers to write, and count what the table does not hold."""
        names = document.layer_names
        chosen = [name for name in names if name in (self.config.layers or set(names) - TEXT_LAYERS)]
        lost.update({name: len(document.get_layer(name)) for name in names if name not in chosen})
        lost["texts of documents"] += bool(document.symbols)
        lost["images"] += len(document.images or ())
        entities = (entity for name in chosen for entity in document.get_layer(name))
        lost["metadata of entities"] += sum(bool(set(entity.metadata) - _OWN) for entity in entities)
        return chosen

    def _cell(self, value: Any) -> Any:
        """Return a text that no spreadsheet runs; numbers stay numbers."""
        return f"'{value}" if self.config.safe and isinstance(value, str) and value.startswith(_FORMULA) else value


def _line(row: Iterable[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(row)
    return text.getvalue().encode()


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return CsvWriterConfig
