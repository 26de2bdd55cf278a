"""A document, parsed into units and contexts."""

from __future__ import annotations

import base64
import difflib
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.abbreviations import long_forms
from papermage_core.data.issues import Issues
from papermage_core.document import Document, Layer
from papermage_core.document.characters import white_space
from papermage_core.document.queries import context_of_units, reading_order
from papermage_core.errors import DataError, nearest
from papermage_core.plugin.spec import Context, ContextNeeds

if TYPE_CHECKING:
    from papermage_core.data.gold import Gold
    from papermage_core.data.labelling import Labelling

__all__ = ["ParsedDocument", "Parser", "text_digest"]

_MISSPELT = 0.85
"""Likeness (see `difflib`) above which a layer that is not there is a layer that is, misspelt."""
_MOST_KEYS = 64
_PLAIN = frozenset({str, bool, int, float, type(None)})


@attrs.frozen(eq=False, kw_only=True)
class ParsedDocument:
    """What training, scoring and prediction need of a document of n units.

    Units are numbered in reading order, from 0. Every unit stands in exactly one context: the one that holds most of
    it. Units in no context are gathered, where they follow each other, into contexts of their own, so that they too
    are labelled.
    """

    name: str
    """What messages call the document."""
    symbols: str
    contexts: Sequence[Context]
    """In the order of their first units; those without units are left out."""
    units: Sequence[NDArray[np.int64]]
    """The units of each context, ascending."""
    starts: NDArray[np.int64]
    """First character of each unit; -1 where it has no place in the text. Shape (n,)."""
    stops: NDArray[np.int64]
    """One past the last character of each unit; -1 where it has no place in the text. Shape (n,)."""
    order: NDArray[np.int64] | None = None
    """Reading order → index in the layer, where the layer is not in reading order. Shape (n,)."""
    gold: tuple[tuple[Gold, ...] | None, ...] = ()
    """The gold entities of each task that touch a unit; None for a task that nobody labelled here."""
    unreachable: tuple[tuple[int, str], ...] = ()
    """Task and label of each gold entity that touches no unit."""
    document: Document | None = None
    """The document itself, where it was asked for."""

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return len(self.starts)

    def indices(self, units: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices in the layer of units given by reading order."""
        return units if self.order is None else self.order[units]

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the context of each unit, and the unit's place in it. Shapes (n,)."""
        context, place = np.empty(self.n_units, np.int64), np.empty(self.n_units, np.int64)
        for number, units in enumerate(self.units):
            context[units] = number
            place[units] = np.arange(len(units))
        return context, place


@attrs.define
class Parser:
    """Parses the documents of one stream, counting what is odd in them.

    Whether the stream has the layer ``context_name`` is settled by its first document: where that has none, documents
    are read whole. Documents that differ from it in this are errors.
    """

    labelling: Labelling
    needs: ContextNeeds
    issues: Issues
    reads_whole: bool | None = None
    """Whether documents lack the layer of contexts; None before the first document."""
    with_contexts: bool = True
    """Whether contexts are made, which cost most; not where gold alone is looked at."""
    within: bool = False
    """Whether units that lie in no context are left out; else they make contexts of their own."""
    fields: set[str] = attrs.field(factory=set)
    """The label fields that a document had so far."""

    def parse(self, document: Document, name: str, *, keep: bool = False) -> ParsedDocument:
        """Return a document's units and contexts; with ``keep`` the document goes along.

        Raises DataError, without the place of the document, where a layer is missing.
        """
        layer = layer_of(document, self.labelling.entity_name, name, "entity_name")
        contexts = self._contexts(document, name)
        if not len(layer):
            self.issues.add("document_without_units", name, f"layer {self.labelling.entity_name!r} is empty")
        order = reading_order(layer)
        if order is not None:
            moved = int(np.flatnonzero(order != np.arange(len(order)))[0])
            self.issues.add("units_out_of_order", name, f"{self.labelling.entity_name}[{moved}]")
        units = _place_units(layer, contexts, order, self.labelling.entity_name, self.issues, name, self.within)
        starts, stops = _characters(layer)
        return ParsedDocument(
            name=name,
            symbols=document.symbols or "",
            contexts=_make_contexts(document, layer, order, units, self.needs, self.labelling.label_attribute)
            if self.with_contexts
            else (),
            units=units,
            starts=starts if order is None else starts[order],
            stops=stops if order is None else stops[order],
            order=order,
            document=document if keep else None,
        )

    def _contexts(self, document: Document, name: str) -> Layer | None:
        wanted = self.labelling.context_name
        known = document.layer_names
        if self.reads_whole is None:
            here = wanted in known or difflib.get_close_matches(wanted, known, n=1, cutoff=_MISSPELT)
            self.reads_whole = not here
            if self.reads_whole:
                found = f"no layer {wanted!r}; layers: {', '.join(known) or 'none'}"
                self.issues.add("no_context_layer", name, found + _maker(wanted).replace(", and", ";"))
        if self.reads_whole and wanted in known:
            raise DataError(
                f"there is a layer {wanted!r}, which the documents before this one lack: they were read whole; "
                "expected all documents with it, or none",
                document=name,
            )
        return None if self.reads_whole else layer_of(document, wanted, name, "context_name")


def text_digest(document: Document) -> bytes:
    """Return a hash of the text alone: equal for documents with the same symbols, whatever is marked in them."""
    return digest_of(document.symbols or "")


def digest_of(symbols: str) -> bytes:
    """Return a hash of a document's text; 16 bytes."""
    return hashlib.blake2b(symbols.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def layer_of(document: Document, name: str, document_name: str, key: str) -> Layer:
    """Return a layer that must be there, which the option ``key`` names. Raises DataError with the nearest name."""
    known = document.layer_names
    if name not in known:
        found = ", ".join(known) or "none"
        hint = nearest(name, known)
        advice = f"{key}=... names another" + ("" if hint else _maker(name))
        if not known:  # which other formats than plain text seldom give
            advice += "; reader=NAME reads a file of another format than its ending says"
        raise DataError(
            f"no layer {name!r}.{hint} Layers here: {found}",
            document=document_name,
            expected=f"a layer {name!r}",
            advice=advice,
        )
    return document.get_layer(name)


def _maker(name: str) -> str:
    from papermage_core.plugin.manager import Plugins

    return f", and processors={name} makes it" if Plugins().named("document_processor", name) else ""


def _place_units(
    layer: Layer,
    contexts: Layer | None,
    order: NDArray[np.int64] | None,
    entity_name: str,
    issues: Issues,
    name: str,
    within: bool = False,
) -> tuple[NDArray[np.int64], ...]:
    """Return the units of each context, contexts by their first unit; of ``within``, none that lie in no context."""
    n = len(layer)
    if n == 0:
        return ()
    if contexts is None:
        return (np.arange(n),)
    context, count = context_of_units(layer, contexts)
    if several := int((count > 1).sum()):
        first = int(np.flatnonzero(count > 1)[0])
        issues.add("unit_in_several_contexts", name, f"{entity_name}[{first}]", several)
    outside = context < 0
    if outside.any() and not within:
        first = int(np.flatnonzero(outside)[0])
        issues.add("unit_in_no_context", name, f"{entity_name}[{first}]", int(outside.sum()))
    if order is not None:
        context, outside = context[order], outside[order]
    if within:
        inside = np.flatnonzero(~outside)
        return tuple(inside[each] for each in _grouped(context[inside]))
    if outside.any():
        begins = outside & ~np.concatenate([[False], outside[:-1]])
        context = np.where(outside, len(contexts) + np.cumsum(begins) - 1, context)
    return _grouped(context)


def _grouped(context: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Return the units of each context, contexts by their first unit; ``context`` is that of each unit."""
    if not len(context):
        return ()
    n = len(context)
    if (context[1:] >= context[:-1]).all():  # the rule: contexts follow each other
        bounds = np.flatnonzero(np.concatenate([[True], context[1:] != context[:-1], [True]]))
        everything = np.arange(n)
        return tuple(everything[a:b] for a, b in itertools.pairwise(bounds.tolist()))
    found, first_unit, inverse = np.unique(context, return_index=True, return_inverse=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first_unit, kind="stable")] = np.arange(len(found))
    context = rank[inverse.reshape(-1)]
    by_context = np.argsort(context, kind="stable")
    bounds = np.searchsorted(context[by_context], np.arange(len(found) + 1))
    return tuple(by_context[a:b] for a, b in itertools.pairwise(bounds))


def _make_contexts(
    document: Document,
    layer: Layer,
    order: NDArray[np.int64] | None,
    units: Sequence[NDArray[np.int64]],
    needs: ContextNeeds,
    label_attribute: str | None,
) -> list[Context]:
    """Return the contexts of a document, with what ``needs`` asks for where the document has it."""
    if not units:
        return []
    words: Sequence[str] = layer.texts()
    space = _space_before(document.symbols or "", layer)
    boxes, pages = _boxes(layer) if needs.boxes or needs.images else (None, None)
    groups = {
        name: context_of_units(layer, document.get_layer(name))[0].astype(np.int32)
        for name in needs.groups
        if name in document.layer_names
    }
    columns = {key: layer.metadata_column(key) for key in needs.metadata}
    metadata: dict[str, Sequence[Any]] = {key: column for key, column in columns.items() if column is not None}
    if needs.all_metadata:
        metadata |= {key: _plain(layer, key) for key in layer.metadata_keys(_MOST_KEYS) if key not in metadata}
        metadata.pop(label_attribute or "", None)
    indices = units if order is None else [order[of_context] for of_context in units]
    contexts = [_take(each, words, space, boxes, pages, groups, metadata) for each in indices]
    if needs.long_forms:
        contexts = _with_long_forms(contexts)
    return _with_surroundings(document, contexts, needs) if _wants_surroundings(needs) else contexts


def _with_long_forms(contexts: Sequence[Context]) -> list[Context]:
    """Return the contexts with the long forms of their abbreviations, wherever in the document they are defined."""
    defined = long_forms([word for context in contexts for word in context.words])
    used = [defined.keys() & context.words if defined else () for context in contexts]
    return [
        attrs.evolve(context, long_forms={short: defined[short] for short in sorted(own)}) if own else context
        for context, own in zip(contexts, used, strict=True)
    ]


def _wants_surroundings(needs: ContextNeeds) -> bool:
    return bool(needs.document_metadata or needs.neighbours or needs.images)


def _with_surroundings(document: Document, contexts: Sequence[Context], needs: ContextNeeds) -> list[Context]:
    """Return the contexts with what is wanted of the document around them."""
    metadata = {key: document.metadata[key] for key in needs.document_metadata if key in document.metadata}
    words, n = [context.words for context in contexts], needs.neighbours
    pages = [() if context.pages is None else np.unique(context.pages).tolist() for context in contexts]
    images = _images(document, {page for of_context in pages for page in of_context}) if needs.images else {}
    return [
        attrs.evolve(
            context,
            document_metadata=metadata,
            before=tuple(words[max(0, number - n) : number]),
            after=tuple(words[number + 1 : number + 1 + n]),
            images={page: images[page] for page in pages[number] if page in images},
        )
        for number, context in enumerate(contexts)
    ]


def _images(document: Document, pages: Iterable[int]) -> dict[int, bytes]:
    """Return the pages' images as files, by page number."""
    images = document.images or []
    return {page: base64.b64decode(images[page].to_base64()) for page in pages if 0 <= page < len(images)}


def _plain(layer: Layer, key: str) -> list[Any]:
    """Return the strings, numbers and truth values of a key; None for what is none of these."""
    column = layer.metadata_column(key) or []
    if set(map(type, column)) <= _PLAIN:
        return column
    return [value if type(value) in _PLAIN else None for value in column]


def _take(
    indices: NDArray[np.int64],
    words: Sequence[str],
    space: NDArray[np.bool_],
    boxes: NDArray[np.float32] | None,
    pages: NDArray[np.int32] | None,
    groups: Mapping[str, NDArray[np.int32]],
    metadata: Mapping[str, Sequence[Any]],
) -> Context:
    first, last = int(indices[0]), int(indices[-1]) + 1
    if last - first == len(indices) and bool((np.diff(indices) == 1).all()):  # the rule: units follow each other
        take = slice(first, last)

        def pick(values: Sequence[Any]) -> Sequence[Any]:
            return values[take]

        chosen: Any = take
    else:
        numbers = indices.tolist()

        def pick(values: Sequence[Any]) -> Sequence[Any]:
            return [values[i] for i in numbers]

        chosen = indices
    return Context(
        words=pick(words),
        space_before=space[chosen],
        boxes=None if boxes is None else boxes[chosen],
        pages=None if pages is None else pages[chosen],
        groups={name: group[chosen] for name, group in groups.items()},
        metadata={key: pick(column) for key, column in metadata.items()},
    )


def _characters(layer: Layer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each unit's first character and one past its last; -1 where it has no span. Shapes (n,)."""
    spans = layer.span_arrays()
    if len(spans) == len(layer) and (len(spans) == 0 or bool((np.diff(spans.entity) == 1).all())):
        return spans.start, spans.stop
    starts, stops = np.full(len(layer), -1, np.int64), np.full(len(layer), -1, np.int64)
    if len(spans):
        first = np.flatnonzero(np.diff(spans.entity, prepend=-1))
        starts[spans.entity[first]] = np.minimum.reduceat(spans.start, first)
        stops[spans.entity[first]] = np.maximum.reduceat(spans.stop, first)
    return starts, stops


def _space_before(symbols: str, layer: Layer) -> NDArray[np.bool_]:
    """Return whether the character before each unit is white space; true where there is none. Shape (n,)."""
    result = np.ones(len(layer), np.bool_)
    spans = layer.span_arrays()
    first = np.ones(len(spans), np.bool_)
    first[1:] = spans.entity[1:] != spans.entity[:-1]
    entity, start = spans.entity[first], spans.start[first]
    inside = (start > 0) & (start <= len(symbols))
    result[entity[inside]] = white_space(symbols)[start[inside] - 1]
    return result


def _boxes(layer: Layer) -> tuple[NDArray[np.float32] | None, NDArray[np.int32] | None]:
    """Return the box around each unit's boxes on the first of its pages, and that page; None where no unit has one."""
    boxes = layer.box_arrays()
    if len(boxes.entity) == 0:
        return None, None
    edges = np.full((len(layer), 4), np.nan, np.float32)
    pages = np.full(len(layer), -1, np.int32)
    entity, first = np.unique(boxes.entity, return_index=True)
    pages[entity] = boxes.page[first]
    same = boxes.page == pages[boxes.entity]
    low = np.stack([boxes.left, boxes.top], 1)[same]
    high = low + np.stack([boxes.width, boxes.height], 1)[same]
    at = np.searchsorted(boxes.entity[same], entity)
    edges[entity, :2] = np.minimum.reduceat(low, at)
    edges[entity, 2:] = np.maximum.reduceat(high, at)
    return edges, pages
