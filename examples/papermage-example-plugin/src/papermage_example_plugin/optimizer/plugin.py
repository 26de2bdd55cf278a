"""The optimizer ``example-plugin``: stochastic gradient descent with momentum, and rates that fall at the end only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from papermage_core.plugin import OptimizerConfig, hookimpl, option

if TYPE_CHECKING:
    import torch

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class ExamplePluginConfig(OptimizerConfig):
    """Stochastic gradient descent with Nesterov's momentum."""

    momentum: float = option(0.9, help="share of the last step that is taken again", gt=0, lt=1)
    level: float = option(0.7, help="share of the steps after which the rates fall", ge=0, lt=1)

    def build(self, groups: list[dict[str, Any]], *, mixed: bool = False) -> torch.optim.Optimizer:
        """Return a new optimizer."""
        import torch

        return torch.optim.SGD(groups, momentum=self.momentum, nesterov=True)

    def factor(self, step: float, total: float, warmup: float) -> float:
        """Rise, stay, then fall in a straight line."""
        if step < warmup:
            return (step + 1) / (warmup + 1)
        left = (total - step) / max(1.0, total * (1 - self.level))
        return min(1.0, max(0.0, left))


@hookimpl
def papermage_optimizer() -> type[ExamplePluginConfig]:
    """Serve ``example-plugin``."""
    return ExamplePluginConfig
