"""How right the predicted entities are: strict scores, and what softens or splits them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from papermage_core.errors import counted
from papermage_core.evaluation.documents import Interval
from papermage_core.evaluation.partial import Credit

__all__ = ["NOTHING", "SEEN", "Counts", "Scores", "added"]

_FIGURES = ("precision", "recall", "f1")
SEEN = "in training"
_FEW_DOCUMENTS = 10  # of fewer, samples say little of others
_TITLES = {"length": "length in units", SEEN: "how often the text is in the training data"}


@attrs.frozen(kw_only=True)
class Counts:
    """Counts behind a precision and a recall.

    ``found`` (of the gold) and ``right`` (of the predicted) differ only where a match is not one to one, as under
    lenient matching.

    >>> Counts(gold=4, found=3, predicted=6, right=3).f1
    0.6
    """

    gold: int
    found: int
    predicted: int
    right: int

    @property
    def precision(self) -> float:
        """Share of the predicted that is right; 0 where nothing was predicted."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold that was found; 0 where there is no gold."""
        return self.found / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where both are."""
        if self.found == self.right and self.gold + self.predicted:
            return 2 * self.right / (self.gold + self.predicted)
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            gold=self.gold + other.gold,
            found=self.found + other.found,
            predicted=self.predicted + other.predicted,
            right=self.right + other.right,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures with the counts behind them."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "support": self.gold,
            "predicted": self.predicted,
            "right": self.right,
            "found": self.found,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        """Return the counts that ``to_json`` wrote."""
        return cls(gold=value["support"], found=value["found"], predicted=value["predicted"], right=value["right"])


NOTHING = Counts(gold=0, found=0, predicted=0, right=0)


@attrs.frozen(kw_only=True)
class Scores:
    """Scores of predicted entities against gold ones.

    `micro` and `per_label` are strict: an entity is right if its label, both ends and all its segments are.
    """

    micro: Counts
    per_label: Mapping[str, Counts]
    lenient: Mapping[str, Counts] = attrs.field(factory=dict)
    """``overlap``: same label and a unit in common; ``boundaries``: the right units under any label; ``units``: each
    unit of each entity counted alone, with its label."""
    subsets: Mapping[str, Counts] = attrs.field(factory=dict)
    """Strict scores of the entities that are ``overlapping`` (share a unit with another), ``overlapping_own_label``,
    ``nested`` (lie in another, or hold one) or ``discontinuous``. Recall is over the gold entities of the kind,
    precision over the predicted ones; a kind that neither side has is left out."""
    gold_unreachable: Mapping[str, int] = attrs.field(factory=dict)
    """Label → gold entities that no prediction could have equalled; they are counted in as missed."""
    predicted_outside: Mapping[str, int] = attrs.field(factory=dict)
    """Label → predicted entities that touch no unit, as a file may hold them; they are counted in as wrong."""
    documents: int = 0
    partial_credit: Mapping[str, Credit] = attrs.field(factory=dict)
    """MUC and SemEval's counts, by the names of nervaluate: ``strict``, ``exact``, ``partial``, ``ent_type``."""
    partial_credit_per_label: Mapping[str, Mapping[str, Credit]] = attrs.field(factory=dict)
    groups: Mapping[str, Mapping[str, Counts]] = attrs.field(factory=dict)
    """Strict scores by ``length`` in units, by how often a text stands ``in training``, and by keys of documents'
    metadata. Recall is over the gold entities of a group, precision over the predicted ones."""
    intervals: Mapping[str, Mapping[str, Interval]] = attrs.field(factory=dict)
    """``micro``, ``macro`` or ``label:…`` → figure → where it lies in 95 of 100 samples of documents. Not in sums."""

    @property
    def precision(self) -> float:
        """Micro-averaged strict precision."""
        return self.micro.precision

    @property
    def recall(self) -> float:
        """Micro-averaged strict recall."""
        return self.micro.recall

    @property
    def f1(self) -> float:
        """Micro-averaged strict F1: the figure that models are chosen by."""
        return self.micro.f1

    @property
    def macro(self) -> dict[str, float]:
        """Plain means over the labels that are in the gold or were predicted."""
        seen = [c for c in self.per_label.values() if c.gold or c.predicted]
        return {name: sum(getattr(c, name) for c in seen) / len(seen) if seen else 0.0 for name in _FIGURES}

    @property
    def weighted(self) -> dict[str, float]:
        """Means over the labels, each weighted by its gold entities."""
        total = sum(c.gold for c in self.per_label.values())
        return {
            name: sum(c.gold * getattr(c, name) for c in self.per_label.values()) / total if total else 0.0
            for name in _FIGURES
        }

    def __add__(self, other: Scores) -> Scores:
        """Return the scores of the documents of both."""

        def joined(name: str) -> dict[str, Counts]:
            return added(getattr(self, name), getattr(other, name), NOTHING)

        mine, theirs = self.partial_credit_per_label, other.partial_credit_per_label
        return Scores(
            micro=self.micro + other.micro,
            per_label=joined("per_label"),
            lenient=joined("lenient"),
            subsets=joined("subsets"),
            gold_unreachable=dict(Counter(self.gold_unreachable) + Counter(other.gold_unreachable)),
            predicted_outside=dict(Counter(self.predicted_outside) + Counter(other.predicted_outside)),
            documents=self.documents + other.documents,
            partial_credit=added(self.partial_credit, other.partial_credit, Credit()),
            partial_credit_per_label={
                label: added(mine.get(label, {}), theirs.get(label, {}), Credit())
                for label in dict.fromkeys([*mine, *theirs])
            },
            groups={
                name: _in_order(name, added(self.groups.get(name, {}), other.groups.get(name, {}), NOTHING))
                for name in dict.fromkeys([*self.groups, *other.groups])
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {
            "micro": self.micro.to_json(),
            "macro": self.macro,
            "weighted": self.weighted,
            "per_label": {label: counts.to_json() for label, counts in self.per_label.items()},
            "lenient": {name: counts.to_json() for name, counts in self.lenient.items()},
            "subsets": {name: counts.to_json() for name, counts in self.subsets.items()},
            "gold_unreachable": dict(self.gold_unreachable),
            "predicted_outside": dict(self.predicted_outside),
            "documents": self.documents,
            "partial_credit": {name: found.to_json() for name, found in self.partial_credit.items()},
            "partial_credit_per_label": {
                label: {name: found.to_json() for name, found in credits.items()}
                for label, credits in self.partial_credit_per_label.items()
            },
            "groups": {
                name: {group: counts.to_json() for group, counts in groups.items()}
                for name, groups in self.groups.items()
            },
            "intervals": {
                name: {figure: list(ends) for figure, ends in figures.items()}
                for name, figures in self.intervals.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scores:
        """Return the scores that ``to_json`` wrote."""

        def counts(name: str) -> dict[str, Counts]:
            return {key: Counts.from_json(each) for key, each in value[name].items()}

        return cls(
            micro=Counts.from_json(value["micro"]),
            per_label=counts("per_label"),
            lenient=counts("lenient"),
            subsets=counts("subsets"),
            gold_unreachable=dict(value["gold_unreachable"]),
            predicted_outside=dict(value.get("predicted_outside", {})),
            documents=value["documents"],
            partial_credit={name: Credit.from_json(v) for name, v in value.get("partial_credit", {}).items()},
            partial_credit_per_label={
                label: {name: Credit.from_json(v) for name, v in credits.items()}
                for label, credits in value.get("partial_credit_per_label", {}).items()
            },
            groups={
                name: {group: Counts.from_json(v) for group, v in groups.items()}
                for name, groups in value.get("groups", {}).items()
            },
            intervals={
                name: {figure: (ends[0], ends[1]) for figure, ends in figures.items()}
                for name, figures in value.get("intervals", {}).items()
            },
        )

    def table(self, *, whole: bool = True) -> str:
        """Return a table for the terminal, in percent: a line for each label, then the averages and the rest.

        One that is not ``whole`` fits a screen: it lacks partial credit and the groups.
        """
        head = f"{'':{self._width}}  {'P':>6} {'R':>6} {'F1':>6} {'gold':>7} {'pred':>7}"
        lines = [head, *(self._line(label, counts) for label, counts in self.per_label.items())]
        lines += ["-" * len(head), self._line("all (micro)", self.micro)]
        if len(self.per_label) > 1:
            for name, means in (("macro", self.macro), ("weighted", self.weighted)):
                averages = " ".join(f"{100 * means[figure]:6.1f}" for figure in _FIGURES)
                lines.append(f"{f'all ({name})':{self._width}}  {averages}")
        lines += [self._line(name.replace("_", " "), counts) for name, counts in self.subsets.items()]
        lines += [self._line(f"lenient: {name}", counts) for name, counts in self.lenient.items()]
        for name, found in self.partial_credit.items() if whole else ():
            figures = " ".join(f"{100 * getattr(found, figure):6.1f}" for figure in _FIGURES)
            lines.append(f"{f'partial credit: {name}':{self._width}}  {figures} {found.possible:7} {found.actual:7}")
        for name, groups in self.groups.items():
            if whole and (len(groups) > 1 or (groups and name not in _TITLES)):
                lines += [
                    "",
                    f"by {_TITLES.get(name, name)}",
                    *(self._line(f"  {group}", counts) for group, counts in groups.items()),
                ]
        if "micro" in self.intervals:
            lines += ["", f"F1 {100 * self.f1:.1f}, {self.told_interval()}"]
        if lost := sum(self.gold_unreachable.values()):
            lines.append(f"{counted(lost, 'gold entities')} could not have been predicted: counted as missed")
        if outside := sum(self.predicted_outside.values()):
            lines.append(f"predicted entities that touch no unit: {outside:,}, counted as wrong")
        return "\n".join(lines)

    def told_interval(self) -> str:
        """Return in words where F1 lies in samples of the documents, and what that says of others.

        Of few documents, or where all are alike, samples hardly differ: that is said, for it is no confidence.
        """
        low, high = (f"{100 * end:.1f}" for end in self.intervals["micro"]["f1"])
        documents = counted(self.documents, "documents")
        if low == high:
            return f"on {documents}: too few, or too much alike, to say how far that of others may be from it"
        if self.documents < _FEW_DOCUMENTS:
            return f"from {low} to {high} in samples of {documents}: too few for confidence in that"
        return f"with 95 % confidence {low} to {high}"

    @property
    def _width(self) -> int:
        names = [*self.per_label, *self.subsets, "all (weighted)", *(f"lenient: {name}" for name in self.lenient)]
        names += [f"partial credit: {name}" for name in self.partial_credit]
        names += [f"  {group}" for groups in self.groups.values() for group in groups]
        return max(map(len, names))

    def _line(self, name: str, counts: Counts) -> str:
        figures = " ".join(f"{100 * value:6.1f}" for value in (counts.precision, counts.recall, counts.f1))
        return f"{name:{self._width}}  {figures} {counts.gold:7} {counts.predicted:7}"


def added(one: Mapping[str, Any], other: Mapping[str, Any], nothing: Any) -> dict[str, Any]:
    """Return the sums by key; what one side lacks counts as ``nothing``."""
    return {key: one.get(key, nothing) + other.get(key, nothing) for key in dict.fromkeys([*one, *other])}


def _in_order(name: str, groups: dict[str, Counts]) -> dict[str, Counts]:
    """Return groups by where they begin, where they are numbers: 0, 1, 2-3, 32 or more."""
    if name not in _TITLES:
        return groups
    return dict(sorted(groups.items(), key=lambda item: int(item[0].partition("-")[0].partition(" ")[0])))
