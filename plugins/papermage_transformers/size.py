"""Whether a model is as small as its weights say, seen before any memory is taken for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from papermage_transformers.folder import Limits

__all__ = ["check_size"]


def check_size(make: Callable[[], nn.Module], limits: Limits) -> None:
    """Raise ValueError where the module that ``make`` returns would be larger than ``limits``, or never be finished.

    It is made on torch's meta device, whose tensors have shapes and no memory. The random generator is left as it was.
    """
    counted = _Counted(limits)
    with torch.random.fork_rng(devices=[]), torch.device("meta"), counted:
        made = make()
    counted.check(sum(tensor.numel() for tensor in (*made.parameters(), *made.buffers())))


class _Counted(TorchFunctionMode):
    """Stops the making of a module that has too many parts, or one that is too large."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._left = 40 * limits.tensors  # calls of torch; a parameter is made and filled in five to twenty

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it describes more than {self._limits.tensors:,} parameters")
        if isinstance(found, torch.Tensor):
            self.check(found.numel())
        return found

    def check(self, numbers: int) -> None:
        if numbers > self._limits.numbers:
            raise ValueError(f"it describes {numbers:,} numbers, the weights are {self._limits.numbers:,} at most")
