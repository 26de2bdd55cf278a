"""The weights of a model in a file: what is kept, and whether what a file holds is what a model has."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["TensorInfo", "mismatches", "not_finite", "read_header", "to_keep", "unkeepable"]

_MOST_HEADER = 16 << 20  # bytes: a hundred thousand tensors
_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "C64": torch.complex64, "BOOL": torch.bool,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16,
}  # fmt: skip
_CHECKED = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


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
    kept: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, value in state.items():
        if name in later:
            continue
        value = (value.float() if as_float32 and value.is_floating_point() else value).detach().cpu().contiguous()
        if value.numel() and value.untyped_storage().data_ptr() in storages:
            value = value.clone()  # safetensors keeps no two parts of one memory
        kept[name] = value
        storages.add(value.untyped_storage().data_ptr())
    return kept


def unkeepable(module: nn.Module) -> tuple[str, str] | None:
    """Return what of a module's state no checkpoint can give back, and what its author can do; None if all can be."""
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            return f"{name} of its state is no tensor but {value!r:.60}", "keep in its options what is no tensor"
        if is_lazy(value):
            return f"{name} has no shape yet", "use no lazy module: let build() say all sizes"
        if value.is_meta:
            return f"{name} is on torch's meta device: it has no values", "make it on the CPU"
        if value.layout != torch.strided or not _is_held(value.dtype):
            kind = value.dtype if value.layout == torch.strided else value.layout
            return f"{name} is {kind}, which safetensors cannot hold", "register a dense tensor of another type"
        if value.numel() > 1 + sum(
            (size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True)
        ):
            return (
                f"elements of {name} share memory, so nothing can be loaded into it",
                "call clone() on what expand() gave",
            )
    return None


@functools.cache
def _is_held(dtype: torch.dtype) -> bool:
    """Whether safetensors, which has got more types with time, can hold a type of numbers."""
    try:
        save({"value": torch.zeros(1, dtype=dtype)})
    except (KeyError, ValueError, RuntimeError):
        return False
    return dtype in _TYPES.values()


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


def not_finite(weights: Mapping[str, Tensor], model: nn.Module) -> str | None:
    """Return a tensor of a file that holds NaN, or infinity where it is trained; None if there is none.

    What a model keeps beside its parameters, such as scores that are not allowed, may be infinite.
    """
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    for name, value in weights.items():
        if value.dtype not in _CHECKED or not value.numel():
            continue
        least, most = (float(each) for each in value.aminmax())  # NaN if there is one
        if math.isnan(least) or (name in trained and (math.isinf(least) or math.isinf(most))):
            return name
    return None


def _later_names(state: Mapping[str, Tensor]) -> set[str]:
    """Return the names, but for the first, of each tensor that stands under several."""
    firsts: dict[tuple[int, tuple[int, ...]], str] = {}
    return {
        name
        for name, value in state.items()
        if value.numel() and firsts.setdefault((value.data_ptr(), tuple(value.shape)), name) != name
    }
