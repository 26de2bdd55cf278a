"""The writer ``records``: a line of JSON a record, each value with its score and place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs

from papermage_core.plugin import DocumentWriterConfig, hookimpl
from papermage_records.assembly import Value
from papermage_records.base import RecordRows, Records, RecordWriterConfig
from papermage_records.fields import Field
from papermage_records.persons import PARTS, persons_in

__all__ = ["RecordLinesConfig"]


@attrs.frozen(kw_only=True)
class RecordLinesConfig(RecordWriterConfig):
    """Options of the writer ``records``."""

    shared_suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    def build(self) -> RecordLines:
        """Return a new writer."""
        return RecordLines(self)


class RecordLines(RecordRows):
    """Writes ``record``, ``document``, text, score and place of the record, and ``fields``: a list of values each.

    Where these are parts of names, ``persons`` has each person's together.
    """

    def parts(self, records: Records, lost: Counter[str]) -> Iterator[str]:
        """Yield a line for each record."""
        for document, number, value in records:
            head = {"record": self.record.key, "document": document, "number": number}
            yield json.dumps({**head, **_plain(value, self.record)}, ensure_ascii=False) + "\n"


def _plain(value: Value, field: Field) -> dict[str, Any]:
    if not field.fields:
        return value.place()
    inner = {each.key: [_plain(found, each) for found in value.fields.get(each.key, ())] for each in field.fields}
    names = {name.lower() for each in field.fields for name in (each.key, each.source)}
    people = {"persons": _persons(value)} if names & PARTS.keys() else {}
    return {**value.place(), **people, "fields": inner}


def _persons(value: Value) -> list[dict[str, str]]:
    """Return the names in a value, a list of authors say, each with its parts together."""
    found = []
    for person in persons_in(value):
        known = {"given": person.part("given"), "family": person.family, "suffix": person.part("suffix")}
        found.append(
            {"literal": person.literal} if person.literal else {kind: part for kind, part in known.items() if part}
        )
    return found


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return RecordLinesConfig
