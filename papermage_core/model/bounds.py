"""Build a model within what its weights account for, whatever its options say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Bounds", "BoundsError"]

_SPARE = 256 << 20
_CALLS, _CALLS_EACH = 5_000, 200  # a module takes about five a tensor
_MAKERS: frozenset[Any] = frozenset(
    {
        torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.arange,
        torch.linspace, torch.eye, torch.empty_strided, torch.randperm, torch.Tensor.new_empty, torch.Tensor.new_zeros,
        torch.Tensor.new_ones, torch.Tensor.new_full,
    }
)  # fmt: skip


class BoundsError(ValueError):
    """A model that would be larger than its weights. The fault of the checkpoint, and of no component."""

    is_nobodys_fault = True


class Bounds(TorchFunctionMode):
    """In its ``with`` block, a model cannot be made that is much larger than ``tensors`` of ``size`` bytes in all.

    BoundsError is raised, before the memory is taken, where torch's functions (as modules use them for parameters) are
    asked for more than four times ``size`` and 256 MiB, or called more than 5,000 times and 200 times a tensor.
    """

    def __init__(self, tensors: int, size: int) -> None:
        super().__init__()
        self._size = 4 * size + _SPARE
        self._calls = _CALLS + _CALLS_EACH * tensors

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count the call, and the bytes that it will take."""
        self._calls -= 1
        if func in _MAKERS:
            self._size -= _bytes(func, args, kwargs or {})
        if self._calls < 0 or self._size < 0:
            raise BoundsError("it would be larger than its weights")
        return func(*args, **(kwargs or {}))


def _bytes(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Return the size of what a call makes, from a tensor without storage; nothing for one that has none itself."""
    try:
        if torch.device(kwargs.get("device") or "cpu").type == "meta":
            return 0
        made = func(*args, **{**kwargs, "device": "meta"})
    except Exception:  # the call itself will say what is wrong with it
        return 0
    return int(made.numel() * made.element_size())
