"""Names of pictures → where the text of the pages is: a page of a PDF file, or a file of cells as DocLayNet has it."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs
import numpy as np

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_formats.json_items import decode_item
from papermage_formats.labelled import read_bytes, stem_of
from papermage_formats.page_boxes import size_of
from papermage_formats.scanned import Corners, Scan
from papermage_processors.layout import begin_blocks, begin_rows, unions
from papermage_processors.tokenizing import Style

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_formats.pdf_document import Seen

__all__ = ["PAGE", "Frame", "PageText", "PagesBeside", "Picture", "Shown", "frame_of"]

Frame = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of a page as it is seen."""
PAGE: Frame = (0.0, 0.0, 1.0, 1.0)

_ENDING = re.compile(r"\.(?:png|jpe?g|tiff?|bmp|webp|gif|ppm|pdf)$", re.IGNORECASE)
_PAGE = re.compile(r"(?P<stem>.+?)(?P<sign>[-_. ]+(?:page|pg|p)?[-_. ]*)(?P<page>\d{1,9})(?P<more>_ori)?")
"""PubLayNet and PAWLS: ``PMC1_00003``, ``sha_3``; pdftoppm: ``a-03``; DocBank: ``a_3_ori``."""
_PDF2IMAGE = re.compile(r"(?P<stem>.+)\d{4}(?P<sign>-)(?P<page>\d{1,9})(?P<more>)")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
"""Label Studio puts this before the name of a file."""
_BLACK = "_black"
"""DocBank puts this behind the name of a paper without colours."""
_ROBOFLOW = re.compile(r"(.+)_(?:png|jpe?g|tiff?|bmp|webp)\.rf\..+", re.IGNORECASE)
_UNLIKE = 0.03
"""By how much the proportions of a picture may differ from those of what it shows."""
_GLUED = 0.1
"""Share of their height by which cells of one row may be apart without a space between them."""
_SUBSET = re.compile(r"^/?(?:[A-Z]{6}\+)?")


@attrs.frozen
class Picture:
    """What a file says of a picture: how it is called, and of which page it is."""

    name: str
    former: str = ""
    """Its name before a tool gave it another one, where that is known."""
    page: int | None = None
    """The number of the page, where a field gives it."""
    from_zero: bool = False
    """Whether this number is known to count from 0."""

    @property
    def stems(self) -> Iterator[str]:
        """Yield the names that it may have had, without folders and ending."""
        for given in filter(None, (self.former, self.name)):
            stem = _ENDING.sub("", PurePosixPath(given.replace("\\", "/")).name)
            yield stem
            for other in (_UPLOADED.fullmatch(stem), _ROBOFLOW.fullmatch(stem)):
                if other:
                    yield other[1]
            if "%" in stem:
                yield unquote(stem)


@contextmanager
def _of_file(path: Path) -> Iterator[None]:
    """Put the name of the file into errors, which have that of the file of COCO for their path."""
    try:
        yield
    except DataError as exc:
        raise exc.replace(path=None, message=f"{path}: {exc.what}", advice="") from exc


@attrs.frozen
class PageText:
    """A PDF file, or a file of cells; or why there is neither."""

    path: Path
    is_cells: bool = False
    missing: str = ""

    def read(self, pages: Sequence[int], style: Style, image: Mapping[str, Any]) -> tuple[Document, Mapping[int, Seen]]:
        """Return the document of some pages, counted from 0, and what is seen of those of a PDF. Raises DataError."""
        with _of_file(self.path):
            if self.is_cells:
                return _read_cells(self.path, style, image), {}
            from papermage_formats.pdf_document import read_pages

            return read_pages(self.path, style, pages)

    def count(self) -> int:
        """Return how many pages a PDF file has. Raises DataError."""
        from papermage_formats.pdf_document import count_pages

        with _of_file(self.path):
            return count_pages(self.path)


@attrs.frozen
class Shown:
    """A picture, by number, with the number of the page that it shows of a file."""

    picture: int
    number: int | None
    sign: str = ""
    """What stands before the number in the name; nothing where the file is called as the picture."""


class PagesBeside:
    """Finds where the text of pictures is, among the files beside a file of COCO. Raises DataError without any."""

    def __init__(
        self, path: Path, patterns: Sequence[str], text: str, first_page: int | None, pictures: Sequence[Picture]
    ) -> None:
        self._folder = path.parent
        self._first_page = first_page
        self._pictures = pictures
        self._pdfs, self._cells = dict[str, list[Path]](), dict[str, list[Path]]()
        beside = (each for pattern in patterns for each in path.parent.glob(pattern)) if str(path) != "-" else ()
        for each in dict.fromkeys(beside):
            if each.suffix.lower() == ".pdf" and text != "cells":
                self._pdfs.setdefault(each.stem, []).append(each)
            elif each.suffix == ".json" and text != "pdf":
                self._cells.setdefault(each.stem, []).append(each)
        for stem in [stem for stem in self._pdfs if stem.endswith(_BLACK)]:
            self._pdfs.setdefault(stem.removesuffix(_BLACK), self._pdfs[stem])
        if not (self._pdfs or self._cells):
            raise DataError(f"COCO holds no text, and no file with that of its pages is there: {self._looked}")
        self.documents = self._grouped()
        """Where the text of each document is, and its pictures, in the order of the first of these."""

    def _grouped(self) -> list[tuple[PageText, list[Shown]]]:
        found: dict[tuple[Path, int], tuple[PageText, list[Shown]]] = {}
        times: Counter[tuple[Path, int | None]] = Counter()
        for number, picture in enumerate(self._pictures):
            text, shown = self._text_of(number, picture)
            time = 0
            if not text.missing:  # the page once more, as another one saw it, is of another document
                time = times[text.path, shown.number]
                times[text.path, shown.number] += 1
            found.setdefault((text.path, time), (text, []))[1].append(shown)
        return list(found.values())

    def pages(self, text: PageText, shown: Sequence[Shown]) -> dict[int, int]:
        """Return the number of the picture of each page, counted from 0. Raises DataError where a page is unknown."""
        if text.missing:
            raise DataError(text.missing, expected="a PDF file, or cells")
        if text.is_cells:
            return {0: shown[0].picture}
        count = text.count() if any(not each.sign for each in shown) else None
        if count == 1 and len(shown) == 1:
            return {0: shown[0].picture}
        pages = {}
        for each in shown:
            name = self._pictures[each.picture].name
            if each.number is None:
                raise DataError(
                    f"{text.path} has {count} pages, and which of them is {name!r:.100} is not said",
                    expected="page_number, or a name that ends in the number of the page",
                )
            pages[each.number - self._first] = each.picture
            if each.number < self._first:
                raise DataError(f"{name!r:.100} is of page {each.number}, and pages are counted from {self._first}")
        return pages

    def _text_of(self, number: int, picture: Picture) -> tuple[PageText, Shown]:
        stems = list(picture.stems)
        for stem in stems:
            if stem in self._pdfs:
                return self._one_of(self._pdfs[stem], picture), Shown(number, picture.page)
        for match in _matches(stems):
            if match["stem"] in self._pdfs:
                sign = f"{match['sign']}{match['page']}{match['more'] or ''}"
                return self._one_of(self._pdfs[match["stem"]], picture), Shown(number, int(match["page"]), sign)
        for stem in stems:
            if stem in self._cells:
                return self._one_of(self._cells[stem], picture, is_cells=True), Shown(number, None)
        wanted = dict.fromkeys(f"{stem}.pdf" for stem in (*stems, *(each["stem"] for each in _matches(stems))))
        said = (
            f"there is no text of {picture.name!r:.100}: none of {', '.join(wanted):.300} and {stems[-1]}.json is there"
        )
        return PageText(self._folder / list(wanted)[-1], missing=f"{said}: {self._looked}"), Shown(number, None)

    def _one_of(self, paths: Sequence[Path], picture: Picture, *, is_cells: bool = False) -> PageText:
        """Return the one file, or that which lies in a folder of the picture's name."""
        if len(paths) > 1:
            folders = PurePosixPath(picture.name.replace("\\", "/")).parts[:-1]
            paths = [path for path in paths if path.parent.name in folders] or paths
        more = f"several files may have the text of {picture.name!r:.100}: {', '.join(map(str, paths)):.500}"
        return PageText(paths[0], is_cells, more if len(paths) > 1 else "")

    @property
    def _looked(self) -> str:
        folder = self._folder
        pdf, papers, own, cells = (
            os.path.normpath(folder / name) for name in ("../PDF", "../papers", "JSON", "../JSON")
        )
        places = f"{folder}, the folders in it, {pdf} and {papers}"
        return f"PDF files were looked for in {places}, cells as DocLayNet has them in {own} and {cells}"

    @cached_property
    def _first(self) -> int:
        """The number of the first page. Raises DataError where nothing tells it."""
        if self._first_page is not None:
            return self._first_page
        shown = [(text, each) for text, pictures in self.documents for each in pictures if each.number is not None]
        if any(each.number == 0 or self._pictures[each.picture].from_zero for _, each in shown):
            return 0
        signs = [each.sign for _, each in shown]
        if all(re.fullmatch(r"_\d{5}|.*_ori", sign) for sign in signs):  # PubLayNet and DocBank
            return 0
        last = dict[Path, int]()
        for text, each in shown:
            last[text.path] = max(last.get(text.path, 0), each.number or 0)
        if all(re.fullmatch(r"-\d+", sign) for sign in signs) or any(n == _count(path) for path, n in last.items()):
            return 1
        raise DataError(
            "names of pictures do not tell whether pages are counted from 0 or from 1",
            expected="the number of the first page",
            advice="type reader.first_page=0 or reader.first_page=1",
        )


def _matches(stems: Sequence[str]) -> Iterator[re.Match[str]]:
    return filter(None, (form.fullmatch(stem) for stem in stems for form in (_PAGE, _PDF2IMAGE)))


def _count(path: Path) -> int:
    """Return how many pages a PDF file has; 0 where it cannot be opened, which reading it tells."""
    try:
        return PageText(path).count()
    except DataError:
        return 0


def frame_of(dots: tuple[float, float], page: tuple[float, float], media: Frame) -> Frame | None:
    """Return what a picture shows of a page as it is seen, in shares of it: itself, or its media box.

    pdftoppm draws the media box, viewers the crop box: the proportions tell. None where they are neither's; a square
    picture is taken for one that was squeezed.

    >>> frame_of((1700, 2212), (594, 778), (-9 / 594, -9 / 778, 603 / 594, 787 / 778))[:2]
    (-0.015151515151515152, -0.011568123393316195)
    """
    drawn = dots[0] / dots[1]
    seen = abs(math.log(drawn * page[1] / page[0]))
    whole = abs(math.log(drawn * (page[1] * (media[3] - media[1])) / (page[0] * (media[2] - media[0]))))
    if whole < min(seen, _UNLIKE):
        return media
    return PAGE if seen < _UNLIKE or drawn == 1 else None


# Cells ---------------------------------------------------------------------------------------------------------------


def _read_cells(path: Path, style: Style, image: Mapping[str, Any]) -> Document:
    """Return the page of a file of cells, whose boxes are left, top, width and height in dots of the picture.

    So they are, though the README of DocLayNet says otherwise: https://github.com/DS4SD/DocLayNet/issues/7.
    """
    found = decode_item(read_bytes(path))
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, list):
        raise DataError("has no cells", value=found, expected="cells with text and bbox")
    about = found["metadata"] if isinstance(found.get("metadata"), dict) else {}
    dots = size_of(*(about.get(f"coco_{side}", image.get(side)) for side in ("width", "height")))
    width, height = size_of(about.get("original_width", dots[0]), about.get("original_height", dots[1]))
    corners, texts, fonts = list[list[float]](), list[str](), list[dict[str, str]]()
    for number, cell in enumerate(cells):
        box, text = (cell.get("bbox"), cell.get("text")) if isinstance(cell, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(box, list) or [*map(_is_number, box)] != [True] * 4:
            raise DataError(f"cell {number} is {cell!r:.100}", value=cell, expected="text, and four numbers as bbox")
        left, top, across, down = box
        corners.append([left, top, left + max(across, 0), top + max(down, 0)])
        texts.append(text)
        font = cell["font"].get("name") if isinstance(cell.get("font"), dict) else None
        fonts.append({"fontname": _SUBSET.sub("", font)} if isinstance(font, str) and font else {})
    boxes = np.array(corners, np.float64).reshape(-1, 4) * np.tile([width / dots[0], height / dots[1]], 2)
    scan = Scan(path, "metadata with the size of the page")
    scan.page(width, height, {})
    rows, blocks = _rows_and_blocks(boxes)
    gaps = boxes[1:, 0] - boxes[:-1, 2] < _GLUED * (boxes[1:, 3] - boxes[1:, 1])
    glued = [False, *(gaps & ~rows[1:]).tolist()]
    before = ""
    for number, (text, box) in enumerate(zip(texts, boxes.tolist(), strict=True)):
        if blocks[number]:
            scan.block()
        elif rows[number]:
            scan.row()
        touches = glued[number] and not before[-1:].isspace() and not text[:1].isspace()
        scan.word(text, _upright(box), fonts[number], is_glued=touches)
        before = text
    return scan.document({"doc_id": stem_of(path)}, style)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9


def _rows_and_blocks(boxes: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which cells begin a row, and which a block. Shapes (n,)."""
    page = np.zeros(len(boxes), np.int64)
    rows, blocks = begin_rows(boxes, page), np.zeros(len(boxes), bool)
    if at := np.flatnonzero(rows).tolist():
        heights = np.add.reduceat(boxes[:, 3] - boxes[:, 1], at) / np.diff([*at, len(boxes)])
        blocks[at] = begin_blocks(unions(boxes, rows), heights, page[at])
    return rows, blocks


def _upright(box: list[float]) -> Corners:
    return box[0], box[1], box[2], box[3]
