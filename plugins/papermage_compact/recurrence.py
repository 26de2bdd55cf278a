"""A linear recurrence that reads the units of all windows of a batch at once, in far fewer steps than N units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from papermage_compact.loops import can_loop, gated_states
from papermage_compact.network import BlockDropout, Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GatedRecurrence", "scan"]

Floats: TypeAlias = "NDArray[np.floating[Any]]"


def scan(keep: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Return h with ``h[t] = keep[t] * h[t - 1] + new[t]`` and ``h[-1] = 0``, differentiable. Shapes (N, D)."""
    states: torch.Tensor = _Scan.apply(keep, new)  # type: ignore[no-untyped-call]
    return states


class GatedRecurrence(nn.Module):
    """A residual simple recurrence in both directions (Lei et al., 2018), normalized before.

    With y = norm(x), f = σ(W y + b) and h[t] = f[t] · h[t∓1] + (1 - f[t]) · tanh(V y[t]), gives
    ``x + dropout(U dropout([h→; h←] · silu(G y)))``. States begin at zero in each window.
    """

    scan = staticmethod(scan)

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 6 * width)
        self.linear = nn.Linear(2 * width, width)
        self.dropout = BlockDropout(dropout)
        nn.init.constant_(self.inputs.bias[: 2 * width], 1.0)  # starts by keeping most of the state

    def forward(self, x: torch.Tensor, neighbours: Neighbours) -> torch.Tensor:
        """Return new vectors of the units. Shapes (N, D)."""
        inputs = self.inputs(self.norm(x))
        states = gated_states(inputs, *neighbours.exist(1)) if can_loop(inputs) else self._gated(inputs, neighbours)
        changed: torch.Tensor = self.dropout(self.linear(self.dropout(states)))
        return x + changed

    def _gated(self, inputs: torch.Tensor, neighbours: Neighbours) -> torch.Tensor:
        """Return what `gated_states` does, by operations that every device has."""
        width = inputs.shape[1] // 6
        forget, new, gate = (inputs[:, 2 * width * i : 2 * width * (i + 1)] for i in range(3))
        forget = torch.sigmoid(forget.float())
        new = (1 - forget) * torch.tanh(new.float())
        has_before, has_after = neighbours.exist(1)
        keep = torch.cat([forget[:, :width] * has_before, (forget[:, width:] * has_after).flip(0)], 1)
        states = self.scan(keep, torch.cat([new[:, :width], new[:, width:].flip(0)], 1))
        states = torch.cat([states[:, :width], states[:, width:].flip(0)], 1).to(inputs.dtype)
        return states * F.silu(gate)


class _Scan(torch.autograd.Function):
    """The gradient of a scan is a scan from the other end (Martin and Cundy, 2018)."""

    @staticmethod
    def forward(ctx: Any, keep: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        states = _scan(keep, new)
        ctx.save_for_backward(keep, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keep, states = ctx.saved_tensors
        following = F.pad(keep[1:], (0, 0, 0, 1)).flip(0)
        of_new = _scan(following, gradient.flip(0)).flip(0)
        return of_new * F.pad(states[:-1], (0, 0, 1, 0)), of_new


def _scan(keep: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    if keep.device.type != "cpu":
        return _scan_by_doubling(keep, new)
    return _scan_in_chunks(keep, new)


def _scan_by_doubling(keep: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Return the states in log N steps of whole arrays, each a few kernels: on a GPU a step costs what a launch does.

    After k steps each state holds what is new at the 2^k units up to its own (Hillis and Steele, 1986).
    """
    states, kept, reach = new, keep, 1
    while reach < len(states):
        states = torch.cat([states[:reach], torch.addcmul(states[reach:], kept[reach:], states[:-reach])])
        kept = torch.cat([kept[:reach], kept[reach:] * kept[:-reach]])
        reach *= 2
    return states


def _scan_in_chunks(keep: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Return the states: within chunks, all chunks at once; then what each chunk hands to the next."""
    n, d = keep.shape
    size = max(1, round((n / 2) ** 0.5))
    chunks = -(-n // size)
    padding = (0, 0, 0, chunks * size - n)
    keep = F.pad(keep, padding).view(chunks, size, d).transpose(0, 1).contiguous()  # (size, chunks, D)
    states = F.pad(new, padding).view(chunks, size, d).transpose(0, 1).contiguous()
    kept = keep.clone()  # the share of a chunk's first input that is left after each of its units
    carried = torch.zeros_like(states[0])  # (chunks, D): the state before each chunk
    _run(*(part.numpy() for part in (keep, states, kept, carried)))  # a call of numpy costs half of torch's
    states.addcmul_(kept, carried)
    return states.transpose(0, 1).reshape(chunks * size, d)[:n]


def _run(keep: Floats, states: Floats, kept: Floats, carried: Floats) -> None:
    """Make ``states`` and ``kept`` those within chunks, and fill ``carried``."""
    part = keep[0] * states[0]
    for k, s, before, left, left_before in zip(keep[1:], states[1:], states, kept[1:], kept, strict=False):
        np.multiply(k, before, out=part)
        s += part
        np.multiply(left, left_before, out=left)
    for after, s, left, before in zip(carried[1:], states[-1], kept[-1], carried, strict=False):
        np.multiply(left, before, out=after)
        after += s
