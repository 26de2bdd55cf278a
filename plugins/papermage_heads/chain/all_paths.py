"""Sums over all paths of a chain: partition functions, marginals, expected transitions."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch import Tensor

from papermage_heads.chain.compiled import Kernels, kernels
from papermage_heads.chain.logarithmic import logarithmic_sums
from papermage_heads.chain.scaled import scaled_sums
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.sums import Sums

__all__ = ["sum_paths"]

_SAFE_SPREAD = 100.0
"""Nats between scores of one unit. Scaled probabilities hold 350 beyond what they lose between two rescalings, enough
for a detour of three units at this price; beyond it what matters could vanish, and log space takes over."""


def sum_paths(emissions: Tensor, mask: Tensor, scores: ChainScores, *, ahead: bool = False) -> Sums:
    """Return the sums for emissions (B, T, K) and a mask (B, T) whose padding is at the end.

    ``emissions`` may hold minus infinity, but not at every tag of a unit. No gradient. ``ahead`` asks for `log_ahead`
    and `log_onward`, which are empty otherwise.
    """
    scores = scores.detach(torch.float64)
    if emissions.device.type == "cpu" and (loops := kernels()):
        sums = _compiled_sums(loops, emissions, mask, scores, ahead)
        if sums is not None:
            return sums
    x = emissions.detach().masked_fill(~mask[..., None], 0.0).to(torch.float64)
    top = x.amax(2)
    low = x.masked_fill(x.isinf(), torch.inf).amin(2)
    spread = float((top - low).amax() + scores.spread())
    x -= top[..., None]
    safe = spread <= _SAFE_SPREAD
    sums = scaled_sums(x, mask, scores, spread, ahead) if safe else logarithmic_sums(x, mask, scores)
    return attrs.evolve(sums, log_z=torch.where(mask.any(1), sums.log_z + top.sum(1), 0.0))


def _compiled_sums(loops: Kernels, emissions: Tensor, mask: Tensor, scores: ChainScores, ahead: bool) -> Sums | None:
    """Return the sums by the compiled loop; None if scores lie too far apart for it."""
    kinds = [kind.numpy() for kind in scores.kinds]
    possible = [kind[kind > -np.inf] for kind in kinds]
    most = _SAFE_SPREAD - max(kind.max() - kind.min() for kind in possible)
    peaks = [kind.max() for kind in kinds]
    matrix, first, last = (np.exp(kind - peak) for kind, peak in zip(kinds, peaks, strict=True))
    emissions = emissions.detach() if emissions.dtype == torch.float64 else emissions.detach().float()
    x, lengths = np.ascontiguousarray(emissions.numpy()), mask.sum(1).numpy()
    log_z, marginals, pairs = np.zeros(len(x)), np.zeros(x.shape), np.zeros(matrix.shape)
    log_ahead, log_onward = (np.zeros(x.shape if ahead else (0, 0, 0)) for _ in range(2))
    if not loops.sum_paths(x, lengths, matrix, first, last, most, log_z, marginals, log_ahead, log_onward, pairs):
        return None
    log_z += np.where(lengths > 0, peaks[0] * (lengths - 1) + peaks[1] + peaks[2], 0.0)
    log_ahead += peaks[0]
    found = (log_z, marginals, log_ahead, log_onward, pairs * matrix)
    return Sums(*(torch.from_numpy(part) for part in found))
