r"""Forward–backward over a batch of chains: partition functions, marginals and expected transitions.

With $\alpha$ and $\beta$ as in Rabiner 1989, "A Tutorial on Hidden Markov Models", equations 19 to 25, for
the scores of `ChainScores`:

$$
\alpha_1(j) = e^{a_j + x_{1j}} \qquad \alpha_t(j) = e^{x_{tj}} \sum_i \alpha_{t-1}(i) \, e^{m_{ij}}
$$

$$
\beta_n(i) = e^{b_i} \qquad \beta_t(i) = \sum_j e^{m_{ij} + x_{t+1,j}} \beta_{t+1}(j)
$$

$$
Z = \sum_i \alpha_t(i) \, \beta_t(i) \qquad P(y_t = i) = \alpha_t(i) \, \beta_t(i) / Z
\qquad P(y_t = i, y_{t+1} = j) = \alpha_t(i) \, e^{m_{ij} + x_{t+1,j}} \beta_{t+1}(j) / Z
$$

Two ways to the same numbers: `_log_space` is the formula in logarithms, right whatever the scores, and slow; `_scaled`
multiplies, and divides now and then so that nothing vanishes (section V.A). B contexts, U units, K tags.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from papermage_heads.chain.compiled import Kernels, kernels
from papermage_heads.chain.legal import LegalChain
from papermage_heads.chain.scores import ChainScores

__all__ = ["ForwardBackward", "forward_backward", "is_compiled"]

_SAFE_SPREAD = 100.0
"""Nats between scores of one unit. Scaled probabilities hold `_HEADROOM` beyond what they lose between two divisions,
enough for a detour of three units at this price; beyond it what matters could vanish, and log space takes over."""
_HEADROOM = 350.0
"""Nats that may be lost between two divisions; float64 holds 708."""
_COMPILED_TAGS = 256
"""Beyond this number of tags the products of matrices of BLAS are faster than a compiled loop."""
_BLOCK = 8_000_000
"""Most numbers in a tensor (B, U, K) or, in log space, (K, K, B), but for those of one context: 32 MB."""


@attrs.frozen(eq=False)
class ForwardBackward:
    """What forward–backward says of a batch, in float64."""

    log_z: Tensor
    """Logarithm of the sum over all paths. Zero for a context without units. Shape (B,)."""
    marginals: Tensor
    """Probability of each tag at each unit; zero at padding. Shape (B, U, K)."""
    log_beta: Tensor
    r"""$\log \beta$; anything at padding. Shape (B, U, K), or (0, U, K) where it was not asked for."""
    expected_transitions: Tensor
    """Expected number of times that tag j follows tag i, over the batch. Shape (K, K), or (0, 0) with `log_beta`."""


def forward_backward(
    emissions: Tensor, mask: Tensor, scores: ChainScores | LegalChain, *, log_beta: bool = False
) -> ForwardBackward:
    """Return what forward–backward says for emissions (B, U, K) and a mask (B, U) whose padding is at the end.

    ``emissions`` may hold minus infinity, but not at every tag of a unit. NaN or infinity in them, or in the scores,
    gives NaN. No gradient. ``log_beta`` is given in place of expected transitions. A `LegalChain` has no transitions to
    expect, and is for the CPU.
    """
    check_batch(emissions, mask, len(scores.start))
    batch, n_units, n_tags = emissions.shape
    emissions = emissions.detach()
    if isinstance(scores, ChainScores):
        scores = scores.detach(torch.float64)
        if is_compiled(n_tags) and emissions.device.type == "cpu" and (loops := kernels()):
            found = _compiled(loops, emissions, mask, scores, log_beta)
            if found is not None:
                return found
    size = max(1, _BLOCK // max(1, n_units * n_tags))
    if batch > size:
        blocks = zip(torch.split(emissions, size), torch.split(mask, size), strict=True)
        some = [forward_backward(*block, scores, log_beta=log_beta) for block in blocks]
        log_z, marginals, betas, counts = map(list, zip(*map(attrs.astuple, some), strict=True))
        return ForwardBackward(torch.cat(log_z), torch.cat(marginals), torch.cat(betas), sum(counts))
    x = emissions.masked_fill(~mask[..., None], 0.0).to(torch.float64)
    top = x.amax(2)  # (B, U)
    spread = float((top - x.masked_fill(x.isneginf(), torch.inf).amin(2)).amax()) + scores.spread
    x -= top[..., None]
    if not math.isfinite(spread):
        x *= torch.nan
        counted = x.new_full((0, 0) if log_beta else (n_tags, n_tags), torch.nan)
        return ForwardBackward(x[:, 0, 0], x, x[: log_beta * batch], counted)
    if spread <= _SAFE_SPREAD:
        found = _scaled(x, mask, scores, max(1, int(_HEADROOM / (spread + math.log(2 * n_tags)))), log_beta)
    else:
        found = _log_space(x, mask, scores, log_beta)
    found.log_z.add_(top.sum(1)).masked_fill_(~mask.any(1), 0.0)
    found.log_beta.add_((top.flip(1).cumsum(1).flip(1) - top)[: len(found.log_beta), :, None])
    return found


def is_compiled(n_tags: int) -> bool:
    """Return whether there is a compiled loop for so many tags, on the CPU."""
    return n_tags <= _COMPILED_TAGS and kernels() is not None


def check_batch(emissions: Tensor, mask: Tensor, n_tags: int) -> None:
    """Raise ValueError unless emissions (B, U, K) and a mask (B, U) fit each other and K tags."""
    shape, expected = tuple(emissions.shape), (*emissions.shape[:2], n_tags)
    if shape != expected or not emissions.is_floating_point():
        raise ValueError(f"emissions: expected floats of shape {expected}, got {emissions.dtype} of shape {shape}")
    if mask.shape != shape[:2] or mask.dtype != torch.bool:
        raise ValueError(f"mask: expected bool of shape {shape[:2]}, got {mask.dtype} of shape {tuple(mask.shape)}")
    if bool((mask[:, 1:] > mask[:, :-1]).any()):
        raise ValueError("mask: expected the padding of each context after all its units")


def _compiled(
    loops: Kernels, emissions: Tensor, mask: Tensor, scores: ChainScores, log_beta: bool
) -> ForwardBackward | None:
    """Return the results of the compiled loop; None if scores lie too far apart for it."""
    most, tables = _SAFE_SPREAD - scores.spread, scores.arrays
    if not math.isfinite(most):
        return None
    peaks = [table.max() for table in tables]
    matrix, start, end = (np.exp(table - peak) for table, peak in zip(tables, peaks, strict=True))
    x = np.ascontiguousarray((emissions if emissions.dtype == torch.float64 else emissions.float()).numpy())
    lengths, n_tags = mask.sum(1).numpy(), x.shape[2]
    log_z, marginals = np.zeros(len(x)), np.zeros(x.shape)
    betas = np.zeros_like(marginals[: log_beta * len(x)])
    expected = np.zeros((0, 0) if log_beta else (n_tags, n_tags))
    if not loops.forward_backward(x, lengths, matrix, start, end, most, log_z, marginals, betas, expected):
        return None
    log_z += np.where(lengths > 0, peaks[0] * (lengths - 1) + peaks[1] + peaks[2], 0.0)
    if log_beta:
        left = np.maximum(lengths[:, None] - 1 - np.arange(x.shape[1]), 0)  # (B, U)
        betas += (peaks[0] * left + peaks[2])[..., None]
    else:
        expected *= matrix
    return ForwardBackward(*map(torch.from_numpy, (log_z, marginals, betas, expected)))


def _log_space(x: Tensor, mask: Tensor, scores: ChainScores | LegalChain, log_beta: bool) -> ForwardBackward:
    """Return the results for emissions (B, U, K) and a mask (B, U), by the formulas."""
    if isinstance(scores, LegalChain):
        start, end = (torch.from_numpy(allowed).to(x.dtype).log() for allowed in (scores.start, scores.end))
        ahead, back = (partial(_log_reduction, reduce) for reduce in (scores.ahead, scores.back))
    else:
        transitions, start, end = scores.tensors
        ahead, back = (partial(_log_product, matrix) for matrix in (transitions.t(), transitions))
    x, real = x.permute(1, 2, 0).contiguous(), mask.t()  # (U, K, B), (U, B)
    n_units, n_tags, batch = x.shape
    alpha, beta = torch.empty_like(x), end[:, None].expand_as(x).clone()
    alpha[0] = start[:, None] + x[0]
    for t in range(1, n_units):
        alpha[t] = ahead(alpha[t - 1]) + x[t]
    for t in range(n_units - 2, -1, -1):
        beta[t] = torch.where(real[t + 1], back(x[t + 1] + beta[t + 1]), beta[t])
    last = (real.sum(0) - 1).clamp_min(0).expand(1, n_tags, batch)
    log_z = (alpha.gather(0, last)[0] + end[:, None]).logsumexp(0)
    marginals = (alpha + beta).softmax(1).masked_fill(~real[:, None], 0.0).permute(2, 0, 1).contiguous()
    if log_beta:
        return ForwardBackward(log_z, marginals, beta.permute(2, 0, 1).contiguous(), x.new_zeros(0, 0))
    left = (alpha[:-1] - log_z).masked_fill(~real[1:, None], -torch.inf)  # (U - 1, K, B)
    size = max(1, _BLOCK // transitions.numel())
    sides = (part.transpose(0, 1).flatten(1) for part in (left, (x + beta)[1:]))  # (K, (U - 1) B)
    pairs = zip(*(torch.split(side, size, 1) for side in sides), strict=True)
    expected = torch.zeros_like(transitions)
    for i, j in pairs:  # (K, some), (K, some)
        expected += (i[:, None] + transitions[..., None] + j[None]).exp().sum(2)
    return ForwardBackward(log_z, marginals, marginals[:0], expected)


def _log_product(matrix: Tensor, state: Tensor) -> Tensor:
    r"""Return $\log \sum_j e^{m_{ij} + s_j}$ for a matrix (K, K) and states (K, B). Shape (K, B)."""
    size = max(1, _BLOCK // matrix.numel())
    return torch.cat([(matrix[..., None] + some).logsumexp(1) for some in torch.split(state, size, 1)], 1)


def _log_reduction(reduce: Callable[..., Any], state: Tensor) -> Tensor:
    """Return the same for a matrix of zeros, and minus infinity, that a `LegalChain` reduces by."""
    return torch.from_numpy(reduce(np.logaddexp, state.numpy(), -np.inf))


def _scaled(x: Tensor, mask: Tensor, scores: ChainScores | LegalChain, every: int, log_beta: bool) -> ForwardBackward:
    """Return the results for emissions (B, U, K) of at most 0 and a mask (B, U), dividing once in ``every`` units.

    Exponentials are taken once, of all emissions, and the loop multiplies. Backward runs over reversed contexts, in one
    loop with forward. There the batch is last, so that every operation runs along contiguous memory.
    """
    batch, n_units, n_tags = x.shape
    rows = torch.arange(batch, device=x.device)
    last = (mask.sum(1) - 1).clamp_min(0)  # (B,)
    onward = (last[:, None] - torch.arange(n_units, device=x.device)).clamp_min(0)  # (B, U), units that follow
    reverse = (rows[:, None] * n_units + onward).flatten()

    def reversed_(part: Tensor) -> Tensor:
        """Return (U, K, B) as (B, U, K), with the units of each context in opposite order."""
        return part.permute(2, 0, 1).reshape(-1, n_tags).index_select(0, reverse).view(batch, n_units, n_tags)

    step: Callable[..., Any]
    if isinstance(scores, LegalChain):
        start, end = (torch.from_numpy(allowed).to(x.dtype) for allowed in (scores.start, scores.end))
        peaks, step = x.new_zeros(3), scores.step
    else:
        peaks = torch.stack([tensor.amax() for tensor in scores.tensors])
        matrix, start, end = ((tensor - peak).exp() for tensor, peak in zip(scores.tensors, peaks, strict=True))
        matrices = torch.stack([matrix.t(), matrix])  # (2, K, K)
        step = partial(np.matmul, matrices.numpy()) if x.device.type == "cpu" else partial(torch.bmm, matrices)
    emitted = x.new_empty(n_units, 2, n_tags, batch)  # of forward, and of backward
    torch.exp(x.permute(1, 2, 0), out=emitted[:, 0])
    emitted[:, 1] = reversed_(emitted[:, 0]).permute(1, 2, 0)
    before, after, divided = _sweep(emitted, torch.stack([start, end]), step, every)
    log_divided = divided.log()  # (U, 2, B)
    alpha = after[:, 0].permute(2, 0, 1).contiguous()
    beta = reversed_(before[:, 1])
    marginals = alpha * beta
    norm = marginals.sum(2, keepdim=True)
    marginals.div_(norm).masked_fill_(~mask[..., None], 0.0)
    log_z = (alpha[rows, last] @ end).log() + log_divided[:, 0].cumsum(0)[last, rows]
    log_z += peaks[0] * last + peaks[1] + peaks[2]
    if log_beta:
        earlier = log_divided[:, 1].cumsum(0) - log_divided[:, 1]  # (U, B)
        shift = earlier[onward, rows[:, None]] + peaks[0] * onward + peaks[2]  # (B, U)
        return ForwardBackward(log_z, marginals, beta.log_().add_(shift[..., None]), x.new_zeros(0, 0))
    left = (alpha[:, :-1] / norm[:, :-1]).masked_fill_(~mask[:, 1:, None], 0.0)
    right = reversed_(after[:, 1])[:, 1:]  # emitted times beta
    expected = matrix * (left.view(-1, n_tags).t() @ right.reshape(-1, n_tags))
    return ForwardBackward(log_z, marginals, marginals[:0], expected)


def _sweep(emitted: Tensor, first: Tensor, step: Callable[..., Any], every: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the states before and after each unit's emission, and what each was divided by after it.

    ``emitted`` (U, 2, K, B) holds both directions, as states do; ``first`` (2, K) are the states before the first unit.
    Divisors are (U, 2, B). On the CPU numpy runs the loop: a call of it costs half of torch's.
    """
    before, after = torch.empty_like(emitted), torch.empty_like(emitted)
    divided = emitted.new_ones(emitted.shape[0], 2, emitted.shape[3])
    before[0] = first[..., None]
    tensors = [emitted, before, after, divided]
    if emitted.device.type == "cpu":
        with np.errstate(all="ignore"):
            _loop([tensor.numpy() for tensor in tensors], step, np.multiply, every)
    else:
        _loop(tensors, step, torch.mul, every)
    return before, after, divided


def _loop(states: Sequence[Any], step: Callable[..., Any], multiply: Callable[..., Any], every: int) -> None:
    """Fill what `_sweep` returns, after its first unit; arrays of numpy, or of torch."""
    emitted, before, after, divided = states
    multiply(before[0], emitted[0], out=after[0])
    previous = after[0]
    for t, (e, b, a) in enumerate(zip(emitted[1:], before[1:], after[1:], strict=True), 1):
        step(previous, out=b)
        multiply(b, e, out=a)
        if t % every == 0:
            divided[t] = mass = a.sum(1)  # (2, B)
            a /= mass[:, None]
        previous = a
