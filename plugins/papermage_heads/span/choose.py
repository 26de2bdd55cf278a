"""From scored entities to those that stay, and to tags of units; without torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from papermage_core.plugin import UnitSpan
from papermage_heads.span.segments import Overlap, clash

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["choose", "unit_tags"]


def choose(spans: Sequence[UnitSpan], overlap: Overlap) -> list[UnitSpan]:
    """Return the entities that stay, by start, then stop: the surest first, each if it clashes with none before it.

    >>> sure, unsure = UnitSpan.of("A", 0, 3, 0.9), UnitSpan.of("A", 2, 4, 0.6)
    >>> choose([unsure, sure], "none") == [sure], choose([unsure, sure], "any") == [sure, unsure]
    (True, True)
    """
    in_order = sorted(spans, key=attrgetter("place"))
    if overlap == "any":
        return in_order
    kept: list[UnitSpan] = []
    over: defaultdict[int, list[UnitSpan]] = defaultdict(list)  # what is kept, by unit: others cannot clash
    for span in sorted(in_order, key=_score, reverse=True):  # stable: the earlier first where scores are equal
        near = {id(other): other for unit in span.units for other in over[unit]}
        if not any(clash(span, other, overlap) for other in near.values()):
            kept.append(span)
            for unit in span.units:
                over[unit].append(span)
    return sorted(kept)


def unit_tags(
    spans: Sequence[UnitSpan], outside: NDArray[np.float32], index: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the tag of each unit, 0 for O and 1 + index of the label else, and its probability. Shapes (n,).

    ``outside`` is the probability of O, shape (n,). Of several entities over a unit the surest gives the tag.
    """
    tags = np.zeros(len(outside), np.int64)
    scores = np.asarray(outside, np.float32).copy()
    for span in sorted(spans, key=_score):
        for start, stop in span.segments:
            tags[start:stop] = 1 + index[span.label]
            scores[start:stop] = _score(span)
    return tags, scores


def _score(span: UnitSpan) -> float:
    return 0.0 if span.score is None else span.score
