"""Scores of rows of tags, as other libraries give them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from papermage_core.evaluation.arrays import Numbers, Sides
from papermage_core.evaluation.scorer import Scorer
from papermage_core.evaluation.scores import Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["score_tags"]

_PREFIXES = "OBIES"
_LETTERS = str.maketrans("LU", "ES")


def score_tags(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, labels: Iterable[str] = ()
) -> Scores:
    """Return the scores of entities in rows of tags such as ``B-author``, read as conlleval and seqeval do.

    A document for each row. Raises ValueError for rows of different lengths.

    >>> score_tags([["B-a", "I-a", "O", "I-b"]], [["B-a", "I-a", "O", "O"]]).recall
    0.5
    """
    if list(map(len, gold)) != list(map(len, predicted)):
        raise ValueError("expected as many predicted tags as gold ones in each row")
    sides = Sides()
    first = np.append(0, np.cumsum([len(row) for row in gold]))
    columns = [_read_tags(rows, first, sides.labels) for rows in (gold, predicted)]
    scorer = Scorer(labels)
    n = len(columns[0][0]) + len(columns[1][0])
    scorer.add_arrays(sides, *sides.sides(columns[0], columns[1], np.zeros(n, np.int64)), len(gold))
    return scorer.scores()


def _read_tags(rows: Sequence[Sequence[str]], first: NDArray[np.int64], labels: Numbers) -> list[NDArray[np.int64]]:
    """Return the columns of the entities in rows of tags, which begin at ``first``, units counted through all rows."""
    if not first[-1]:
        return [np.zeros(0, np.int64)] * 6
    numbers = Numbers()
    flat = np.fromiter(map(numbers.__getitem__, itertools.chain.from_iterable(rows)), np.int64, int(first[-1]))
    names = [(tag[:1].translate(_LETTERS), tag[2:] if tag[1:2] == "-" else tag[1:] or "_") for tag in numbers]
    letters = np.array([max(_PREFIXES.find(letter), 0) for letter, _ in names])
    kinds = Numbers()
    kind = np.array([kinds[name] if _PREFIXES.find(letter) > 0 else -1 for letter, name in names])
    letter, label = letters[flat], kind[flat]
    begins = np.zeros(len(flat), np.bool_)
    begins[first[:-1][first[:-1] < len(flat)]] = True
    before, label_before = np.append(0, letter[:-1])[: len(flat)], np.append(-1, label[:-1])[: len(flat)]
    before, label_before = np.where(begins, 0, before), np.where(begins, -1, label_before)
    outside, opens, closes = letter == 0, (letter == 1) | (letter == 4), (before >= 3) | (before == 0)
    starts = np.flatnonzero(~outside & (opens | closes | (label != label_before)))
    ends = (before > 0) & ((before >= 3) | outside | opens | (label != label_before))
    ends |= begins & np.append(False, letter[:-1] > 0)[: len(flat)]
    stops = np.flatnonzero(ends)
    if letter[-1] > 0:
        stops = np.append(stops, len(flat))
    of_kind = np.array([labels[name] for name in kinds] or [0], np.int64)
    nothing = np.zeros(len(starts), np.int64)
    return [np.searchsorted(first, starts, "right") - 1, of_kind[label[starts]], starts, stops, nothing, nothing]
