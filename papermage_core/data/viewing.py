"""Documents with their labels marked: one as text, or many on a page of HTML."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path

from papermage_core.config.booleans import booleans_only
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.labelling import label_fields
from papermage_core.data.processors import processed, read_processed
from papermage_core.data.readers import AnyReader, OnError, expand_paths, iter_documents
from papermage_core.data.writers import Written, write_documents
from papermage_core.document import Document, Layer
from papermage_core.errors import DataError, nearest
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentProcessorConfig, LocatedDocument
from papermage_core.terminal import printable

__all__ = ["view", "view_page"]

_COLOURS = ("42;30", "43;30", "46;30", "45;30", "44;97", "41;97", "102;30", "103;30", "106;30", "105;30")
_RESET = "\x1b[0m"
_Mark = tuple[int, int, str]
"""Start and end, half-open, in characters, and the label."""


@booleans_only
def view(
    data_path: str | Path | Sequence[str | Path],
    document: int | str = 0,
    label_field: str | Sequence[str] = (),
    *,
    compare: str | Sequence[str] = (),
    context: int | None = None,
    entity_name: str = "tokens",
    context_name: str = "pages",
    label_attribute: str | None = None,
    reader: AnyReader = None,
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
    plugins: Plugins | None = None,
    on_error: OnError | None = None,
    colour: bool = False,
) -> str:
    """Return the text of one document, or of one of its contexts, with what the label fields mark.

    ``document`` is its number, counted from 0, or its id. Without label fields, all layers are shown that are not of
    the document's structure. A label is what the entity's metadata have as ``label_attribute``, by default ``label``,
    else the name of the layer; those of the layers of ``compare`` have that name before them.

    In colour, a stretch has that of the innermost entity and a legend follows; else entities stand in brackets:
    ``[date 1999]``. Control characters are shown as escapes.
    """
    documents = processed(iter_documents(data_path, reader=reader, on_error=on_error), processors, plugins, on_error)
    located = _chosen(documents, str(document))
    try:
        found = located.document
        compared = label_fields(compare)
        fields = label_fields(label_field) or _all_but_structure(found, (entity_name, context_name, *compared))
        low, high = _bounds(found, context, context_name)
        marks = [*_marks(found, fields, label_attribute), *_marks(found, compared, label_attribute, named=True)]
        marks = [mark for mark in marks if mark[0] < high and mark[1] > low]
    except DataError as error:
        raise located.error(error) from error
    text = found.symbols or ""
    if not colour:
        return _bracketed(text, marks, low, high)
    labels = list(dict.fromkeys(label for _, _, label in marks))
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(labels)}
    legend = "  ".join(f"\x1b[{colours[label]}m{printable(label)}{_RESET}" for label in labels)
    return f"{_coloured(text, marks, low, high, colours)}\n\n{legend}"


@booleans_only
def view_page(
    data_path: str | Path | Sequence[str | Path],
    output_path: str | Path,
    document: int | str | None = None,
    label_field: str | Sequence[str] = (),
    *,
    compare: str | Sequence[str] = (),
    entity_name: str = "tokens",
    label_attribute: str | None = None,
    reader: AnyReader = None,
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
    plugins: Plugins | None = None,
    on_error: OnError | None = None,
    overwrite: bool = False,
) -> Written:
    """Write one document, or all, to a page of HTML that shows text and pages with the entities of the label fields.

    Without label fields all layers are there, those of the document's structure switched off. The layers of ``compare``
    are held against the others. ``entity_name`` is the layer whose boxes place the text on the page.
    """

    found = read_processed(data_path, reader, processors, plugins, on_error)
    given = [data_path] if isinstance(data_path, (str, Path)) else data_path
    options = {
        "layers": label_fields(label_field),
        "compare": label_fields(compare),
        "label_attribute": label_attribute,
        "tokens": entity_name,
    }
    return write_documents(
        found if document is None else [_chosen(found, str(document))],
        output_path,
        "html",
        plugins,
        overwrite,
        inputs=[*expand_paths(data_path, reader=reader), *given],
        options=options,
    )


def _chosen(documents: Iterable[LocatedDocument], wanted: str) -> LocatedDocument:
    number = int(wanted) if wanted.isdecimal() else None
    count = 0
    for located in documents:
        if located.document.id == wanted or count == number:
            return located
        count += 1
    raise DataError(f"there is no document {wanted!r} among {count}: expected a number from 0, or an id")


def _all_but_structure(document: Document, structure: Sequence[str]) -> list[str]:
    known = {*structure, "tokens", "words", "rows", "blocks", "sentences", "pages"}
    return [name for name in document.layer_names if name not in known]


def _bounds(document: Document, context: int | None, context_name: str) -> tuple[int, int]:
    length = len(document.symbols or "")
    if context is None:
        return 0, length
    contexts = _layer(document, context_name, "context_name")
    if context >= len(contexts):
        raise DataError(f"there is no context {context}: the layer has {len(contexts)}", layer=context_name)
    spans = contexts[context].spans
    if not spans:
        raise DataError("this context has no text", layer=context_name, entity=context)
    return min(span.start for span in spans), min(max(span.end for span in spans), length)


def _layer(document: Document, name: str, option: str) -> Layer:
    known = document.layer_names
    if name not in known:
        raise DataError(
            f"no layer {name!r}, which {option} names.{nearest(name, known)} Layers here: {', '.join(known)}"
        )
    return document.get_layer(name)


def _marks(document: Document, fields: Sequence[str], attribute: str | None, named: bool = False) -> Iterator[_Mark]:
    for field in fields:
        for entity in _layer(document, field, "compare" if named else "label_field"):
            label = str(entity.metadata.get(attribute or "label", field))
            label = f"{field}:{label}" if named and label != field else label
            yield from ((span.start, span.end, label) for span in entity.spans)


def _bracketed(text: str, marks: Sequence[_Mark], low: int, high: int) -> str:
    """Return the text with brackets; at one place entities close before others open, and longer ones open first."""
    closing = Counter(end for start, end, _ in marks if start < end)
    opening = _opening(marks, low)
    parts = []
    for at, after in pairwise([*_cuts(marks, low, high), high]):
        parts.append("]" * closing[at])
        parts += [f"[{printable(marks[n][2])} " for n in sorted(opening[at], key=lambda n: -marks[n][1])]
        parts.append(printable(text[at:after]))
    parts += ["]" for _, end, _ in marks if end > high]
    return "".join(parts)


def _coloured(text: str, marks: Sequence[_Mark], low: int, high: int, colours: dict[str, str]) -> str:
    opening = _opening(marks, low)
    over: list[tuple[int, int]] = []
    """Length and number of what is open, the shortest first, with some that has ended."""
    parts = []
    for at, after in pairwise(_cuts(marks, low, high)):
        for number in opening[at]:
            heappush(over, (marks[number][1] - marks[number][0], number))
        while over and marks[over[0][1]][1] <= at:
            heappop(over)
        shown = printable(text[at:after])
        if over:
            label = marks[over[0][1]][2]
            # a colour over a line's end would run to the edge of the terminal
            shown = "\n".join(f"\x1b[{colours[label]}m{line}{_RESET}" if line else "" for line in shown.split("\n"))
        parts.append(shown)
    return "".join(parts)


def _cuts(marks: Sequence[_Mark], low: int, high: int) -> list[int]:
    """Return where what is marked changes, both ends included, in order."""
    return sorted({low, high, *(edge for start, end, _ in marks for edge in (start, end) if low < edge < high)})


def _opening(marks: Sequence[_Mark], low: int) -> defaultdict[int, list[int]]:
    """Return the numbers of the marks that open at each place, at ``low`` of those before it, too; of no empty one."""
    found = defaultdict(list)
    for number, (start, end, _) in enumerate(marks):
        if start < end:
            found[max(start, low)].append(number)
    return found
