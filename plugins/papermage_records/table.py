"""The writer ``records_csv``: a row a record, for pandas and spreadsheets."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs

from papermage_core.plugin import DocumentWriterConfig, hookimpl, option
from papermage_records.assembly import Value
from papermage_records.base import RecordRows, Records, RecordWriterConfig

__all__ = ["RecordTableConfig"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@attrs.frozen(kw_only=True)
class RecordTableConfig(RecordWriterConfig):
    """Options of the writer ``records_csv``."""

    shared_suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    mark: bool = option(
        False, help="begin with a byte order mark, without which Excel takes UTF-8 for another encoding"
    )
    safe: bool = option(
        True, help="put ' before texts that a spreadsheet would run as a formula, those that begin with ="
    )

    def build(self) -> RecordTable:
        """Return a new writer."""
        return RecordTable(self)


class RecordTable(RecordRows):
    """Writes document, number, text, score and place of each record, and three columns for each field.

    They are ``title``, ``title.score`` and ``title.place``; fields inside others are ``author.given``. Several values
    stand with ``; `` between, in all three alike. A place is ``page:start-end``, several segments with ``+`` between.
    """

    config: RecordTableConfig

    def head(self) -> str:
        """Return the head of the table."""
        paths = [".".join(path) for path in self.record.leaves()]
        columns = [f"{path}{name}" for path in paths for name in ("", ".score", ".place")]
        mark = "\ufeff" if self.config.mark else ""
        return mark + _line(["document", "number", "text", "score", "place", *columns])

    def parts(self, records: Records, lost: Counter[str]) -> Iterator[str]:
        """Yield a row for each record."""
        paths = [".".join(path) for path in self.record.leaves()]
        for document, number, value in records:
            inside = list(value.all())
            cells: list[Any] = [document, number, value.text, value.score, _place(value)]
            for path in paths:
                cells += self._cells([found for key, found in inside if key == path])
            yield _line(map(self._cell, cells))

    def _cells(self, values: Sequence[Value]) -> Iterator[Any]:
        if len(values) == 1:
            yield from (values[0].text, values[0].score, _place(values[0]))
            return
        yield "; ".join(value.text for value in values)
        yield "; ".join("" if value.score is None else repr(value.score) for value in values)
        yield "; ".join(map(_place, values))

    def _cell(self, value: Any) -> Any:
        """Return a text that no spreadsheet runs; numbers stay numbers."""
        return f"'{value}" if self.config.safe and isinstance(value, str) and value.startswith(_FORMULA) else value


def _place(value: Value) -> str:
    pages = ",".join(map(str, value.pages))
    return (f"{pages}:" if pages else "") + "+".join(f"{start}-{stop}" for start, stop in value.spans)


def _line(row: Iterable[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(row)
    return text.getvalue()


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return RecordTableConfig
