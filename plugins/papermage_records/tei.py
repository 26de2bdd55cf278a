"""The writer ``biblstruct``: references as TEI."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import attrs

from papermage_core.plugin import DocumentWriterConfig, hookimpl
from papermage_formats.xml_events import xml_text
from papermage_records.assembly import Value
from papermage_records.base import Records, RecordWriter, RecordWriterConfig
from papermage_records.persons import Person
from papermage_records.reference import KNOWN, Reference, reference_of

__all__ = ["BiblStructConfig"]

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<TEI xmlns="http://www.tei-c.org/ns/1.0">
<teiHeader><fileDesc><titleStmt><title>References</title></titleStmt>
<publicationStmt><p>Found by papermage_core</p></publicationStmt>
<sourceDesc><p>The documents that listBibl and its source name</p></sourceDesc></fileDesc></teiHeader>
<text><body>
"""
_TAIL = "</body></text>\n</TEI>\n"
_DASH = re.compile(r"\s*(?:--?|[–—−])\s*")


@attrs.frozen(kw_only=True)
class BiblStructConfig(RecordWriterConfig):
    """Options of the writer ``biblstruct``."""

    suffixes: ClassVar[tuple[str, ...]] = (".bibl.xml",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".tei", ".tei.xml", ".xml")

    def build(self) -> BiblStruct:
        """Return a new writer."""
        return BiblStruct(self)


class BiblStruct(RecordWriter):
    """Writes a ``listBibl`` a document, a ``biblStruct`` a reference.

    ``cert`` is the score of a value; ``source`` its place, ``document#char=12,40``; ``facs`` its boxes, in percent of
    the page: ``#page=3&xywh=percent:10,20,30,5``.
    """

    def parts(self, records: Records, lost: Counter[str]) -> Iterator[str]:
        """Yield the head, the lists, and the tail."""
        yield _HEAD
        last = None
        for count, (document, number, value) in enumerate(records):
            if number == 1:
                yield "" if last is None else "</listBibl>\n"
                yield f"<listBibl n={_attribute(document, lost)}>\n"
                last = document
            yield "\n".join([*_Entry(document, lost).lines(reference_of(value), f"b{count}"), ""])
        yield "" if last is None else "</listBibl>\n"
        yield _TAIL if last is not None else f"<p/>\n{_TAIL}"


def _attribute(text: str, lost: Counter[str]) -> str:
    return quoteattr(xml_text(text, lost), {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"})


@attrs.frozen
class _Entry:
    """Writes the elements of one reference."""

    document: str
    lost: Counter[str]

    def lines(self, reference: Reference, name: str) -> Iterator[str]:
        """Yield the element."""
        own = bool(reference.text("journal") or reference.text("booktitle")) and bool(reference.text("title"))
        people = [self.person("author", person) for person in reference.authors]
        people += self.each("author", reference.fields.get("collaboration", ()), inner="orgName")
        yield f'<biblStruct xml:id="{name}"{self.place(reference.value)}>'
        if own or (reference.text("journal") and people):
            titles = self.each("title", reference.fields.get("title", ()), level="a")
            yield "".join(["<analytic>", *titles, *people, *self.identifiers(reference), "</analytic>"])
        yield "<monogr>"
        yield from self.monograph(reference, own)
        if not (own or (reference.text("journal") and people)):
            yield from people
            yield from self.identifiers(reference)
        yield from (self.person("editor", person) for person in reference.editors)
        yield f"<imprint>{''.join(self.imprint(reference))}</imprint>"
        yield "</monogr>"
        if series := "".join(self.each("title", reference.fields.get("series", ()), level="s")):
            yield f"<series>{series}</series>"
        yield from self.each("note", reference.fields.get("tech", ()), type="report")
        yield from self.each("note", reference.fields.get("note", ()))
        for key in sorted(reference.fields.keys() - KNOWN):
            yield from self.each("note", reference.fields[key], type=key)
        yield f'<note type="raw_reference">{self.text(reference.value.text)}</note>'
        yield "</biblStruct>"

    def monograph(self, reference: Reference, own: bool) -> Iterator[str]:
        """Yield the titles of what holds the text; its own where nothing does."""
        found = [
            *self.each("title", reference.fields.get("journal", ()), level="j"),
            *self.each("title", reference.fields.get("booktitle", ()), level="m"),
            *([] if own else self.each("title", reference.fields.get("title", ()), level="m")),
        ]
        yield from found or ["<title/>"]

    def imprint(self, reference: Reference) -> Iterator[str]:
        """Yield publisher, place, volume, pages and date."""
        fields = reference.fields
        yield from self.each("publisher", [*fields.get("publisher", ()), *fields.get("institution", ())])
        yield from self.each("pubPlace", fields.get("location", ()))
        yield from self.each("biblScope", fields.get("volume", ()), unit="volume")
        yield from self.each("biblScope", fields.get("issue", ()), unit="issue")
        for value in fields.get("page_range", ()):
            ends = _DASH.split(value.text)
            plain = len(ends) == 2 and all(re.fullmatch(r"\w+", end) for end in ends)
            span = {"from": ends[0], "to": ends[1]} if plain else {}
            yield from self.each("biblScope", [value], unit="page", **span)
        for number, value in enumerate(fields.get("date", ())):
            when = {"when": reference.date.iso()} if reference.date is not None and number == 0 else {}
            yield from self.each("date", [value], **when)
        if not fields.get("date"):
            yield "<date/>"

    def identifiers(self, reference: Reference) -> Iterator[str]:
        """Yield numbers and addresses."""
        for name, text in reference.identifiers.items():
            if name == "url":
                yield f"<ptr target={_attribute(quote(text, safe=_URL), self.lost)}/>"
            else:
                yield f'<idno type="{name.upper() if name != "arxiv" else "arXiv"}">{self.text(text)}</idno>'
        yield from (f"<idno>{self.text(text)}</idno>" for text in reference.numbers)

    def person(self, element: str, person: Person) -> str:
        """Return an author or an editor."""
        if person.literal:
            return f"<{element}{self.place(person.value)}>{self.text(person.literal)}</{element}>"
        names = {"given": "forename", "particle": "nameLink", "family": "surname", "suffix": "genName"}
        parts = "".join(self.element(names[kind], value) for kind, value in person.parts)
        return f"<{element}><persName>{parts}</persName></{element}>"

    def each(self, element: str, values: Iterable[Value], inner: str = "", **attributes: str) -> Sequence[str]:
        """Return an element for each value that has text."""
        return [self.element(element, value, inner, **attributes) for value in values if value.text]

    def element(self, name: str, value: Value, inner: str = "", **attributes: str) -> str:
        """Return the element of a value."""
        given = "".join(f" {key}={_attribute(text, self.lost)}" for key, text in attributes.items())
        text = f"<{inner}>{self.text(value.text)}</{inner}>" if inner else self.text(value.text)
        return f"<{name}{given}{self.place(value)}>{text}</{name}>"

    def place(self, value: Value | None) -> str:
        """Return the attributes that say how sure a value is, and where it stands."""
        if value is None:
            return ""
        given = {} if value.score is None else {"cert": f"{min(max(value.score, 0.0), 1.0):.4f}"}
        where = quote(self.document, safe="")
        if value.spans:
            given["source"] = " ".join(f"{where}#char={start},{stop}" for start, stop in value.spans)
        percent = partial("{:.4g}".format)
        boxes = [(box.page + 1, [percent(100 * x) for x in (box.l, box.t, box.w, box.h)]) for box in value.entity.boxes]
        if boxes:
            given["facs"] = " ".join(f"{where}#page={page}&xywh=percent:{','.join(box)}" for page, box in boxes)
        return "".join(f" {key}={quoteattr(text)}" for key, text in given.items())

    def text(self, text: str) -> str:
        """Return text as XML has it."""
        return escape(xml_text(text, self.lost), {"\r": "&#13;"})


_URL = ":/?#[]@!$&'()*+,;=-._~%"


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return BiblStructConfig
