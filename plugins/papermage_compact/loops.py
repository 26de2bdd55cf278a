"""What the encoder computes on a CPU in loops over units: in one pass, where torch takes one for each operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from papermage_core.compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bags", "can_loop", "gated_states"]

Floats: TypeAlias = "NDArray[np.float32]"
Integers: TypeAlias = "NDArray[np.integer[Any]]"
Flags: TypeAlias = "NDArray[np.bool_]"

_ONE = np.float32(1)
_FAR = np.float32(7.90531110763549805)
_A1, _A3, _A5, _A7, _A9, _A11, _A13 = np.array(
    [
        4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08,
        -8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16,
    ],
    np.float32,
)  # fmt: skip
_B0, _B2, _B4, _B6 = np.array(
    [4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06], np.float32
)


def can_loop(x: torch.Tensor) -> bool:
    """Whether the loops take this tensor: on a CPU, in float32, computed now, with numba installed."""
    is_plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()
    return is_plain and compiled(_fill_gated) is not None


def bags(weight: torch.Tensor, rows: torch.Tensor, offsets: torch.Tensor | None, mode: str) -> torch.Tensor:
    """Return the ``sum`` or ``mean`` of rows of a table, as `torch.nn.functional.embedding_bag` does. Shape (T, D).

    ``rows`` (T, n), or (n,) with the offsets (T + 1,) at which bags begin and the last ends. For what `can_loop`.
    """
    found: torch.Tensor = _Bags.apply(weight, rows, offsets, mode)  # type: ignore[no-untyped-call]
    return found


def gated_states(inputs: torch.Tensor, has_before: torch.Tensor, has_after: torch.Tensor) -> torch.Tensor:
    """Return the gated states of a recurrence in both directions; ``inputs`` are its forget, new and gate in a row.

    With f = σ(forget), h[t] = f[t] · h[t∓1] + (1 - f[t]) · tanh(new[t]), forwards in the first half of the values and
    backwards in the second, gives h · silu(gate). Shapes (N, 6 D), (N, 1), (N, 1) → (N, 2 D). For what `can_loop`.
    """
    found: torch.Tensor = _GatedStates.apply(inputs, has_before, has_after)  # type: ignore[no-untyped-call]
    return found


def _loop(function: Callable[..., None]) -> Callable[..., None]:
    made = compiled(function)
    assert made is not None
    return made


class _Bags(torch.autograd.Function):
    """Bags whose gradients are added to their rows one by one: torch sorts the rows first."""

    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, rows: torch.Tensor, offsets: torch.Tensor | None, mode: str
    ) -> torch.Tensor:
        ctx.given, ctx.shape = (rows, offsets, mode), weight.shape
        return F.embedding_bag(rows, weight, offsets, mode=mode, include_last_offset=offsets is not None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        rows, offsets, mode = ctx.given
        if offsets is None:
            offsets = torch.arange(0, rows.numel() + 1, rows.shape[1])
        sizes = offsets.diff().clamp(min=1).unsqueeze(1)
        each = (gradient / sizes if mode == "mean" else gradient).contiguous()
        out = gradient.new_zeros(ctx.shape)
        _loop(_add_to_rows)(*(array.numpy() for array in (each, rows.flatten(), offsets, out)))
        return out, None, None, None


def _add_to_rows(each: Floats, rows: Integers, offsets: Integers, out: Floats) -> None:
    for bag in range(len(each)):
        given = each[bag]
        for i in range(offsets[bag], offsets[bag + 1]):
            row = out[rows[i]]
            for d in range(len(row)):
                row[d] += given[d]


class _GatedStates(torch.autograd.Function):
    """The gradient of a recurrence is one from the other end (Martin and Cundy, 2018)."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, has_before: torch.Tensor, has_after: torch.Tensor) -> torch.Tensor:
        inputs = inputs.detach().contiguous()
        size = inputs.shape[1] // 3
        scales = np.repeat(np.array([0.5, 1.0, 0.5], np.float32), size)
        squashed = torch.empty_like(inputs)
        states, out = (inputs.new_empty(len(inputs), size) for _ in range(2))
        ctx.flags = tuple(each.numpy()[:, 0] for each in (has_before, has_after))
        ctx.arrays = tuple(each.numpy() for each in (inputs, squashed, states))
        _loop(_squash)(ctx.arrays[0], scales, ctx.arrays[1])
        _loop(_fill_gated)(*ctx.arrays, *ctx.flags, out.numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        out = gradient.new_empty(ctx.arrays[0].shape)
        _loop(_fill_of_gated)(gradient.contiguous().numpy(), *ctx.arrays, *ctx.flags, out.numpy())
        return out, None, None


def _squash(inputs: Floats, scales: Floats, out: Floats) -> None:
    """Fill ``out`` with tanh(x) where the scale is 1, and with σ(x) = (1 + tanh(x / 2)) / 2 where it is ½.

    The hyperbolic tangent by a quotient of polynomials (those of Eigen), to 4e-7; beyond ``_FAR`` it is 1.
    """
    for t in range(len(inputs)):
        row, filled = inputs[t], out[t]
        for d in range(len(scales)):
            x = row[d] * scales[d]
            x = -_FAR if x < -_FAR else x
            x = _FAR if x > _FAR else x
            y = x * x
            above = ((((((_A13 * y + _A11) * y + _A9) * y + _A7) * y + _A5) * y + _A3) * y + _A1) * x
            below = ((_B6 * y + _B4) * y + _B2) * y + _B0
            filled[d] = above / below * scales[d] + (_ONE - scales[d])


def _fill_gated(
    inputs: Floats, squashed: Floats, states: Floats, has_before: Flags, has_after: Flags, out: Floats
) -> None:
    n, size = states.shape
    half = size // 2
    for i in range(2 * n):  # forwards over the first half of the values, then backwards over the second
        is_forwards = i < n
        t = i if is_forwards else 2 * n - 1 - i
        first, last = (0, half) if is_forwards else (half, size)
        state, forget, new = states[t, first:last], squashed[t, first:last], squashed[t, size + first : size + last]
        if has_before[t] if is_forwards else has_after[t]:
            former = states[t - 1 if is_forwards else t + 1, first:last]
            for d in range(half):
                state[d] = new[d] + forget[d] * (former[d] - new[d])
        else:
            for d in range(half):
                state[d] = new[d] - forget[d] * new[d]
        x, gate, given = inputs[t, 2 * size + first :], squashed[t, 2 * size + first :], out[t, first:last]
        for d in range(half):
            given[d] = state[d] * x[d] * gate[d]


def _fill_of_gated(
    gradient: Floats,
    inputs: Floats,
    squashed: Floats,
    states: Floats,
    has_before: Flags,
    has_after: Flags,
    out: Floats,
) -> None:
    n, size = states.shape
    half = size // 2
    carried = np.zeros(size, np.float32)  # the gradient of each state from the unit that was given it
    for i in range(2 * n):
        is_forwards = i < n
        t = n - 1 - i if is_forwards else i - n
        first, last = (0, half) if is_forwards else (half, size)
        begins = not (has_before[t] if is_forwards else has_after[t])
        kept = np.float32(0 if begins else 1)
        former = states[t if begins else t - 1 if is_forwards else t + 1, first:last]
        state, of_out, of_next = states[t, first:last], gradient[t, first:last], carried[first:last]
        forget, new = squashed[t, first:last], squashed[t, size + first : size + last]
        x, gate = inputs[t, 2 * size + first :], squashed[t, 2 * size + first :]
        of_forget, of_new, of_gate = out[t, first:last], out[t, size + first : size + last], out[t, 2 * size + first :]
        for d in range(half):
            gated = of_out[d] * gate[d]
            of_gate[d] = gated * state[d] * (_ONE + x[d] * (_ONE - gate[d]))
            of_state = of_next[d] + gated * x[d]
            of_next[d] = kept * of_state * forget[d]
            changed = of_state * (_ONE - forget[d])
            of_forget[d] = changed * forget[d] * (kept * former[d] - new[d])
            of_new[d] = changed * (_ONE - new[d] * new[d])
