"""What OCR makes of a scan: pages of blocks of rows of words with boxes; for ``alto``, ``hocr`` and ``page_xml``."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs
import numpy as np

from papermage_core.document import Box, Document, Layer, SpanArrays
from papermage_core.errors import DataError, counted
from papermage_core.plugin import DocumentReaderConfig, option
from papermage_formats.labelled import LABEL_LAYER, Labelled, add_labelled, layer_of, make_document
from papermage_formats.page_boxes import PageBoxes, size_of
from papermage_formats.records import RecordReader
from papermage_processors.boxed import box_arrays
from papermage_processors.layout import unions
from papermage_processors.tokenizing import STYLES, Style, token_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Corners", "Place", "Scan", "ScanReader", "ScanReaderConfig", "around", "confidence", "number", "upright"]

_POINTS = re.compile(r"[\s,]+")
Corners = tuple[float, float, float, float]
"""Left, top, right and bottom, in the unit of the file."""
Place = tuple[int, int]
"""The number of a word, and of a character in it; one after the last word is the end of that."""


@attrs.frozen
class _Page:
    width: float | None
    height: float | None
    metadata: dict[str, Any]


@attrs.frozen
class _Word:
    text: str
    corners: Corners | None
    metadata: dict[str, Any]
    page: int
    is_glued: bool


@attrs.frozen
class _Group:
    """A row or a block: the words from the first on, up to that of the next."""

    first: int
    corners: Corners | None


@attrs.define
class _Marked:
    label: str
    metadata: dict[str, Any]
    page: int
    corners: Corners | None
    start: Place
    stop: Place = (0, 0)


class Scan:
    """Takes what was printed, in reading order, and makes a document of it.

    Rows follow each other on lines of their own, a line is left empty between blocks, and words have a space between
    them. Layers: ``tokens`` with what is known of their words, ``rows``, ``blocks``, ``pages`` with ``width`` and
    ``height``, and those of the labels. A row or a block has the box that the file gives, or that around its words.
    """

    def __init__(self, path: Path, page: str) -> None:
        self._page_boxes = PageBoxes(path)
        self._page = page
        """What a page is called in the file."""
        self._pages: list[_Page] = []
        self._words: list[_Word] = []
        self._rows: list[_Group] = []
        self._blocks: list[_Group] = []
        self._marked: list[_Marked] = []

    @property
    def pages(self) -> int:
        """How many pages there are so far."""
        return len(self._pages)

    @property
    def words(self) -> int:
        """How many words there are so far."""
        return len(self._words)

    def lengths(self, first: int) -> list[int]:
        """Return how many characters each word has, from a word on."""
        return [len(word.text) for word in self._words[first:]]

    def page(self, width: float | None, height: float | None, metadata: dict[str, Any]) -> None:
        """Begin a page, of a size in the unit of the file, or of none that is known."""
        self._pages.append(_Page(width, height, metadata))
        self.block()

    def block(self, corners: Corners | None = None) -> None:
        """Begin a block, and a row with it."""
        _begin(self._blocks, len(self._words), corners)
        self.row()

    def row(self, corners: Corners | None = None) -> None:
        """Begin a row."""
        _begin(self._rows, len(self._words), corners)

    def word(self, text: str, corners: Corners | None, metadata: dict[str, Any], *, is_glued: bool = False) -> None:
        """Add a word, or the text of a row whose words are not known; ``is_glued``: no space stands before it."""
        if not self._pages:
            raise DataError(
                f"there is text before the first page, {self._page}", value=text, expected="a page around it"
            )
        if text := text.strip():
            self._words.append(_Word(text, corners, metadata, len(self._pages) - 1, is_glued))

    def begin(self, label: str, corners: Corners | None, metadata: dict[str, Any]) -> int:
        """Begin an entity of the words that follow; return its number."""
        return self._mark(_Marked(label, metadata, max(len(self._pages) - 1, 0), corners, (len(self._words), 0)))

    def mark(self, label: str, metadata: dict[str, Any], start: Place, stop: Place) -> int:
        """Add an entity from a character of a word to another; return its number."""
        return self._mark(_Marked(label, metadata, len(self._pages) - 1, None, start, stop))

    def _mark(self, marked: _Marked) -> int:
        self._marked.append(marked)
        return len(self._marked) - 1

    def end(self, entity: int, stop: Place | None = None) -> None:
        """Let an entity go up to the character of a word; by default, to the end of the last word so far."""
        self._marked[entity].stop = stop or (len(self._words), 0)

    def document(self, metadata: dict[str, Any], style: Style, label_layer: str = "") -> Document:
        """Return the document. Raises DataError for one without text, and for sizes that are none."""
        if not self._words:
            if not self.pages:
                raise DataError(f"there is no page: {self._page}", expected="pages")
            raise DataError(
                f"holds no text on {counted(self.pages, 'pages')}; a scan needs OCR first", expected="words"
            )
        symbols, starts = self._text()
        lengths = np.array([len(word.text) for word in self._words])
        page = np.array([word.page for word in self._words])
        sizes = np.array(list(self._sizes()))
        document = make_document(symbols, metadata)
        shares = self._page_boxes.shares
        boxes = shares(_array([word.corners for word in self._words]), sizes[page], page, document.id)
        first, last, word = _cut(self._words, starts, style)
        parts = _parts(boxes[word], first - starts[word], last - starts[word], lengths[word])
        known = [dict(self._words[at].metadata) for at in word.tolist()]
        spans = SpanArrays.one_each(first, last)
        document.annotate_layer("tokens", Layer.from_arrays(spans, box_arrays(parts, page[word]), known))
        for name, groups in (("rows", self._rows), ("blocks", self._blocks)):
            groups = [group for group in groups if group.first < len(self._words)]
            at = np.array([group.first for group in groups])
            ends = np.append(at[1:], len(self._words)) - 1
            own = shares(_array([group.corners for group in groups]), sizes[page[at]], page[at], document.id)
            begins = np.zeros(len(self._words), bool)
            begins[at] = True
            own = np.where(np.isnan(own), unions(boxes, begins), own)
            spans = SpanArrays.one_each(starts[at], (starts + lengths)[ends])
            document.annotate_layer(name, Layer.from_arrays(spans, box_arrays(own, page[at])))
        document.annotate_layer("pages", self._whole(starts, starts + lengths, page, sizes))
        add_labelled(document, self._entities(starts, starts + lengths, sizes, document.id), label_layer)
        self._page_boxes.tell()
        return document

    def _sizes(self) -> Iterator[tuple[float, float]]:
        """Yield width and height of each page: where they are not given, as far as its boxes go."""
        reach = [(1.0, 1.0)] * len(self._pages)
        for word in self._words:
            if word.corners:
                width, height = reach[word.page]
                reach[word.page] = max(width, word.corners[2]), max(height, word.corners[3])
        for page, (width, height) in zip(self._pages, reach, strict=True):
            yield size_of(page.width or width, page.height or height)

    def _text(self) -> tuple[str, NDArray[np.int64]]:
        """Return the text, and where each word begins."""
        begins = {group.first: "\n" for group in self._rows} | {group.first: "\n\n" for group in self._blocks}
        pieces, starts, at = list[str](), list[int](), 0
        for number, word in enumerate(self._words):
            gap = begins.get(number, "" if word.is_glued else " ") if number else ""
            pieces += [gap, word.text]
            starts.append(at + len(gap))
            at += len(gap) + len(word.text)
        return "".join(pieces), np.array(starts)

    def _whole(
        self, starts: NDArray[np.int64], stops: NDArray[np.int64], page: NDArray[np.int64], sizes: NDArray[np.float64]
    ) -> Layer:
        """Return the pages, those without text too."""
        found = list[Labelled]()
        ends = zip(*(np.searchsorted(page, range(len(sizes)), side) for side in ("left", "right")), strict=True)
        for number, (own, (first, last), size) in enumerate(zip(self._pages, ends, sizes.tolist(), strict=True)):
            span = [(int(starts[first]), int(stops[last - 1]))] if first < last else []
            known = dict(zip(("width", "height"), size, strict=True)) | own.metadata
            found.append(Labelled("", span, known, boxes=[Box(0, 0, 1, 1, number)]))
        return layer_of(found)

    def _entities(
        self, starts: NDArray[np.int64], stops: NDArray[np.int64], sizes: NDArray[np.float64], document: str | None
    ) -> Iterator[Labelled]:
        for marked in self._marked:
            (first, start), (last, stop) = marked.start, marked.stop
            segments = list[tuple[int, int]]()
            if marked.start < marked.stop:
                end = starts[last] + stop if stop else stops[last - 1]
                segments.append((int(starts[first]) + start, int(end)))
            boxes = list[Box]()
            if marked.corners:
                size = sizes[marked.page].tolist()
                boxes.append(self._page_boxes.box_of(marked.corners, (size[0], size[1]), marked.page, document))
            if segments or boxes:
                yield Labelled(marked.label, segments, marked.metadata, boxes=boxes)


def _begin(groups: list[_Group], first: int, corners: Corners | None) -> None:
    """Begin a group, in the place of one that holds nothing."""
    if groups and groups[-1].first == first:
        groups.pop()
    groups.append(_Group(first, corners))


def _array(corners: Sequence[Corners | None]) -> NDArray[np.float64]:
    """Return left, top, right and bottom of each, NaN for none. Shape (n, 4)."""
    return np.array([each or (np.nan,) * 4 for each in corners], np.float64).reshape(-1, 4)


def _cut(
    words: Sequence[_Word], starts: NDArray[np.int64], style: Style
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where tokens begin and end in the text, and the word of each. Shapes (tokens,)."""
    apart = np.cumsum([0, *(len(word.text) + 1 for word in words)])
    first, last = token_spans(" ".join(word.text for word in words), style)
    word = np.searchsorted(apart, first, "right") - 1
    moved = (starts - apart[:-1])[word]
    return first + moved, last + moved, word


def _parts(
    boxes: NDArray[np.float64], first: NDArray[np.int64], last: NDArray[np.int64], length: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the shares of words' boxes that some of their characters have. Shape (n, 4)."""
    left, top, right, bottom = boxes.T
    width, height = right - left, bottom - top
    is_upright = height > width * length  # it goes down the page
    begin, end = first / length, last / length
    across = [left + width * begin, top, left + width * end, bottom]
    down = [left, top + height * begin, right, top + height * end]
    parts = np.where(is_upright[:, None], np.column_stack(down), np.column_stack(across))
    return np.where(((first == 0) & (last == length))[:, None], boxes, parts)


def upright(corners: Corners, line: int) -> Corners:
    """Return the corners of a box. Raises DataError for those of none."""
    left, top, right, bottom = corners
    if not (left <= right and top <= bottom):
        raise DataError(f"{list(corners)} is no box", value=corners, line=line, expected="left, top, right, bottom")
    return corners


def around(points: Sequence[str], line: int) -> Corners | None:
    """Return the corners of the box around a polygon, whose coordinates are x and y by turns; None for half a point.

    Each text may hold several coordinates, with spaces or commas between. Raises DataError for one that is no number.
    """
    texts = [text for each in points for text in _POINTS.split(each) if text]
    found = [_finite(text, "a point", line) for text in texts]
    if not found or len(found) % 2:
        return None
    return min(found[::2]), min(found[1::2]), max(found[::2]), max(found[1::2])


def number(attributes: Mapping[str, str], name: str, line: int) -> float | None:
    """Return an attribute that is a number, None if there is none. Raises DataError for what is no finite number."""
    text = attributes.get(name, "").strip()
    return _finite(text, name, line) if text else None


def _finite(text: str, what: str, line: int) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not abs(found) < float("inf"):
        raise DataError(f"{what} is {text!r}", value=text, line=line, expected="a number")
    return found


def confidence(text: str | None, most: float = 1.0) -> dict[str, Any]:
    """Return how sure OCR was of a word, as metadata between 0 and 1; nothing where it does not say."""
    try:
        found = float(text or "") / most
    except ValueError:
        return {}
    return {"confidence": round(found, 4)} if 0 <= found <= 1 else {}


# Readers of scans -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ScanReaderConfig(DocumentReaderConfig):
    """What readers of scans have in common."""

    compressed: ClassVar[bool] = True

    style: Style = option("punctuation", help="how words are cut into tokens: see processors=tokens", choices=STYLES)
    label_layer: str = option("", help=LABEL_LAYER)


Config = TypeVar("Config", bound=ScanReaderConfig)


class ScanReader(RecordReader[Config]):
    """Reads a file as one document, of a scan and what is said of it."""

    def _records(self, path: Path) -> Iterator[tuple[None, None, Path]]:
        yield None, None, path

    def _document(self, path: Path) -> Document:
        scan, about = self._scan(path)
        return scan.document(about, self.config.style, self.config.label_layer)

    @abstractmethod
    def _scan(self, path: Path) -> tuple[Scan, dict[str, Any]]:
        """Return what was printed, and the metadata of the document."""
