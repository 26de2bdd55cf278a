"""Shared by the suites of the torch kinds: seeds, shaken weights, gradients, what a checkpoint keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn

from papermage_core.testing.checks import fail, require

__all__ = ["close", "missing_gradients", "reload", "seeded", "shake"]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with torch's global generator at a seed, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def shake(module: nn.Module, *, scale: float = 0.5, seed: int = 7) -> nn.Module:
    """Add noise to the weights, so that zeros and ties of a new module hide nothing; return the module."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


def close(first: torch.Tensor, second: torch.Tensor, *, tolerance: float = 2e-4) -> bool:
    """Whether two tensors are equal but for rounding."""
    return first.shape == second.shape and torch.allclose(first, second, rtol=tolerance, atol=tolerance)


def missing_gradients(module: nn.Module) -> list[str]:
    """Return the names of trainable parameters that have no gradient, or zero everywhere."""
    return [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]


def reload(trained: nn.Module, fresh: nn.Module) -> nn.Module:
    """Return ``fresh`` with the weights of ``trained``, by way of what a checkpoint keeps of them."""
    kept: Any = {name: tensor.detach().clone().contiguous() for name, tensor in trained.state_dict().items()}
    try:
        fresh.load_state_dict(load(save(kept)), strict=True)
    except RuntimeError as exc:
        fail(
            f"the weights do not fit a component built anew from the same config: {' '.join(str(exc).split())}",
            "let build() alone decide which parameters and buffers there are, never the data or an earlier call",
        )
    return fresh


def require_module(built: Any, methods: tuple[str, ...]) -> None:
    """Fail unless ``build`` returned a torch module with these methods."""
    require(isinstance(built, nn.Module), f"build returned {built!r}", "return a torch.nn.Module")
    for method in methods:
        require(callable(getattr(built, method, None)), f"the module has no {method}()", "implement it")
