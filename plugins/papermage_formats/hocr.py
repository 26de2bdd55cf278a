"""The reader ``hocr``: pages as Tesseract, OCRopus, Kraken and OCRmyPDF write them in HTML, words with boxes.

hOCR: T. Breuel, The hOCR Microformat for OCR Workflow and Results, 2007; version 1.2: http://kba.github.io/hocr-spec/1.2/.
"""

from __future__ import annotations

import codecs
import logging
import re
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import attrs

from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, hookimpl
from papermage_formats.labelled import decode_text, read_bytes, stem_of
from papermage_formats.scanned import Corners, Scan, ScanReader, ScanReaderConfig, confidence, upright

__all__ = ["HocrReader", "HocrReaderConfig"]

_log = logging.getLogger(__name__)
_PAGE = re.compile(rb"""class\s*=\s*["']?[^"'>]*\bocr_page\b""")
_CHARSET = re.compile(
    rb"""<meta[^>]*charset\s*=\s*["']?\s*([\w-]+)|<\?xml[^>]*encoding\s*=\s*["']([\w-]+)""", re.IGNORECASE
)
_PROPERTY = re.compile(r"""\s*(\w+)\s*((?:"[^"]*"|'[^']*'|[^;"'])*)""")
_ROWS = frozenset({"ocr_line", "ocrx_line", "ocr_caption", "ocr_header", "ocr_footer", "ocr_pageno", "ocr_textfloat"})
"""Lines; Tesseract gives the class of what a line is instead of that of a line."""
_BLOCKS = frozenset({"ocr_carea", "ocr_column", "ocr_par", "ocrx_block"})
_PARTS = frozenset({"ocr_cinfo", "ocr_glyph", "ocr_glyphs", "ocrx_cinfo"})
"""Classes of parts of a word."""
_NO_LABELS = _BLOCKS | {"ocr_document", "ocr_line", "ocr_linear", "ocr_page", "ocr_word"}
_MANNERS = {"b": "bold", "strong": "bold", "em": "italic", "i": "italic"}
_LARGEST = 10_000
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)


@attrs.frozen(kw_only=True)
class HocrReaderConfig(ScanReaderConfig):
    """Options of the reader ``hocr``."""

    suffixes: ClassVar[tuple[str, ...]] = (".hocr",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml")

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether there is an element of the class ``ocr_page``."""
        return bool(_PAGE.search(head))

    def build(self) -> HocrReader:
        """Return a new reader."""
        return HocrReader(self)


class HocrReader(ScanReader[HocrReaderConfig]):
    """Reads a file as a document of its pages; see `papermage_formats.scanned.Scan` for its layers.

    Tokens have ``confidence`` (``x_wconf``) and, as those of the reader ``pdf``, ``fontname``, ``size``, ``bold`` and
    ``italic``. Classes of what is neither page, area, paragraph, line nor word are labels, without ``ocr_``, such as
    ``header``, ``caption``, ``abstract`` and ``photo``. Where a line has no words, tokens share out its box by their
    characters.
    """

    def _scan(self, path: Path) -> tuple[Scan, dict[str, Any]]:
        data = read_bytes(path)
        declared = _CHARSET.search(data[:1024])
        parser = _Parser(path)
        parser.feed(decode_text(data, _known(declared) if declared else ""))
        parser.finish()
        return parser.scan, {"doc_id": stem_of(path)}


def _known(declared: re.Match[bytes]) -> str:
    """Return the encoding that a file names, if Python knows it."""
    name = (declared[1] or declared[2]).decode("ascii", "replace")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return ""


@attrs.define
class _Open:
    """An element whose last tag is still to come."""

    tag: str
    name: str
    """Its class of hOCR; empty if it has none, or is a part of a word."""
    said: dict[str, str]
    corners: Corners | None = None
    entity: int | None = None
    pieces: list[str] = attrs.field(factory=list)
    manner: dict[str, bool] = attrs.field(factory=dict)


class _Parser(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.scan = Scan(path, "an element of the class ocr_page")
        self._path = path
        self._open: list[_Open] = []
        self._origin = (0.0, 0.0)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        if tag in _VOID:
            self.handle_data(" ")
            return
        if tag == "p":
            self.handle_endtag("p")  # which HTML may leave out
        given = dict(attrs)
        classes = [name for name in (given.get("class") or "").split() if name.startswith("ocr")]
        element = _Open(tag, "", {})
        if classes and classes[0] not in _PARTS:
            element = _Open(tag, classes[0], _said(given.get("title") or ""))
            self._begin(element, given.get("id") or "")
        self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element, and end it."""
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def _begin(self, element: _Open, id_: str) -> None:
        self._flush()
        name, element.corners = element.name, self._corners(element)
        if name == "ocr_page":
            self._page(element)
        if not self.scan.pages:
            return
        if name in _BLOCKS:
            self.scan.block(element.corners)
        elif name in _ROWS:
            self.scan.row(element.corners)
        if name.startswith("ocr_") and name not in _NO_LABELS:
            known = {"id": id_} if id_ else {}
            element.entity = self.scan.begin(name.removeprefix("ocr_"), element.corners, known)

    def _corners(self, element: _Open) -> Corners | None:
        """Return the box of an element from the upper left of its page. Raises DataError for what is none."""
        box = element.said.get("bbox")
        if box is None:
            return None
        try:
            left, top, right, bottom = (float(each) for each in box.split())
        except ValueError as exc:
            line = self.getpos()[0]
            raise DataError(f"{box!r} is no box", value=box, line=line, expected="left, top, right, bottom") from exc
        x, y = (0.0, 0.0) if element.name == "ocr_page" else self._origin
        return upright((left - x, top - y, right - x, bottom - y), self.getpos()[0])

    def _page(self, element: _Open) -> None:
        left, top, right, bottom = element.corners or (0.0, 0.0, 0.0, 0.0)
        self._origin = left, top
        image = element.said.get("image", "").strip("\"'")
        self.scan.page(right - left or None, bottom - top or None, {"image": image} if image else {})

    def handle_endtag(self, tag: str) -> None:
        """End an element, and those in it that were left open; a tag that closes none is passed over."""
        if tag in {element.tag for element in self._open}:
            while self._end() != tag:
                pass

    def finish(self) -> None:
        """End what is open at the end of the file."""
        self.close()
        if cut := next(
            (each for each in self._open if each.name and each.tag != "p"), None
        ):  # which HTML may leave open
            _log.warning("%s: ends within an element of the class %s: is the file cut off?", self._path, cut.name)
        while self._open:
            self._end()

    def _end(self) -> str:
        if self._open[-1].name:
            self._flush()
        element = self._open.pop()
        if element.entity is not None:
            self.scan.end(element.entity)
        return element.tag

    def handle_data(self, data: str) -> None:
        """Take text, which belongs to the innermost element with a class of hOCR."""
        if holder := self._holder():
            holder.pieces.append(data)
            if data.strip():
                holder.manner |= {_MANNERS[each.tag]: True for each in self._open if each.tag in _MANNERS}

    def _holder(self) -> _Open | None:
        if not self.scan.pages:
            return None
        return next((element for element in reversed(self._open) if element.name), None)

    def _flush(self) -> None:
        """Add the text of the innermost element so far: a word, or a line of which no words are known."""
        if (holder := self._holder()) is None:
            return
        text = " ".join("".join(holder.pieces).split())
        said = {key: value for element in self._open for key, value in element.said.items()}
        known: dict[str, Any] = {"fontname": name} if (name := said.get("x_font", "").strip("\"'")) else {}
        with suppress(ValueError):
            known |= {"size": size} if 0 < (size := float(said.get("x_fsize", ""))) < _LARGEST else {}
        self.scan.word(text, holder.corners, known | holder.manner | confidence(said.get("x_wconf"), 100))
        holder.pieces, holder.manner = [], {}


def _said(title: str) -> dict[str, str]:
    """Return the properties that a title holds.

    >>> _said('image "a;b.png"; bbox 0 0 640 480; ppageno 0')
    {'image': '"a;b.png"', 'bbox': '0 0 640 480', 'ppageno': '0'}
    """
    return {name: value.strip() for name, value in _PROPERTY.findall(title)}


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return HocrReaderConfig
