"""Shared by the suites of the torch kinds: seeds, shaken weights, gradients, what a checkpoint keeps."""

from __future__ import annotations

import contextlib
import gc
import random
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from papermage_core.model.weights import unkeepable
from papermage_core.testing.checks import fail, require
from papermage_core.testing.process_state import all_objects, new_objects_only

__all__ = [
    "Draws",
    "close",
    "kept_alive",
    "missing_gradients",
    "other_generators",
    "reload",
    "require_unseeded",
    "reseeded",
    "seeded",
    "shake",
    "state_kept",
    "unregistered",
    "without_dropout",
]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with torch's global generator at a seed, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def state_kept(module: nn.Module) -> Iterator[None]:
    """Put back what the block changes of the module's state: a count of steps, say, which a checkpoint keeps too."""
    state = {name: tensor.clone() for name, tensor in module.state_dict().items() if isinstance(tensor, torch.Tensor)}
    try:
        yield
    finally:
        module.load_state_dict(state, strict=False)


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


def modes(module: nn.Module) -> dict[str, bool]:
    """Return which modules, by name, are in train mode."""
    return {name or type(module).__name__: part.training for name, part in module.named_modules()}


def require_modes(module: nn.Module, before: dict[str, bool], what: str) -> None:
    """Fail where a call, named by ``what``, changed the mode of a part of the module."""
    now = modes(module)
    changed = [name for name, mode in before.items() if now.get(name, mode) != mode]
    if changed:
        mode = "train" if before[changed[0]] else "eval"
        fail(
            f"{what} took {', '.join(changed[:3])} out of {mode} mode",
            "call no eval() and no train(): look at self.training, or pass training=False to the function",
        )


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
    """Fail unless ``build`` returned a torch module with these methods, whose state a checkpoint can keep."""
    require(isinstance(built, nn.Module), f"build returned {built!r}", "return a torch.nn.Module")
    if lost := unkeepable(built):
        fail(f"a checkpoint cannot keep what build returned: {lost[0]}", lost[1])
    for method in methods:
        require(callable(getattr(built, method, None)), f"the module has no {method}()", "implement it")


@contextlib.contextmanager
def other_generators(seed: int) -> Iterator[None]:
    """Run with the generators of Python and numpy at a seed, and leave them as they were."""
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def reseeded(call: Callable[[], Any]) -> list[str]:
    """Return the generators that a call sets to a seed: from wherever they begin, they end at the same place."""
    ends: list[dict[str, Any]] = []
    for seed in (11, 12):
        with other_generators(seed), seeded(seed):
            call()
            states = (torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate())
        ends.append(dict(zip(("torch", "numpy", "random"), states, strict=True)))
    return [name for name, state in ends[0].items() if state == ends[1][name]]


def require_unseeded(**calls: Callable[[], Any]) -> None:
    """Fail where one of some calls, by the names of what they call, sets a generator to a seed."""
    for name, call in calls.items():
        found = reseeded(call)
        require(
            not found,
            f"{name}() sets the generator of {' and '.join(found)} to a seed",
            "call no manual_seed: the run is seeded once, for all its parts; draw from an own generator",
        )


@contextlib.contextmanager
def without_dropout() -> Iterator[None]:
    """Run with the dropout of torch passing everything, in train mode too."""
    attention = nn.functional.scaled_dot_product_attention

    def sure_attention(*arguments: Any, **more: Any) -> torch.Tensor:
        if len(arguments) > 4:
            arguments = (*arguments[:4], 0.0, *arguments[5:])
        return attention(*arguments, **{**more, **({"dropout_p": 0.0} if "dropout_p" in more else {})})

    def whole(values: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return values

    names = ("dropout", "alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout")
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(nn.functional, name, whole))
        stack.enter_context(mock.patch.object(nn.functional, "scaled_dot_product_attention", sure_attention))
        yield


class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what is drawn from torch's generators while the block runs: each operation, with its shapes, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.found.append((str(func), [tuple(tensor.shape) for tensor in _tensors([*args, result])]))
        return result


_MOVES = ("to", "cuda", "cpu", "type_as")
_LOOKS = (
    "__get__",
    "size",
    "dim",
    "numel",
    "__len__",
    "is_floating_point",
    "__repr__",
    "tolist",
    "item",
    "numpy",
    "detach",
)


class _Uses(TorchFunctionMode):
    """Notes which of some tensors are computed with where they are: not moved first to where the others are.

    What a component moves to the CPU itself, to decode there, may meet tensors that stay there.
    """

    def __init__(self, tensors: dict[int, torch.Tensor]) -> None:
        super().__init__()
        self.tensors = tensors
        self.used: dict[int, torch.Tensor] = {}
        self._on_cpu: dict[int, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        given = list(_tensors([*args, *kwargs.values()]))
        result = func(*args, **kwargs)
        if name in _MOVES:
            self.tensors.pop(id(args[0]), None)
            if name == "cpu" or "cpu" in map(str, [*args[1:], *kwargs.values()]):
                result = result.view_as(result)
                self._on_cpu[id(result)] = result
        elif any(id(tensor) in self._on_cpu for tensor in given):
            self._on_cpu |= {id(tensor): tensor for tensor in _tensors([result])}
        elif name not in _LOOKS:
            self.used |= {id(t): t for t in given if id(t) in self.tensors and t.dim()}
        return result


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def live_tensors() -> list[torch.Tensor]:
    """Return the tensors that there are in the process."""
    objects = gc.get_objects()
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, torch.Tensor)}
    return [found for found in objects if type(found) in kinds]


def unregistered(module: nn.Module, call: Callable[[], Any], *given: torch.Tensor) -> list[str]:
    """Return the tensors, by name where they have one, that a call computes with and that do not move with the module.

    They were there before the call, and are neither parameters nor buffers, nor ``given`` to it.
    """
    registered = {id(tensor) for tensor in [*module.parameters(), *module.buffers(), *given]}
    with all_objects():
        there = live_tensors()
    with _Uses({id(tensor): tensor for tensor in there if id(tensor) not in registered}) as uses:
        call()
    return [_name_of(tensor, module) for tensor in uses.used.values()]


def _name_of(tensor: torch.Tensor, module: nn.Module) -> str:
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            inside = (
                value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
            )
            if name not in ("_parameters", "_buffers", "_modules") and any(each is tensor for each in inside):
                return f"{prefix}.{name}".lstrip(".")
    return f"a tensor of shape {tuple(tensor.shape)}"


def kept_alive(step: Callable[[int], Iterable[Any]], *, steps: int = 12) -> str:
    """Return what is still there of that which ``step`` gives, once many steps are done; empty if next to nothing is.

    Tensors that nobody gave count too: those that hold a graph.
    """
    alive: list[list[weakref.ref[Any]]] = []
    before = 0
    with new_objects_only():
        for number in range(steps):
            alive.append([weakref.ref(each) for each in step(number)])
            if number == steps // 3:
                gc.collect()
                before = len(live_tensors())
        gc.collect()
        grown = len(live_tensors()) - before
    kept = sum(any(each() is not None for each in of_step) for of_step in alive)
    if kept > steps * 2 // 3:
        return f"what {kept} of {steps} steps were given, or returned, is still in memory"
    if grown > steps // 3:
        return f"in {steps - steps // 3} steps, {grown} more tensors came to stay in memory"
    return ""
