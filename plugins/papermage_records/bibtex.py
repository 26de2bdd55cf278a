"""The writer ``bibtex``: references as BibTeX and biber read them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import attrs

from papermage_core.plugin import DocumentWriterConfig, hookimpl, option
from papermage_formats.labelled import unique_id
from papermage_records.assembly import Value
from papermage_records.base import Records, RecordWriter, RecordWriterConfig
from papermage_records.latex import to_latex
from papermage_records.persons import Person
from papermage_records.reference import KNOWN, Reference, reference_of

__all__ = ["BibtexConfig"]

_BETWEEN_NAMES = re.compile(r"\s*[,;&]\s*|\s+and\s+|\s+et\s+")
_OWN = frozenset({"month", "papermage", "crossref", "xref", "key", "ids", "options"})
"""Fields that are written besides, or that mean more to BibTeX than their text."""
_WORD = re.compile(r"[a-z0-9]+")
_DASHES = re.compile(r"\s*(?:--?|[–—−])\s*")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SMALL = frozenset({"a", "an", "the", "on", "of", "in", "and", "for", "to", "der", "die", "das", "le", "la", "les"})
_CAPITALS = re.compile(r"[^\s{}]*[^\W\d_a-z][^\s{}]*", re.ASCII)


@attrs.frozen(kw_only=True)
class BibtexConfig(RecordWriterConfig):
    """Options of the writer ``bibtex``."""

    suffixes: ClassVar[tuple[str, ...]] = (".bib",)

    ascii: bool = option(False, help="write accents and dashes as commands, for a BibTeX that does not read UTF-8")
    places: bool = option(True, help="add the field papermage: score and place of each value")

    def build(self) -> Bibtex:
        """Return a new writer."""
        return Bibtex(self)


class Bibtex(RecordWriter):
    """Writes an entry a reference. Keys are author, year and first word of the title, and each stands once."""

    config: BibtexConfig

    def parts(self, records: Records, lost: Counter[str]) -> Iterator[str]:
        """Yield the entries."""
        taken: Counter[str] = Counter()
        tex = partial(to_latex, ascii=self.config.ascii)
        for document, number, value in records:
            reference = reference_of(value)
            fields = {name: tex(text) for name, text in _fields(reference).items()} | _verbatim(reference)
            for name, persons in (("author", reference.authors), ("editor", reference.editors)):
                literal = [Person([], reference.text("collaboration"))] if name == "author" else []
                texts = [self._person(person) for person in (*persons, *literal)]
                fields[name] = " and ".join(filter(None, texts))
            for name in ("title", "booktitle"):
                fields[name] = _CAPITALS.sub(_protected, fields.get(name, ""))
            for name, text in _others(reference).items():
                fields[f"x-{name}" if fields.get(name) or name in _OWN else name] = tex(text)
            if self.config.places:
                fields["papermage"] = tex(_places(document, number, value))
            lines = [f"  {name} = {{{text}}}," for name, text in fields.items() if text]
            month = reference.date.month if reference.date is not None else None
            lines += [f"  month = {_MONTHS[month - 1]},"] if month else []
            key = unique_id(_key(reference), taken)
            yield "\n".join([f"@{reference.kind}{{{key},", *lines, "}\n\n"])

    def _person(self, person: Person) -> str:
        """Return a name as BibTeX takes it apart: ``van der Berg, Jr., Jan``; one without parts in braces."""
        tex = partial(to_latex, ascii=self.config.ascii)
        if person.literal or not person.family:
            name = tex(person.literal or person.part("given"))
            return f"{{{name}}}" if name else ""
        parts = [person.family, person.part("suffix"), person.part("given")]
        return ", ".join(_whole(tex(part)) for part in parts if part)


def _whole(part: str) -> str:
    """Return a part of a name that is not taken apart at a comma, or at the word between two names."""
    return f"{{{part}}}" if re.search(r",|(^|\s)and(\s|$)", part, re.IGNORECASE) else part


def _protected(found: re.Match[str]) -> str:
    """Return a word in braces if styles that write titles in small letters would spoil it: ``DNA``, ``mRNA``."""
    word = found[0]
    letters = [sign for sign in word if sign.isalpha()]
    return f"{{{word}}}" if "\\" not in word and any(sign.isupper() for sign in letters[1:]) else word


def _fields(reference: Reference) -> dict[str, str]:
    """Return the fields that are plain text."""
    text, date = reference.text, reference.date
    return {
        "title": reference.title,
        "journal": text("journal"),
        "booktitle": text("booktitle") if text("title") else "",
        "series": text("series"),
        "volume": text("volume"),
        "number": text("issue") or "; ".join(reference.numbers),
        "pages": _DASHES.sub("--", text("page_range")),
        "year": str(date.year) if date is not None else text("date"),
        "publisher": text("publisher"),
        "address": text("location"),
        "institution": text("institution"),
        "type": text("tech"),
        "note": text("note"),
    }


def _verbatim(reference: Reference) -> dict[str, str]:
    """Return the fields that TeX takes as they stand."""
    names = ("eprint" if name == "arxiv" else name for name in reference.identifiers)
    return {name: _braceless(text) for name, text in zip(names, reference.identifiers.values(), strict=True)}


def _braceless(text: str) -> str:
    return text.replace("{", "%7B").replace("}", "%7D").replace("\\", "%5C")


def _others(reference: Reference) -> dict[str, str]:
    """Return the fields that references seldom have, under their own names."""
    names = {name: "-".join(_WORD.findall(name.lower())) for name in reference.fields.keys() - KNOWN}
    return {plain: reference.text(name) for name, plain in sorted(names.items()) if plain}


def _key(reference: Reference) -> str:
    """Return ``smith2004deep``, of letters and digits that every BibTeX takes; ``ref`` where there are none."""
    author = [word for person in reference.authors[:1] for word in _family(person)]
    title = [word for word in _plain(reference.title) if word not in _SMALL]
    year = [str(reference.date.year)] if reference.date is not None else []
    return "".join([*author[-1:], *year, *title[:1]]) or "ref"


def _family(person: Person) -> list[str]:
    """Return the words of a family name; of names as they stand, those of the first, without initials."""
    first = next(filter(None, _BETWEEN_NAMES.split(person.literal)), "")
    words = _plain(person.family or first)
    return [word for word in words if len(word) > 1] or words


def _plain(text: str) -> list[str]:
    """Return the words of a text in small letters, without accents."""
    return _WORD.findall(unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower())


def _places(document: str, number: int, value: Value) -> str:
    """Return ``paper 3: title 0.98 at 12-40 on page 7``, for each value, with semicolons between."""
    return f"{document} {number}: " + "; ".join(_place(*each) for each in (("reference", value), *value.all()))


def _place(path: str, value: Value) -> str:
    score = f" {value.score:.4f}" if value.score is not None else ""
    spans = "+".join(f"{start}-{stop}" for start, stop in value.spans)
    pages = ",".join(str(page + 1) for page in value.pages)
    return f"{path}{score}" + (f" at {spans}" if spans else "") + (f" on page {pages}" if pages else "")


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return BibtexConfig
