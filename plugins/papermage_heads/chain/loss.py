"""The negative log-likelihood of a chain, with its gradient in closed form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from papermage_heads.chain.all_paths import sum_paths
from papermage_heads.chain.compiled import Kernels, kernels
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.sums import Sums

__all__ = ["negative_log_likelihood"]


def negative_log_likelihood(
    emissions: Tensor, mask: Tensor, targets: Tensor, scores: ChainScores, *, focal_gamma: float = 0.0
) -> Tensor:
    r"""Return :math:`\sum_b \log Z_b - \log Z_b(\text{targets})`, a scalar of the emissions' type.

    Emissions are (B, U, K), the mask (B, U) with padding at the end, targets int64 (B, U). Where a target is -1 the
    label is unknown, and the second sum runs over all legal tags (Tsuboi et al. 2008, "Training Conditional Random
    Fields Using Incomplete Annotations"). The gradient is that of the formula, the difference of two expectations, so
    no graph is built in the loop. With ``focal_gamma`` the gradient at the emissions of a unit is multiplied by
    :math:`(1 - p)^\gamma`, p being the marginal probability of its target (Lin et al. 2017, held constant).
    """
    if not emissions.numel():
        # No units, no loss; still a part of the graph, so that backward() goes through.
        return emissions.sum() + sum(kind.masked_fill(kind.isinf(), 0.0).sum() * 0.0 for kind in scores.kinds)
    loss: Tensor = _NegativeLogLikelihood.apply(  # type: ignore[no-untyped-call]
        emissions, *scores.kinds, targets, mask, focal_gamma
    )
    return loss


class _NegativeLogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        transitions: Tensor,
        start: Tensor,
        end: Tensor,
        targets: Tensor,
        mask: Tensor,
        focal_gamma: float,
    ) -> Tensor:
        scores = ChainScores(transitions, start, end)
        value, gradients = _value_and_gradients(emissions, mask, targets, scores, focal_gamma)
        inputs = (emissions, *scores.kinds)
        ctx.save_for_backward(*(part.to(given.dtype) for part, given in zip(gradients, inputs, strict=True)))
        return value.to(emissions.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (*(part * grad for part in ctx.saved_tensors), None, None, None)


def _value_and_gradients(
    emissions: Tensor, mask: Tensor, targets: Tensor, scores: ChainScores, focal_gamma: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the loss and its gradients for emissions (B, U, K), transitions (K, K), start (K,) and end (K,)."""
    sums = sum_paths(emissions, mask, scores)
    if emissions.device.type == "cpu" and not focal_gamma and (loops := kernels()):
        found = _by_compiled_loop(loops, emissions, mask, targets, scores, sums)
        if found is not None:
            return found
    known = targets >= 0
    whole = (known | ~mask).all(1)
    lengths = mask.sum(1)
    last = (lengths - 1).clamp_min(0)
    tags = targets.clamp_min(0)
    marginals = sums.marginals
    wanted = torch.zeros_like(marginals).scatter_(2, tags[..., None], mask[..., None].to(marginals.dtype))
    if bool(whole.all()):
        log_z, edges = _of_paths(emissions, mask, tags, scores, last)
    else:
        rows = (~whole).nonzero().squeeze(1)
        log_z, edges = _of_paths(emissions, mask & whole[:, None], tags, scores, last)
        other = torch.arange(emissions.shape[2], device=emissions.device) != tags[rows, :, None]
        held = emissions[rows].masked_fill(other & known[rows, :, None], -torch.inf)
        some = sum_paths(held, mask[rows], scores)
        log_z = log_z.index_copy(0, rows, some.log_z)
        edges = edges + some.edges
        wanted[rows] = some.marginals
    value = (sums.log_z - log_z).sum()
    batch = torch.arange(len(lengths), device=lengths.device)
    at_ends = [(marginals[batch, at] - wanted[batch, at]).sum(0) for at in (torch.zeros_like(last), last)]
    difference = marginals - wanted
    if focal_gamma:
        probability = torch.where(known, (marginals * wanted).sum(2), 0.0)
        difference *= (1.0 - probability)[..., None] ** focal_gamma
    return value, (difference, sums.edges - edges, *at_ends)


def _by_compiled_loop(
    loops: Kernels, emissions: Tensor, mask: Tensor, targets: Tensor, scores: ChainScores, sums: Sums
) -> tuple[Tensor, tuple[Tensor, ...]] | None:
    """Return loss and gradients; None where some target is unknown, or no tag."""
    at_ends = [torch.zeros_like(kind, dtype=torch.float64) for kind in scores.kinds[1:]]
    kinds = scores.detach(torch.float64).kinds
    emissions = emissions.detach() if emissions.dtype == torch.float64 else emissions.detach().float()
    given = (emissions.contiguous(), mask.sum(1), targets.contiguous(), *kinds, sums.marginals, sums.edges, *at_ends)
    total = loops.take_paths(*(part.numpy() for part in given))
    real = torch.where(mask, targets, 0)
    if math.isnan(total) and not bool(((real >= 0) & (real < emissions.shape[2])).all()):
        return None
    return sums.log_z.sum() - total, (sums.marginals, sums.edges, *at_ends)


def _of_paths(
    emissions: Tensor, mask: Tensor, tags: Tensor, scores: ChainScores, last: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the score of one path a context (B,), zero where the mask is, and its transitions counted (K, K)."""
    n_tags = emissions.shape[2]
    scores = scores.detach(torch.float64)
    emitted = emissions.detach().gather(2, tags[..., None]).squeeze(2).to(torch.float64)
    pairs = tags[:, :-1] * n_tags + tags[:, 1:]
    follows = mask[:, 1:]
    score = emitted.masked_fill(~mask, 0.0).sum(1)
    score += scores.transitions.flatten()[pairs].masked_fill(~follows, 0.0).sum(1)
    edge = scores.start[tags[:, 0]] + scores.end[tags.gather(1, last[:, None]).squeeze(1)]
    score += edge.masked_fill(~mask.any(1), 0.0)
    counts = torch.zeros(n_tags * n_tags, dtype=torch.float64, device=emissions.device)
    counts.index_add_(0, pairs.flatten(), follows.flatten().to(torch.float64))
    return score, counts.view(n_tags, n_tags)
