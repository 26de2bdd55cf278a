"""What is found in documents that are checked: errors, repairs, what is odd, and what that costs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.data.consistency import FEW, Edge, TwoWays
from papermage_core.data.issues import KINDS, LOST, Issues
from papermage_core.data.labelling import shown_label
from papermage_core.errors import DataError, counted

__all__ = ["Findings", "Twin", "Windows"]

_COSTS = (*LOST, "layer_misspelt")
"""Kinds of issues that cost F1."""
_MOST_PAIRS = 3
"""Pairs of files that share texts up to which each is told."""
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[-+]?\d[\d.e]*")


@attrs.frozen(kw_only=True)
class Windows:
    """Into how many windows an encoder cuts contexts."""

    encoder: str
    contexts: int = 0
    windows: int = 0
    most: int = 0
    several: int = 0
    """Contexts of more than one window."""

    def joined(self, other: Windows) -> Windows:
        """Return both together."""
        return Windows(
            encoder=self.encoder,
            contexts=self.contexts + other.contexts,
            windows=self.windows + other.windows,
            most=max(self.most, other.most),
            several=self.several + other.several,
        )

    def with_counts(self, counts: Sequence[int]) -> Windows:
        """Return what is known with the windows of further contexts."""
        return Windows(
            encoder=self.encoder,
            contexts=self.contexts + len(counts),
            windows=self.windows + sum(counts),
            most=max(self.most, *counts, 0),
            several=self.several + sum(count > 1 for count in counts),
        )

    def __str__(self) -> str:
        share = 100 * self.several / max(1, self.contexts)
        return (
            f"encoder={self.encoder}: {counted(self.windows, 'windows')} of "
            f"{counted(self.contexts, 'contexts')}; {share:.1f} % of these have "
            f"several, {self.most} at most"
        )


@attrs.frozen(kw_only=True)
class Twin:
    """A document whose text is that of one before it, or nearly so."""

    document: str
    other: str
    likeness: float
    """1 for the same text."""
    splits: tuple[str, str]
    """Those of both, the other first."""

    def __str__(self) -> str:
        return f"{self.document}: {100 * self.likeness:.0f} % of the text of {self.other}"


@attrs.define
class Findings:
    """What is wrong with documents, what reading them let pass, and what is odd in their labels.

    ``print`` shows a summary first, then the places that were kept.
    """

    keep: int | None = None
    """How many places of each kind are kept; None: all."""
    documents: int = 0
    """Those that could be read."""
    unusable: int = 0
    """Those of them in which no labels could be looked at: their errors are among the others."""
    errors: list[DataError] = attrs.field(factory=list)
    """Each names its place; such a document cannot be used."""
    issues: Issues = attrs.field(factory=Issues)
    """What training and scoring handle by a policy."""
    error_count: int = 0
    repair_count: int = 0
    labelled: tuple[str, ...] = ()
    """The layers that were looked at for labels."""
    entities: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    """Split → label → gold entities."""
    rare: Mapping[str, int] = attrs.field(factory=dict)
    """Labels with too few entities in training → how many."""
    unseen: Mapping[str, int] = attrs.field(factory=dict)
    """Labels that occur in other splits only → how many entities."""
    alike: Sequence[str] = ()
    """Labels that nobody would tell apart, with how often each is there: a group each."""
    absent: Sequence[str] = ()
    """Label layers that no document has."""
    two_ways: Sequence[TwoWays] = ()
    """Texts with several labels."""
    edges: Sequence[Edge] = ()
    """Beginnings and ends of entities unlike those of their peers."""
    twins: list[Twin] = attrs.field(factory=list)
    twin_count: int = 0
    shared: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    """Pairs of splits → documents of the second whose text, or nearly so, is in the first."""
    windows: Windows | None = None
    notes: list[str] = attrs.field(factory=list)
    """What was not looked at."""
    told: Callable[[dict[str, Any]], None] | None = None
    """Is told of every place as it is found."""
    _kinds: Counter[str] = attrs.field(factory=Counter)
    _repairs: list[tuple[str, str, str]] = attrs.field(factory=list)

    @property
    def repairs(self) -> list[tuple[str, str]]:
        """The document's place, and what was let pass, of the repairs kept."""
        return [(place, text) for _, place, text in self._repairs]

    @property
    def issue_count(self) -> int:
        """How often something was odd."""
        return sum(self.issues.counts.values())

    @property
    def lost(self) -> int:
        """Gold entities that no prediction can equal."""
        return sum(self.issues.counts.get(kind, 0) for kind in LOST)

    @property
    def entity_count(self) -> int:
        """All gold entities."""
        return sum(sum(counts.values()) for counts in self.entities.values())

    def fatal(self) -> list[str]:
        """Return what must be mended before anything can be learned."""
        found = [_counted(self.error_count, "documents, or files, that cannot be used")] if self.error_count else []
        if not self.documents:
            found.append("no document could be read")
        if self.documents == self.unusable:
            return found  # their labels were not looked at
        if self.labelled and not self.entity_count:
            found.append(f"nothing is labelled: {', '.join(self.labelled)} mark no entity")
        if self.absent:
            found.append(f"label layers that no document has: {', '.join(self.absent)}")
        return found

    def costs(self) -> list[str]:
        """Return what makes scores worse, or better than they are."""
        found = []
        if self.lost:
            share = 100 * self.lost / max(1, self.entity_count)
            found.append(
                f"{counted(self.lost, 'gold entities')} ({share:.1f} %) that cannot be found, and count as missed:"
            )
            found += [f"  {self.issues.counts[kind]} × {KINDS[kind]}" for kind in LOST if self.issues.counts.get(kind)]
        if misspelt := self.issues.counts.get("layer_misspelt"):
            found.append(f"{misspelt} × {KINDS['layer_misspelt']}")
        if self.rare:
            some = ", ".join(f"{shown_label(label)} {count}" for label, count in self.rare.items())
            found.append(f"{_counted(len(self.rare), f'labels with fewer than {FEW} entities to learn from')}: {some}")
        if self.unseen:
            some = ", ".join(f"{shown_label(label)} {count}" for label, count in self.unseen.items())
            found.append(f"labels that training does not see, so that they are missed: {some}")
        found += [f"labels that look alike, and are learnt as several: {group}" for group in self.alike]
        across = {pair: count for pair, count in self.shared.items() if pair[0] != pair[1]}
        if len(across) > _MOST_PAIRS:
            count = sum(across.values())
            found.append(f"{_counted(count, 'documents with the text, or nearly so, of one of another file')}")
        else:
            found += [
                f"{_counted(count, f'documents of {second}')} with the text, or nearly so, of one of {first}: scores "
                "will be optimistic"
                for (first, second), count in across.items()
            ]
        if self.two_ways:
            odd = sum(each.odd for each in self.two_ways)
            texts = _counted(len(self.two_ways), "texts that are labelled in several ways")
            found.append(f"{texts}: {counted(odd, 'entities', 'have')} another label than most")
        return found

    def odd(self) -> list[str]:
        """Return what is handled by a policy, or may be meant so."""
        found = [_counted(self.repair_count, "repairs of documents")] if self.repair_count else []
        found += [f"{n} × {KINDS[kind]}" for kind, n in self.issues.counts.items() if kind not in _COSTS]
        within = sum(count for (first, second), count in self.shared.items() if first == second)
        if within > self.issues.counts.get("same_document", 0):
            more = within - self.issues.counts.get("same_document", 0)
            found.append(f"{more} × documents whose text is nearly that of another")
        if self.edges:
            count = sum(edge.count for edge in self.edges)
            found.append(_counted(count, "entities that begin or end unlike others of their label"))
        return found

    @property
    def verdict(self) -> str:
        """What to do, in a line."""
        if self.fatal():
            return "not ready: mend what is fatal first"
        if self.costs():
            return "usable; what is listed costs F1, or makes it look better than it is"
        return "ready" if self.labelled else "readable; label_field=NAME looks at labels, too"

    def add_error(self, error: DataError) -> None:
        """Count an error, and keep it if not enough of its kind are kept."""
        self.error_count += 1
        if self.told is not None:
            self.told({"kind": "error", **_error_to_json(error)})
        if self._is_kept(_kind_of(error)):
            error.__traceback__ = error.__cause__ = error.__context__ = None  # they hold on to the document
            self.errors.append(error)

    def add_repair(self, kind: str, place: str, text: str) -> None:
        """Count what was let pass, and keep its place if not enough of its kind are kept."""
        self.repair_count += 1
        if self.told is not None:
            self.told({"kind": "repair", "document": place, "detail": text})
        if self._is_kept(f"repair: {kind}"):
            self._repairs.append((kind, place, text))

    def merge(self, other: Findings) -> None:
        """Add what was found in other documents."""
        self.documents += other.documents
        self.unusable += other.unusable
        self.error_count += other.error_count
        self.repair_count += other.repair_count
        for error in other.errors:
            if self._is_kept(_kind_of(error)):
                self.errors.append(error)
        for kind, place, text in other._repairs:
            if self._is_kept(f"repair: {kind}"):
                self._repairs.append((kind, place, text))
        self.issues.merge([other.issues])
        if self.windows is not None and other.windows is not None:
            self.windows = self.windows.joined(other.windows)

    def add_twin(self, twin: Twin) -> None:
        """Count a document like another, and keep its place if not enough are kept."""
        self.shared[twin.splits] += 1
        if twin.likeness == 1:
            self.issues.add("same_document", twin.document, f"the same text as {twin.other}")
            return
        self.twin_count += 1
        if self.told is not None:
            self.told({"kind": "near_duplicate", **attrs.asdict(twin)})
        if self._is_kept("near duplicate"):
            self.twins.append(twin)

    @property
    def is_shortened(self) -> bool:
        """Whether there may be places that are not kept."""
        return (
            self.error_count > len(self.errors)
            or self.repair_count > len(self.repairs)
            or self.twin_count > len(self.twins)
            or (self.keep is not None and len(self.two_ways) > self.keep)
            or any(map(self._may_have_more, self.issues.counts))
        )

    def _may_have_more(self, kind: str) -> bool:
        kept = len(self.issues.examples[kind])
        return kept == self.keep and self.issues.counts[kind] > kept

    def _is_kept(self, kind: str) -> bool:
        self._kinds[kind] += 1
        return self.keep is None or self._kinds[kind] <= self.keep

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the places kept, as plain dicts, lists and numbers."""
        return {
            "verdict": self.verdict,
            "fatal": self.fatal(),
            "costs": self.costs(),
            "odd": self.odd(),
            "documents": self.documents,
            "counts": {"errors": self.error_count, "repairs": self.repair_count, "issues": self.issue_count},
            "errors": [_error_to_json(error) for error in self.errors],
            "repairs": [{"document": document, "repair": repair} for document, repair in self.repairs],
            "issues": {
                kind: {
                    "count": count,
                    "policy": KINDS[kind],
                    "places": [_without_kind(at.to_json()) for at in self.issues.examples[kind]],
                }
                for kind, count in self.issues.counts.items()
            },
            "labels": {
                "entities": {split: dict(counts) for split, counts in self.entities.items()},
                "entities_lost": self.lost,
                "rare": dict(self.rare),
                "unseen_in_training": dict(self.unseen),
                "alike": list(self.alike),
                "two_ways": [attrs.asdict(each) for each in self.two_ways[: self.keep]],
                "edges": [attrs.asdict(each) for each in self.edges],
            },
            "near_duplicates": {
                "count": self.twin_count,
                "places": [attrs.asdict(twin) for twin in self.twins],
                "shared": [{"first": a, "second": b, "documents": n} for (a, b), n in self.shared.items()],
            },
            "windows": None if self.windows is None else attrs.asdict(self.windows),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n".join([self.summary(), *self._lines()])

    def summary(self) -> str:
        """Return the counts, the verdict, and what it stands on, on one screen."""
        lines = [
            f"{counted(self.documents, 'documents')} read, {counted(self.error_count, 'errors')}, "
            f"{counted(self.repair_count, 'repairs')}, {counted(self.issue_count, 'issues')}",
            self.verdict,
        ]
        for title, found in (("fatal", self.fatal()), ("costs F1", self.costs()), ("odd", self.odd())):
            lines += [f"{title if number == 0 else '':8}  {line}" for number, line in enumerate(found)]
        if self.windows is not None:
            lines.append(str(self.windows))
        return "\n".join([*lines, *self.notes])

    def _lines(self) -> Iterator[str]:
        if self.error_count:
            yield f"\n{self.error_count} × documents, or files, that cannot be used:"
            yield from _places(map(str, self.errors), self.error_count > len(self.errors))
        if self.repair_count:
            yield f"\n{self.repair_count} × repairs, with which documents are read all the same:"
            yield from _places((": ".join(each) for each in self.repairs), self.repair_count > len(self.repairs))
        for kind, count in self.issues.counts.items():
            yield f"\n{count} × {KINDS[kind]}:"
            kept = self.issues.examples[kind]
            yield from _places((f"{at.document}: {at.detail}" for at in kept), self._may_have_more(kind))
        if self.twin_count:
            yield f"\n{self.twin_count} × documents whose text is nearly that of another:"
            yield from _places(map(str, self.twins), self.twin_count > len(self.twins))
        if self.two_ways:
            yield f"\n{len(self.two_ways)} × texts that are labelled in several ways:"
            shown = self.two_ways[: self.keep]
            yield from _places(map(str, shown), len(self.two_ways) > len(shown))
        if self.edges:
            yield f"\n{len(self.edges)} × ways to begin or end unlike others of the label:"
            yield from _places(map(str, self.edges), False)


def _kind_of(error: DataError) -> str:
    first = error.message.partition(". ")[0]  # what follows lists what is there, in any order
    return " ".join(["error:", *_VALUES.sub("", first).split()[:6]])


def _counted(count: int, what: str) -> str:
    return f"{count} × {what}"


def _without_kind(place: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in place.items() if key != "kind"}


def _places(places: Iterator[str], more: bool) -> Iterator[str]:
    yield from (f"  {place}" for place in places)
    if more:
        yield "  … and more"


def _error_to_json(error: DataError) -> dict[str, Any]:
    return {
        "message": error.message,
        "path": None if error.path is None else str(error.path),
        "line": error.line,
        "document": error.document,
        "layer": error.layer,
        "entity": error.entity,
        "expected": error.expected,
    }
