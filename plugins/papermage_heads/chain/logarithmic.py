"""Sums over all paths in log space: slow, and right whatever the scores."""

from __future__ import annotations

import torch
from torch import Tensor

from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.sums import Sums

__all__ = ["logarithmic_sums"]


def logarithmic_sums(x: Tensor, real: Tensor, scores: ChainScores) -> Sums:
    """Return the sums for emissions (B, T, K) and a mask (B, T)."""
    x, real = x.permute(1, 2, 0).contiguous(), real.t()
    n_units, n_tags, batch = x.shape
    steps = scores.transitions[:, :, None]
    forward, beta = torch.empty_like(x), scores.end[:, None].expand_as(x).clone()
    forward[0] = scores.start[:, None] + x[0]
    for i in range(1, n_units):
        forward[i] = (forward[i - 1][:, None] + steps).logsumexp(0) + x[i]
    last = (real.sum(0) - 1).clamp_min(0)[None, None].expand(1, n_tags, batch)
    log_z = (forward.gather(0, last)[0] + scores.end[:, None]).logsumexp(0)
    edges = x.new_zeros(n_tags, n_tags)
    for i in range(n_units - 2, -1, -1):
        arriving = steps + (x[i + 1] + beta[i + 1])[None]  # (from, to, B)
        beta[i] = torch.where(real[i + 1], arriving.logsumexp(1), beta[i])
        edges += (forward[i][:, None] + arriving - log_z).masked_fill(~real[i + 1], -torch.inf).exp().sum(2)
    marginals = (forward + beta).softmax(1).masked_fill(~real[:, None], 0.0)
    unit_first = (marginals, beta, x + beta)
    marginals, ahead, onward = (part.permute(2, 0, 1).contiguous() for part in unit_first)
    return Sums(log_z=log_z, marginals=marginals, log_ahead=ahead, log_onward=onward, edges=edges)
