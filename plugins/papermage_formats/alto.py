"""The reader ``alto``: pages as OCR (Tesseract, ABBYY, Kraken, eScriptorium) and pdfalto give them, words with boxes.

ALTO is a standard of the Library of Congress: https://www.loc.gov/standards/alto/. Versions 1 to 4 are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import attrs

from papermage_core.plugin import DocumentReaderConfig, hookimpl
from papermage_formats.labelled import stem_of
from papermage_formats.scanned import Corners, Scan, ScanReader, ScanReaderConfig, around, confidence, number, upright
from papermage_formats.xml_tree import Node, read_trees

__all__ = ["AltoReader", "AltoReaderConfig"]

_ROOT = re.compile(rb"<(?:\w+:)?alto[\s>]")


@attrs.frozen(kw_only=True)
class AltoReaderConfig(ScanReaderConfig):
    """Options of the reader ``alto``."""

    suffixes: ClassVar[tuple[str, ...]] = (".alto", ".alto.xml")
    shared_suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether its root is that of ALTO."""
        return bool(_ROOT.search(head))

    def build(self) -> AltoReader:
        """Return a new reader."""
        return AltoReader(self)


class AltoReader(ScanReader[AltoReaderConfig]):
    """Reads a file as a document of its pages; see `papermage_formats.scanned.Scan` for its layers.

    Tokens have ``confidence`` (``WC``) and, as those of the reader ``pdf``, ``fontname``, ``size``, ``bold`` and
    ``italic`` where styles say so. Tags of blocks, lines and words are labels; words that follow each other with the
    same tag are one entity. A hyphen at the end of a line (``HYP``) belongs to its word.
    """

    def _scan(self, path: Path) -> tuple[Scan, dict[str, Any]]:
        pages = _Pages(path)
        for node in read_trees(path, ("fileName", "Styles", "Tags", "Page")):
            pages.add(node)
        stem = stem_of(path).removesuffix(".alto")
        return pages.scan, {"doc_id": stem} | pages.about


class _Pages:
    """Makes a scan of the elements of a file."""

    def __init__(self, path: Path) -> None:
        self.scan = Scan(path, "an element Page")
        self.about: dict[str, Any] = {}
        self._styles: dict[str, dict[str, Any]] = {}
        self._labels: dict[str, tuple[str, dict[str, Any]]] = {}
        self._open: dict[str, int] = {}
        """Entities of words that the next word may belong to, by their tags."""

    def add(self, node: Node) -> None:
        """Take an element. Raises DataError for a number that is none."""
        if node.name == "fileName" and node.text.strip():
            self.about.setdefault("image", node.text.strip())
        elif node.name == "Styles":
            self._styles |= {each.attributes.get("ID", ""): _font(each) for each in node.all("TextStyle")}
        elif node.name == "Tags":
            self._labels |= {each.attributes.get("ID", ""): _label(each) for each in node.children}
        elif node.name == "Page":
            known = {"number": node.attributes["PHYSICAL_IMG_NR"]} if node.attributes.get("PHYSICAL_IMG_NR") else {}
            width, height = (number(node.attributes, name, node.line) for name in ("WIDTH", "HEIGHT"))
            self.scan.page(width, height, known)
            self._tagged(node, {})

    def _tagged(self, node: Node, style: dict[str, Any]) -> None:
        """Take what is in an element, as an entity of each of its tags."""
        style = style | self._style(node)
        tags = [] if node.name == "Page" else node.attributes.get("TAGREFS", "").split()
        entities = [self._begin(tag, node) for tag in tags if tag in self._labels]
        if node.name == "TextLine":
            self._line(node, style)
        else:
            for child in node.children:
                if child.name == "TextBlock":
                    self.scan.block(_corners(child))
                elif child.name == "TextLine":
                    self.scan.row(_corners(child))
                if child.name not in ("Shape", "String"):
                    self._tagged(child, style)
        for entity in entities:
            self.scan.end(entity)

    def _begin(self, tag: str, node: Node) -> int:
        label, metadata = self._labels[tag]
        return self.scan.begin(label, _corners(node), dict(metadata))

    def _style(self, node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in node.attributes.get("STYLEREFS", "").split():
            found |= self._styles.get(name, {})
        return found | _manner(node.attributes.get("STYLE", ""))

    def _line(self, line: Node, style: dict[str, Any]) -> None:
        has_spaces, is_glued = line.first("SP") is not None, False
        for child in line.children:
            content = child.attributes.get("CONTENT", "")
            if child.name == "SP":
                is_glued = False
            elif child.name == "HYP":
                self.scan.word(content or "-", _corners(child), {}, is_glued=True)
            elif child.name == "String":
                tags = child.attributes.get("TAGREFS", "").split()
                self._words_of({tag for tag in tags if tag in self._labels})
                known = style | self._style(child) | confidence(child.attributes.get("WC"))
                self.scan.word(content, _corners(child), known, is_glued=is_glued)
                for entity in self._open.values():
                    self.scan.end(entity)
                is_glued = has_spaces

    def _words_of(self, tags: set[str]) -> None:
        """Go on with the entities of words that have these tags, end the others, and begin those that are new."""
        self._open = {tag: entity for tag, entity in self._open.items() if tag in tags}
        for tag in sorted(tags - set(self._open)):
            label, metadata = self._labels[tag]
            self._open[tag] = self.scan.begin(label, None, dict(metadata))


def _corners(node: Node) -> Corners | None:
    """Return the box of an element, or that around its polygon; None if it has neither."""
    at = [number(node.attributes, name, node.line) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    left, top, width, height = at
    if left is not None and top is not None and width is not None and height is not None:
        return upright((left, top, left + width, top + height), node.line)
    polygon = node.first("Shape", "Polygon")
    if polygon is None:
        return None
    return around([polygon.attributes.get("POINTS", "")], polygon.line)


def _font(style: Node) -> dict[str, Any]:
    """Return what a style says of the words that have it."""
    found: dict[str, Any] = {}
    if name := style.attributes.get("FONTFAMILY"):
        found["fontname"] = name
    if size := number(style.attributes, "FONTSIZE", style.line):
        found["size"] = size
    return found | _manner(style.attributes.get("FONTSTYLE", ""))


def _manner(style: str) -> dict[str, bool]:
    words = style.split()
    return {key: True for key, word in (("bold", "bold"), ("italic", "italics")) if word in words}


def _label(tag: Node) -> tuple[str, dict[str, Any]]:
    """Return label and metadata of what has a tag; of a named entity, the label is its kind, not its name."""
    order = ("TYPE", "LABEL") if tag.name == "NamedEntityTag" else ("LABEL", "TYPE")
    given = {key: tag.attributes[key].strip() for key in (*order, "URI", "DESCRIPTION") if tag.attributes.get(key)}
    key = next((key for key in order if key in given), "")
    return given.pop(key, tag.name), {key.lower(): value for key, value in given.items()}


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return AltoReaderConfig
