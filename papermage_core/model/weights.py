"""The weights of a model in a file: what is kept, and whether what a file holds is what a model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import safe_open
from torch import Tensor

__all__ = ["TensorInfo", "mismatches", "read_header", "to_keep"]

_MOST_HEADER = 16 << 20  # bytes: a hundred thousand tensors
_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "C64": torch.complex64, "BOOL": torch.bool,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
}  # fmt: skip


@attrs.frozen
class TensorInfo:
    """What is known of a tensor without reading it."""

    shape: tuple[int, ...]
    dtype: torch.dtype | str
    """The name of the type where torch has none."""

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} {self.shape}"


def to_keep(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what of a model's state is written: each tensor once, in the type that a new model has.

    A model that was trained in another precision altogether (``bf16-true``) is written in float32.
    """
    later = _later_names(state)
    floating = {value.dtype for value in state.values() if value.is_floating_point()}
    as_float32 = len(floating) == 1
    return {
        name: (value.float() if as_float32 and value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in state.items()
        if name not in later
    }


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Return what a safetensors file holds. Raises OSError, ValueError or SafetensorError for what is no such file."""
    with path.open("rb") as file:
        if (length := int.from_bytes(file.read(8), "little")) > _MOST_HEADER:
            raise ValueError(f"its header would have {length} bytes")
    with safe_open(path, framework="pt") as weights:
        found: dict[str, Any] = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 - no mapping
        return {
            name: TensorInfo(tuple(each.get_shape()), _TYPES.get(each.get_dtype(), each.get_dtype()))
            for name, each in found.items()
        }


def mismatches(state: Mapping[str, Tensor], header: Mapping[str, TensorInfo]) -> Iterator[str]:
    """Yield how a file of weights differs from what a model has; a tensor of two names needs the first alone."""
    later = _later_names(state)
    for name in sorted({*state, *header}):
        found = header.get(name)
        wanted = TensorInfo(tuple(state[name].shape), state[name].dtype) if name in state else None
        if found == wanted or (found is None and name in later):
            continue
        if wanted and found == attrs.evolve(wanted, dtype=torch.float32) and state[name].is_floating_point():
            continue  # written by `to_keep` for a model that computes in another precision
        yield f"{name}: expected {wanted or 'none'}, got {found or 'none'}"


def _later_names(state: Mapping[str, Tensor]) -> set[str]:
    """Return the names, but for the first, of each tensor that stands under several."""
    firsts: dict[tuple[int, tuple[int, ...]], str] = {}
    return {
        name
        for name, value in state.items()
        if value.numel() and firsts.setdefault((value.data_ptr(), tuple(value.shape)), name) != name
    }
