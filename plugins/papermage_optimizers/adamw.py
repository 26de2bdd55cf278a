"""The optimizer ``adamw``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from papermage_core.plugin import OptimizerConfig, hookimpl, option

if TYPE_CHECKING:
    import torch

__all__ = ["AdamWConfig", "papermage_optimizer"]

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019); the rates rise, then fall."""

    beta1: float = option(0.9, help="share that the mean of the gradients keeps at a step", ge=0, lt=1)
    beta2: float = option(0.999, help="share that the mean of their squares keeps", ge=0, lt=1)
    eps: float = option(1e-8, help="what is added to the root of the squares", gt=0)
    schedule: Literal["linear", "cosine", "constant"] = option(
        "linear", help="how the learning rates fall after the warm-up", choices=("linear", "cosine", "constant")
    )

    takes_sparse_gradients: ClassVar[bool] = True

    def build(self, groups: list[dict[str, Any]], *, mixed: bool = False) -> torch.optim.Optimizer:
        """Return a new optimizer, fused where its gradients can be clipped then.

        Weights of float16 have squares of float16, where those of small gradients are 0: ``eps`` is at least what the
        smallest gradient is whose square is not, as else a step is as many times too long as it is smaller.
        """
        import torch

        from papermage_optimizers.rows import RowwiseAdamW

        half = torch.finfo(torch.float16)
        seen = math.sqrt(half.smallest_normal * half.eps / (1 - self.beta2))
        for group in groups:
            group["params"] = list(group["params"])
            if any(weight.dtype == torch.float16 for weight in group["params"]):
                group["eps"] = max(self.eps, seen)
        return RowwiseAdamW(groups, betas=(self.beta1, self.beta2), eps=self.eps, fused=not mixed)

    def factor(self, step: float, total: float, warmup: float) -> float:
        """Return the share of the peak rates at a step.

        >>> [round(AdamWConfig(schedule="cosine").factor(step, 100, 0), 2) for step in (0, 25, 50, 100)]
        [1.0, 0.85, 0.5, 0.0]
        """
        linear = super().factor(step, total, warmup)
        if step < warmup or self.schedule == "linear":
            return linear
        return 1.0 if self.schedule == "constant" else (1 - math.cos(math.pi * linear)) / 2


@hookimpl
def papermage_optimizer() -> type[OptimizerConfig]:
    """Return the config class of ``adamw``."""
    return AdamWConfig
