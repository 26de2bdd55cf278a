"""``papermage-data stats``: how much there is of everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.config.readers import ReaderChoice
from papermage_core.data.gold import label_document
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.readers import iter_documents
from papermage_core.data.units import Parser
from papermage_core.document import Document
from papermage_core.evaluation.spans import overlap
from papermage_core.plugin.spec import ContextNeeds, UnitSpan

if TYPE_CHECKING:
    from papermage_core.cli.data import Labelled

__all__ = ["Stats", "count", "describe"]


@attrs.define
class LabelStats:
    """What is counted of a label."""

    entities: int = 0
    units: list[int] = attrs.field(factory=list)
    """Units of each entity."""
    discontinuous: int = 0
    overlapping: int = 0
    """Entities that share a unit with another one, of any label."""

    def to_json(self) -> dict[str, Any]:
        """Return the counts, lengths summed up."""
        return {
            "entities": self.entities,
            "units_each": _spread(self.units),
            "discontinuous": self.discontinuous,
            "overlapping": self.overlapping,
        }


@attrs.define
class Stats:
    """What is counted of documents."""

    documents: int = 0
    characters: int = 0
    layers: Counter[str] = attrs.field(factory=Counter)
    """Entities of each layer."""
    with_layer: Counter[str] = attrs.field(factory=Counter)
    """Documents that have a layer."""
    with_boxes: int = 0
    """Documents whose units have boxes."""
    units: list[int] = attrs.field(factory=list)
    """Units of each document."""
    context_units: list[int] = attrs.field(factory=list)
    """Units of each context."""
    labels: dict[str, LabelStats] = attrs.field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {
            "documents": self.documents,
            "characters": self.characters,
            "units": sum(self.units),
            "units_per_document": _spread(self.units),
            "contexts": len(self.context_units),
            "units_per_context": _spread(self.context_units),
            "documents_with_boxes": self.with_boxes,
            "layers": {
                name: {"entities": self.layers[name], "documents": documents}
                for name, documents in self.with_layer.items()
            },
            "labels": {label: found.to_json() for label, found in self.labels.items()},
        }


def count(options: Labelled, reader: ReaderChoice) -> Stats:
    """Return the counts over all documents; units, contexts and labels only where their layers are."""
    found = Stats()
    for located in iter_documents(options.data_path, reader=reader):
        document = located.document
        found.documents += 1
        found.characters += len(document.symbols or "")
        names = [name for name in document.layers if name not in Document.SPECIAL_FIELDS]
        found.with_layer.update(names)
        found.layers.update({name: len(document.get_layer(name)) for name in names})
        name = document.id or f"{located.path}:{located.line}"
        if options.entity_name in names:
            _count_units(document, options, name, found)
    return found


def _count_units(document: Document, options: Labelled, name: str, found: Stats) -> None:
    labelling = Labelling(
        label_field=options.label_field,
        entity_name=options.entity_name,
        context_name=options.context_name,
        label_attribute=options.label_attribute,
    )
    issues = Issues()
    units = document.get_layer(options.entity_name)
    found.units.append(len(units))
    found.with_boxes += len(units.box_arrays()) > 0
    has_contexts = document.has_layer(options.context_name)
    parsed = Parser(labelling, ContextNeeds(), issues, reads_whole=not has_contexts).parse(document, name)
    if has_contexts:
        found.context_units += map(len, parsed.units)
    if not options.label_field:
        return
    labelled = label_document(parsed, document, labelling, issues)
    if labelled is None:
        return
    gold = [entity for of_task in labelled.gold for entity in of_task or ()]
    for entity in gold:
        _count_label(entity, found.labels.setdefault(entity.label, LabelStats()))
    for _, label in labelled.unreachable:
        found.labels.setdefault(label, LabelStats()).entities += 1
    for label in _overlapping(gold):
        found.labels[label].overlapping += 1


def _count_label(entity: UnitSpan, found: LabelStats) -> None:
    found.entities += 1
    found.units.append(sum(stop - start for start, stop in entity.segments))
    found.discontinuous += entity.is_discontinuous


def _overlapping(gold: Sequence[UnitSpan]) -> list[str]:
    """Return the label of each entity that shares a unit with another."""
    placed = sorted(gold)
    touched: set[int] = set()
    for i, one in enumerate(placed):
        for j in range(i + 1, len(placed)):
            if placed[j].start >= one.stop:
                break
            if overlap(one, placed[j]):
                touched |= {i, j}
    return [placed[index].label for index in touched]


def _spread(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high, most = np.percentile(values, [0, 50, 95, 100]).tolist()
    return {"min": low, "median": middle, "p95": high, "max": most, "mean": round(float(np.mean(values)), 2)}


def describe(found: Stats) -> str:
    """Return the counts for the terminal."""
    lines = [
        f"documents   {found.documents}",
        f"characters  {found.characters}",
        f"units       {sum(found.units)}{_in_words(found.units, 'a document')}",
        f"contexts    {len(found.context_units)}{_in_words(found.context_units, 'a context')}",
        f"with boxes  {found.with_boxes} documents",
    ]
    width = max(map(len, [*found.with_layer, *found.labels]), default=0)
    if found.with_layer:
        lines += ["", f"{'layer':{width}}  entities  documents"]
        lines += [f"{name:{width}}  {found.layers[name]:8}  {n:9}" for name, n in found.with_layer.items()]
    if found.labels:
        lines += ["", f"{'label':{width}}  entities  median units  most  discontinuous  overlapping"]
        lines += [_label_line(label, each, width) for label, each in found.labels.items()]
    return "\n".join(lines)


def _label_line(label: str, found: LabelStats, width: int) -> str:
    spread = _spread(found.units)
    return (
        f"{label:{width}}  {found.entities:8}  {spread['median']:12g}  {spread['max']:4g}  "
        f"{found.discontinuous:13}  {found.overlapping:11}"
    )


def _in_words(values: Sequence[int], of: str) -> str:
    if not values:
        return ""
    spread = _spread(values)
    return f"  (median {spread['median']:g}, 95% up to {spread['p95']:g}, most {spread['max']:g} {of})"
