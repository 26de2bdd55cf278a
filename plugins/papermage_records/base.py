"""What the writers of records share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import IO, Any, TypeAlias

import attrs

from papermage_core.document import Document
from papermage_core.plugin import DocumentWriterConfig
from papermage_formats.labelled import losses
from papermage_records.assembly import Value, count_losses, is_there, records_of
from papermage_records.fields import REFERENCES, Field, parse_fields

__all__ = ["RecordRows", "RecordWriter", "RecordWriterConfig", "Records"]

Records: TypeAlias = "Iterator[tuple[str, int, Value]]"
"""The name of the document, the number of the record in it, from 1, and the record."""


def _check(config: Any, field: Any, text: str) -> None:
    parse_fields(text)


@attrs.frozen(kw_only=True)
class RecordWriterConfig(DocumentWriterConfig, ABC):
    """Options of a writer of records."""

    records: str = attrs.field(
        default=REFERENCES,
        validator=_check,
        metadata={
            "help": "the layer of the records, and in brackets those of their values, nested as they are: "
            "bib_entries(author[given=forename,family=surname],title); default: references with GROBID's labels"
        },
    )

    def absent(self, layers: Collection[str], labels: Collection[str]) -> Sequence[str]:
        """Return the layers and labels that ``records`` names and that are not there, nor any of their kin."""
        if self.records == REFERENCES:
            return []  # what references may have: few have all
        record = parse_fields(self.records)
        return [field.source for field in record.all() if not is_there(field.source, layers, labels)]


class RecordWriter(ABC):
    """Writes the records of documents, one by one."""

    def __init__(self, config: RecordWriterConfig) -> None:
        self.config = config
        self.record: Field = parse_fields(config.records)

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the records of each document as it comes; return what is in none."""
        return self._write(documents, target, 0)

    def _write(self, documents: Iterable[Document], target: IO[bytes], first: int) -> dict[str, int]:
        lost: Counter[str] = Counter()
        for part in self.parts(self._records(documents, lost, first), lost):
            target.write(part.encode("utf-8", "replace"))
        return losses(lost)

    def _records(self, documents: Iterable[Document], lost: Counter[str], first: int) -> Records:
        for number, document in enumerate(documents, first + 1):
            found = records_of(document, self.record, lost)
            count_losses(document, self.record, lost)
            lost["documents without records"] += not found
            for place, value in enumerate(found, 1):
                yield document.id or str(number), place, value

    @abstractmethod
    def parts(self, records: Records, lost: Counter[str]) -> Iterator[str]:
        """Yield the text of the file, piece by piece; count what it cannot hold."""


class RecordRows(RecordWriter):
    """A writer of records whose file is a head and then what stands for each record."""

    def write(self, documents: Iterable[Document], target: IO[bytes], first: int | None = None) -> dict[str, int]:
        """Write the records of each document as it comes; return what is in none."""
        if first is None:
            target.write(self.head().encode())
        return self._write(documents, target, first or 0)

    def head(self) -> str:
        """Return what the file begins with."""
        return ""
