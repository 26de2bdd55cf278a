"""The reader and the writer ``tei``: text with elements as labels, as GROBID's training data have it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, ClassVar
from xml.sax.saxutils import escape, quoteattr

import attrs

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    decode_text,
    labelled_entities,
    lines_of,
    losses,
    make_document,
    stem_of,
    text_of,
)
from papermage_formats.markup import SPACE, Element, ElementText, MarkupHandler
from papermage_formats.records import RecordReader
from papermage_formats.tokenized import annotate_places
from papermage_formats.xml_events import read_xml, xml_text

__all__ = ["TeiReader", "TeiReaderConfig", "TeiWriter", "TeiWriterConfig"]

_FRAME = frozenset({"teicorpus", "tei", "teiheader", "filedesc", "sourcedesc", "biblstruct", "analytic", "text", "lb"})
"""Elements that are no labels, in small letters: the frame of a file, and line ends."""
_BLOCKS = frozenset(
    {"abstract", "back", "body", "div", "figdesc", "figure", "front", "head", "item", "list", "listbibl", "p", "row"}
    | {"table", "titlestmt"}
)
"""Elements that stand by themselves: text before them, in them and after them is never one word."""
_NAME_PARTS = frozenset({"forename", "surname", "rolename", "genname"})
_ROOTS = re.compile(
    rb"<(?:tei(?:corpus)?|dates|citations|fundings|dataset|patent-document|biblstruct|bibl|lb/|front)\b", re.IGNORECASE
)
_OTHERS = re.compile(rb"<(?:collection|article|pmc-articleset)\b", re.IGNORECASE)
_RUN = re.compile("[ \t\r\n]+")
_ALIKE = str.maketrans("‐‑‒–—―−－•∙·（）［］｜’‘“”", "--------***()[]|''\"\"")
"""Characters that GROBID writes in another way in one of its two files."""
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_OTHER = "seg"
"""The element for labels that are no names of XML; its attribute ``type`` is the label."""


@attrs.frozen(kw_only=True)
class TeiReaderConfig(DocumentReaderConfig):
    """Options of the reader ``tei``."""

    suffixes: ClassVar[tuple[str, ...]] = (".tei", ".tei.xml")
    shared_suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    companions: ClassVar[tuple[str, ...]] = (
        ".header", ".segmentation", ".referenceSegmenter", ".fulltext", ".figure", ".table",
    )  # fmt: skip
    compressed: ClassVar[bool] = True

    document: str = option("", help="the element that makes a document, such as bibl; default: all of the file")
    attributes: tuple[str, ...] = option(
        (), help="attributes that go into labels: level,unit makes title-a and biblScope-volume of title and biblScope"
    )
    features: bool = option(True, help="add the tokens and features of the raw file beside, if it has the same words")
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether there are elements of TEI, or of GROBID's other collections; JATS has some of these names, too."""
        return bool(_ROOTS.search(head)) and not _OTHERS.search(head)

    def build(self) -> TeiReader:
        """Return a new reader."""
        return TeiReader(self)


class _Handler(MarkupHandler):
    """Knows TEI, and the names that GROBID's service took apart."""

    blocks = _BLOCKS

    def __init__(self, document: str) -> None:
        super().__init__(document)
        self._taken_apart = False
        """Whether the name at hand is one that GROBID took apart: its service says of forenames which they are."""

    def begins(self, name: str) -> bool:
        if self.document:
            return name == self.document
        return name != "teicorpus" and (len(self.path) == 1 or self.path[0] == "teicorpus")

    def name_of(self, attributes: dict[str, str]) -> str | None:
        return attributes.get("n")

    def is_label(self, name: str) -> bool:
        return name == self.document or (len(self.path) > 1 and name not in _FRAME)

    def is_line_end(self, name: str) -> bool:
        return name == "lb"

    def stands_apart(self, name: str, attributes: dict[str, str]) -> bool:
        self._taken_apart = name != "persname" and (self._taken_apart or (name == "forename" and "type" in attributes))
        return self._taken_apart and {name, self.ended} <= _NAME_PARTS


class TeiReader(RecordReader[TeiReaderConfig]):
    """Reads text with a layer for each element that has text; those inside others too, so that layers may nest.

    White space is one space, or one line end where there is ``<lb/>`` or only white space between two tags goes over a
    line end; one stands between blocks that touch, such as paragraphs, and a space between the parts of a name that
    GROBID's service took apart (``<forename type="first">``); all else that touches is one word, as in training data.
    An element's other attributes are its metadata ``attributes``. A raw file of GROBID beside it, which has the same
    name without ``.tei.xml``, gives ``tokens`` with its columns as metadata. A ``teiCorpus`` holds several documents.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, None, tuple[str, ElementText, Path]]]:
        stem = stem_of(path).removesuffix(".tei")
        number = 0
        for number, text in enumerate(read_xml(path, _Handler(self.config.document)), 1):
            name = text.name or (f"{stem}-{number}" if number > 1 or self.config.document else stem)
            yield text.line, None, (name, text, path)
        if not number:
            raise DataError("this file holds no document", expected=f"an element {self.config.document or 'TEI'}")

    def _document(self, item: tuple[str, ElementText, Path]) -> Document:
        name, text, path = item
        document = make_document(text.symbols, {"doc_id": name})
        raw = path.with_name(re.sub(r"\.tei(\.xml)?(\.\w+)?$", "", path.name))
        if self.config.features and not self.config.document and raw != path and raw.is_file():
            _add_features(document, raw)
        found = (self._labelled(element) for element in text.elements if element.start >= 0)
        add_labelled(document, found, self.config.label_layer)
        return document

    def _labelled(self, element: Element) -> Labelled:
        attributes = dict(element.attributes)
        if element.name == _OTHER and attributes.get("type"):
            element = attrs.evolve(element, name=attributes.pop("type"), attributes=attributes)
        return element.labelled(self.config.attributes)


def _add_features(document: Document, raw: Path) -> None:
    """Add tokens with what a raw file says of them, unless its words are not those of the text."""
    symbols, at = (document.symbols or "").translate(_ALIKE), 0
    places, rows = list[tuple[int, int]](), list[list[str]]()
    for line, byte, data in lines_of(raw):
        word, *features = decode_text(data, line=line, byte=byte).split()
        at += len(symbols[at : at + 64]) - len(symbols[at : at + 64].lstrip())
        if not symbols.startswith(word.translate(_ALIKE), at) or (rows and len(features) != len(rows[0])):
            document.metadata.features = f"not read: line {line} of {raw.name} is not the word at character {at}"
            return
        places.append((at, at + len(word)))
        rows.append(features)
        at += len(word)
    if places:
        columns = {f"f{i}": list(column) for i, column in enumerate(zip(*rows, strict=True), 1)}
        annotate_places(document, "tokens", places, columns)


# Writing -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class TeiWriterConfig(DocumentWriterConfig):
    """Options of the writer ``tei``."""

    suffixes: ClassVar[tuple[str, ...]] = (".tei", ".tei.xml")

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> TeiWriter:
        """Return a new writer."""
        return TeiWriter(self)


class TeiWriter:
    """Writes a ``TEI`` element a document, in a ``teiCorpus`` if there are several. Of crossing entities, the first."""

    def __init__(self, config: TeiWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the documents; return what elements do not hold."""
        lost: Counter[str] = Counter()
        waiting, corpus = b"", False
        target.write(b'<?xml version="1.0" encoding="UTF-8"?>\n')
        for document in documents:
            if waiting:
                target.write((b"" if corpus else b"<teiCorpus>\n") + waiting)
                corpus = True
            waiting = "".join(self._tei(document, lost)).encode()
        target.write(waiting + (b"</teiCorpus>\n" if corpus else b"" if waiting else b"<teiCorpus/>\n"))
        return losses(lost)

    def _tei(self, document: Document, lost: Counter[str]) -> Iterator[str]:
        symbols, at = text_of(document, SPACE), 0
        runs = (symbols[: len(symbols) - len(symbols.lstrip(SPACE))], symbols[len(symbols.rstrip(SPACE)) :])
        lost["white space"] += sum(run not in (" ", "\n") for run in _RUN.findall(symbols)) + sum(map(bool, runs))
        lost["document ids"] += document.id is None
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id"})
        name = "" if document.id is None else f" n={self._quoted(document.id, lost)}"
        yield f'<TEI{name} xml:space="preserve">\n<teiHeader>\n<fileDesc xml:id="_0"/>\n</teiHeader>\n<text>'
        open_: list[tuple[int, str]] = []
        for start, stop, opening, tag in [*self._elements(document, lost), (len(symbols), len(symbols), "", "")]:
            while open_ and open_[-1][0] <= start:
                yield _text(symbols[at : open_[-1][0]], lost) + f"</{open_[-1][1]}>"
                at = open_.pop()[0]
            if open_ and open_[-1][0] < stop:
                lost["overlapping entities"] += 1
                continue
            yield _text(symbols[at:start], lost) + opening
            open_.append((stop, tag))
            at = start
        yield "</text>\n</TEI>\n"

    def _elements(self, document: Document, lost: Counter[str]) -> list[tuple[int, int, str, str]]:
        """Return start, end, opening tag and name of each entity's element, outer ones before those in them."""
        found, symbols = [], document.symbols or ""
        for entity in labelled_entities(document, self.config.layers, lost):
            start, stop = entity.segments[0]
            inner = symbols[start:stop].strip(SPACE)
            if len(entity.segments) > 1 or not inner:
                lost["discontinuous entities" if inner else "entities without text"] += 1
                continue
            lost["white space at the ends of entities"] += len(inner) != stop - start
            start += symbols[start:stop].index(inner)
            element, attributes = entity.metadata.get("element"), entity.metadata.get("attributes")
            attributes = dict(attributes) if isinstance(attributes, dict) else {}
            name = element if isinstance(element, str) and entity.label.startswith(element) else entity.label
            is_block = name.lower() in _BLOCKS and not _stands_alone(symbols, start, start + len(inner))
            if not _NAME.fullmatch(name) or name.lower() in _FRAME or name == _OTHER or is_block:
                name, attributes = _OTHER, {"type": name} | attributes
            kept = {k: v for k, v in attributes.items() if isinstance(v, str) and _NAME.fullmatch(str(k))}
            lost["metadata of entities"] += bool(set(entity.metadata) - {"attributes", "element"}) or kept != attributes
            said = "".join(f" {key}={self._quoted(value, lost)}" for key, value in kept.items())
            found.append((start, start + len(inner), f"<{name}{said}>", name))
        return sorted(found, key=lambda each: (each[0], -each[1]))

    def _quoted(self, value: str, lost: Counter[str]) -> str:
        return quoteattr(xml_text(value, lost), {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"})


def _stands_alone(symbols: str, start: int, stop: int) -> bool:
    """Whether there is white space around an entity, as blocks have it."""
    before, after = symbols[max(start - 1, 0) : start], symbols[stop : stop + 1]
    return before in ("", *SPACE) and after in ("", *SPACE)


def _text(text: str, lost: Counter[str]) -> str:
    return escape(xml_text(text, lost), {"\n": "<lb/>\n", "\r": "&#13;"})


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return TeiReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return TeiWriterConfig
