"""A number for all labels, or one for each that is named: ``min_score=0.5``, ``min_score.Disease=0.8``."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Collection, Mapping, Sequence

from papermage_core.errors import nearest

__all__ = ["ByLabel", "check_labels", "lowest_scores"]

ByLabel = float | Mapping[str, float] | None


def check_labels(name: str, given: ByLabel, labels: Collection[str]) -> None:
    """Raise ValueError for a label that there is not."""
    for label in given if isinstance(given, Mapping) else ():
        if label not in labels:
            hint = f"{nearest(label, labels)} Known: {', '.join(labels)}"
            raise ValueError(f"{name}: {label!r} is no label of this model.{hint}")


def lowest_scores(min_score: ByLabel, labels: Sequence[str]) -> Callable[[str], float]:
    """Return what says which score entities of a label must have; of labels that are not named, any will do.

    Raises ValueError for a label that there is not, and for what is no number from 0 to 1.
    """
    check_labels("min_score", min_score, labels)
    named: Mapping[str, float] = min_score if isinstance(min_score, Mapping) else {}
    others = 0.0 if min_score is None or isinstance(min_score, Mapping) else min_score
    for score in (*named.values(), others):
        if not (isinstance(score, numbers.Real) and 0 <= score <= 1):
            raise ValueError(f"min_score: expected a number from 0 to 1, got {score!r}")
    return lambda label: named.get(label, others)
