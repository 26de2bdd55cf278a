"""The reader ``page_xml``: pages as Transkribus, eScriptorium, OCR-D and PRImA's tools give them, regions as labels.

PAGE-XML: S. Pletschacher and A. Antonacopoulos, The PAGE (Page Analysis and Ground-Truth Elements) Format Framework,
ICPR 2010.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs

from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, hookimpl
from papermage_formats.labelled import stem_of
from papermage_formats.scanned import Corners, Scan, ScanReader, ScanReaderConfig, around, confidence, number
from papermage_formats.xml_tree import Node, read_trees

__all__ = ["PageXmlReader", "PageXmlReaderConfig"]

_ROOT = re.compile(rb"<(?:\w+:)?PcGts[\s>]")
_TAG = re.compile(r"([\w.-]+)\s*\{([^{}]*)\}")
"""One of Transkribus's tags in ``custom``, ``person {offset:0; length:4;}``: name, and what is said."""
_NO_LABELS = frozenset({"readingOrder", "structure", "textStyle"})


@attrs.frozen(kw_only=True)
class PageXmlReaderConfig(ScanReaderConfig):
    """Options of the reader ``page_xml``."""

    suffixes: ClassVar[tuple[str, ...]] = (".page.xml",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether its root is that of PAGE."""
        return bool(_ROOT.search(head))

    def build(self) -> PageXmlReader:
        """Return a new reader."""
        return PageXmlReader(self)


class PageXmlReader(ScanReader[PageXmlReaderConfig]):
    """Reads a file as a document of its page; see `papermage_formats.scanned.Scan` for its layers.

    Labels are the types of regions (``heading``, ``caption``, ``TableRegion`` …) and Transkribus's tags of text, such
    as ``person``; parts of a tag that goes on in the next line are one entity. Regions are read in the order that the
    file gives, those that it does not name last. Where a line has words, these are the text, with their boxes; else
    tokens share out its box by their characters.
    """

    def _scan(self, path: Path) -> tuple[Scan, dict[str, Any]]:
        scan = Scan(path, "an element Page")
        for page in read_trees(path, ("Page",)):
            _Regions(scan, page).read()
        return scan, {"doc_id": stem_of(path).removesuffix(".page")}


class _Regions:
    """Adds a page to a scan."""

    def __init__(self, scan: Scan, page: Node) -> None:
        self._scan = scan
        self._page = page
        self._going_on: dict[str, int] = {}
        """Entities that go on in the next line, by their labels."""

    def read(self) -> None:
        """Add it. Raises DataError for a number that is none, and for a tag that is not in its line."""
        given = self._page.attributes
        width, height = (number(given, name, self._page.line) for name in ("imageWidth", "imageHeight"))
        self._scan.page(width, height, {"image": given["imageFilename"]} if given.get("imageFilename") else {})
        order = {name: place for place, name in enumerate(_order(self._page.first("ReadingOrder")))}
        self._regions(self._page, order)

    def _regions(self, node: Node, order: dict[str, int]) -> None:
        regions = [child for child in node.children if child.name.endswith("Region")]
        for region in sorted(regions, key=lambda each: order.get(each.attributes.get("id", ""), len(order))):
            corners = _corners(region)
            entity = self._scan.begin(_type(region), corners, _known(region))
            self._scan.block(corners)
            lines = list(region.all("TextLine"))
            for line in lines:
                self._line(line)
            if not lines:
                for text in _text(region).splitlines():
                    self._scan.row()
                    self._scan.word(text, None, {})
            self._regions(region, order)
            self._scan.end(entity)

    def _line(self, line: Node) -> None:
        corners, first = _corners(line), self._scan.words
        self._scan.row(corners)
        words = [(word, text) for word in line.all("Word") if (text := _text(word).strip())]
        whole, spelt = _text(line), " ".join(text for _, text in words)
        tags = [tag for tag in _tags(line.attributes.get("custom", "")) if tag[0] not in _NO_LABELS]
        if words and (not tags or whole in ("", spelt)):
            whole, begins, at = spelt, list[int](), 0
            for word, text in words:
                begins.append(at)
                at += len(text) + 1
                self._scan.word(text, _corners(word), confidence(_conf(word)))
        else:
            begins = [len(whole) - len(whole.lstrip())]
            self._scan.word(whole, corners, confidence(_conf(line)))
        before, self._going_on = self._going_on, {}
        for label, known in tags:
            place = _extent(known)
            if place is None:
                continue  # it says something of the line, or of a place between two characters
            start, stop = place
            goes_on = known.pop("continued", "") == "true"
            within = [
                (first + i, max(start - begin, 0), min(stop - begin, length))
                for i, (begin, length) in enumerate(zip(begins, self._scan.lengths(first), strict=False))
                if start < begin + length and stop > begin
            ]
            if not within or start < 0 or stop > len(whole):
                said = f"the tag {label!r} is at characters {start} to {stop} of a line of {len(whole)}"
                raise DataError(said, value=[start, stop], line=line.line, expected="a place in its line")
            opening, (last, _, end) = within[0][:2], within[-1]
            if goes_on and label in before and not whole[:start].strip():
                entity = before[label]
                self._scan.end(entity, (last, end))
            else:
                entity = self._scan.mark(label, known, opening, (last, end))
            if goes_on and not whole[stop:].strip():
                self._going_on[label] = entity


def _extent(known: dict[str, str]) -> tuple[int, int] | None:
    """Take start and stop of a tag in its line from what is said of it; None if it has no extent."""
    try:
        start, length = int(known.pop("offset", "")), int(known.pop("length", ""))
    except ValueError:
        return None
    return (start, start + length) if length else None


def _order(node: Node | None) -> Iterator[str]:
    """Yield the ids of regions as they are to be read."""
    if node is None:
        return
    if name := node.attributes.get("regionRef"):
        yield name
    children = node.children
    if all(child.attributes.get("index", "").isdecimal() for child in children):
        children = sorted(children, key=lambda child: int(child.attributes["index"]))
    for child in children:
        yield from _order(child)


def _tags(custom: str) -> list[tuple[str, dict[str, str]]]:
    """Return name and properties of each of Transkribus's tags.

    >>> _tags("readingOrder {index:0;} person {offset:3; length:4; firstname:Ada;}")
    [('readingOrder', {'index': '0'}), ('person', {'offset': '3', 'length': '4', 'firstname': 'Ada'})]
    """
    found = []
    for name, inner in _TAG.findall(custom):
        pairs = (each.partition(":") for each in inner.split(";"))
        found.append((name, {key.strip(): value.strip() for key, colon, value in pairs if colon}))
    return found


def _type(region: Node) -> str:
    """Return the label of a region: its type, also as Transkribus has it, or else what kind of region it is."""
    if type_ := region.attributes.get("type"):
        return type_
    own = dict(_tags(region.attributes.get("custom", ""))).get("structure", {}).get("type")
    return own or region.name


def _known(region: Node) -> dict[str, Any]:
    return {"id": region.attributes["id"]} if region.attributes.get("id") else {}


def _corners(node: Node) -> Corners | None:
    """Return the box around the polygon of an element; the versions before 2013 have it as elements."""
    coords = node.first("Coords")
    if coords is None:
        return None
    points = [point.attributes.get(axis, "") for point in coords.all("Point") for axis in "xy"]
    return around([coords.attributes.get("points", ""), *points], coords.line)


def _text(node: Node) -> str:
    """Return the text of an element: of several the one with the lowest index, or the first."""
    texts = list(node.all("TextEquiv"))
    if not texts:
        return ""
    indexed = [each for each in texts if each.attributes.get("index", "").isdecimal()]
    best = min(indexed, key=lambda each: int(each.attributes["index"])) if indexed else texts[0]
    written = best.first("Unicode") or best.first("PlainText")
    return written.text if written else ""


def _conf(node: Node) -> str | None:
    text = node.first("TextEquiv")
    return text.attributes.get("conf") if text else None


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return PageXmlReaderConfig
