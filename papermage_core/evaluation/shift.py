"""How unlike the training data documents are, and what F1 is to be expected of a model on them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.errors import CheckpointError, counted
from papermage_core.evaluation.scores import Counts, Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Expectation", "Reference", "ShiftMonitor", "reference_of"]

_FEW = 5
"""Documents below which nothing is said."""
_MANY = 20_000
"""Most documents of which numbers are held."""
_NOTABLE = 3.0
"""Standard errors beyond which documents are told to be unlike."""


@attrs.frozen(kw_only=True)
class Reference:
    """What a model does on labelled documents that it did not see, of the kind that it was trained on."""

    documents: int
    unknown: tuple[float, float]
    """Share of words that training did not see: its mean over documents, and its standard deviation."""
    sure: tuple[float, float]
    """Mean score of a document's entities, likewise."""
    recall: float
    recall_seen: float
    """Recall of entities whose text training saw as one."""
    recall_new: float
    share_new: float
    """Share of gold entities whose text it did not see."""
    right_factor: float
    """Right entities for each that the calibrated scores sum to."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {**attrs.asdict(self), "unknown": list(self.unknown), "sure": list(self.sure)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reference:
        """Return what ``to_json`` wrote. Raises CheckpointError for anything else."""
        try:
            values: dict[str, Any] = {
                name: (float(value[name][0]), float(value[name][1])) for name in ("unknown", "sure")
            }
            rest = [f.name for f in attrs.fields(cls) if f.name not in ("unknown", "sure", "documents")]
            values |= {name: float(value[name]) for name in rest}
            return cls(documents=int(value["documents"]), **values)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(f"expected a reference for shifts, got {value!r:.100}") from error


@attrs.frozen(kw_only=True)
class Expectation:
    """What is to be expected on the documents so far."""

    documents: int
    unknown: float
    sure: float
    f1: float
    interval: tuple[float, float]
    is_shifted: bool

    def __str__(self) -> str:
        low, high = self.interval
        documents = counted(self.documents, "documents")
        return f"expected F1 {100 * self.f1:.0f} ({100 * low:.0f} to {100 * high:.0f}) on {documents}"


class ShiftMonitor:
    """Takes in, document by document, how many words are unknown, and what was found how surely.

    Holds three numbers a document; of very many documents those of every second, of every fourth, and so on.
    """

    def __init__(self, reference: Reference | None = None) -> None:
        self.reference = reference
        self.documents = 0
        self._rows = array("d")
        self._every = 1

    def add(self, unknown: Sequence[bool], scores: Sequence[float]) -> None:
        """Take in a document: which of its words are unknown, and the calibrated scores of its entities."""
        if self.documents % self._every == 0:
            share = sum(unknown) / len(unknown) if len(unknown) else np.nan
            self._extend((share, len(scores), sum(scores)))
        self.documents += 1

    def merge(self, others: Iterable[ShiftMonitor]) -> None:
        """Take in what others have."""
        for other in others:
            self.documents += other.documents
            self._extend(other._rows)

    def _extend(self, rows: Iterable[float]) -> None:
        self._rows.extend(rows)
        while len(self._rows) > 3 * _MANY:
            self._rows = array("d", self.rows[::2].ravel().tolist())
            self._every *= 2

    @property
    def rows(self) -> NDArray[np.float64]:
        """Share of unknown words, entities, and the sum of their scores, of each document held. Shape (n, 3)."""
        return np.array(self._rows, np.float64).reshape(-1, 3)

    def expectation(self) -> Expectation | None:
        """Return what is to be expected; None for too few documents, or without a reference.

        Calibrated scores say how many are right. Of those that there are, as many are found as where the model was
        validated; but texts that training did not see are found less often, and they are taken to be the more, the more
        words are unknown. How far that moves the figure tells how little it is to be trusted: the interval is that of
        the bootstrap over documents, and twice the move more.
        """
        rows, known = self.rows, self.reference
        if known is None or len(rows) < _FEW:
            return None
        unknown, sure = _means(rows)
        plain = _f1(rows, known, 1.0)
        ratio = max(1.0, unknown / max(known.unknown[0], 1e-3))
        expected = _f1(rows, known, ratio)
        move = abs(plain - expected)
        rng = np.random.default_rng(0)
        drawn = [_f1(rows[rng.integers(len(rows), size=len(rows))], known, ratio) for _ in range(200)]
        own = np.std(drawn) ** 2 + 0.25 / max(1.0, known.documents * 4)
        half = 2 * float(np.sqrt(own))
        low, high = max(0.0, expected - half - 2 * move), min(1.0, expected + half + move)
        return Expectation(
            documents=self.documents,
            unknown=unknown,
            sure=sure,
            f1=expected,
            interval=(low, high),
            is_shifted=_apart(unknown - known.unknown[0], known.unknown[1], len(rows), known.documents)
            or _apart(known.sure[0] - sure, known.sure[1], len(rows), known.documents),
        )

    def warning(self) -> str | None:
        """Return what to say of documents unlike those trained on; None where they are like them."""
        found, known = self.expectation(), self.reference
        if found is None or known is None or not found.is_shifted:
            return None
        return (
            f"these documents are unlike those that the model was trained on: {100 * found.unknown:.1f} % of their "
            f"words are new to it ({100 * known.unknown[0]:.1f} % where it was validated), and its entities score "
            f"{found.sure:.2f} on average ({known.sure[0]:.2f}); {found}"
        )


def _means(rows: NDArray[np.float64]) -> tuple[float, float]:
    has_any = rows[:, 1] > 0
    unknown = rows[~np.isnan(rows[:, 0]), 0]
    sure = rows[has_any, 2] / rows[has_any, 1]
    return float(unknown.mean()) if len(unknown) else 0.0, float(sure.mean()) if len(sure) else 0.0


def _apart(away: float, spread: float, n: int, n_known: int) -> bool:
    """Return whether means are apart by more than chance, and by more than documents are among themselves."""
    chance: float = _NOTABLE * spread * (1 / n + 1 / n_known) ** 0.5
    return away > max(chance, spread, 1e-9)


def _f1(rows: NDArray[np.float64], known: Reference, ratio: float) -> float:
    """Return the F1 that is to be expected where ``ratio`` times as many words are unknown as usual."""
    predicted, right = rows[:, 1].sum(), rows[:, 2].sum() * known.right_factor
    if not predicted:
        return 0.0
    usual = known.share_new * known.recall_new + (1 - known.share_new) * known.recall_seen
    share = min(1.0, known.share_new * ratio)
    now = share * known.recall_new + (1 - share) * known.recall_seen
    precision, recall = min(1.0, right / predicted), min(1.0, known.recall * now / usual) if usual else 0.0
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def reference_of(
    scores: Scores, unknown: NDArray[np.float64], document_of: NDArray[np.int64], calibrated: NDArray[np.float64]
) -> Reference | None:
    """Return the reference from how a model did on documents that it did not see; None for too few, or nothing found.

    ``unknown`` is the share of unknown words of each document, ``calibrated`` the score of each predicted entity, and
    ``document_of`` its document.
    """
    groups = scores.groups.get("in training", {})
    if len(unknown) < _FEW or not len(calibrated) or not groups:
        return None
    entities = np.bincount(document_of, minlength=len(unknown))
    sums = np.bincount(document_of, calibrated, minlength=len(unknown))
    sure = sums[entities > 0] / entities[entities > 0]
    known = unknown[~np.isnan(unknown)]
    new = groups.get("0", Counts(gold=0, found=0, predicted=0, right=0))
    gold, found = sum(each.gold for each in groups.values()), sum(each.found for each in groups.values())
    seen = gold - new.gold
    usual = scores.recall
    return Reference(
        documents=len(unknown),
        unknown=(float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0),
        sure=(float(sure.mean()), float(sure.std())),
        recall=usual,
        recall_seen=(found - new.found) / seen if seen else usual,
        recall_new=new.found / new.gold if new.gold else usual,
        share_new=new.gold / gold if gold else 0.0,
        right_factor=scores.micro.right / float(calibrated.sum()),
    )
