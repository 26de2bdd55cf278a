"""The reader ``jats``: articles as PubMed Central and publishers give them, with elements as labels.

JATS is ANSI/NISO Z39.96; of its ancestors, the NLM DTDs 1 to 3, are read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, hookimpl, option
from papermage_formats.labelled import LABEL_LAYER, add_labelled, make_document, stem_of
from papermage_formats.markup import SPACE, ElementText, MarkupHandler
from papermage_formats.records import RecordReader
from papermage_formats.xml_events import read_xml

__all__ = ["JatsReader", "JatsReaderConfig"]

_ROOT = re.compile(rb"<(?:\w+:)?article[\s>]")
_OWN = re.compile(rb"JATS|Journal (?:Archiving|Publishing)|NLM//DTD|article-type=|<(?:\w+:)?front[\s>]|pmc-articleset")
_META = frozenset({"article-meta", "front-stub"})
_TEXT_OF_META = frozenset(
    {"abstract", "aff", "aff-alternatives", "author-notes", "contrib-group", "funding-group", "kwd-group"}
    | {"title-group", "trans-abstract"}
)
"""Of what is said of an article, what stands on the page as text; the rest is metadata."""
_HIDDEN = frozenset(
    {"alt-text", "alt-title", "annotation", "award-group", "contrib-id", "institution-id", "journal-meta", "long-desc"}
    | {"object-id", "permissions", "processing-meta", "tex-math"}
)
"""Elements whose text is none of the article's: identifiers, descriptions, another way to write a formula."""
_SAID = frozenset({"article-id", "issue", "journal-title", "subject", "volume", "year"})
"""Hidden elements whose text is metadata."""
_YEAR = re.compile("[0-9]{4}")
_BLOCKS = frozenset(
    {"abstract", "ack", "aff", "app", "app-group", "array", "author-notes", "back", "bio", "body", "boxed-text"}
    | {"break", "caption", "code", "contrib", "contrib-group", "corresp", "def", "def-item", "def-list", "disp-formula"}
    | {"disp-quote", "fig", "fig-group", "fn", "fn-group", "front", "funding-statement", "glossary", "kwd", "kwd-group"}
    | {"list", "list-item", "notes", "p", "preformat", "ref", "ref-list", "response", "sec", "sig-block", "speech"}
    | {"statement", "sub-article", "subtitle", "supplementary-material", "table", "table-wrap", "table-wrap-foot"}
    | {"tbody", "tfoot", "thead", "title", "title-group", "tr", "trans-abstract", "trans-title"}
    | {"verse-group", "verse-line"}
)  # fmt: skip
_APART = frozenset(
    {"addr-line", "article-title", "chapter-title", "city", "collab", "comment", "conf-date", "conf-loc", "conf-name"}
    | {"country", "date", "date-in-citation", "day", "degrees", "edition", "elocation-id", "email", "etal", "ext-link"}
    | {"fpage", "given-names", "institution", "institution-wrap", "issue", "issue-title", "label", "lpage", "month"}
    | {"name", "page-range", "part-title", "patent", "person-group", "postal-code", "prefix", "pub-id", "publisher-loc"}
    | {"publisher-name", "role", "season", "series", "size", "source", "state", "string-name", "suffix", "supplement"}
    | {"surname", "td", "term", "th", "trans-source", "uri", "version", "volume", "xref", "year"}
)
"""Elements between which stands a space where they touch: what is set apart in print by the style of the journal."""


@attrs.frozen(kw_only=True)
class JatsReaderConfig(DocumentReaderConfig):
    """Options of the reader ``jats``."""

    suffixes: ClassVar[tuple[str, ...]] = (".nxml", ".jats", ".jats.xml")
    shared_suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    compressed: ClassVar[bool] = True

    document: str = option("", help="the element that makes a document, such as ref or abstract; default: an article")
    attributes: tuple[str, ...] = option(
        (), help="attributes that go into labels: ref-type,sec-type makes xref-bibr and sec-methods of xref and sec"
    )
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether there is an article with what JATS and its ancestors have at its beginning."""
        return bool(_ROOT.search(head) and _OWN.search(head))

    def build(self) -> JatsReader:
        """Return a new reader."""
        return JatsReader(self)


@attrs.define
class _About:
    """What is said of an article beside its text, as it is found."""

    values: dict[str, Any] = attrs.field(factory=dict)
    ids: dict[str, str] = attrs.field(factory=dict)
    subjects: list[str] = attrs.field(factory=list)
    years: list[int] = attrs.field(factory=list)

    def add(self, path: list[str], attributes: dict[str, str], text: str) -> None:
        """Take the text of an element; ``path`` are those around it, and itself. The first of several stays."""
        name, value = path[-1], " ".join(text.split())
        if not value or "sub-article" in path or "response" in path:
            return
        if name == "article-id":
            self.ids.setdefault(attributes.get("pub-id-type", "id"), value)
        elif name == "subject":
            self.subjects.append(value)
        elif name == "journal-title":
            self.values.setdefault("journal", value)
        elif name == "year" and path[-2] == "pub-date" and _YEAR.fullmatch(value):
            self.years.append(int(value))
        elif path[-2] in _META and name in ("volume", "issue"):
            self.values.setdefault(name, value)

    def metadata(self) -> dict[str, Any]:
        """Return it as metadata of the document; the year is that in which the article first came out."""
        found = dict(self.values)
        if self.years:
            found["year"] = min(self.years)
        if self.subjects:
            found["subjects"] = list(dict.fromkeys(self.subjects))
        if self.ids:
            found["ids"] = self.ids
        return found


class _Handler(MarkupHandler):
    """Knows which elements are text, what is said of the article, and what is set apart."""

    blocks = _BLOCKS

    def __init__(self, document: str) -> None:
        super().__init__(document)
        self.about = _About()
        self._hidden = 0
        """How deep the outermost element lies whose text is not the document's; 0: there is none."""
        self._said: list[tuple[dict[str, str], list[str]]] = []
        """Attributes and text of each open element that is hidden."""
        self._after_label = False

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """Begin an element, or one that is hidden."""
        name = tag.rpartition(":")[2].lower()
        if name == "article" and not {"article", "sub-article", "response"} & {*self.path}:
            self.about = _About()
            self.about.values |= {
                key: attributes[attribute]
                for key, attribute in (("article_type", "article-type"), ("language", "xml:lang"))
                if attributes.get(attribute)
            }
        if not self._hidden and self._is_hidden(name):
            self._hidden = len(self.path) + 1
        if not self._hidden:
            super().start(tag, attributes, line)
            return
        self.path.append(name)
        self._said.append((attributes, []))

    def _is_hidden(self, name: str) -> bool:
        return name in _HIDDEN or (self.path[-1:] != [] and self.path[-1] in _META and name not in _TEXT_OF_META)

    def text(self, data: str) -> None:
        """Add text, to the document or to what is said of it."""
        if self._hidden:
            self._said[-1][1].append(data)
            return
        if self._after_label and self.text_of_document is not None and data[0].isalnum():
            self.text_of_document.gap = self.text_of_document.gap or " "
        self._after_label = self._after_label and not data.strip(SPACE)
        super().text(data)

    def end(self, tag: str) -> ElementText | None:
        """End an element; return the document that it ends."""
        if not self._hidden:
            is_label = self.path[-1] == "label"
            self._after_label = False
            text = super().end(tag)
            self._after_label = is_label
            if text is not None:
                text.about = self.about.metadata()
            return text
        attributes, pieces = self._said.pop()
        if self.path[-1] in _SAID:
            self.about.add(self.path, attributes, "".join(pieces))
        if self._said and self.path[-2] in _SAID:  # which holds what is in italics there, too
            self._said[-1][1].append("".join(pieces))
        if len(self.path) == self._hidden:
            self._hidden = 0
        self.path.pop()
        return None

    def tag(self, name: str) -> None:
        """Begin a line where a block begins or ends, unless its label was just read; other white space is a space."""
        assert self.text_of_document is not None
        if name in self.blocks:
            self.text_of_document.gap = self.text_of_document.gap or " " if self._after_label else "\n"
        self.between = ""

    def begins(self, name: str) -> bool:
        return name == (self.document or "article")

    def is_label(self, name: str) -> bool:
        if name == self.document:
            return True
        assert self.text_of_document is not None
        return bool(self.text_of_document.open) and name not in _META and "math" not in self.path[:-1]

    def stands_apart(self, name: str, attributes: dict[str, str]) -> bool:
        return bool(self.ended) and ("label" in (name, self.ended) or {name, self.ended} <= _APART)


class JatsReader(RecordReader[JatsReaderConfig]):
    """Reads the text of articles with a layer for each element that has text; those inside others too.

    A block, such as a paragraph, a title, a reference or a row of a table, begins a line; all other white space is one
    space, and one stands between fields that touch, as in ``<year>1996</year><volume>4</volume>``. What is said of an
    article is its metadata: ``ids``, ``journal``, ``year``, ``volume``, ``issue``, ``subjects``, ``article_type`` and
    ``language``. A ``pmc-articleset`` holds several documents.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, None, tuple[str, ElementText]]]:
        stem, number = stem_of(path).removesuffix(".jats"), 0
        for number, text in enumerate(read_xml(path, _Handler(self.config.document)), 1):
            yield text.line, None, (f"{stem}-{number}" if number > 1 or self.config.document else stem, text)
        if not number:
            wanted = self.config.document or "article"
            raise DataError(f"this file holds no element {wanted!r}, which is to make a document")

    def _document(self, item: tuple[str, ElementText]) -> Document:
        name, text = item
        document = make_document(text.symbols, {"doc_id": name} | text.about)
        found = (element.labelled(self.config.attributes) for element in text.elements if element.start >= 0)
        add_labelled(document, found, self.config.label_layer)
        return document


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return JatsReaderConfig
