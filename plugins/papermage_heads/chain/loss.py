"""The negative log-likelihood of a chain, with its gradient in closed form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from papermage_heads.chain.compiled import kernels
from papermage_heads.chain.forward_backward import forward_backward, is_compiled
from papermage_heads.chain.scores import ChainScores

__all__ = ["negative_log_likelihood"]


def negative_log_likelihood(
    emissions: Tensor, mask: Tensor, targets: Tensor, scores: ChainScores, *, focal_gamma: float = 0.0
) -> Tensor:
    r"""Return $\sum_b \log Z_b - \log Z_b(\text{targets})$, a scalar of the emissions' type.

    Emissions are (B, U, K), the mask (B, U) with padding at the end, targets int64 (B, U). Where a target is -1 the
    label is unknown, and the second sum runs over all legal tags (Tsuboi et al. 2008, "Training Conditional Random
    Fields Using Incomplete Annotations"). The gradient is that of the formula, the difference of two expectations, so
    no graph is built in the loop. With ``focal_gamma`` the gradient at the emissions of a unit is multiplied by
    $(1 - p)^\gamma$, p being the marginal probability of its target (Lin et al. 2017, held constant).
    NaN and infinity, in emissions or scores, give NaN.
    """
    expected, shape = tuple(emissions.shape[:2]), tuple(targets.shape)
    if shape != expected or targets.dtype != torch.int64:
        raise ValueError(f"targets: expected int64 of shape {expected}, got {targets.dtype} of shape {shape}")
    if not emissions.numel():
        # No units, no loss; still a part of the graph, so that backward() goes through.
        return emissions.sum() + sum(tensor.masked_fill(tensor.isinf(), 0.0).sum() * 0.0 for tensor in scores.tensors)
    loss: Tensor = _NegativeLogLikelihood.apply(  # type: ignore[no-untyped-call]
        emissions, *scores.tensors, targets, mask, focal_gamma
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
        inputs = (emissions, transitions, start, end)
        there = _where(emissions, focal_gamma)
        x, real, right = emissions.detach().to(there), mask.to(there), targets.to(there)
        scores = ChainScores(*(part.detach().to(there) for part in inputs[1:]))
        value, gradients = _value_and_gradients(x, real, right, scores, focal_gamma)
        ctx.save_for_backward(*(part.to(given) for part, given in zip(gradients, inputs, strict=True)))
        return value.to(emissions)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (*(part * grad for part in ctx.saved_tensors), None, None, None)


def _where(emissions: Tensor, focal_gamma: float) -> torch.device:
    """Return where the loss is computed: by the compiled loop of the CPU, as on a GPU each unit is several launches."""
    on_cpu = not focal_gamma and is_compiled(emissions.shape[2])
    return torch.device("cpu") if on_cpu else emissions.device


def _value_and_gradients(
    emissions: Tensor, mask: Tensor, targets: Tensor, scores: ChainScores, focal_gamma: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the loss and its gradients for emissions (B, U, K), transitions (K, K), start (K,) and end (K,)."""
    emissions, scores = emissions.detach(), scores.detach(torch.float64)
    free = forward_backward(emissions, mask, scores)
    difference, expected = free.marginals, free.expected_transitions  # from here on, less those of the targets
    lengths = mask.sum(1)
    if emissions.device.type == "cpu" and not focal_gamma and (loops := kernels()):
        at_ends = torch.zeros_like(scores.start), torch.zeros_like(scores.end)
        x = emissions if emissions.dtype == torch.float64 else emissions.float()
        given = (x.contiguous(), lengths, targets.contiguous(), *scores.tensors, difference, expected, *at_ends)
        score = loops.subtract_paths(*(tensor.numpy() for tensor in given))
        if not math.isnan(score):
            return free.log_z.sum() - score, (difference, expected, *at_ends)
    targets = targets.masked_fill(~mask, -1)
    if int(targets.max()) >= len(scores.start):
        raise IndexError(f"targets: {int(targets.max())} is out of bounds for {len(scores.start)} tags")
    known = targets >= 0
    partly = (known != mask).any(1)  # (B,)
    tags, whole = targets.clamp_min(0), mask & ~partly[:, None]
    right = difference.gather(2, tags[..., None]).masked_fill(~known[..., None], 0.0)  # (B, U, 1)
    difference.scatter_add_(2, tags[..., None], -whole[..., None].to(difference.dtype))
    value = free.log_z.sum() - _score_of_paths(emissions, whole, tags, scores, expected)
    if bool(partly.any()):
        other = torch.arange(emissions.shape[2], device=emissions.device) != tags[partly][..., None]
        held = emissions[partly].masked_fill(other & known[partly][..., None], -torch.inf)
        agreeing = forward_backward(held, mask[partly], scores)
        value -= agreeing.log_z.sum()
        expected -= agreeing.expected_transitions
        difference[partly] -= agreeing.marginals
    last = (lengths - 1).clamp_min(0)
    at_ends = difference[:, 0].sum(0), difference[torch.arange(len(last), device=last.device), last].sum(0)
    if focal_gamma:
        difference *= (1.0 - right).clamp_min(0.0) ** focal_gamma
    return value, (difference, expected, *at_ends)


def _score_of_paths(emissions: Tensor, mask: Tensor, tags: Tensor, scores: ChainScores, expected: Tensor) -> Tensor:
    """Return the summed score of paths (B, U) where the mask is, and subtract their transitions from ``expected``."""
    n_tags = emissions.shape[2]
    emitted = emissions.gather(2, tags[..., None]).squeeze(2).to(torch.float64).masked_fill(~mask, 0.0)
    pairs = (tags[:, :-1] * n_tags + tags[:, 1:])[mask[:, 1:]]  # (N,)
    expected.view(-1).index_add_(0, pairs, expected.new_full((), -1.0).expand(len(pairs)))
    some = mask.any(1)
    last = (mask.sum(1) - 1).clamp_min(0)[:, None]
    ends = (scores.start[tags[:, 0]] + scores.end[tags.gather(1, last).squeeze(1)]).masked_fill(~some, 0.0)
    return emitted.sum() + scores.transitions.flatten()[pairs].sum() + ends.sum()
