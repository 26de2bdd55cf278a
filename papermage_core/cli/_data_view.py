"""``papermage-data view``: a document's text with its labels marked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from papermage_core.config.readers import ReaderChoice
from papermage_core.data.readers import iter_documents
from papermage_core.document import Document, Layer
from papermage_core.errors import DataError, nearest
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.terminal import printable

if TYPE_CHECKING:
    from papermage_core.cli.data import View

__all__ = ["view"]

_COLOURS = ("42;30", "43;30", "46;30", "45;30", "44;97", "41;97", "102;30", "103;30", "106;30", "105;30")
_RESET = "\x1b[0m"
_Mark = tuple[int, int, str]
"""Start and end, half-open, in characters, and the label."""


def view(options: View, reader: ReaderChoice) -> str:
    """Return the text of one document, or of one of its contexts, with what the label fields mark.

    In colour, a stretch has that of the innermost entity and a legend follows; else entities stand in brackets:
    ``[date 1999]``. Control characters are shown as escapes.
    """
    located = _chosen(iter_documents(options.data_path, reader=reader), options.document)
    document = located.document
    fields = options.label_field or _all_but_structure(document, (options.entity_name, options.context_name))
    low, high = _bounds(document, options)
    marks = [mark for mark in _marks(document, fields, options.label_attribute) if mark[0] < high and mark[1] > low]
    text = document.symbols or ""
    if not _in_colour(options.colour):
        return _bracketed(text, marks, low, high)
    labels = list(dict.fromkeys(label for _, _, label in marks))
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(labels)}
    legend = "  ".join(f"\x1b[{colour}m{printable(label)}{_RESET}" for label, colour in colours.items())
    return f"{_coloured(text, marks, low, high, colours)}\n\n{legend}"


def _chosen(documents: Iterable[LocatedDocument], wanted: str) -> LocatedDocument:
    number = int(wanted) if wanted.isdecimal() else None
    count = 0
    for located in documents:
        if located.document.id == wanted or count == number:
            return located
        count += 1
    raise DataError(f"there is no document {wanted!r} among {count}: expected a number from 0, or an id")


def _all_but_structure(document: Document, structure: Sequence[str]) -> list[str]:
    known = {*Document.SPECIAL_FIELDS, *structure, "tokens", "words", "rows", "blocks", "sentences", "pages"}
    return [name for name in document.layers if name not in known]


def _bounds(document: Document, options: View) -> tuple[int, int]:
    if options.context is None:
        return 0, len(document.symbols or "")
    contexts = _layer(document, options.context_name, "context_name")
    if options.context >= len(contexts):
        raise DataError(
            f"there is no context {options.context}: the layer has {len(contexts)}", layer=options.context_name
        )
    spans = contexts[options.context].spans
    if not spans:
        raise DataError("this context has no text", layer=options.context_name, entity=options.context)
    return min(span.start for span in spans), min(max(span.end for span in spans), len(document.symbols or ""))


def _layer(document: Document, name: str, option: str) -> Layer:
    known = [layer for layer in document.layers if layer not in Document.SPECIAL_FIELDS]
    if name not in known:
        raise DataError(
            f"no layer {name!r}, which {option} names.{nearest(name, known)} Layers here: {', '.join(known)}"
        )
    return document.get_layer(name)


def _marks(document: Document, fields: Sequence[str], attribute: str | None) -> Iterator[_Mark]:
    for field in fields:
        for entity in _layer(document, field, "label_field"):
            label = field if attribute is None else str(entity.metadata.get(attribute, field))
            yield from ((span.start, span.end, label) for span in entity.spans)


def _in_colour(choice: str) -> bool:
    if choice == "auto":
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return choice == "always"


def _bracketed(text: str, marks: Sequence[_Mark], low: int, high: int) -> str:
    """Return the text with brackets; at one place entities close before others open, and longer ones open first."""
    cuts = sorted({low, high, *(edge for start, end, _ in marks for edge in (start, end) if low < edge < high)})
    parts = []
    for at, after in zip(cuts, [*cuts[1:], high], strict=True):
        parts += ["]" for start, end, _ in marks if end == at and start < end]
        opening = sorted((mark for mark in marks if max(mark[0], low) == at < mark[1]), key=lambda mark: -mark[1])
        parts += [f"[{printable(label)} " for _, _, label in opening]
        parts.append(printable(text[at:after]))
    parts += ["]" for _, end, _ in marks if end > high]
    return "".join(parts)


def _coloured(text: str, marks: Sequence[_Mark], low: int, high: int, colours: dict[str, str]) -> str:
    cuts = sorted({low, high, *(edge for start, end, _ in marks for edge in (start, end) if low < edge < high)})
    parts = []
    for at, after in pairwise(cuts):
        over = [mark for mark in marks if mark[0] <= at and after <= mark[1]]
        shown = printable(text[at:after])
        if over:
            inner = min(over, key=lambda mark: mark[1] - mark[0])
            # a colour over a line's end would run to the edge of the terminal
            shown = "\n".join(f"\x1b[{colours[inner[2]]}m{line}{_RESET}" if line else "" for line in shown.split("\n"))
        parts.append(shown)
    return "".join(parts)
