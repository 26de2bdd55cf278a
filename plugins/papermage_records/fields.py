"""What a record is made of: ``bib_entry(author[given,family], title, date)``."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from papermage_core.errors import ConfigError

__all__ = ["REFERENCES", "Field", "parse_fields"]

REFERENCES = (
    "bib_entries(author[forename,middlename,surname,suffix],editor,title,journal,booktitle,series,volume,issue,"
    "page_range,date,publisher,location,institution,collaboration,tech,note,web,pubnum)"
)
"""A reference with the fields of GROBID's citation and name models."""
_SIGNS = re.compile(r"([,()\[\]=])")
_CLOSING = {"(": ")", "[": "]"}


@attrs.frozen
class Field:
    """A value of a record: what it is called, the layer or label of its entities, and the fields inside it."""

    key: str
    source: str
    fields: tuple[Field, ...] = ()

    def all(self) -> Iterator[Field]:
        """Yield the field and each inside, outer ones before inner ones."""
        yield self
        for field in self.fields:
            yield from field.all()

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, ...]]:
        """Yield the path of each field inside, outer ones before inner ones."""
        for field in self.fields:
            path = f"{prefix}{field.key}"
            yield tuple(path.split("\0"))
            yield from field.leaves(f"{path}\0")


def parse_fields(text: str) -> Field:
    """Return the record that a text describes; ``key=layer`` names a value otherwise than its layer.

    Raises ConfigError with the text and what was expected.

    >>> parse_fields("bib_entry(author[given=forename], title)").fields
    (Field(key='author', source='author', fields=(Field(key='given', source='forename', fields=()),)), \
Field(key='title', source='title', fields=()))
    """
    words = [word.strip() for word in _SIGNS.split(text) if word.strip()]
    parser = _Parser(text, words)
    record = parser.field()
    if parser.words:
        raise parser.error(f"the end, got {parser.words[0]!r}: one kind of record is written at a time")
    return record


class _Parser:
    def __init__(self, text: str, words: list[str]) -> None:
        self.text = text
        self.words = words
        self.depth = 0

    def error(self, expected: str) -> ConfigError:
        return ConfigError(
            f"records={self.text}: expected {expected}; such as bib_entry(author[given=forename,family=surname],title)"
        )

    def name(self) -> str:
        if not self.words or _SIGNS.fullmatch(self.words[0]):
            raise self.error(f"the name of a layer, got {self.words[0]!r}" if self.words else "the name of a layer")
        return self.words.pop(0)

    def takes(self, sign: str) -> bool:
        found = self.words[:1] == [sign]
        self.words = self.words[found:]
        return found

    def field(self) -> Field:
        key = self.name()
        source = self.name() if self.takes("=") else key
        for opening, closing in _CLOSING.items():
            if self.takes(opening):
                return Field(key, source, self.inside(closing))
        return Field(key, source)

    def inside(self, closing: str) -> tuple[Field, ...]:
        self.depth += 1
        if self.depth > 20:
            raise self.error("fields that are nested less deep")
        found = [self.field()]
        while self.takes(","):
            found.append(self.field())
        if not self.takes(closing):
            raise self.error(f"{closing!r}" + (f", got {self.words[0]!r}" if self.words else ""))
        keys = [field.key for field in found]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise self.error(f"each key once, got {', '.join(sorted(twice))} twice")
        self.depth -= 1
        return tuple(found)
