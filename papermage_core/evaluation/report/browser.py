"""Mistakes → what the error browser of a page reads: a row for each, and the pages of documents that they are on."""

from __future__ import annotations

import heapq
import json
import logging
import math
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from papermage_core.data.garbage import release_free_memory
from papermage_core.data.units import ParsedDocument
from papermage_core.document import Document
from papermage_core.errors import PapermageError
from papermage_core.evaluation.mistakes import KINDS, ErrorRecord, Near, UnitText
from papermage_core.evaluation.report.pictures import PdfPages, smaller
from papermage_core.evaluation.view.options import ViewOptions
from papermage_core.evaluation.view.sheets import SHARE, Mark, Sheet, sheets
from papermage_core.evaluation.web import as_json, data_block
from papermage_core.plugin.spec import UnitSpan

__all__ = ["MOST_SHOWN", "Documents", "browser_data"]

Documents = Callable[[], Iterable[ParsedDocument]]
"""Reads labelled documents once more, each with its `Document`, in any order."""

MOST_SHOWN = 20_000
_MOST_BYTES = 9_500_000
"""Of a page, as far as it is mistakes and pages of documents."""
_MOST_ROWS = 7_500_000
"""Bytes of the mistakes alone."""
_LENGTHS = ((400, 60), (160, 40), (60, 20))
"""Characters of a mistake's text, and of what stands before and after, that are shown: the first that fit."""
_MOST_NOTE = 300
_TRIED = 50
"""Documents with mistakes and without boxes after which no more are looked at."""
_log = logging.getLogger(__name__)


def browser_data(
    records: Iterable[ErrorRecord],
    documents: Documents | None = None,
    *,
    total: int | None = None,
    order_name: str = "model's score",
    entity_name: str = "tokens",
    labels: Iterable[str] | None = None,
    folders: Sequence[Path] = (),
) -> list[bytes]:
    """Return the elements that hold the mistakes of highest score, at most `MOST_SHOWN`, and their pages, as far as
    there is room: those of the mistakes of highest score.

    ``labels`` are those that count: gold of others is not drawn. ``folders`` are where the PDF files of documents may
    be; their pages are shown as they look.
    """
    chosen = _Chosen(records)
    table = _Table()
    for name in chosen.documents:
        table.document(name)
    for longest, around in _LENGTHS:
        rows = [as_json(table.row(record, longest, around)) for record in chosen]
        size = sum(map(len, rows)) + len(rows)
        if size <= _MOST_ROWS:
            break
    total = len(chosen) if total is None else total
    pages = _Pages(_MOST_BYTES - size, PdfPages(folders))
    if documents is not None and chosen:
        whole = total <= len(chosen)
        _read_pages(pages, chosen, documents, entity_name, None if labels is None else frozenset(labels), whole)
        release_free_memory()
    pages_of: dict[int, list[int]] = {}
    for number, of_page in pages.of_mistakes():
        pages_of.setdefault(number, []).append(of_page)
    for number, found in pages_of.items():
        rows[number] = rows[number].removesuffix(b"[]]") + as_json(found) + b"]"
    index = {
        "share": SHARE,
        "kinds": KINDS,
        "labels": list(table.labels),
        "documents": list(table.documents),
        "order": order_name,
        "total": total,
        "fonts": list(pages.fonts),
        "left_out": pages.left_out,
    }
    mistakes = b'<script type="application/json" id="mistakes">[%s]</script>\n' % b",".join(rows)
    return [data_block("errors", index), mistakes, *pages.blocks()]


class _Chosen(Sequence[ErrorRecord]):
    """The records of highest score, these first; as JSON, since so many objects would take a tenth of a gigabyte."""

    def __init__(self, records: Iterable[ErrorRecord]) -> None:
        numbered = (
            (_rank(record), -number, record.document, json.dumps(record.to_json()).encode())
            for number, record in enumerate(records)
        )
        best = heapq.nlargest(MOST_SHOWN, numbered, key=lambda each: each[:2])
        self._lines = [line for *_, line in best]
        self.documents = [name for _, name in sorted((-number, name) for _, number, name, _ in best)]
        """Their documents, in the order in which the records came."""

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, number: Any) -> Any:
        return ErrorRecord.from_json(json.loads(self._lines[number]))


def _rank(record: ErrorRecord) -> float:
    return -1.0 if record.score is None or math.isnan(record.score) else record.score


# Rows ----------------------------------------------------------------------------------------------------------------


@attrs.define
class _Table:
    """Numbers of labels and documents."""

    labels: dict[str, int] = attrs.field(factory=dict)
    documents: dict[str, int] = attrs.field(factory=dict)

    def document(self, name: str) -> int:
        return self.documents.setdefault(name, len(self.documents))

    def label(self, label: str) -> int:
        return self.labels.setdefault(label, len(self.labels))

    def row(self, record: ErrorRecord, longest: int, around: int) -> list[Any]:
        """Return kind, document, labels of both sides, score, unit, first character, text, segments of both sides,
        and of others near it, with their labels, note, numbers of pages. Places are those of JavaScript in the text.
        """
        shown = _Shown.of(record, longest, around)
        sides = ((record.gold, record.gold_chars), (record.predicted, record.predicted_chars))
        near = (record.gold_near, record.predicted_near)
        return [
            KINDS.index(record.kind),
            self.document(record.document),
            *(-1 if span is None else self.label(span.label) for span, _ in sides),
            None if _rank(record) < 0 else round(_rank(record), 4),
            record.unit,
            record.start_char,
            shown.text,
            *(shown.places(chars) for _, chars in sides),
            *(self._near(each, shown) for each in near),
            record.note[:_MOST_NOTE],
            [],
        ]

    def _near(self, near: Sequence[Near], shown: _Shown) -> list[int]:
        found: list[int] = []
        for start, stop, label in near:
            if place := shown.places([(start, stop)]):
                found += [*place, self.label(label)]
        return found


@attrs.frozen(eq=False)
class _Shown:
    """The text that is shown of a mistake: a long one without its middle."""

    text: str
    first: int
    """Character of the document that it begins with."""
    cut: tuple[int, int]
    """What of the text is left out."""
    widths: Sequence[int] | None
    """Where JavaScript counts each character; None where it counts as Python does."""

    @classmethod
    def of(cls, record: ErrorRecord, longest: int, around: int) -> _Shown:
        before, after = record.before, record.after
        if len(before) > 1.5 * around:
            before = _after_space(before[-around:])
        if len(after) > 1.5 * around:
            after = after[:around].rpartition(" ")[0] or after[:around]
        text, cut = before + record.text + after, (0, 0)
        if len(record.text) > longest:
            half = longest // 2
            cut = (len(before) + half, len(before) + len(record.text) - half)
            text = f"{text[: cut[0]]} … {text[cut[1] :]}"
        widths = None
        if text and max(text) > "\uffff":
            widths = list(accumulate((1 + (character > "\uffff") for character in text), initial=0))
        return cls(text, record.start_char - len(before), cut, widths)

    def places(self, chars: Iterable[tuple[int, int]]) -> list[int]:
        """Return where segments of the document begin and end in the text, those that are seen."""
        found: list[int] = []
        for start, stop in chars:
            begin, end = self._at(start), self._at(stop)
            if begin < end:
                found += [begin, end]
        return found

    def _at(self, char: int) -> int:
        at = max(char - self.first, 0)
        if at >= self.cut[1]:
            at -= self.cut[1] - self.cut[0] - 3 * (self.cut[1] > 0)
        else:
            at = min(at, self.cut[0])
        at = min(at, len(self.text))
        return at if self.widths is None else self.widths[at]


def _after_space(text: str) -> str:
    return text.partition(" ")[2] or text


# Pages ---------------------------------------------------------------------------------------------------------------


class _Pages:
    """Pages of documents, those of the first mistakes, as many as there is room for."""

    def __init__(self, room: int, pdfs: PdfPages) -> None:
        self.fonts: dict[tuple[Any, ...], int] = {}
        self.left_out = 0
        self._room, self._room_of_pictures = room, room // 2
        self._pdfs = pdfs
        self._heap: list[tuple[int, int, list[int], bytes]] = []
        """Negative number of the first mistake, size, mistakes, and content of each page."""

    def wants(self, number: int) -> bool:
        """Return whether there is room for a page whose first mistake has this number."""
        return not self.left_out or not self._heap or number < -self._heap[0][0]

    def add(self, mistakes: list[int], sheet: Sheet, parsed: ParsedDocument) -> None:
        """Take a page with the numbers of the mistakes on it; that of the last ones goes where there is no room.

        Pictures take half of the room; pages that can be drawn without them are then.
        """
        if not self.wants(mistakes[0]):
            self.left_out += 1
            return
        record = sheet.record(parsed.symbols)
        picture = ""
        if self._room_of_pictures > 0 or not sheet.tokens:
            picture = smaller(sheet.picture) or self._pdfs.picture(parsed.name, sheet.page or 0)
            self._room_of_pictures -= len(picture)
        content = as_json(b64encode(zlib.compress(as_json([record, picture]), 6)).decode())
        heapq.heappush(self._heap, (-mistakes[0], len(content), mistakes, content))
        self._room -= len(content)
        while self._room < 0 and self._heap:
            self._room += heapq.heappop(self._heap)[1]
            self.left_out += 1

    def of_mistakes(self) -> Iterator[tuple[int, int]]:
        """Yield the number of a mistake with that of each of its pages."""
        for page, (_, _, mistakes, _) in enumerate(self._heap):
            for number in mistakes:
                yield number, page

    def blocks(self) -> Iterator[bytes]:
        """Yield the elements that hold the pages."""
        for page, (*_, content) in enumerate(self._heap):
            yield b'<script type="application/json" id="page-%d">%s</script>\n' % (page, content)


def _read_pages(
    pages: _Pages,
    chosen: Sequence[ErrorRecord],
    documents: Documents,
    entity_name: str,
    labels: frozenset[str] | None,
    whole: bool,
) -> None:
    """Add the pages of mistakes. With ``whole`` the mistakes are all there are: gold that is none of them was found."""
    waiting: dict[str, list[int]] = {}
    for number, record in enumerate(chosen):
        waiting.setdefault(record.document, []).append(number)
    bare = 0
    try:
        for parsed in documents():
            named = waiting.pop(parsed.name, [])  # there may be several of a name
            numbers = [i for i in named if _stands_in(chosen[i], parsed.symbols)]
            if len(numbers) < len(named):
                waiting[parsed.name] = [i for i in named if i not in set(numbers)]
            if numbers and parsed.document is not None and pages.wants(numbers[0]):
                if _is_placed(parsed.document):
                    bare = -1
                    _add_pages(
                        pages, {i: chosen[i] for i in numbers}, parsed, parsed.document, entity_name, labels, whole
                    )
                elif bare >= 0:
                    bare += 1
            if not waiting or bare >= _TRIED:
                return
    except (PapermageError, OSError) as error:
        _log.warning("the report shows no pages, or not all: %s", error)


def _stands_in(record: ErrorRecord, symbols: str) -> bool:
    return symbols[record.start_char : record.end_char] == record.text


def _is_placed(document: Document) -> bool:
    return bool(document.images) or any(len(document.get_layer(name).box_arrays()) for name in document.layer_names)


def _add_pages(
    pages: _Pages,
    mistakes: dict[int, ErrorRecord],
    parsed: ParsedDocument,
    document: Document,
    entity_name: str,
    labels: frozenset[str] | None,
    whole: bool,
) -> None:
    tokens = "tokens" if document.has_layer("tokens") else entity_name
    marks = [
        mark for number, record in mistakes.items() for mark in _marks(number, record, parsed, document, entity_name)
    ]
    if whole:
        text = UnitText(document=parsed.name, symbols=parsed.symbols, starts=parsed.starts, stops=parsed.stops)
        wrong = {record.gold for record in mistakes.values()}
        for entity in (entity.as_span() for of_task in parsed.gold for entity in of_task or ()):
            if entity not in wrong and (labels is None or entity.label in labels):
                chars = [text.chars(start, stop) for start, stop in entity.segments]
                marks.append(_mark("right", entity, chars, None, parsed, document, entity_name))
    options = ViewOptions(layers=None, tokens=tokens)
    for sheet in sheets(document, options, pages.fonts, Counter(), marks):
        here = sorted({entity[6] for entity in sheet.entities if entity[6] is not None})
        if here and sheet.page is not None and (sheet.tokens or sheet.picture or any(e[3] for e in sheet.entities)):
            pages.add(here, sheet, parsed)


def _marks(
    number: int, record: ErrorRecord, parsed: ParsedDocument, document: Document, entity_name: str
) -> Iterator[Mark]:
    for side in ("gold", "predicted"):
        span, chars = getattr(record, side), getattr(record, f"{side}_chars")
        if span is not None:
            yield _mark(side, span, chars, number, parsed, document, entity_name)


def _mark(
    side: str,
    span: UnitSpan,
    chars: Sequence[tuple[int, int]],
    number: int | None,
    parsed: ParsedDocument,
    document: Document,
    entity_name: str,
) -> Mark:
    """Return what is drawn of an entity: its text, or where it has none, the boxes of its units."""
    spans = [(start, stop) for start, stop in chars if start < stop]
    boxes: list[Any] = []
    if not spans and document.has_layer(entity_name):
        layer = document.get_layer(entity_name)
        units = np.array([unit for unit in span.units if unit < parsed.n_units], np.int64)
        boxes = [box for index in parsed.indices(units).tolist() for box in layer[index].boxes]
    return Mark(side, span.label, spans, boxes, span.score, None, number)
