"""A page of a PDF → its tokens as arrays: text, boxes and fonts, asked of PDFium in bulk."""

from __future__ import annotations

import ctypes
import re
from collections import deque
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from papermage_processors.tokenizing import Style, bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Face", "PageTokens", "View", "page_tokens"]

_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_HYPHEN = 0xFFFE
"""What PDFium writes for a hyphen at the end of a row; the row's end after it is left out."""
_SUBSET = re.compile(r"[A-Z]{6}\+")
_BOLD = re.compile(r"bold|black|heavy|demi|-medi|cmbx|sfbx|[a-z]bx\d", re.IGNORECASE)
_ITALIC = re.compile(r"ital|obliq|slant|cmti|cmmi|cmsl|sfti|sfsl", re.IGNORECASE)
_SMALLER = 0.85
"""Share of the height of a word that a note's sign has at most."""
_ITALIC_FLAG, _BOLD_FLAG, _BOLD_WEIGHT, _INVISIBLE = 1 << 6, 1 << 18, 600, 3


def _direct(function: Any, result: Any, *arguments: Any) -> Any:
    """Return a function of the library that takes addresses.

    Called a thousand times a page, conversions show: without types of arguments, nothing is converted. Then it takes
    int for a C int, and for an address what `byref` returns, or a ``c_void_p``.
    """
    return ctypes.PYFUNCTYPE(result, *arguments)(ctypes.cast(function, _POINTER).value or 0)


_loose_box = _direct(raw.FPDFText_GetLooseCharBox, _INT)
_unicode = _direct(raw.FPDFText_GetUnicode, ctypes.c_uint)
_text_object = _direct(raw.FPDFText_GetTextObject, _SIZE)
_matrix = _direct(raw.FPDFText_GetMatrix, _INT)
_font_size = _direct(raw.FPDFText_GetFontSize, ctypes.c_double)
_render_mode = _direct(raw.FPDFTextObj_GetTextRenderMode, _INT)
_font_of = _direct(raw.FPDFTextObj_GetFont, _SIZE)
_name = _direct(raw.FPDFFont_GetBaseFontName, _SIZE, _SIZE, _POINTER, _SIZE)
_flags = _direct(raw.FPDFFont_GetFlags, _INT, _SIZE)
_weight = _direct(raw.FPDFFont_GetWeight, _INT, _SIZE)
_angle = _direct(raw.FPDFFont_GetItalicAngle, _INT, _SIZE, _POINTER)

Face = tuple["str | None", bool, bool]
"""The name of a font without its subset's mark, whether it is bold, and whether italic."""


@attrs.frozen
class View:
    """What of the plane is seen of a page, and by how many quarters of a circle it is turned."""

    left: float
    bottom: float
    right: float
    top: float
    quarters: int

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the page as it is seen."""
        size = self.right - self.left, self.top - self.bottom
        return size[::-1] if self.quarters % 2 else size

    def shares(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Return left, top, right, bottom as shares of the page as it is seen, for boxes in the page's own units."""
        x = (boxes[:, [0, 2]] - self.left) / (self.right - self.left)
        y = (self.top - boxes[:, [1, 3]]) / (self.top - self.bottom)
        across, down = ((x, y), (1 - y, x), (1 - x, 1 - y), (y, 1 - x))[self.quarters]
        (a, b), (c, d) = across.T, down.T
        return np.column_stack([np.minimum(a, b), np.minimum(c, d), np.maximum(a, b), np.maximum(c, d)])


@attrs.frozen(eq=False)
class PageTokens:
    """The tokens of a page, in the order of its text, as PDFium tells of them."""

    view: View
    media: tuple[float, float, float, float]
    """Left, top, right, bottom of the media box in shares of the page as it is seen, which a crop box makes smaller."""
    codes: NDArray[np.uint32]
    """The text, as code points."""
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    """Where each token stands in the text. Shapes (n,)."""
    boxes: NDArray[np.float32]
    """Left, top, right, bottom in the page's own units, where up is more; NaN for unknown. Shape (n, 4)."""
    run: NDArray[np.int64]
    """The run of tokens, written in one go, that each belongs to. Shape (n,)."""
    faces: list[Face]
    """The font of each run."""
    sizes: NDArray[np.float64]
    """The size of its letters in points: the matrix counts. Shape (runs,)."""
    turns: NDArray[np.int64]
    """By how many quarters of a circle it is turned, on the page as it is seen. Shape (runs,)."""
    invisible: NDArray[np.bool_]
    """Whether it is not painted, as text behind a scan. Shape (runs,)."""


def page_tokens(page: pdfium.PdfPage, style: Style) -> PageTokens:
    """Return the tokens of a page. Raises PdfiumError, and ValueError for a page without area."""
    left, bottom, right, top = page.get_bbox()
    if not (right > left and top > bottom):
        raise ValueError("it has no area")
    view = View(left, bottom, right, top, page.get_rotation() // 90 % 4)
    left, bottom, right, top = page.get_mediabox()
    (media,) = view.shares(np.array([[left, top, right, bottom]])).tolist()
    text_page = raw.FPDFText_LoadPage(page)
    if not text_page:
        raise pdfium.PdfiumError("its text cannot be loaded")
    try:
        handle = ctypes.byref(text_page.contents)
        codes, index = _code_points(text_page, handle)
        starts, stops = bounds(codes, style)
        if len(cuts := _notes(handle, codes, index, starts, stops)):
            starts, stops = np.sort(np.append(starts, cuts)), np.sort(np.append(stops, cuts))
        first = index[starts]
        boxes = _char_boxes(handle, first, index[stops - 1])
        return PageTokens(view, tuple(media), codes, starts, stops, boxes, *_runs(handle, first, view.quarters))
    finally:
        raw.FPDFText_ClosePage(text_page)


def _code_points(text_page: Any, handle: Any) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the code points of a page, and the number that PDFium gives to the character of each."""
    count = max(0, raw.FPDFText_CountChars(text_page))
    units = np.zeros(count + 1, np.uint16)
    written = raw.FPDFText_GetText(text_page, 0, count, units.ctypes.data_as(ctypes.POINTER(ctypes.c_ushort)))
    if written == count + 1 or not count:
        codes = units[:count].astype(np.uint32)
    else:  # characters without a text are left out there, and the numbers of the others would be wrong
        codes = np.fromiter(map(_unicode, repeat(handle), range(count)), np.uint32, count)
        codes[codes == 2] = _HYPHEN
        codes[codes > 0x10FFFF] = 0xFFFD
    index = np.arange(count)
    if ((codes >= 0xD800) & (codes < 0xE000)).any():
        codes, index = _joined_surrogates(codes, index)
    hyphens = np.flatnonzero(codes == _HYPHEN)
    if len(hyphens):
        codes[hyphens] = ord("-")
        codes, index = np.insert(codes, hyphens + 1, ord("\n")), np.insert(index, hyphens + 1, -1)
    codes[codes == 0xFFFF] = 0xFFFD
    return codes, index


def _joined_surrogates(
    codes: NDArray[np.uint32], index: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    high, low = (codes >= 0xD800) & (codes < 0xDC00), (codes >= 0xDC00) & (codes < 0xE000)
    pairs = np.flatnonzero(high[:-1] & low[1:])
    joined = codes.copy()
    joined[high | low] = 0xFFFD
    joined[pairs] = 0x10000 + ((codes[pairs] - 0xD800) << 10) + (codes[pairs + 1] - 0xDC00)
    kept = np.ones(len(codes), bool)
    kept[pairs + 1] = False
    return joined[kept], index[kept]


def _notes(
    handle: Any,
    codes: NDArray[np.uint32],
    index: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return where figures in smaller print begin that follow a word without a blank, such as those of footnotes."""
    figures = (codes >= ord("0")) & (codes <= ord("9"))
    last: NDArray[np.int64] = stops[figures[stops - 1] & ~figures[starts]] - 1
    if not len(last):
        return last
    cuts = np.maximum.accumulate(np.where(figures, 0, np.arange(len(codes))))[last] + 1
    top, bottom = _char_boxes(handle, *[index[np.concatenate([cuts - 1, cuts])]] * 2).T[[1, 3]]
    word, figure = np.abs(top - bottom).reshape(2, -1)
    smaller: NDArray[np.int64] = cuts[figure < _SMALLER * word]
    return smaller


def _char_boxes(handle: Any, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the boxes around the first and the last character of each token."""
    other = np.flatnonzero(last != first)
    found = _boxes.asked(_loose_box, handle, np.concatenate([first, last[other]]).tolist())
    boxes, ends = found[: len(first)], found[len(first) :]
    boxes[other] = np.column_stack(
        [
            np.fmin(boxes[other, 0], ends[:, 0]),
            np.fmax(boxes[other, 1], ends[:, 1]),
            np.fmax(boxes[other, 2], ends[:, 2]),
            np.fmin(boxes[other, 3], ends[:, 3]),
        ]
    )
    return boxes


class _Rows:
    """Rows of floats for functions of PDFium to write to, with their addresses: made once, since that takes time."""

    def __init__(self, columns: int) -> None:
        self._values = np.zeros((0, columns), np.float32)
        self._addresses: list[Any] = []

    def asked(self, function: Any, handle: Any, chars: list[int]) -> NDArray[np.float32]:
        """Return what a function tells of each character, NaN where it tells nothing. Shape (chars, columns)."""
        if len(chars) > len(self._values):
            self._values = np.zeros((2 * len(chars), self._values.shape[1]), np.float32)
            first, step = ctypes.c_char.from_address(self._values.ctypes.data), self._values.strides[0]
            self._addresses = [ctypes.byref(first, step * i) for i in range(len(self._values))]
        found: NDArray[np.float32] = self._values[: len(chars)]
        found[:] = np.nan
        deque(map(function, repeat(handle), chars, self._addresses), maxlen=0)
        return np.array(found)


_boxes, _matrices = _Rows(4), _Rows(6)
"""FS_RECTF: left, top, right, bottom; FS_MATRIX: a, b, c, d, e, f. One thread at a time may call PDFium anyway."""


def _runs(handle: Any, first: NDArray[np.int64], quarters: int) -> tuple[Any, ...]:
    """Return the last five fields of `PageTokens`: a run is what one text object of the page holds."""
    objects = np.fromiter(map(_text_object, repeat(handle), first.tolist()), np.uint64, len(first))
    begins = np.ones(len(first), bool)
    begins[1:] = objects[1:] != objects[:-1]
    chars, found = first[begins].tolist(), list(map(_POINTER, objects[begins].tolist()))
    a, b, c, d = np.nan_to_num(_matrices.asked(_matrix, handle, chars)[:, :4]).T
    scale = np.hypot(c, d)
    scale[scale == 0] = 1
    sizes = np.fromiter(map(_font_size, repeat(handle), chars), np.float64, len(chars)) * scale
    turns = (np.rint(np.arctan2(-b, a) / (np.pi / 2)).astype(np.int64) + quarters) % 4
    invisible = np.fromiter(map(_render_mode, found), np.int64, len(found)) == _INVISIBLE
    fonts = list(map(_font_of, found))
    known = {font: _face(font) for font in set(fonts)}
    return np.cumsum(begins) - 1, [known[font] for font in fonts], sizes, turns, invisible


def _face(font: int) -> Face:
    if not font:
        return None, False, False
    name, angle = ctypes.create_string_buffer(256), ctypes.c_int(0)
    _name(font, name, len(name))
    _angle(font, ctypes.addressof(angle))
    return _face_called(name.value, _flags(font), _weight(font), angle.value)


@lru_cache(maxsize=1024)
def _face_called(name: bytes, flags: int, weight: int, angle: int) -> Face:
    text = _SUBSET.sub("", name.decode("utf-8", "replace"))
    flags = max(flags, 0)  # -1: unknown
    bold = bool(flags & _BOLD_FLAG) or bool(_BOLD.search(text)) or weight >= _BOLD_WEIGHT
    return text or None, bold, bool(flags & _ITALIC_FLAG) or bool(_ITALIC.search(text)) or angle != 0
