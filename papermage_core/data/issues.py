"""What was odd in the data, counted by kind and never silent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

__all__ = ["KINDS", "At", "Issue", "Issues"]

KINDS = {
    "no_context_layer": "layer of contexts, which context_name names, that no document has; documents are read whole",
    "units_out_of_order": "documents whose units are not in the order of the text; read in the order of the text",
    "unit_in_no_context": "units that lie in no context; read in a context of their own",
    "unit_in_several_contexts": "units that lie in several contexts; read in the one that holds most of them",
    "gold_without_units": "gold entities that touch no unit; cannot be learnt, counted as missed when scored",
    "gold_cut_unit": "gold entities that begin or end inside a unit; rounded out to whole units",
    "gold_overlaps_itself": "gold entities whose own spans overlap; what they cover counts once",
    "gold_crosses_contexts": "gold entities that cross contexts; trained as one entity a context, counted as missed "
    "when scored",
    "gold_discontinuous": "discontinuous gold entities under a scheme for continuous ones; trained as one entity a "
    "segment, counted as missed when scored",
    "gold_overlaps": "gold entities that overlap another under a scheme without overlap; left out of training, counted "
    "as missed when scored",
    "gold_twice": "gold entities that stand twice in a document; counted once",
    "gold_attribute_missing": "gold entities without the label_attribute; labelled with the name of their layer",
    "gold_label_unknown": "gold entities with a label that training did not see; counted as missed when scored",
    "layer_missing": "documents without any of the label layers; nobody labelled them, so they are left out",
    "some_layers_missing": "documents with some of the label layers only; the others are taken as marking nothing",
    "layer_misspelt": "documents that lack a label layer and have one of nearly its name, which is not looked at",
    "document_without_units": "documents without units; nothing to learn or predict",
    "same_document": "documents whose text has been seen before",
    "layers_kept": "documents that had these layers already, and keep them; predicted anew with overwrite=true",
}
"""Kind of issue → what was found, and the policy that handled it."""


LOST = ("gold_without_units", "gold_crosses_contexts", "gold_discontinuous", "gold_overlaps", "gold_label_unknown")
"""Kinds of issues of entities that no prediction can equal: they cost recall."""


@attrs.frozen
class At:
    """The entity that an issue is of."""

    layer: str
    entity: int | None
    """Its index in the layer, where that is known."""
    chars: tuple[tuple[int, int], ...]
    """Its segments in the document's text, half-open."""
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**attrs.asdict(self), "chars": [list(each) for each in self.chars]}


@attrs.frozen
class Issue:
    """Something odd in the data, and its place."""

    kind: str
    document: str
    detail: str
    at: At | None = attrs.field(default=None, eq=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a line of a file."""
        place = {} if self.at is None else self.at.to_json()
        return {"kind": self.kind, "document": self.document, "detail": self.detail, **place}


@attrs.define
class Issues:
    """Counts of what is odd, by kind, with the first few of each kind, or with all of them where ``keep`` is None."""

    keep: int | None = 3
    counts: dict[str, int] = attrs.field(factory=dict)
    examples: dict[str, list[Issue]] = attrs.field(factory=dict)
    told: Callable[[Issue], None] | None = attrs.field(default=None, eq=False)
    """Is told of every issue, kept or not."""

    def add(self, kind: str, document: str, detail: str, count: int = 1, at: At | None = None) -> None:
        """Count an issue; ``kind`` is one of `KINDS`."""
        assert kind in KINDS, kind
        self.counts[kind] = self.counts.get(kind, 0) + count
        kept = self.examples.setdefault(kind, [])
        issue = Issue(kind, document, detail, at)
        if self.keep is None or len(kept) < self.keep:
            kept.append(issue)
        if self.told is not None:
            self.told(issue)

    def merge(self, others: Iterable[Issues]) -> None:
        """Add the counts of others, and as many of their examples as are kept."""
        for other in others:
            for kind, count in other.counts.items():
                self.counts[kind] = self.counts.get(kind, 0) + count
                kept = [*self.examples.get(kind, []), *other.examples[kind]]
                self.examples[kind] = kept[: self.keep]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "counts": self.counts,
            "examples": {k: [(i.kind, i.document, i.detail) for i in v] for k, v in self.examples.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Issues:
        """Return the issues that ``to_json`` wrote."""
        examples = {kind: [Issue(*of) for of in found] for kind, found in value["examples"].items()}
        return cls(counts=dict(value["counts"]), examples=examples)

    def lines(self) -> Iterator[str]:
        """Yield one line a kind: the count, what it means, and an example.

        >>> issues = Issues()
        >>> issues.add("gold_cut_unit", "W05-13", "'BRC' in 'BRCA1'")
        >>> print(*issues.lines())
        1 × gold entities that begin or end inside a unit; rounded out to whole units (W05-13: 'BRC' in 'BRCA1')
        """
        for kind, count in self.counts.items():
            first = self.examples[kind][0]
            yield f"{count} × {KINDS[kind]} ({first.document}: {first.detail})"
