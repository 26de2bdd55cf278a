"""The sequences of a batch, cut into runs of like lengths: what is padding alone takes as long as text on a CPU.

For predictions alone: each run's gradient of all weights takes as long as a batch's, which is more than is saved. But
where a model reads padding as if it were text, runs are of one length each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["in_runs", "runs"]

_RUN = 64
"""Wordpieces whose time a run takes besides that of its own: of a small model, with two threads."""


def in_runs(model: Callable[..., Tensor], inputs: Mapping[str, Tensor], *, unpadded: bool = False) -> Tensor:
    """Return what a model makes of sequences (S, T, …) that are padded at the end. Shape (S, T, D), zero at padding.

    ``inputs`` are what the model takes by name, with an ``attention_mask``. With ``unpadded`` it is given no padding.
    """
    lengths = inputs["attention_mask"].sum(1)
    sizes = torch.unique(lengths, return_counts=True)[1].flip(0).tolist() if unpadded else runs(lengths.numpy())
    if len(sizes) == 1:
        return model(**inputs)
    order = lengths.argsort(descending=True)
    width, found = inputs["attention_mask"].shape[1], []
    for rows in torch.split(order, sizes):
        longest = int(lengths[rows[0]])
        vectors = model(**{name: values[rows, :longest] for name, values in inputs.items()})
        found.append(F.pad(vectors, (0, 0, 0, width - longest)))
    return torch.cat(found).index_select(0, order.argsort())


def runs(lengths: NDArray[np.int64]) -> list[int]:
    """Return how many sequences of falling length each run takes, so that all runs together take least.

    >>> runs(np.array([10, 90, 88, 11, 12]))
    [2, 3]
    """
    rising, counts = np.unique(lengths, return_counts=True)
    longest, before = rising[::-1], np.append(0, np.cumsum(counts[::-1]))
    least, begins = np.zeros(len(before)), np.zeros(len(before), np.int64)  # for the longest of all alone
    for stop in range(1, len(before)):
        taken = least[:stop] + longest[:stop] * (before[stop] - before[:stop]) + _RUN
        begins[stop] = taken.argmin()
        least[stop] = taken[begins[stop]]
    sizes, stop = [], len(before) - 1
    while stop:
        sizes.append(int(before[stop] - before[begins[stop]]))
        stop = int(begins[stop])
    return sizes[::-1]
