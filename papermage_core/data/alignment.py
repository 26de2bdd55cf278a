"""Gold entities of a document → spans of units.

Gold is kept twice over. *For scoring*, every gold entity stays as it was drawn, in units of the document, even where
no model of this kind could have found it. *For training*, what a scheme cannot hold is cut or left out by a policy that
`papermage_core.data.issues.KINDS` names, and counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.issues import Issues
from papermage_core.document import Document, Layer
from papermage_core.document.queries import context_of_units, unit_ranges
from papermage_core.errors import DataError, nearest
from papermage_core.plugin.spec import LabelScheme, UnitSpan

__all__ = ["Gold", "OverlapPolicy", "Places", "gold_entities", "place_units", "to_document", "training_spans"]

OverlapPolicy = Literal["longest", "first", "separate"]


@attrs.frozen(eq=False)
class Places:
    """Where each unit of a document is read.

    Every unit stands in exactly one context: the one that holds most of it. Units in no context are gathered, stretch
    by stretch, into contexts of their own, so that they too are labelled.
    """

    units: tuple[NDArray[np.int64], ...]
    """The units of each context, ascending. Contexts without units are left out."""
    context: NDArray[np.int64]
    """The context of each unit, an index into `units`. Shape (n,)."""
    position: NDArray[np.int64]
    """The place of each unit in its context. Shape (n,)."""


@attrs.frozen
class Gold:
    """A gold entity: its label, and the segments of document units it covers; none where it touches no unit."""

    label: str
    segments: tuple[tuple[int, int], ...]

    @property
    def span(self) -> UnitSpan:
        """The entity as a span of document units. Only where there are segments."""
        return UnitSpan(self.label, self.segments)


def layer_of(document: Document, name: str, document_id: str, what: str) -> Layer:
    """Return a layer that must be there. Raises DataError with the nearest name."""
    known = _layers(document)
    if name not in known:
        found = ", ".join(known) or "none"
        raise DataError(
            f"no layer {name!r}, which {what} names.{nearest(name, known)} Layers here: {found}", document=document_id
        )
    return document.get_layer(name)


def _layers(document: Document) -> list[str]:
    return [layer for layer in document.layers if layer not in Document.SPECIAL_FIELDS]


def place_units(
    document: Document, entity_name: str, context_name: str, issues: Issues, document_id: str = ""
) -> Places:
    """Return where each unit is read. Raises DataError where a layer is missing."""
    units = layer_of(document, entity_name, document_id, "entity_name")
    contexts = layer_of(document, context_name, document_id, "context_name")
    context, count = context_of_units(units, contexts)
    n = len(context)
    if n == 0:
        issues.add("document_without_units", document_id, f"layer {entity_name!r} is empty")
        return Places((), context, context)
    if several := int((count > 1).sum()):
        first = int(np.flatnonzero(count > 1)[0])
        issues.add("unit_in_several_contexts", document_id, f"{entity_name}[{first}]", several)
    orphan = context < 0
    if orphan.any():
        first = int(np.flatnonzero(orphan)[0])
        issues.add("unit_in_no_context", document_id, f"{entity_name}[{first}]", int(orphan.sum()))
        begins = orphan & ~np.concatenate([[False], orphan[:-1]])
        context = np.where(orphan, len(contexts) + np.cumsum(begins) - 1, context)
    if (context[1:] >= context[:-1]).all():  # the rule: contexts follow each other
        begins = np.flatnonzero(np.concatenate([[True], context[1:] != context[:-1]]))
        bounds = np.append(begins, n)
        sizes = bounds[1:] - begins
        everything = np.arange(n)
        units_of = tuple(everything[a:b] for a, b in itertools.pairwise(bounds.tolist()))
        return Places(units_of, np.repeat(np.arange(len(begins)), sizes), everything - np.repeat(begins, sizes))
    # Contexts by their first unit, so that what is read first comes first.
    found, first_unit, inverse = np.unique(context, return_index=True, return_inverse=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first_unit, kind="stable")] = np.arange(len(found))
    context = rank[inverse.reshape(-1)]
    order = np.argsort(context, kind="stable")
    bounds = np.searchsorted(context[order], np.arange(len(found) + 1))
    position = np.empty(n, np.int64)
    position[order] = np.arange(n) - np.repeat(bounds[:-1], np.diff(bounds))
    units_of = tuple(order[a:b] for a, b in itertools.pairwise(bounds))
    return Places(units_of, context, position)


def gold_entities(
    document: Document,
    entity_name: str,
    fields: Sequence[str],
    issues: Issues,
    document_id: str = "",
    label_attribute: str | None = None,
) -> list[Gold] | None:
    """Return the gold entities of the label fields, each once, in order of field; None where nobody labelled.

    A document that lacks all of the fields was not labelled. An entity's label is the name of its field, or with
    ``label_attribute`` what its metadata says under that key.
    """
    present = [field for field in fields if field in document.layers]
    if not present:
        known = _layers(document)
        hint = "".join(nearest(field, known) for field in fields)
        detail = f"no layer {', '.join(map(repr, fields))}.{hint} Layers there: {', '.join(known) or 'none'}"
        issues.add("layer_missing", document_id, detail)
        return None
    if len(present) < len(fields):
        missing = [field for field in fields if field not in present]
        issues.add("some_layers_missing", document_id, f"no layer {', '.join(map(repr, missing))}")
    units = document.get_layer(entity_name)
    found: list[Gold] = []
    seen: set[Gold] = set()
    for field in present:
        layer = document.get_layer(field)
        labels = _labels(layer, field, label_attribute, issues, document_id)
        for index, gold in enumerate(_spans(layer, units, labels, field, issues, document_id)):
            if gold in seen and gold.segments:
                issues.add("gold_twice", document_id, f"{field}[{index}]")
            else:
                seen.add(gold)
                found.append(gold)
    return found


def _labels(layer: Layer, field: str, attribute: str | None, issues: Issues, document_id: str) -> Sequence[str]:
    if attribute is None:
        return [field] * len(layer)
    column = layer.metadata_column(attribute) or [None] * len(layer)
    for index, value in enumerate(column):
        if value is None:
            issues.add("gold_attribute_missing", document_id, f"{field}[{index}] has no {attribute!r}")
        elif value == "O" or not str(value).strip():
            raise DataError(
                f"{attribute!r} is {value!r}, which cannot be a label (O means outside)",
                document=document_id,
                layer=field,
                entity=index,
            )
    return [field if value is None else str(value) for value in column]


def _spans(
    layer: Layer, units: Layer, labels: Sequence[str], field: str, issues: Issues, document_id: str
) -> list[Gold]:
    ranges = unit_ranges(layer, units)
    segments: list[list[tuple[int, int]]] = [[] for _ in labels]
    for entity, start, stop in zip(ranges.entity.tolist(), ranges.start.tolist(), ranges.stop.tolist(), strict=True):
        segments[entity].append((start, stop))
    for index in np.unique(ranges.entity[ranges.partial_start | ranges.partial_stop]).tolist():
        issues.add("gold_cut_unit", document_id, f"{field}[{index}] {layer[index].text!r:.60}")
    for index, found in enumerate(segments):
        if not found:
            issues.add("gold_without_units", document_id, f"{field}[{index}]")
    return [Gold(label, tuple(found)) for label, found in zip(labels, segments, strict=True)]


def training_spans(
    gold: Sequence[Gold],
    places: Places,
    scheme: LabelScheme,
    issues: Issues,
    document_id: str = "",
    overlap_policy: OverlapPolicy = "longest",
) -> list[list[UnitSpan]]:
    """Return, for each context, the gold that ``scheme`` can hold, in units of the context, by start, then stop.

    An entity that crosses contexts is cut at their ends. Where the scheme has no room for it, a discontinuous entity
    becomes one a segment, and of entities that overlap the longest is kept, or with ``first`` the one that comes first;
    on ties the earlier.
    """
    spans: list[list[UnitSpan]] = [[] for _ in places.units]
    for entity in gold:
        if not entity.segments:
            continue
        pieces = _pieces(entity, places)
        if len(pieces) > 1:
            issues.add("gold_crosses_contexts", document_id, f"{entity.label} at units {_show(entity)}")
        split = False
        for context, span in pieces.items():
            if not span.is_discontinuous or scheme.allows_discontinuous:
                spans[context].append(span)
            else:
                split = True
                spans[context].extend(UnitSpan(span.label, (segment,)) for segment in span.segments)
        if split:
            issues.add("gold_discontinuous", document_id, f"{entity.label} at units {_show(entity)}")
    if not scheme.allows_overlap:
        spans = [_without_overlap(found, overlap_policy, issues, document_id) for found in spans]
    return [sorted(set(found)) for found in spans]


def _show(entity: Gold) -> str:
    return " and ".join(f"{start}:{stop}" for start, stop in entity.segments)


def _pieces(entity: Gold, places: Places) -> Mapping[int, UnitSpan]:
    """Context → what of the entity lies in it, in units of the context."""
    pieces: dict[int, list[tuple[int, int]]] = {}
    for start, stop in entity.segments:
        first, last = int(places.context[start]), int(places.context[stop - 1])
        low, high = int(places.position[start]), int(places.position[stop - 1]) + 1
        if first == last and high - low == stop - start:
            pieces.setdefault(first, []).append((low, high))
        else:
            for unit in range(start, stop):
                position = int(places.position[unit])
                pieces.setdefault(int(places.context[unit]), []).append((position, position + 1))
    return {context: UnitSpan.joining(entity.label, found) for context, found in pieces.items()}


def _without_overlap(spans: list[UnitSpan], policy: OverlapPolicy, issues: Issues, document_id: str) -> list[UnitSpan]:
    # Sorts are stable: of two that tie, the earlier in the layer comes first.
    spans = sorted(spans, key=lambda s: s.start if policy == "first" else s.start - s.stop)
    kept: list[UnitSpan] = []
    taken: set[int] = set()
    for span in spans:
        units = set(span.units)
        if taken.isdisjoint(units):
            kept.append(span)
            taken.update(units)
        elif span not in kept:
            issues.add("gold_overlaps", document_id, f"{span.label} at units {span.start}:{span.stop} of its context")
    return kept


def to_document(span: UnitSpan, units: NDArray[np.int64]) -> UnitSpan:
    """Return a context's span in units of the document; ``units`` are those of the context."""
    first = int(units[0])
    if int(units[-1]) - first + 1 == len(units):  # the rule: a context's units follow each other
        return span.shifted(first)
    ids = (int(units[unit]) for unit in span.units)
    return UnitSpan.joining(span.label, ((unit, unit + 1) for unit in ids), span.score)
