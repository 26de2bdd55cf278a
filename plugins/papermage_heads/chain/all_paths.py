"""Sums over all paths of a chain: partition functions, marginals, expected transitions.

The arrays have the batch last, (units, tags, batch), so that every operation runs along contiguous memory.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

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
    real = mask.t()  # (T, B)
    x = emissions.detach().permute(1, 2, 0).to(torch.float64)  # (T, K, B)
    x = x.masked_fill(~real[:, None], 0.0)
    top = x.amax(1)
    low = x.masked_fill(x.isinf(), torch.inf).amin(1)
    spread = float((top - low).amax() + scores.spread())
    x = (x - top[:, None]).contiguous()
    constant = top.sum(0)
    safe = spread <= _SAFE_SPREAD
    sums = scaled_sums(x, real, scores, spread, ahead) if safe else logarithmic_sums(x, real, scores)
    return attrs.evolve(sums, log_z=torch.where(real.any(0), sums.log_z + constant, 0.0))
