"""How much there is of everything."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.gold import label_document
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling, label_fields
from papermage_core.data.processors import read_processed
from papermage_core.data.readers import AnyReader, OnError
from papermage_core.data.units import Parser
from papermage_core.document import Document
from papermage_core.errors import DataError, counted, nearest
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ContextNeeds, DocumentProcessorConfig, UnitSpan

__all__ = ["LabelStats", "Stats", "stats"]

_log = logging.getLogger(__name__)


@attrs.define
class LabelStats:
    """What is counted of a label."""

    entities: int = 0
    units: array[int] = attrs.field(factory=lambda: array("q"))
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
    units: array[int] = attrs.field(factory=lambda: array("q"))
    """Units of each document."""
    context_units: array[int] = attrs.field(factory=lambda: array("q"))
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

    def __str__(self) -> str:
        lines = [
            f"documents   {self.documents}",
            f"characters  {self.characters}",
            f"units       {sum(self.units)}{_in_words(self.units, 'a document')}",
            f"contexts    {len(self.context_units)}{_in_words(self.context_units, 'a context')}",
            f"with boxes  {counted(self.with_boxes, 'documents')}",
        ]
        width = max(map(len, [*self.with_layer, *self.labels]), default=0)
        if self.with_layer:
            lines += ["", f"{'layer':{width}}  entities  documents"]
            lines += [f"{name:{width}}  {self.layers[name]:8}  {n:9}" for name, n in self.with_layer.items()]
        if self.labels:
            lines += ["", f"{'label':{width}}  entities  median units  most  discontinuous  overlapping"]
            lines += [_label_line(label, each, width) for label, each in self.labels.items()]
        return "\n".join(lines)


def stats(
    data_path: str | Path | Sequence[str | Path],
    label_field: str | Sequence[str] = (),
    *,
    entity_name: str = "tokens",
    context_name: str = "pages",
    label_attribute: str | None = None,
    reader: AnyReader = None,
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
    plugins: Plugins | None = None,
    on_error: OnError | None = None,
) -> Stats:
    """Return how much there is of everything; units, contexts and labels only where their layers are.

    ``processors`` add layers first.

    >>> from papermage_core.testing import make_documents, write_jsonl
    >>> stats(write_jsonl(make_documents(2), getfixture("tmp_path") / "a.jsonl"), "Disease").labels["Disease"].entities
    5
    """
    found = Stats()
    labelling = Labelling(
        label_field=label_fields(label_field),
        entity_name=entity_name,
        context_name=context_name,
        label_attribute=label_attribute,
    )

    for located in read_processed(data_path, reader, processors, plugins, on_error):
        document = located.document
        found.documents += 1
        found.characters += len(document.symbols or "")
        names = document.layer_names
        found.with_layer.update(names)
        found.layers.update({name: len(document.get_layer(name)) for name in names})
        if entity_name in names:
            try:
                _count_units(document, labelling, found)
            except DataError as error:
                if on_error is None:
                    raise located.error(error) from error
                on_error(located.error(error))
    if label_attribute is None:
        for name in labelling.label_field:
            found.labels.setdefault(name, LabelStats())  # of which there is none
            if name not in found.layers:
                known = ", ".join(found.layers) or "none"
                hint = nearest(name, found.layers)
                _log.warning("label_field=%s: no document has this layer.%s Layers there: %s", name, hint, known)
    return found


def _count_units(document: Document, labelling: Labelling, found: Stats) -> None:
    issues = Issues()
    units = document.get_layer(labelling.entity_name)
    found.units.append(len(units))
    found.with_boxes += len(units.box_arrays()) > 0
    has_contexts = document.has_layer(labelling.context_name)
    parsed = Parser(labelling, ContextNeeds(), issues, reads_whole=not has_contexts).parse(document, "")
    if has_contexts:
        found.context_units.extend(map(len, parsed.units))
    labelled = label_document(parsed, document, labelling, issues) if labelling.label_field else None
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
            if any(a < d and c < b for a, b in one.segments for c, d in placed[j].segments):
                touched |= {i, j}
    return [placed[index].label for index in touched]


def _spread(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high, most = np.percentile(values, [0, 50, 95, 100]).tolist()
    return {"min": low, "median": middle, "p95": high, "max": most, "mean": round(float(np.mean(values)), 2)}


def _label_line(label: str, found: LabelStats, width: int) -> str:
    spread = _spread(found.units) or {"median": 0, "max": 0}
    return (
        f"{label:{width}}  {found.entities:8}  {spread['median']:12g}  {spread['max']:4g}  "
        f"{found.discontinuous:13}  {found.overlapping:11}"
    )


def _in_words(values: Sequence[int], of: str) -> str:
    if not values:
        return ""
    spread = _spread(values)
    return f"  (median {spread['median']:g}, 95% up to {spread['p95']:g}, most {spread['max']:g} {of})"
