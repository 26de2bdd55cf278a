"""Labels that do not fit each other: too rare, of one text in two ways, with odd beginnings and ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.data.gold import labels_of
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling, shown_label
from papermage_core.document import Document

__all__ = ["Consistency", "Edge", "TwoWays"]

FEW = 10
"""Entities in training below which a label is hardly learnt."""
_FEWEST_PEERS = 20
_USUAL, _UNUSUAL = 0.8, 0.05
_MOST_TEXTS = 500_000
_LONGEST = 200
_EITHER = "a letter or digit"


@attrs.frozen(kw_only=True)
class TwoWays:
    """A text that has several labels."""

    text: str
    labels: Mapping[str, int]
    """Label → how often, the most frequent first."""
    places: Mapping[str, str]
    """Label → where it stands first."""

    @property
    def odd(self) -> int:
        """How many entities have another label than most."""
        return sum(self.labels.values()) - max(self.labels.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{shown_label(label)} {count}" for label, count in self.labels.items())
        rarest = list(self.labels)[-1]
        return f"{self.text!r:.60}: {counts}; {shown_label(rarest)} in {self.places[rarest]}"


@attrs.frozen(kw_only=True)
class Edge:
    """Entities of a label that begin, or end, as hardly any other of the label."""

    label: str
    side: str
    """``begin`` or ``end``."""
    character: str
    """What they begin or end with."""
    usual: str
    count: int
    total: int
    places: Sequence[str]
    """The first of them, with their text."""

    def __str__(self) -> str:
        what = f"{self.count} of {self.total} {self.label} {self.side} with {self.character}"
        return f"{what}, most with {self.usual}: {self.places[0]}"


class Consistency:
    """Takes the labelled layers of documents, one after the other; holds counts, and a few places."""

    def __init__(self, labelling: Labelling, keep: int | None) -> None:
        self._labelling = labelling
        self._keep = keep
        self.entities: dict[str, Counter[str]] = {}
        """Split → label → entities."""
        self.documents: Counter[str] = Counter()
        """Label layer → documents that have it."""
        self._texts: dict[str, dict[str, list[Any]]] = {}
        self._edges: dict[tuple[str, str], dict[str, list[Any]]] = {}
        self.is_full = False

    def add(self, document: Document, place: str, split: str) -> None:
        """Take in a document."""
        counts = self.entities.setdefault(split, Counter())
        for field in self._labelling.label_field:
            if field not in document.layer_names:
                continue
            layer = document.get_layer(field)
            self.documents[field] += 1
            if not len(layer):
                continue
            labels = labels_of(layer, field, self._labelling.label_attribute, Issues(0), place)
            counts.update(labels)
            for index, (label, text) in enumerate(zip(labels, layer.texts(), strict=True)):
                self._look(label, text, field, index, place)

    def _look(self, label: str, text: str, field: str, index: int, place: str) -> None:
        if not text:
            return
        first, last = text[0], text[-1]
        self._count_edge(label, "begin", _EITHER if first.isalnum() else _shown(first), text, field, index, place)
        self._count_edge(label, "end", _EITHER if last.isalnum() else _shown(last), text, field, index, place)
        if len(text) > _LONGEST:
            return
        key = " ".join(text.lower().split())
        found = self._texts.get(key)
        if found is None:
            if len(self._texts) >= _MOST_TEXTS:
                self.is_full = True
                return
            self._texts[key] = {label: [1, text, field, index, place]}
        elif label in found:
            found[label][0] += 1
        else:
            found[label] = [1, text, field, index, place]

    def _count_edge(self, label: str, side: str, character: str, text: str, field: str, index: int, place: str) -> None:
        kinds = self._edges.setdefault((label, side), {})
        found = kinds.get(character)
        if found is None:
            found = kinds[character] = [0, []]
        found[0] += 1
        if self._keep is None or len(found[1]) < self._keep:
            found[1].append((text, field, index, place))

    def merge(self, other: Consistency) -> None:
        """Add what another has taken in."""
        self.documents.update(other.documents)
        for split, counts in other.entities.items():
            self.entities.setdefault(split, Counter()).update(counts)
        for key, kinds in other._edges.items():
            mine = self._edges.setdefault(key, {})
            for character, (count, places) in kinds.items():
                found = mine.setdefault(character, [0, []])
                found[0] += count
                found[1] = [*found[1], *places][: self._keep]
        for text, labels in other._texts.items():
            own = self._texts.setdefault(text, {})
            for label, entry in labels.items():
                if label in own:
                    own[label][0] += entry[0]
                else:
                    own[label] = entry
        self.is_full |= other.is_full

    def rare(self, split: str) -> dict[str, int]:
        """Return the labels that a split has too few entities of, with how many."""
        known = {label for counts in self.entities.values() for label in counts}
        if self._labelling.label_attribute is None:
            known.update(field for field in self._labelling.label_field if self.documents[field])
        counts = self.entities.get(split, Counter())
        return {label: counts[label] for label in sorted(known) if counts[label] < FEW}

    def two_ways(self) -> list[TwoWays]:
        """Return the texts that have several labels, those with most odd entities first."""
        found = []
        for labels in self._texts.values():
            if len(labels) > 1:
                ordered = sorted(labels.items(), key=lambda item: -item[1][0])
                found.append(
                    TwoWays(
                        text=ordered[0][1][1],
                        labels={label: entry[0] for label, entry in ordered},
                        places={label: f"{entry[4]}: {entry[2]}[{entry[3]}]" for label, entry in ordered},
                    )
                )
        return sorted(found, key=lambda each: -each.odd)

    def edges(self) -> Iterator[Edge]:
        """Yield what begins or ends as hardly any of its peers, and all white space."""
        for (label, side), kinds in self._edges.items():
            total = sum(count for count, _ in kinds.values())
            usual, (most, _) = max(kinds.items(), key=lambda item: item[1][0])
            for character, (count, places) in kinds.items():
                alone = total >= _FEWEST_PEERS and most >= _USUAL * total and count <= _UNUSUAL * total
                if character != usual and (alone or character == "white space"):
                    yield Edge(
                        label=label,
                        side=side,
                        character=character,
                        usual=usual,
                        count=count,
                        total=total,
                        places=[f"{place}: {field}[{index}] {text!r:.60}" for text, field, index, place in places],
                    )


def _shown(character: str) -> str:
    return "white space" if character.isspace() else repr(character)
