"""Two sets of predictions on the same documents: which is better, how sure that is, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs
import numpy as np

from papermage_core.evaluation.documents import DocumentCounts, Interval, f1_of, resampled
from papermage_core.evaluation.mistakes import UnitText
from papermage_core.plugin.spec import UnitSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHANGES", "Change", "Comparison", "Difference", "compare", "document_changes"]

_BLOCK = 8_000_000
Kind = Literal["found", "lost", "no longer spurious", "newly spurious"]
CHANGES: tuple[Kind, ...] = get_args(Kind)
"""Gold that only the second found, or only the first; wrong entities that only the first gave, or only the second."""


@attrs.frozen(kw_only=True)
class Difference:
    """The F1 of two systems, and how sure their difference is."""

    first: float
    second: float
    interval: Interval
    """Where second - first lies in 95 of 100 samples of documents: the paired bootstrap."""
    p_value: float
    """How often chance alone gives a difference as large: approximate randomization over documents, two-sided."""

    @property
    def difference(self) -> float:
        """Second less first."""
        return self.second - self.first

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {**attrs.asdict(self), "interval": list(self.interval), "difference": self.difference}


@attrs.frozen(kw_only=True)
class Change:
    """An entity that one of two systems got right and the other did not."""

    kind: Kind
    document: str
    span: UnitSpan
    chars: tuple[tuple[int, int], ...]
    """Where its segments lie in the document's text, half-open."""
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return a dict for a line of a file."""
        return {
            "change": self.kind,
            "document": self.document,
            "label": self.span.label,
            "segments": [list(each) for each in self.span.segments],
            "chars": [list(each) for each in self.chars],
            "text": self.text,
            "score": self.span.score,
        }


@attrs.frozen(kw_only=True)
class Comparison:
    """How two systems differ on the same documents."""

    documents: int
    overall: Difference
    per_label: Mapping[str, Difference]
    changes: Mapping[str, int]
    """Kind of change → entities."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "documents": self.documents,
            "overall": self.overall.to_json(),
            "per_label": {label: found.to_json() for label, found in self.per_label.items()},
            "changes": dict(self.changes),
        }

    def table(self) -> str:
        """Return a table for the terminal, in percent."""
        rows = {**self.per_label, "all (micro)": self.overall}
        width = max(map(len, rows))
        lines = [f"{'F1':{width}}  {'first':>6} {'second':>6} {'change':>7}  {'95 % of samples':>17} {'p':>7}"]
        for name, found in rows.items():
            low, high = (100 * end for end in found.interval)
            lines.append(
                f"{name:{width}}  {100 * found.first:6.1f} {100 * found.second:6.1f} {100 * found.difference:+7.1f}  "
                f"{f'{low:+.1f} to {high:+.1f}':>17} {found.p_value:7.4f}"
            )
        changed = ", ".join(f"{self.changes.get(kind, 0)} {kind}" for kind in CHANGES)
        return "\n".join([*lines, f"entities: {changed}"])


def compare(
    first: DocumentCounts,
    second: DocumentCounts,
    changes: Mapping[str, int] | None = None,
    *,
    samples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Return how the second system differs from the first on the same documents.

    The test swaps the two systems' results in documents at random: approximate randomization (Noreen, "Computer-
    Intensive Methods for Testing Hypotheses", 1989; Yeh, "More accurate tests for the statistical significance of
    result differences", COLING 2000), as documents are independent and their entities are not. Raises ValueError for
    different numbers of documents.
    """
    if first.documents != second.documents:
        raise ValueError(f"expected the same documents, got {first.documents} and {second.documents}")
    names = sorted({*first.labels, *second.labels})
    per_label = {name: _difference(_of_label(first, name), _of_label(second, name), samples, seed) for name in names}
    overall = _difference(first.per_document(), second.per_document(), samples, seed)
    return Comparison(documents=first.documents, overall=overall, per_label=per_label, changes=dict(changes or {}))


def _of_label(counts: DocumentCounts, name: str) -> NDArray[np.int64]:
    if name not in counts.labels:
        return np.zeros((counts.documents, 3), np.int64)
    return counts.of_label(counts.labels.index(name))


def _difference(first: NDArray[np.int64], second: NDArray[np.int64], samples: int, seed: int) -> Difference:
    """Return the difference for gold, predicted and right by document, shapes (documents, 3)."""
    one, other = float(f1_of(first.sum(0))), float(f1_of(second.sum(0)))
    drawn = np.concatenate(list(resampled(np.concatenate([first, second], 1), min(samples, 2000), seed)))
    moved = f1_of(drawn[:, 3:]) - f1_of(drawn[:, :3])
    low, high = np.quantile(moved, [0.025, 0.975]).tolist()
    differ = np.flatnonzero((first != second).any(1))
    return Difference(
        first=one,
        second=other,
        interval=(low, high),
        p_value=_p_value(first, second, differ, abs(other - one), samples, seed),
    )


def _p_value(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    differ: NDArray[np.int64],
    observed: float,
    samples: int,
    seed: int,
) -> float:
    """Return how often swapped results differ as much; only documents where the two ``differ`` need be swapped."""
    rng = np.random.default_rng(seed)
    change = (second - first)[differ].astype(np.float64)
    one, other = first.sum(0), second.sum(0)
    as_large, size = 0, max(1, _BLOCK // max(1, len(differ)))
    for begin in range(0, samples, size):
        swapped = rng.integers(0, 2, (min(size, samples - begin), len(differ))).astype(np.float64) @ change
        apart = np.abs(f1_of(other - swapped) - f1_of(one + swapped))
        as_large += int((apart >= observed - 1e-12).sum())
    return (as_large + 1) / (samples + 1)


def document_changes(
    gold: Sequence[UnitSpan], first: Sequence[UnitSpan], second: Sequence[UnitSpan], text: UnitText
) -> list[Change]:
    """Return what changed in a document, by place."""
    wanted, before, after = set(gold), set(first), set(second)
    kinds: list[tuple[Kind, set[UnitSpan]]] = [
        ("found", (wanted & after) - before),
        ("lost", (wanted & before) - after),
        ("no longer spurious", before - wanted - after),
        ("newly spurious", after - wanted - before),
    ]
    changes = []
    for kind, spans in kinds:
        for span in sorted(spans):
            chars = tuple(text.chars(start, stop) for start, stop in span.segments)
            words = " … ".join(text.symbols[start:stop] for start, stop in chars)
            changes.append(Change(kind=kind, document=text.document, span=span, chars=chars, text=words))
    return sorted(changes, key=lambda change: change.chars)
