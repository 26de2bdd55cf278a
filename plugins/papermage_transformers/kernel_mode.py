"""What modes that compute torch's functions in another way have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["KernelMode", "PackedWeights", "constant_linear", "linears"]

Packed = TypeVar("Packed")


class KernelMode(TorchFunctionMode):
    """While it is entered, `compute` is asked for what torch's functions are to return."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        found = self.compute(func, args, kwargs)
        return func(*args, **kwargs) if found is None else found

    @abstractmethod
    def compute(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return the result of a call, or None where torch is to compute it."""


def linears(x: Tensor, *layers: nn.Linear, with_gelu: bool = False) -> tuple[Tensor, ...]:
    """Return what each of some linear layers makes of one input, through GELU or not.

    For a mode it is a function of its own: what the layers have in common can be done once.
    """
    operands = (x, *(layer.weight for layer in layers))
    if has_torch_function(operands):
        found: tuple[Tensor, ...] = handle_torch_function(linears, operands, x, *layers, with_gelu=with_gelu)
        return found
    products = (F.linear(x, layer.weight, layer.bias) for layer in layers)
    return tuple(F.gelu(product) if with_gelu else product for product in products)


def constant_linear(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Tensor, nn.Parameter, Tensor | None] | None:
    """Return input, weight and bias of a linear layer on the CPU whose weight can be packed; None for other calls.

    Inference tensors have no version by which a change of theirs could be seen.
    """
    if func is not F.linear or kwargs or len(args) != 3:
        return None
    x, weight, bias = args
    is_packable = isinstance(weight, nn.Parameter) and not any(
        each is not None and each.is_inference() for each in args[1:]
    )
    return (x, weight, bias) if is_packable and x.device.type == "cpu" and x.numel() else None


class PackedWeights(Generic[Packed]):
    """Weights and biases as ``pack`` lays them out for products, kept as long as their parameters are unchanged."""

    def __init__(self, pack: Callable[[Tensor, Tensor | None], Packed]) -> None:
        self._pack = pack
        self._packed: Any = WeakTensorKeyDictionary()

    def of(self, weight: Tensor, bias: Tensor | None) -> Packed:
        """Return a weight and its bias, packed."""
        state = tuple((each._version, each.data_ptr()) for each in (weight, bias) if each is not None)
        found: tuple[Any, Packed] | None = self._packed.get(weight)
        if found is None or found[0] != state:
            packed = self._pack(weight.detach(), None if bias is None else bias.detach())
            found = self._packed[weight] = state, packed
        return found[1]
