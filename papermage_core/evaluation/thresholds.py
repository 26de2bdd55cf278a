"""What precision and recall become where entities below a score are left out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, reduce
from operator import add
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.evaluation.scores import Counts

__all__ = ["Thresholds", "thresholds_of"]

_STEPS = np.arange(100) / 100
_SHOWN = 10
"""Every how many steps are shown in the table."""
_ALL = "all"
_OWN = "each label its own"


@attrs.frozen(eq=False, slots=False)
class Thresholds:
    """Counts by the least score of the entities that are kept, in hundredths from 0 to 0.99."""

    counts: Mapping[str, Sequence[Counts]]
    """Of each label, with 100 values."""

    @cached_property
    def micro(self) -> list[Counts]:
        """The counts of all labels together. Length 100."""
        return [_sum(of_step) for of_step in zip(*self.counts.values(), strict=True)]

    @property
    def best(self) -> float:
        """The least score with the best F1 of all labels together; the lowest of several."""
        return _best(self.micro)

    @cached_property
    def best_by_label(self) -> dict[str, float]:
        """The least score with the best F1 of each label, which ``min_score`` of ``predict`` takes."""
        return {label: _best(counts) for label, counts in self.counts.items()}

    def chosen(self) -> Counts:
        """Return the counts of all labels where each has the least score that is best for it."""
        return _sum([self.counts[label][_step(best)] for label, best in self.best_by_label.items()])

    def typed(self) -> str:
        """Return the best scores as one types them: ``min_score.Chemical=0.41 min_score.Disease=0.56``."""
        if len(self.counts) == 1:
            return f"min_score={self.best:.2f}"
        return " ".join(shlex.quote(f"min_score.{label}={best:.2f}") for label, best in self.best_by_label.items())

    def table(self) -> str:
        """Return the table for the terminal, in percent."""
        width = max(len(_OWN), *map(len, self.counts))
        lines = ["Entities by min_score, all labels, in percent:", f"{'min_score':{width}} {_HEAD}"]
        lines += [f"{step / 100:<{width}.2f} {_row(self.micro[step])}" for step in range(0, len(_STEPS), _SHOWN)]
        lines += ["", "The min_score of the best F1, chosen by these very documents: on others it gives rather less"]
        lines.append(f"{'':{width}} min_score {_HEAD}")
        lines.append(f"{_ALL:{width}} {self.best:9.2f} {_row(self.micro[_step(self.best)])}")
        if len(self.counts) > 1:
            for label, best in self.best_by_label.items():
                lines.append(f"{label:{width}} {best:9.2f} {_row(self.counts[label][_step(best)])}")
            lines.append(f"{_OWN:{width}} {'':9} {_row(self.chosen())}")
        lines += ["", f"For papermage-predict and papermage-evaluate:  {self.typed()}"]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the best scores, and precision, recall and F1 at all, as plain values."""
        return {
            "best": self.best,
            "best_by_label": self.best_by_label,
            "all": [_point(step, counts) for step, counts in zip(_STEPS.tolist(), self.micro, strict=True)],
            "labels": {
                label: [_point(step, each) for step, each in zip(_STEPS.tolist(), counts, strict=True)]
                for label, counts in self.counts.items()
            },
        }


def thresholds_of(
    scores: NDArray[np.float64], right: NDArray[np.bool_], labels: Sequence[str], gold: Mapping[str, int]
) -> Thresholds:
    """Return the counts for predicted entities: their scores, whether they are right, their labels. Shapes (n,).

    ``gold`` is how many entities there are of each label; labels beside these are counted, too.
    """
    of = np.asarray(labels, object)
    found = {}
    for label in dict.fromkeys([*gold, *labels]):
        own = of == label
        n_gold = gold.get(label, 0)
        kept, hits = _at_least(scores[own]), _at_least(scores[own & right])
        found[label] = [
            Counts(gold=n_gold, found=hit, predicted=n, right=hit) for n, hit in zip(kept, hits, strict=True)
        ]
    return Thresholds(found)


def _at_least(scores: NDArray[np.float64]) -> list[int]:
    """Return how many scores are as high as each step."""
    counted: list[int] = (len(scores) - np.searchsorted(np.sort(scores), _STEPS)).tolist()
    return counted


def _best(counts: Sequence[Counts]) -> float:
    return float(_STEPS[int(np.argmax([each.f1 for each in counts]))])  # the first of equal ones


def _step(score: float) -> int:
    return round(score * len(_STEPS))


def _sum(counts: Iterable[Counts]) -> Counts:
    return reduce(add, counts, Counts(gold=0, found=0, predicted=0, right=0))


_HEAD = f"{'P':>6} {'R':>6} {'F1':>6} {'found':>7}"


def _row(counts: Counts) -> str:
    shares = (counts.precision, counts.recall, counts.f1)
    return " ".join(f"{100 * value:6.1f}" for value in shares) + f" {counts.predicted:7}"


def _point(step: float, counts: Counts) -> dict[str, float]:
    return {"min_score": step, "precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
