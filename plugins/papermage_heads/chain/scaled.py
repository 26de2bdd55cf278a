"""Sums over all paths in scaled probabilities: forward and backward in one loop.

A loop in log space takes exponentials and logarithms at every unit. Here they are taken once, of all emissions, and
the loop multiplies: a matrix and a vector product a unit (Rabiner 1989, section V.A). Backward runs over the reversed
sequences, stacked on forward as a block of the same matrices. In float64 many units can pass between two rescalings;
how many follows from the largest differences between scores. In the loop the batch is last, (units, tags, batch), so
that every operation runs along contiguous memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.sums import Sums

__all__ = ["scaled_sums"]

_HEADROOM = 350.0  # nats that may be lost between two rescalings; float64 holds 708


def scaled_sums(x: Tensor, mask: Tensor, scores: ChainScores, spread: float, ahead: bool) -> Sums:
    """Return the sums for emissions (B, T, K) of at most 0 and a mask (B, T); ``spread`` bounds their differences."""
    batch, n_units, n_tags = x.shape
    steps = (mask.sum(1) - 1).clamp_min(0)  # (B,)
    rows = torch.arange(batch, device=x.device)
    back = (steps[:, None] - torch.arange(n_units, device=x.device)).clamp_min(0)
    turned = (rows[:, None] * n_units + back).flatten()

    def turn(part: Tensor) -> Tensor:
        """Return (B, T, K) with the real units of each context in opposite order."""
        return part.reshape(-1, n_tags).index_select(0, turned).view(batch, n_units, n_tags)

    peaks = [kind.amax() for kind in scores.kinds]
    matrix, start, end = ((kind - peak).exp() for kind, peak in zip(scores.kinds, peaks, strict=True))
    stacked = torch.zeros(2 * n_tags, 2 * n_tags, dtype=x.dtype, device=x.device)
    stacked[:n_tags, :n_tags], stacked[n_tags:, n_tags:] = matrix.t(), matrix
    emitted = x.exp()
    both = x.new_empty(n_units, 2 * n_tags, batch)
    both[:, :n_tags], both[:, n_tags:] = emitted.permute(1, 2, 0), turn(emitted).permute(1, 2, 0)
    every = max(1, int(_HEADROOM / (spread + math.log(2 * n_tags))))
    reached, before, logs = _sweep(both, stacked, torch.cat([start, end]), every)
    forward = reached[:, :n_tags].permute(2, 0, 1).contiguous()
    beta, onward = (turn(part[:, n_tags:].permute(2, 0, 1)) for part in (before, reached))
    marginals = forward * beta
    norm = marginals.sum(2, keepdim=True)
    real = mask[..., None]
    left = (forward[:, :-1] / norm[:, :-1]).masked_fill_(~real[:, 1:], 0.0)
    marginals.div_(norm).masked_fill_(~real, 0.0)
    return Sums(
        log_z=(forward[rows, steps] @ end).log()
        + logs[:, 0].cumsum(0)[steps, rows]
        + (peaks[0] * steps + peaks[1] + peaks[2]),
        marginals=marginals,
        log_ahead=beta.log() + peaks[0] if ahead else beta[:0],
        log_onward=onward.log() if ahead else onward[:0],
        edges=matrix * (left.view(-1, n_tags).t() @ onward[:, 1:].reshape(-1, n_tags)),
    )


def _sweep(emitted: Tensor, matrix: Tensor, first: Tensor, every: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the states after each unit, those before its emission, and the log of what each was divided by.

    ``emitted`` (T, 2K, B) holds both directions. On the CPU numpy runs the loop: a call of it costs half of torch's.
    """
    n_units, _, batch = emitted.shape
    after, before = torch.empty_like(emitted), torch.empty_like(emitted)
    divided = emitted.new_ones(n_units, 2, batch)
    before[0] = first[:, None]
    torch.mul(before[0], emitted[0], out=after[0])
    if emitted.device.type == "cpu":
        arrays: list[Any] = [tensor.numpy() for tensor in (emitted, matrix, after, before, divided)]
        with np.errstate(all="ignore"):
            _loop(*arrays, every=every, dot=np.dot, mul=np.multiply)
    else:
        _loop(emitted, matrix, after, before, divided, every=every, dot=torch.mm, mul=torch.mul)
    return after, before, divided.log()


def _loop(emitted: Any, matrix: Any, after: Any, before: Any, divided: Any, *, every: int, dot: Any, mul: Any) -> None:
    """Fill ``after``, ``before`` and ``divided`` from unit 1 on; arrays of numpy or torch, with its products."""
    previous = after[0]
    for i, (e, b, a) in enumerate(zip(emitted[1:], before[1:], after[1:], strict=True), 1):
        dot(matrix, previous, out=b)
        mul(b, e, out=a)
        if i % every == 0:
            halves = a.reshape(2, -1, a.shape[1])
            mass = halves.sum(1)
            halves /= mass[:, None]
            divided[i] = mass
        previous = a
