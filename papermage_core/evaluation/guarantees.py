r"""Thresholds with a guarantee: "misses at most 5 % of Disease, with 95 % confidence".

Of each document of a labelled sample, a loss from 0 to 1 is known for every threshold: the share of its gold entities
that are missed, or of its predicted ones that are wrong; 0 where there is none. The promise is about the mean loss of
documents like these: its upper confidence bound, at the threshold that is chosen, lies below what was asked for.

The promise is on average over documents, of each as much as of any other.

- *Recall*: fewer are missed the lower the threshold. The highest one whose bound holds is chosen: risk-controlling
  prediction sets (Bates, Angelopoulos, Lei, Malik and Jordan, "Distribution-Free, Risk-Controlling Prediction Sets",
  JACM 2021). Without a confidence, conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster, "Conformal
  Risk Control", ICLR 2024) promises the same of the mean over samples, too:
  $\frac{n}{n+1} \hat R + \frac{1}{n+1} \le \alpha$.
- *Precision*: the share of wrong ones need not fall with the threshold, so thresholds are tested from the highest on,
  until one fails (Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test", 2021, fixed sequence testing).

The bound is that of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSSB 2024,
theorem 3: tight where losses vary little, and without any assumption but that documents are drawn alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from papermage_core.errors import CheckpointError, counted
from papermage_core.plugin.spec import UnitSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST", "Guarantees", "LossSample", "bounds", "mean_bound", "threshold"]

LEAST = 0.0005
"""Probability from which on an entity can be found."""
ALL = ""
"""Stands for the entities of all labels together."""
Aim = Literal["recall", "precision"]
TARGETS = tuple(round(0.5 + 0.01 * step, 2) for step in range(50))
"""Shares that thresholds are kept for."""
_GRID = np.unique(np.concatenate([[LEAST, 0.001, 0.002, 0.005], np.arange(0.01, 1.0, 0.01), [0.995, 0.999]]))
"""Thresholds that are tried."""


def mean_bound(losses: NDArray[np.float64], confidence: float) -> float:
    """Return an upper bound, with this confidence, of the mean that losses from 0 to 1 were drawn from.

    >>> mean_bound(np.zeros(60), 0.95) < 0.06
    True
    """
    n = len(losses)
    if not n:
        return 1.0
    counts = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(losses)) / (1 + counts)
    spread = (0.25 + np.cumsum((losses - means) ** 2)) / (1 + counts)
    before = np.append(0.25, spread[:-1])
    bets = np.minimum(1.0, np.sqrt(2 * np.log(1 / (1 - confidence)) / (n * before)))
    low, high = float(losses.mean()), 1.0
    for _ in range(30):
        middle = (low + high) / 2
        wealth = np.cumsum(np.log1p(np.minimum(bets, 0.999) * (middle - losses)))
        if wealth.max() > np.log(1 / (1 - confidence)):
            high = middle
        else:
            low = middle
    return high


class LossSample:
    """Takes labelled documents with what a model finds likely; holds losses by threshold."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = (ALL, *labels)
        self._missed: dict[str, list[NDArray[np.float64]]] = {label: [] for label in self.labels}
        self._wrong: dict[str, list[NDArray[np.float64]]] = {label: [] for label in self.labels}
        self._with_gold: dict[str, list[bool]] = {label: [] for label in self.labels}
        self.documents = 0

    def add(
        self,
        gold: Iterable[UnitSpan],
        likely: Iterable[UnitSpan],
        predicted: Iterable[UnitSpan],
        unreachable: Sequence[str] = (),
    ) -> None:
        """Take in a document: all likely entities, with probabilities, and those that are predicted without them."""
        wanted, sure = set(gold), {span: span.score or 0.0 for span in likely}
        found = list(predicted)
        self.documents += 1
        for label in self.labels:
            own = [span for span in wanted if label in (ALL, span.label)]
            lost = sum(label in (ALL, each) for each in unreachable)
            scores = np.array([sure.get(span, 0.0) for span in own] + [0.0] * lost)
            self._missed[label].append(_shares(scores, np.ones(len(scores), np.bool_), below=True))
            self._with_gold[label].append(bool(len(scores)))
            of_label = [span for span in found if label in (ALL, span.label)]
            scores = np.array([1.0 if span.score is None else span.score for span in of_label])
            self._wrong[label].append(_shares(scores, np.array([span not in wanted for span in of_label]), below=False))

    @property
    def grid(self) -> list[float]:
        """The thresholds that are tried."""
        found: list[float] = _GRID.tolist()
        return found

    def losses(self, label: str, aim: Aim) -> NDArray[np.float64]:
        """Return the loss of each document at each threshold. Shape (documents, thresholds).

        For recall, documents without an entity of the label do not count.
        """
        rows = self._missed[label] if aim == "recall" else self._wrong[label]
        table = np.array(rows).reshape(-1, len(_GRID))
        return table[np.array(self._with_gold[label], np.bool_)] if aim == "recall" else table


def _shares(scores: NDArray[np.float64], counted: NDArray[np.bool_], *, below: bool) -> NDArray[np.float64]:
    """Return, by threshold, the share of all that score below it, or of those that do not that are counted."""
    if not len(scores):
        return np.zeros(len(_GRID))
    order = np.argsort(scores)
    scores, counted = scores[order], counted[order]
    first = np.searchsorted(scores, _GRID)
    if below:
        shares: NDArray[np.float64] = first / len(scores)
        return shares
    left = len(scores) - first
    wrong = counted.sum() - np.append(0, np.cumsum(counted))[first]
    wrong_shares: NDArray[np.float64] = np.divide(wrong, left, out=np.zeros(len(_GRID)), where=left > 0)
    return wrong_shares


def bounds(losses: NDArray[np.float64], confidence: float | None) -> NDArray[np.float64]:
    """Return the bound of the mean loss at each threshold; ``losses`` as `LossSample` has them.

    It is so far away that the mean of as many other documents, which has chance of its own, keeps below it as often:
    the difference of two means has twice the variance of one.
    """
    n = len(losses)
    if confidence is None or not n:
        return (n * losses.mean(0) + 1) / (n + 1) if n else np.ones(len(_GRID))
    normal = NormalDist()
    surer = max(confidence, normal.cdf(2**0.5 * normal.inv_cdf(confidence)))
    return np.array([mean_bound(column, surer) for column in losses.T])


def threshold(bounds: NDArray[np.float64], target: float, aim: Aim) -> float | None:
    """Return the threshold at which the mean loss is at most 1 - ``target``; None where none is known to do."""
    order = np.arange(len(_GRID)) if aim == "recall" else np.arange(len(_GRID))[::-1]  # from the safe side on
    holds = bounds[order] <= 1 - target + 1e-12
    count = len(holds) if holds.all() else int(np.argmin(holds))
    return float(_GRID[order[count - 1]]) if count else None


@attrs.frozen(kw_only=True)
class Guarantees:
    """Thresholds of a checkpoint: label (`ALL` for all together) → share → threshold of an entity's probability."""

    recall: Mapping[str, Mapping[float, float]]
    precision: Mapping[str, Mapping[float, float]]
    confidence: float | None
    documents: int
    """How many documents they were fitted on."""

    @classmethod
    def fit(cls, sample: LossSample, confidence: float | None = 0.95) -> Guarantees:
        """Return the thresholds for every share that can be promised."""
        found: dict[Aim, dict[str, dict[float, float]]] = {"recall": {}, "precision": {}}
        for aim, by_label in found.items():
            for label in sample.labels:
                known = bounds(sample.losses(label, aim), confidence)
                chosen = {target: threshold(known, target, aim) for target in TARGETS}
                by_label[label] = {target: value for target, value in chosen.items() if value is not None}
        return cls(
            recall=found["recall"], precision=found["precision"], confidence=confidence, documents=sample.documents
        )

    def threshold(self, aim: Aim, share: float, label: str = ALL) -> float:
        """Return the threshold for a share. Raises ValueError where it cannot be promised, naming what can."""
        of_label = getattr(self, aim).get(label, {})
        fitting = [target for target in of_label if target >= share - 1e-9]
        if not 0 < share < 1 or not fitting:
            best = max(of_label, default=None)
            can = f"at most {best:g}" if best is not None else "none at all"
            what = f" of {label}" if label else ""
            raise ValueError(
                f"min_{aim}={share:g}{what} is not guaranteed by {counted(self.documents, 'documents')}: {can} is; fit "
                "on more documents with papermage-evaluate guarantee=true"
            )
        return float(of_label[min(fitting)])

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            "method": "betting bound" if self.confidence is not None else "conformal risk control",
            "confidence": self.confidence,
            "documents": self.documents,
            **{
                aim: {
                    label: {f"{t:g}": value for t, value in found.items()}
                    for label, found in getattr(self, aim).items()
                }
                for aim in ("recall", "precision")
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Guarantees:
        """Return what ``to_json`` wrote. Raises CheckpointError for anything else."""
        try:
            tables = {
                aim: {
                    str(label): {float(target): float(each) for target, each in found.items()}
                    for label, found in value[aim].items()
                }
                for aim in ("recall", "precision")
            }
            confidence = value["confidence"]
            return cls(
                **tables,
                confidence=None if confidence is None else float(confidence),
                documents=int(value["documents"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"expected guarantees with recall and precision by label, got {value!r:.100}"
            ) from error

    def table(self) -> str:
        """Return what is guaranteed, for the terminal."""
        sure = "on average" if self.confidence is None else f"with {100 * self.confidence:g} % confidence"
        lines = [f"guaranteed {sure}, fitted on {counted(self.documents, 'documents')}; thresholds of probability:"]
        for aim in ("recall", "precision"):
            for label, found in getattr(self, aim).items():
                shown = [t for t in (0.8, 0.9, 0.95, 0.99) if t in found]
                best = max(found, default=None)
                told = ", ".join(f"{100 * t:g} % from {found[t]:.3f}" for t in shown)
                most = "nothing" if best is None else f"at most {100 * best:g} %"
                lines.append(f"  {aim:9} {label or 'all':20} {most}{': ' + told if told else ''}")
        return "\n".join(lines)
