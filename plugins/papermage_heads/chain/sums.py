"""Sums over all paths of a chain: forward–backward in scaled probabilities, both directions in one loop.

A loop in log space takes exponentials and logarithms at every unit. Here they are taken once, of all emissions, and
the loop multiplies: a matrix and a vector product a unit (Rabiner 1989, section V.A). Backward runs over the reversed
sequences, stacked on forward as a block of the same matrices. In float64 a few units can pass between two rescalings;
how many follows from the largest differences between scores. Where these are so large that products could vanish
(no trained model, but a wild one) the loop runs in log space instead.

The arrays have the batch last, (units, tags, batch), so that every operation runs along contiguous memory.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from papermage_heads.chain.scores import ChainScores

__all__ = ["Sums", "sum_paths"]

_HEADROOM = 350.0  # nats that may be lost between two rescalings; float64 holds 708
_SAFE_SPREAD = 100.0  # nats; a detour of three units still fits into what is left


@attrs.frozen(eq=False)
class Sums:
    """The sums over all paths of the contexts of a batch. T units, K tags, B contexts; each (T, K, B), time first."""

    log_z: Tensor
    """Logarithm of the sum over all paths, float64. Zero for a context without units. Shape (B,)."""
    marginals: Tensor
    """Probability of each tag at each unit; zero at padding. Shape (T, K, B)."""
    log_ahead: Tensor
    """Log sum over what follows the unit, up to a constant a unit: :math:`\\log \\beta`. Shape (T, K, B)."""
    log_onward: Tensor
    """The same with the unit's own emission. ``log_ahead[t, i] = log Σ_j exp(m[i, j] + log_onward[t + 1, j])``."""
    edges: Tensor
    """Expected number of times that j follows i, over the batch. Shape (K, K)."""


def sum_paths(emissions: Tensor, mask: Tensor, scores: ChainScores, *, ahead: bool = False) -> Sums:
    """Return the sums for emissions (B, T, K) and a mask (B, T) whose padding is at the end.

    ``emissions`` may hold minus infinity, but not at every tag of a unit. No gradient. ``ahead`` asks for `log_ahead`
    and `log_onward`, which are empty otherwise.
    """
    scores = scores.detach(torch.float64)
    real = mask.t()  # (T, B)
    x = emissions.detach().permute(1, 2, 0).to(torch.float64)  # (T, K, B)
    x = x.masked_fill(~real[:, None], 0.0)
    top = x.amax(1)
    low = x.masked_fill(x.isinf(), torch.inf).amin(1)
    spread = float((top - low).amax() + scores.spread())
    x = (x - top[:, None]).contiguous()
    constant = top.sum(0)
    sums = _scaled(x, real, scores, spread, ahead)
    return attrs.evolve(sums, log_z=torch.where(real.any(0), sums.log_z + constant, 0.0))


def _scaled(x: Tensor, real: Tensor, scores: ChainScores, spread: float, ahead: bool) -> Sums:
    n_units, n_tags, _ = x.shape
    steps = (real.sum(0) - 1).clamp_min(0)  # (B,)
    back = (steps - torch.arange(n_units, device=x.device)[:, None]).clamp_min(0)[:, None].expand(-1, n_tags, -1)
    peaks = [kind.amax() for kind in (scores.transitions, scores.start, scores.end)]
    matrix, start, end = (
        (kind - peak).exp() for kind, peak in zip((scores.transitions, scores.start, scores.end), peaks, strict=True)
    )
    emitted = x.exp()
    both = torch.cat([emitted, emitted.gather(0, back)], 1)  # (T, 2K, B)
    reached, before, logs = _sweep(
        both, torch.block_diag(matrix.t(), matrix), torch.cat([start, end]), max(1, int(_HEADROOM / (spread + 3)))
    )
    forward, beta, onward = reached[:, :n_tags], before[:, n_tags:].gather(0, back), reached[:, n_tags:].gather(0, back)
    joint = forward * beta
    norm = joint.sum(1, keepdim=True)
    marginals = (joint / norm) * real[:, None]
    last = steps[None, None].expand(1, n_tags, -1)
    total = (forward.gather(0, last)[0] * end[:, None]).sum(0)
    scale = logs[:, 0].cumsum(0).gather(0, steps[None])[0]
    left = (forward[:-1] / norm[:-1]) * real[1:, None]
    edges = matrix * torch.einsum("tib,tjb->ij", left, onward[1:])
    return Sums(
        log_z=total.log() + scale + peaks[0] * steps + peaks[1] + peaks[2],
        marginals=marginals,
        log_ahead=beta.log() + peaks[0] if ahead else beta[:0],
        log_onward=onward.log() if ahead else onward[:0],
        edges=edges,
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
        arrays = [tensor.numpy() for tensor in (emitted, matrix, after, before, divided)]
        with np.errstate(all="ignore"):
            _loop(*arrays, every, np.dot, np.multiply)
    else:
        _loop(emitted, matrix, after, before, divided, every, torch.mm, torch.mul)
    return after, before, divided.log()


def _loop(emitted: Any, matrix: Any, after: Any, before: Any, divided: Any, every: int, dot: Any, mul: Any) -> None:
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
