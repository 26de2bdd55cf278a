"""Gold entities of a document, and what of them a scheme can learn.

Gold is kept twice over. *For scoring*, every gold entity stays as it was drawn, in units of the document, even where
no model of this kind could have found it. *For training*, what a scheme cannot hold is cut or left out by a policy that
`papermage_core.data.issues.KINDS` names, and counted.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.config.scheme import check_target
from papermage_core.data.issues import At, Issues
from papermage_core.data.labelling import Labelling, OverlapPolicy, Task
from papermage_core.data.units import ParsedDocument
from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.document.queries import unit_ranges
from papermage_core.errors import DataError, nearest
from papermage_core.plugin.blame import calling
from papermage_core.plugin.spec import LabelScheme, UnitSpan

__all__ = [
    "Gold",
    "check_fields",
    "count_gold",
    "encode_gold",
    "gold_of_contexts",
    "label_document",
    "labels_of",
    "no_label_layer",
    "to_document",
    "training_spans",
]

_ALIKE = 0.8  # share of letters, from which on a layer's name may be meant for another


@attrs.frozen(order=False)
class Gold(UnitSpan):
    """A gold entity in units of its document, with its place: entity ``index`` of the layer ``field``."""

    field: str = attrs.field(kw_only=True, eq=False)
    index: int = attrs.field(kw_only=True, eq=False)

    def as_span(self) -> UnitSpan:
        """Return the entity without its place, to compare with predictions."""
        return UnitSpan(self.label, self.segments)


def label_document(
    parsed: ParsedDocument, document: Document, labelling: Labelling, issues: Issues
) -> ParsedDocument | None:
    """Return the parsed document with its gold; None where nobody labelled it for any task."""
    gold: list[tuple[Gold, ...] | None] = []
    unreachable: list[tuple[int, str]] = []
    for task, fields in enumerate(labelling.task_fields):
        present = _present(document, fields, labelling, parsed.name, issues)
        lost: list[str] = []
        gold.append(None if present is None else _gold(document, parsed, present, labelling, issues, lost))
        unreachable += [(task, label) for label in lost]
    if all(found is None for found in gold):
        return None
    return attrs.evolve(parsed, gold=tuple(gold), unreachable=tuple(unreachable))


def check_fields(label_field: Sequence[str], there: Collection[str], issues: Issues, path: str) -> None:
    """Raise DataError for label fields that no document has: a name that is misspelt would count as one never found."""
    absent = [field for field in label_field if field not in there]
    if absent:
        kinds = ("layer_misspelt", "some_layers_missing", "layer_missing")
        examples = next(filter(None, map(issues.examples.get, kinds)), None)
        found = f" In {examples[0].document}: {examples[0].detail}" if examples else ""
        raise no_label_layer(absent, found, path)


def no_label_layer(absent: Collection[str], found: str, path: str) -> DataError:
    """Return the error for label fields that no document has; ``found`` says what is there instead."""
    names = ", ".join(map(repr, absent))
    return DataError(f"no document has the label layer {names}, which label_field names.{found}", path=path)


def _hints(missing: Sequence[str], known: Sequence[str]) -> str:
    """Return what slips were for; of another layer that is lacking nothing, for other documents may have it."""
    found = "".join(nearest(field, [other for other in known if _is_slip(field, other)]) for field in missing)
    return found and f".{found}"


def _is_slip(name: str, other: str) -> bool:
    """Whether a name is the other but for capitals, letters that changed places, or one that is too many or lacks."""
    if abs(len(name) - len(other)) > 1:
        return False
    return difflib.SequenceMatcher(None, name.casefold(), other.casefold()).ratio() >= _ALIKE


def _present(
    document: Document, fields: Sequence[str], labelling: Labelling, name: str, issues: Issues
) -> list[str] | None:
    """Return the label fields that a document has, None where it has none: nobody labelled it."""
    known = document.layer_names
    present = [field for field in fields if field in known]
    missing = [field for field in fields if field not in known]
    if not present:
        others = [layer for layer in known if layer not in (labelling.entity_name, labelling.context_name)]
        hint = "".join(nearest(field, others) for field in fields)
        detail = f"no layer {', '.join(map(repr, fields))}.{hint} Layers there: {', '.join(known) or 'none'}"
        issues.add("layer_missing", name, detail)
        return None
    if missing:
        others = [layer for layer in known if layer not in fields]
        is_slip = any(_is_slip(field, other) for field in missing for other in others)
        kind = "layer_misspelt" if is_slip else "some_layers_missing"
        issues.add(kind, name, f"no layer {', '.join(map(repr, missing))}{_hints(missing, known)}")
    return present


def _gold(
    document: Document,
    parsed: ParsedDocument,
    fields: Sequence[str],
    labelling: Labelling,
    issues: Issues,
    unreachable: list[str],
) -> tuple[Gold, ...]:
    """Return the gold entities of label fields, each once, in order of field."""
    layer = document.get_layer(labelling.entity_name)
    rank = None if parsed.order is None else np.argsort(parsed.order)
    found: dict[Gold, None] = {}
    for field in fields:
        entities = document.get_layer(field)
        labels = labels_of(entities, field, labelling.label_attribute, issues, parsed.name)
        for index, segments in enumerate(_segments(entities, layer, rank, field, issues, parsed.name)):
            if not segments:
                issues.add("gold_without_units", parsed.name, f"{field}[{index}]", at=_at(entities, field, index))
                unreachable.append(labels[index])
                continue
            gold = Gold(labels[index], segments, field=field, index=index)
            if gold in found:
                issues.add("gold_twice", parsed.name, f"{field}[{index}]", at=_at(entities, field, index))
            else:
                found[gold] = None
    return tuple(found)


def labels_of(entities: Layer, field: str, attribute: str | None, issues: Issues, name: str) -> Sequence[str]:
    """Return the label of each entity of a layer. Raises DataError for what cannot be one."""
    if attribute is None:
        return [field] * len(entities)
    labels = []
    for index, value in enumerate(entities.metadata_column(attribute) or [None] * len(entities)):
        if value is None:
            detail = f"{field}[{index}] has no {attribute!r}"
            issues.add("gold_attribute_missing", name, detail, at=_at(entities, field, index))
        elif not isinstance(value, (str, int)) or isinstance(value, bool) or value == "O" or not str(value).strip():
            raise DataError(
                f"{attribute!r} is {value!r:.60}, which cannot be a label; expected a string other than 'O' (which "
                "means outside), or an integer",
                document=name,
                layer=field,
                entity=index,
            )
        labels.append(field if value is None else str(value))
    return labels


def _segments(
    entities: Layer, layer: Layer, rank: NDArray[np.int64] | None, field: str, issues: Issues, name: str
) -> list[tuple[tuple[int, int], ...]]:
    """Return the segments of each entity in reading order; ``rank`` is index in the layer → reading order."""
    ranges = unit_ranges(entities, layer)
    pieces: list[list[tuple[int, int]]] = [[] for _ in range(len(entities))]
    for entity, start, stop in zip(ranges.entity.tolist(), ranges.start.tolist(), ranges.stop.tolist(), strict=True):
        pieces[entity].append((start, stop))
    cut = ranges.partial_start | ranges.partial_stop
    for index, first, stop in zip(*(a[cut].tolist() for a in (ranges.entity, ranges.start, ranges.stop)), strict=True):
        shown = " ".join(unit.text for unit in layer[first:stop])
        detail = f"{field}[{index}] {entities[index].text!r:.60} in {shown!r:.60}"
        issues.add("gold_cut_unit", name, detail, at=_at(entities, field, index))
    for index in _overlapping_themselves(entities.span_arrays()):
        shown = ", ".join(f"{span.start}:{span.end}" for span in entities[index].spans)
        issues.add("gold_overlaps_itself", name, f"{field}[{index}] at {shown:.60}", at=_at(entities, field, index))
    if rank is None:
        return [tuple(of_entity) for of_entity in pieces]
    return [
        UnitSpan.joining("", [(u, u + 1) for a, b in of_entity for u in rank[a:b].tolist()]).segments
        if of_entity
        else ()
        for of_entity in pieces
    ]


def _overlapping_themselves(spans: SpanArrays) -> list[int]:
    """Return which entities have two spans that share a character."""
    if (spans.entity[1:] > spans.entity[:-1]).all():
        return []
    order = np.lexsort((spans.start, spans.entity))
    order = order[spans.stop[order] > spans.start[order]]
    start, stop, entity = spans.start[order], spans.stop[order], spans.entity[order]
    found: list[int] = np.unique(entity[1:][(start[1:] < stop[:-1]) & (entity[1:] == entity[:-1])]).tolist()
    return found


def training_spans(
    parsed: ParsedDocument, gold: Sequence[UnitSpan], scheme: LabelScheme, issues: Issues, policy: OverlapPolicy
) -> list[list[UnitSpan]]:
    """Return, for each context, the gold that ``scheme`` can hold, in units of the context, in order.

    An entity that crosses contexts is cut at their ends. Where the scheme has no room for it, a discontinuous entity
    becomes one a segment, and of entities that overlap the longest is kept, or with ``first`` the one that comes first;
    on ties the earlier.
    """
    spans: list[list[UnitSpan]] = [[] for _ in parsed.units]
    context, place = parsed.places()
    for entity in gold:
        cut = _by_context(entity, context, place)
        if len(cut) > 1:
            issues.add("gold_crosses_contexts", parsed.name, _place_of(entity), at=_at_units(entity, parsed))
        split = False
        for number, span in cut.items():
            if not span.is_discontinuous or scheme.allows_discontinuous:
                spans[number].append(span)
            else:
                split = True
                spans[number].extend(UnitSpan(span.label, (segment,)) for segment in span.segments)
        if split:
            issues.add("gold_discontinuous", parsed.name, _place_of(entity), at=_at_units(entity, parsed))
    if not scheme.allows_overlap:
        spans = [
            _without_overlap(found, policy, issues, parsed, units)
            for found, units in zip(spans, parsed.units, strict=True)
        ]
    return [sorted(set(found), key=_place) for found in spans]


def gold_of_contexts(parsed: ParsedDocument) -> list[list[UnitSpan] | None]:
    """Return the gold of each context, cut at its ends; None where nobody labelled the document for each task."""
    if any(gold is None for gold in parsed.gold):
        return [None] * len(parsed.units)
    spans: list[list[UnitSpan]] = [[] for _ in parsed.units]
    context, place = parsed.places()
    for gold in parsed.gold:
        for entity in gold or ():
            for number, span in _by_context(entity, context, place).items():
                spans[number].append(span)
    return list(spans)


def _at(entities: Layer, field: str, index: int) -> At:
    """Return where an entity of a layer stands."""
    entity = entities[index]
    return At(field, index, tuple((span.start, span.end) for span in entity.spans), entity.text)


def _at_units(span: UnitSpan, parsed: ParsedDocument) -> At:
    """Return where an entity in units of the document stands."""
    places = []
    for start, stop in span.segments:
        placed = parsed.starts[start:stop] >= 0
        if placed.any():
            low, high = parsed.starts[start:stop][placed].min(), parsed.stops[start:stop][placed].max()
            places.append((int(low), int(high)))
    text = " ".join(parsed.symbols[start:stop] for start, stop in places)
    field, index = (span.field, span.index) if isinstance(span, Gold) else (span.label, None)
    return At(field, index, tuple(places), text)


def _place(span: UnitSpan) -> Any:
    return span.place


def _place_of(entity: UnitSpan) -> str:
    return f"{entity.label} at units " + " and ".join(f"{start}:{stop}" for start, stop in entity.segments)


def _by_context(entity: UnitSpan, context: NDArray[np.int64], place: NDArray[np.int64]) -> dict[int, UnitSpan]:
    """Return context → what of the entity lies in it, in units of the context."""
    pieces: dict[int, list[tuple[int, int]]] = {}
    for start, stop in entity.segments:
        first, last = int(context[start]), int(context[stop - 1])
        low, high = int(place[start]), int(place[stop - 1]) + 1
        if first == last and high - low == stop - start:
            pieces.setdefault(first, []).append((low, high))
        else:
            for number, at in zip(context[start:stop].tolist(), place[start:stop].tolist(), strict=True):
                pieces.setdefault(number, []).append((at, at + 1))
    return {
        number: UnitSpan(entity.label, (found[0],)) if len(found) == 1 else UnitSpan.joining(entity.label, found)
        for number, found in pieces.items()
    }


def _without_overlap(
    spans: list[UnitSpan], policy: OverlapPolicy, issues: Issues, parsed: ParsedDocument, of_context: NDArray[np.int64]
) -> list[UnitSpan]:
    # Sorts are stable: of two that tie, the earlier in the layer comes first.
    spans = sorted(spans, key=lambda s: s.start if policy == "first" else s.start - s.stop)
    kept: dict[UnitSpan, None] = {}
    taken: set[int] = set()
    for span in spans:
        units = range(span.start, span.stop)
        if taken.isdisjoint(units):
            kept[span] = None
            taken.update(units)
        elif span not in kept:
            detail = f"{span.label} at units {span.start}:{span.stop} of its context"
            issues.add("gold_overlaps", parsed.name, detail, at=_at_units(to_document(span, of_context), parsed))
    return list(kept)


def count_gold(parsed: ParsedDocument, task: Task, issues: Issues, policy: OverlapPolicy) -> None:
    """Count what of a document's gold the scheme of a task cannot hold, as `encode_gold` does, and encode nothing."""
    for gold in parsed.gold:
        training_spans(parsed, gold or (), task.scheme, issues, policy)


def encode_gold(parsed: ParsedDocument, tasks: Sequence[Task], issues: Issues, policy: OverlapPolicy) -> list[Any]:
    """Return, for each context, the target of each task: as its scheme encodes it, or where nobody labelled tags of -1.

    Under a scheme of spans, what nobody labelled is None. Gold with a label that no task knows is counted.
    """
    targets: list[list[Any]] = [[] for _ in parsed.units]
    for task, gold in zip(tasks, parsed.gold, strict=True):
        if gold is None:
            for of_context, units in zip(targets, parsed.units, strict=True):
                of_context.append(np.full(len(units), -1, np.int64) if task.scheme.targets == "tags" else None)
            continue
        labels = set(task.labels)
        known = [entity for entity in gold if entity.label in labels]
        if len(known) < len(gold):
            first = next(entity for entity in gold if entity.label not in labels)
            count = len(gold) - len(known)
            issues.add("gold_label_unknown", parsed.name, repr(first.label), count, at=_at_units(first, parsed))
        for of_context, units, spans in zip(
            targets, parsed.units, training_spans(parsed, known, task.scheme, issues, policy), strict=True
        ):
            with calling(task.scheme, "encode"):
                of_context.append(_encoded(task.scheme, spans, len(units)))
    return targets


def _encoded(scheme: LabelScheme, spans: list[UnitSpan], n_units: int) -> Any:
    target = scheme.encode(spans, n_units)
    if scheme.targets == "tags":
        check_target(target, n_units, len(scheme.tags))
    return target


def to_document(span: UnitSpan, units: NDArray[np.int64]) -> UnitSpan:
    """Return a context's span in units of the document; ``units`` are those of the context."""
    first = int(units[0])
    if int(units[-1]) - first + 1 == len(units):  # the rule: a context's units follow each other
        return span.shifted(first) if first else span
    pieces = [(unit, unit + 1) for start, stop in span.segments for unit in units[start:stop].tolist()]
    return UnitSpan.joining(span.label, pieces, span.score)
