"""A document → sheets: what is drawn at once, a page, or where there are no pages, a stretch of its text."""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.document import Box, Document, Entity, Image
from papermage_core.document.arrays import offsets_of
from papermage_core.evaluation.view.options import ViewOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FONT", "SHARE", "Mark", "Sheet", "sheets"]

SHARE = 10_000
"""Boxes are written as whole numbers: so many are the width, and the height, of a page."""
_STRETCH = 4000
"""Characters, about, that are drawn at once of a text without pages."""
_RATIO = 1.294
"""Height of a page over its width where nothing tells: between A4 and Letter."""
_PICTURES = {b"\x89PNG": "png", b"\xff\xd8": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}
FONT = ("fontname", "font", "size", "bold", "italic", "invisible")
"""What is shown of the metadata of tokens."""


@attrs.frozen(eq=False)
class Mark:
    """An entity as it is shown."""

    layer: str
    label: str
    spans: Sequence[tuple[int, int]]
    boxes: Sequence[Box] = ()
    score: float | None = None
    agrees: bool | None = None
    """Whether what is compared has it, too; None where nothing is compared."""
    number: int | None = None
    metadata: Mapping[str, Any] | None = None


@attrs.define(eq=False)
class Sheet:
    """A page or a stretch of text with what is drawn on it."""

    start: int
    stop: int
    page: int | None = None
    ratio: float = 0
    """Height over width of the page."""
    picture: str = ""
    """The picture of the page as the content of a ``data:`` address, or nothing."""
    tokens: list[int] = attrs.field(factory=list)
    """Seven numbers a token: start, stop, left, top, right, bottom, font."""
    strays: list[list[Any]] = attrs.field(factory=list)
    """Tokens on the page that are not in its text: text, left, top, right, bottom, font."""
    entities: list[list[Any]] = attrs.field(factory=list)
    """Layer, label, segments, boxes, score, whether it agrees, number, other metadata."""

    def record(self, text: str) -> dict[str, Any]:
        """Return what the page of HTML reads. Places in the text are counted as JavaScript does."""
        shown = text[self.start : self.stop]
        record: dict[str, Any] = {"text": shown, "start": self.start, "page": self.page, "ratio": self.ratio}
        lists = {"tokens": self.tokens, "strays": self.strays, "entities": self.entities}
        return record | {name: values for name, values in lists.items() if values}


def sheets(
    document: Document,
    options: ViewOptions,
    fonts: dict[tuple[Any, ...], int],
    lost: Counter[str],
    marks: Iterable[Mark] = (),
) -> list[Sheet]:
    """Return the sheets of a document, with ``marks`` beside its own entities.

    New fonts are added to ``fonts``, and what is not shown to ``lost``.
    """
    text = document.symbols or ""
    tokens = _Tokens.of(document, options.tokens, fonts)
    found = _Sheets.of(_cut(document, tokens))
    if options.images:
        for number, image in enumerate(document.images or ()):
            sheet = found.of_page[number]
            if picture := _picture(image):
                sheet.picture = picture[0]
                sheet.ratio = picture[1] or sheet.ratio
            else:
                lost["unreadable images"] += 1
    else:
        lost["images"] += len(document.images or ())
    tokens.put(found, text)
    agreeing = _agreeing(document, options)
    for layer in options.chosen(document.layer_names):
        for entity in document.get_layer(layer):
            _put(_mark(entity, layer, options, agreeing), found)
    for mark in marks:
        _put(mark, found)
    _count_as_javascript(found.all, text)
    return found.all


# Pages and stretches -------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class _Sheets:
    all: list[Sheet]
    of_page: dict[int, Sheet]
    with_text: list[Sheet]
    """Those that have text, in its order: each begins where the one before ends."""

    @classmethod
    def of(cls, found: list[Sheet]) -> _Sheets:
        with_text = sorted((sheet for sheet in found if sheet.start < sheet.stop), key=lambda sheet: sheet.start)
        return cls(found, {sheet.page: sheet for sheet in found if sheet.page is not None}, with_text)

    def at(self, start: int, stop: int) -> Iterator[Sheet]:
        """Yield the sheets that have characters of a span; for an empty span, the one that it is in."""
        i = max(bisect_right(self.with_text, start, key=lambda sheet: sheet.start) - 1, 0)
        for sheet in self.with_text[i:]:
            if sheet.start >= max(stop, start + 1):
                break
            yield sheet


def _cut(document: Document, tokens: _Tokens) -> list[Sheet]:
    text = document.symbols or ""
    pages = _pages(document, tokens)
    if not pages:
        return [Sheet(start, stop) for start, stop in _stretches(text)]
    begins = sorted({start for start, _ in pages.values() if start is not None})
    stops = dict(pairwise([*begins, len(text)]))
    first = begins[0] if begins else len(text)
    found = [Sheet(0, first)] if first else []  # what is on no page
    for number, (start, ratio) in sorted(pages.items()):
        stop = None if start is None else stops.pop(start, None)
        found.append(Sheet(start or 0, start or 0 if stop is None else stop, number, ratio or _RATIO))
    return found


def _pages(document: Document, tokens: _Tokens) -> dict[int, tuple[int | None, float]]:
    """Return where each page begins in the text, and its ratio, 0 for unknown; no pages where nothing is placed."""
    numbers = set(range(len(document.images or ())))
    for name in document.layer_names:
        numbers.update(np.unique(document.get_layer(name).box_arrays().page).tolist())
    pages: dict[int, tuple[int | None, float]] = {}
    if numbers and document.has_layer("pages"):
        for i, page in enumerate(document.get_layer("pages")):
            start = min((span.start for span in page.spans), default=None)
            pages.setdefault(int(page.boxes[0].page) if page.boxes else i, (start, _ratio(page)))
    for number in numbers - pages.keys():
        here = tokens.start[tokens.page == number]
        pages[number] = (int(here.min()) if len(here) and not document.has_layer("pages") else None), 0
    return pages


def _ratio(page: Entity) -> float:
    sides = [page.metadata.get(key, None) for key in ("width", "height")]
    if not all(isinstance(side, int | float) and 0 < side < 1e6 for side in sides):
        return 0
    return float(round(min(max(sides[1] / sides[0], 0.05), 20), 4))


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        stop = min(start + _STRETCH, len(text))
        if stop < len(text):
            for border in (r"\n\s*", r"[.!?]\s+", r"\s+"):
                if ends := [m.end() for m in re.finditer(border, text[start + _STRETCH // 2 : stop])]:
                    stop = start + _STRETCH // 2 + ends[-1]
                    break
        yield start, stop
        start = stop


def _picture(image: Image) -> tuple[str, float] | None:
    """Return the content of an address of a picture, and its ratio, 0 for unknown; None for what is no picture."""
    try:
        data = image.to_base64()
        head = base64.b64decode(data[:64], validate=True)
        kind = next(kind for mark, kind in _PICTURES.items() if head.startswith(mark))
        if kind == "png":  # as documents hold them: Pillow is not needed
            width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        else:
            width, height = image.pilimage.size
    except (ValueError, OSError, StopIteration):
        return None
    except ImportError:  # a picture as no document of ours has it, and no Pillow
        width = height = 0
    return f"image/{kind};base64,{data}", round(height / width, 4) if width else 0


# Tokens --------------------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class _Tokens:
    """A row for each box of a token."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    boxes: NDArray[np.int64]
    """Left, top, right, bottom. Shape (n, 4)."""
    page: NDArray[np.int64]
    font: NDArray[np.int64]

    @classmethod
    def of(cls, document: Document, name: str, fonts: dict[tuple[Any, ...], int]) -> _Tokens:
        nothing = np.zeros(0, np.int64)
        if not document.has_layer(name):
            return cls(nothing, nothing, np.zeros((0, 4), np.int64), nothing, nothing)
        layer = document.get_layer(name)
        spans, boxes = layer.span_arrays(), layer.box_arrays()
        offsets = offsets_of(spans.entity, len(layer))
        rank = np.arange(len(boxes)) - offsets_of(boxes.entity, len(layer))[boxes.entity]
        row = np.minimum(
            offsets[boxes.entity] + rank, offsets[boxes.entity + 1] - 1
        )  # a box for each span, or the last
        known = np.flatnonzero(offsets[boxes.entity + 1] > offsets[boxes.entity])
        row, entity = row[known], boxes.entity[known]
        edges = [boxes.left, boxes.top, boxes.left + boxes.width, boxes.top + boxes.height]
        corners = np.rint(np.column_stack(edges)[known] * SHARE).astype(np.int64)
        columns = {key: layer.metadata_column(key) or [None] * len(layer) for key in FONT}
        names = [a if a is not None else b for a, b in zip(columns.pop("fontname"), columns.pop("font"), strict=True)]
        told = zip(names, *columns.values(), strict=True)
        font = np.fromiter((_number(each, fonts) for each in told), np.int64, len(layer))
        return cls(spans.start[row], spans.stop[row], corners, boxes.page[known], font[entity])

    def put(self, found: _Sheets, text: str) -> None:
        """Put the tokens on the sheets of their pages."""
        for number in np.unique(self.page).tolist():
            rows = np.flatnonzero(self.page == number)
            sheet = found.of_page[number]
            inside = (self.start[rows] >= sheet.start) & (self.stop[rows] <= sheet.stop)
            table = np.column_stack([self.start[rows], self.stop[rows], self.boxes[rows], self.font[rows]])
            sheet.tokens = table[inside].ravel().tolist()
            sheet.strays = [[text[start:stop], *more] for start, stop, *more in table[~inside].tolist()]


def _number(font: tuple[Any, ...], fonts: dict[tuple[Any, ...], int]) -> int:
    try:
        return fonts.setdefault(font, len(fonts))
    except TypeError:  # odd metadata, such as a list
        return _number(tuple(map(str, font)), fonts)


# Entities ------------------------------------------------------------------------------------------------------------


def _place(entity: Entity) -> tuple[Any, ...]:
    spans = tuple(sorted((span.start, span.end) for span in entity.spans))
    return spans or tuple((*box.xy_coordinates, box.page) for box in entity.boxes)


def _agreeing(document: Document, options: ViewOptions) -> Counter[tuple[Any, ...]] | None:
    """Return how often label and place stand on both sides; None where nothing is compared."""
    if not options.compare:
        return None
    sides: tuple[Counter[tuple[Any, ...]], Counter[tuple[Any, ...]]] = Counter(), Counter()
    for layer in options.chosen(document.layer_names):
        if options.is_gold(layer) or layer in options.compare:
            side = sides[layer in options.compare]
            side.update((options.label(entity, layer), _place(entity)) for entity in document.get_layer(layer))
    return sides[0] & sides[1]


def _mark(entity: Entity, layer: str, options: ViewOptions, agreeing: Counter[tuple[Any, ...]] | None) -> Mark:
    label = options.label(entity, layer)
    agrees = None
    if agreeing is not None and (options.is_gold(layer) or layer in options.compare):
        agrees = agreeing[label, _place(entity)] > 0
    known = dict(entity.metadata.items())
    known.pop(options.label_attribute or "label", None)
    score = known.pop("score", None) if isinstance(known.get("score"), int | float) else None
    spans = [(span.start, span.end) for span in entity.spans]
    return Mark(layer, label, spans, entity.boxes, score, agrees, entity.id, known or None)


def _put(mark: Mark, found: _Sheets) -> None:
    """Put a mark on the sheets that it is on, its segments cut at their borders."""
    places: dict[int, tuple[Sheet, list[int], list[int]]] = {}
    for start, stop in mark.spans:
        for sheet in found.at(start, stop):
            _, segments, _ = places.setdefault(id(sheet), (sheet, [], []))
            segments += [min(max(edge, sheet.start), sheet.stop) for edge in (start, stop)]
    for box in mark.boxes:
        sheet = found.of_page[int(box.page)]
        _, _, boxes = places.setdefault(id(sheet), (sheet, [], []))
        boxes += [round(edge * SHARE) for edge in (box.l, box.t, box.l + box.w, box.t + box.h)]
    for sheet, segments, boxes in places.values():
        sheet.entities.append(
            [mark.layer, mark.label, segments, boxes, mark.score, mark.agrees, mark.number, mark.metadata]
        )


def _count_as_javascript(found: list[Sheet], text: str) -> None:
    """Make places in the text relative to their sheet, and count characters beyond U+FFFF as two."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    place = np.arange(len(codes) + 1)
    place[1:] += np.cumsum(codes > 0xFFFF)
    for sheet in found:
        if sheet.tokens:
            table = np.array(sheet.tokens).reshape(-1, 7)
            table[:, :2] = place[table[:, :2]] - place[sheet.start]
            sheet.tokens = table.ravel().tolist()
        for entity in sheet.entities:
            entity[2] = (place[np.array(entity[2], np.int64)] - place[sheet.start]).tolist()
