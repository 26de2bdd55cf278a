"""A PDF file → a document, one page at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import numpy as np
import pypdfium2 as pdfium

from papermage_core.document import Document, Image, Layer, Metadata, SpanArrays
from papermage_core.errors import DataError, PluginError, counted
from papermage_core.files import compression, open_bytes
from papermage_formats.labelled import stem_of
from papermage_formats.pdf_file import FAILURES, NoPagesError, PdfFile
from papermage_formats.pdf_pages import PageTokens, page_tokens
from papermage_formats.pdf_second import SecondReader, second_reader
from papermage_processors.boxed import box_arrays
from papermage_processors.layout import begin_blocks, begin_rows, unions
from papermage_processors.tokenizing import Style

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Limits", "Seen", "count_pages", "read_pages", "read_pdf"]

_log = logging.getLogger(__name__)
_alone = threading.RLock()
"""PDFium may be called by one thread at a time."""
_MOST_PIXELS = 50e6
_BLANK = 60, 80
_PAGES = 32
"""Pages whose arrays are joined at a time: numpy is slow on small ones, and 1,000 pages are to fit in memory."""

_Font = tuple["str | None", float, bool, bool, bool]
"""Name, size, whether bold, italic, and invisible."""


class Seen(NamedTuple):
    """What is seen of a page: its width and height in points, and the media box in shares of it."""

    size: tuple[float, float]
    media: tuple[float, float, float, float]
    """Left, top, right and bottom: beyond the page, where that is cropped."""


@attrs.frozen
class Limits:
    """How much of a file is read at most: of more, nothing is."""

    pages: int | None = None
    characters: int | None = None

    def check(self, path: Path, pages: int, characters: int = 0) -> None:
        """Raise DataError for too many pages, or characters."""
        for what, count, most in (("pages", pages, self.pages), ("characters", characters, self.characters)):
            if most is not None and count > most:
                counted = f"{count}" if what == "pages" else "more"
                said = f"has {counted} {what}; {most} are allowed"
                raise DataError(said, path=path, expected=f"at most {most} {what}")


def read_pdf(
    path: Path,
    style: Style,
    password: str | None,
    dots: int | None,
    processes: int = 1,
    limits: Limits = Limits(),
) -> Document:
    """Return the document of a file, with pictures of ``dots`` an inch if they are asked for.

    Raises DataError, and PluginError for pictures where Pillow is not installed.
    """
    if dots and find_spec("PIL") is None:
        raise PluginError(f"{path}: pictures of pages need Pillow; type: pip install 'papermage_core[images]'")
    with _alone, closing(_open(path, password)) as file:
        limits.check(path, len(file))
        count = len(file)
        second = second_reader(count) if processes > 1 and _is_plain(path) and not dots else None
        with closing(_Ahead(second, path, password, style, count)) as ahead:
            return _document(path, file, ahead, style, dots, limits, range(count))[0]


def read_pages(path: Path, style: Style, pages: Sequence[int]) -> tuple[Document, dict[int, Seen]]:
    """Return the document of some pages of a file, counted from 0, and what is seen of each. Raises DataError."""
    with _alone, closing(_open(path, None)) as file:
        count = len(file)
        if beyond := [number for number in pages if not 0 <= number < count]:
            raise DataError(f"has {counted(count, 'pages')}; there is no page {beyond[0] + 1}", path=path)
        return _document(path, file, _Ahead(None, path, None, style, count), style, None, Limits(), pages)


def count_pages(path: Path) -> int:
    """Return how many pages a file has. Raises DataError."""
    with _alone, closing(_open(path, None)) as file:
        return len(file)


def _is_plain(path: Path) -> bool:
    """Whether PDFium can read the file by itself."""
    return str(path) != "-" and not compression(path)


def _open(path: Path, password: str | None) -> PdfFile:
    plain = _is_plain(path)
    with open_bytes(path) as file:
        head = file.read(1024)
        data = b"" if plain else head + file.read()
    if b"%PDF-" not in head:
        raise DataError("is no PDF: it does not begin with %PDF-", path=path, expected="a PDF file")
    try:
        return PdfFile(path if plain else data, password)
    except pdfium.PdfiumError as exc:
        if "password" in str(exc).lower():
            said = "is encrypted and needs another password" if password else "is encrypted and needs a password"
            advice = "type reader.password=..."
            raise DataError(said, path=path, expected="a PDF that needs none", advice=advice) from exc
        raise DataError(f"is damaged, and cannot be repaired: {exc}", path=path, expected="a PDF file") from exc
    except NoPagesError as exc:
        raise DataError("has no pages", path=path, expected="a PDF with pages") from exc


class _Ahead:
    """What a second process reads: the pages of the second half, or none."""

    def __init__(self, second: SecondReader | None, path: Path, password: str | None, style: Style, pages: int) -> None:
        self._numbers = range(pages // 2, pages)
        self._second = second if second and second.ask(path, password, style, self._numbers) else None
        self._found: list[PageTokens | str] | None = None

    def read(self, number: int) -> PageTokens | None:
        """Return the tokens of a page; None for one that is to be read here. Raises ValueError as reading it did."""
        if number not in self._numbers:
            return None
        if self._second is not None:
            self._found, self._second = self._second.answer(), None
        if self._found is None:
            return None
        tokens = self._found[number - self._numbers.start]
        if isinstance(tokens, str):
            raise ValueError(tokens)
        return tokens

    def close(self) -> None:
        """Take back what was asked and not answered yet."""
        if self._second is not None:
            self._second.stop()


def _document(
    path: Path,
    file: PdfFile,
    ahead: _Ahead,
    style: Style,
    dots: int | None,
    limits: Limits,
    numbers: Sequence[int],
) -> tuple[Document, dict[int, Seen]]:
    characters = 0
    parts: list[_Part] = []
    waiting: list[tuple[int, PageTokens]] = []
    fonts: dict[_Font, int] = {}
    images: list[Image] = []
    unread: list[int] = []
    seen: dict[int, Seen] = {}
    count = len(numbers)
    for number in numbers:
        try:
            tokens, image = ahead.read(number), None
            if tokens is None:
                tokens, image = _read_page(file, number, style, dots)
        except FAILURES as exc:
            _log.warning("%s: page %d cannot be read and is left out: %s", path, number, exc)
            unread.append(number)
            image = Image.create_rgb_all_white(*_BLANK) if dots else None  # the others keep their numbers
        else:
            characters += len(tokens.codes)
            limits.check(path, len(file), characters)
            waiting.append((number, tokens))
            seen[number] = Seen(tokens.view.size, tokens.media)
        images += [image] if image else []
        if waiting and (len(waiting) == _PAGES or number == numbers[-1]):
            parts.append(_joined(waiting, parts[-1].end if parts else 0, fonts))
            waiting = []
    bare = [number for part in parts for number, start, stop in part.pages if start == stop]
    if len(unread) + len(bare) == count and (not dots or not bare):
        raise DataError(
            f"holds no text on {counted(count, 'pages')}; a scan needs OCR first", path=path, expected="text"
        )
    if bare:
        shown = ", ".join(map(str, bare[:10])) + (", ..." if len(bare) > 10 else "")
        _log.warning("%s: %s no text: %s", path, counted(len(bare), "pages", "hold"), shown)
    if outside := sum(part.outside for part in parts):
        _log.warning(
            "%s: %s beside the pages, which show no more than their crop box: left out",
            path,
            counted(outside, "tokens", "are"),
        )
    metadata = {
        "doc_id": stem_of(path),
        "pdf": _information(file.pdf),
        "pages_unread": unread,
        "pages_without_text": bare,
        "tokens_outside": outside,
    }
    known = Metadata(**{key: value for key, value in metadata.items() if value})
    document = Document("".join(part.symbols for part in parts), images or None, known)
    for name, layer in _layers(parts, list(fonts)).items():
        document.annotate_layer(name, layer)
    return document, seen


def _read_page(file: PdfFile, number: int, style: Style, dots: int | None) -> tuple[PageTokens, Image | None]:
    with file.page(number) as page:
        return page_tokens(page, style), _picture(page, dots) if dots else None


def _picture(page: pdfium.PdfPage, dots: int) -> Image:
    width, height = page.get_size()
    image = Image()
    image.pilimage = page.render(scale=min(dots / 72, (_MOST_PIXELS / (width * height)) ** 0.5)).to_pil()
    return image


def _information(pdf: pdfium.PdfDocument) -> dict[str, str]:
    found: dict[str, str] = pdf.get_metadata_dict(skip_empty=True)
    return {key: value.encode("utf-8", "replace").decode() for key, value in found.items()}


@attrs.frozen(eq=False)
class _Part:
    """The tokens of some pages, as they stand in the document."""

    symbols: str
    end: int
    pages: list[tuple[int, int, int]]
    """Number, start and stop of each page; start is stop for one without text."""
    sizes: list[tuple[float, float]]
    """Width and height of each page in points, as it is seen."""
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    boxes: NDArray[np.float64]
    """Left, top, right, bottom as shares of the page, NaN for unknown. Shape (n, 4)."""
    page: NDArray[np.int64]
    row: NDArray[np.bool_]
    block: NDArray[np.bool_]
    """Whether each token begins a row, and a block. Shapes (n,)."""
    font: NDArray[np.int64]
    outside: int
    """How many tokens were left out since they are not on the page."""


def _joined(given: Sequence[tuple[int, PageTokens]], offset: int, fonts: dict[_Font, int]) -> _Part:
    """Return the tokens of pages, whose text begins at ``offset``. New fonts are added to ``fonts``."""
    pages = [page for _, page in given]
    of_page = np.repeat(np.arange(len(pages)), [len(page.starts) for page in pages])
    base = np.cumsum([0, *(len(page.codes) for page in pages)])[of_page]
    runs = np.cumsum([0, *(len(page.faces) for page in pages)])[of_page]
    codes = np.concatenate([page.codes for page in pages])
    starts = np.concatenate([page.starts for page in pages]) + base
    stops = np.concatenate([page.stops for page in pages]) + base
    run = np.concatenate([page.run for page in pages]) + runs
    boxes = _shares(pages)
    off = (boxes[:, 2] <= 0) | (boxes[:, 0] >= 1) | (boxes[:, 3] <= 0) | (boxes[:, 1] >= 1)
    apart = np.ones(len(starts), bool)
    apart[1:] = starts[1:] > stops[:-1]
    outside = int(np.count_nonzero(off))
    if outside:
        of_page, starts, stops, run, apart = (each[~off] for each in (of_page, starts, stops, run, apart))
        boxes = boxes[~off]
    boxes = np.clip(boxes, 0, 1)
    number = np.array([number for number, _ in given])[of_page]
    turn = np.concatenate([page.turns for page in pages])[run]
    row, block, below = _layout(boxes * np.array([page.view.size * 2 for page in pages])[of_page], number, turn)
    between = np.where(row, 1, apart)
    between[block & below] = 2
    between[:1] = 2 if offset else 0
    symbols, start, stop = _text(codes, starts, stops, between, row)
    found = [
        fonts.setdefault((name, size, bold, italic, invisible), len(fonts))
        for page in pages
        for (name, bold, italic), size, invisible in zip(
            page.faces, np.round(page.sizes, 2).tolist(), page.invisible.tolist(), strict=True
        )
    ]
    first = np.searchsorted(number, [number for number, _ in given])
    after = np.searchsorted(number, [number for number, _ in given], side="right")
    borders = [
        (offset + start[a], offset + stop[b - 1]) if a < b else (0, 0) for a, b in zip(first, after, strict=True)
    ]
    return _Part(
        symbols,
        offset + len(symbols),
        [(number, int(a), int(b)) for (number, _), (a, b) in zip(given, borders, strict=True)],
        [page.view.size for page in pages],
        offset + start,
        offset + stop,
        boxes,
        number,
        row,
        block,
        np.array(found, np.int64)[run],
        outside,
    )


def _shares(pages: Sequence[PageTokens]) -> NDArray[np.float64]:
    if len({page.view for page in pages}) == 1:
        return pages[0].view.shares(np.concatenate([page.boxes for page in pages]))
    return np.concatenate([page.view.shares(page.boxes) for page in pages])


def _layout(
    boxes: NDArray[np.float64], page: NDArray[np.int64], turn: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which tokens begin a row, which a block, and which something below what comes before, or a page."""
    row = begin_rows(boxes, page, turn)
    at = np.flatnonzero(row)
    if not len(at):
        return row, row, row
    around = unions(boxes, row)
    sizes = np.where(turn % 2 == 1, boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    height = np.add.reduceat(np.nan_to_num(sizes), at) / np.diff(np.append(at, len(boxes)))
    block, below = np.zeros(len(boxes), bool), np.ones(len(boxes), bool)
    block[at] = begin_blocks(around, height, page[at], turn[at])
    below[at[1:]] = (around[1:, 1] >= around[:-1, 1]) | (page[at[1:]] != page[at[:-1]])
    return row, block, below


def _text(
    codes: NDArray[np.uint32],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    between: NDArray[np.int64],
    row: NDArray[np.bool_],
) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """Return the text of tokens, with so many blanks or, before rows, line ends before each; and where they stand."""
    lengths = stops - starts
    stop = np.cumsum(between + lengths)
    start = stop - lengths
    written = np.full(int(stop[-1]) if len(stop) else 0, ord(" "), np.uint32)
    written[start[row & (between > 0)] - 1] = ord("\n")
    written[start[between > 1] - 2] = ord("\n")
    place = np.arange(lengths.sum()) + np.repeat(start - np.cumsum(lengths) + lengths, lengths)
    written[place] = codes[place + np.repeat(starts - start, lengths)]
    return written.tobytes().decode("utf-32-le"), start, stop


def _layers(parts: Sequence[_Part], fonts: Sequence[_Font]) -> dict[str, Layer]:
    """Return the layers of the document."""
    numbers, starts, stops = np.array([page for part in parts for page in part.pages], np.int64).reshape(-1, 3).T
    full = np.flatnonzero(stops > starts)
    spans = SpanArrays(starts[full], stops[full], full)
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (len(numbers), 1))
    sizes = np.round([size for part in parts for size in part.sizes], 2).reshape(-1, 2).T.tolist()
    pages = Layer.from_arrays(spans, box_arrays(whole, numbers), dict(zip(("width", "height"), sizes, strict=True)))
    if not len(full):
        return {"pages": pages}
    start, stop, boxes, page, row, block, font = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("start", "stop", "boxes", "page", "row", "block", "font")
    )
    layers = {
        "tokens": Layer.from_arrays(SpanArrays.one_each(start, stop), box_arrays(boxes, page), _columns(fonts, font)),
        "pages": pages,
    }
    for name, first in (("rows", row), ("blocks", block)):
        at = np.flatnonzero(first)
        ends = stop[np.append(at[1:], len(stop)) - 1]
        around = box_arrays(unions(boxes, first), page[at])
        layers[name] = Layer.from_arrays(SpanArrays.one_each(start[at], ends), around)
    return layers


def _columns(fonts: Sequence[_Font], numbers: NDArray[np.int64]) -> dict[str, list[Any]]:
    """Return columns of metadata; flags that are not set are left out."""
    columns: dict[str, list[Any]] = {}
    for key, values in zip(("fontname", "size", "bold", "italic", "invisible"), zip(*fonts, strict=True), strict=True):
        known = [None if value is False else value for value in values]
        if any(value is not None for value in known):
            columns[key] = np.array(known, object)[numbers].tolist()
    return columns
