"""Vectors of wordpieces → vectors of units."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

__all__ = ["POOLINGS", "READ", "Pooling"]

Pooling = Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor]
"""(wordpiece vectors (S, T, D), the batch that `Collator` made) → unit vectors (W, U, D)."""


def _take(pieces: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the vectors at the positions. Shape: (number of positions, D)."""
    # Not pieces[positions]: its gradient is summed one element after the other on a CPU.
    return pieces.flatten(0, 1).index_select(0, positions.flatten())


def _first(pieces: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return _take(pieces, batch["first"]).view(*batch["first"].shape, -1)


def _last(pieces: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return _take(pieces, batch["last"]).view(*batch["last"].shape, -1)


def _mean(pieces: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    pieces = pieces.to(torch.promote_types(pieces.dtype, torch.float32))  # half precision would lose in the sum
    sums = _take(pieces, batch["first"]).index_add(0, batch["rest_units"], _take(pieces, batch["rest"]))
    return (sums / batch["counts"].view(-1, 1)).view(*batch["first"].shape, -1)


def _max(pieces: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    owner = batch["rest_units"].unsqueeze(1).expand(-1, pieces.shape[-1])  # (R, D)
    highest = _take(pieces, batch["first"]).scatter_reduce(0, owner, _take(pieces, batch["rest"]), "amax")
    return highest.view(*batch["first"].shape, -1)


READ: Mapping[str, tuple[str, ...]] = {
    "first": ("first",),
    "mean": ("first", "rest"),
    "max": ("first", "rest"),
    "last": ("last",),
}
"""Which positions each pooling takes vectors at, by their names in the batch."""

POOLINGS: Mapping[str, Pooling] = {"first": _first, "mean": _mean, "max": _max, "last": _last}
