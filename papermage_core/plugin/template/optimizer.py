"""An optimizer with a schedule."""

from __future__ import annotations

__all__ = ["FILES"]

_PLUGIN = '''\
"""The optimizer ``$name``: stochastic gradient descent with momentum, and rates that fall at the end only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from papermage_core.plugin import OptimizerConfig, hookimpl, option

if TYPE_CHECKING:
    import torch

papermage_api_version = $api_version


@attrs.frozen(kw_only=True)
class ${class_name}Config(OptimizerConfig):
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
def papermage_optimizer() -> type[${class_name}Config]:
    """Serve ``$name``."""
    return ${class_name}Config
'''

_TEST = '''\
"""The optimizer keeps to what papermage_core asks of an optimizer."""

from papermage_core.testing import OptimizerSuite

from $module.plugin import ${class_name}Config


class Test${class_name}(OptimizerSuite):
    component = "$name"
    options = ({}, {"momentum": 0.5, "level": 0})


def test_the_rates_fall_at_the_end_only():
    config = ${class_name}Config(level=0.5)
    assert [config.factor(step, 100, 0) for step in (0, 50, 75, 100)] == [1, 1, 0.5, 0]
'''

FILES = {
    "src/$module/plugin.py": _PLUGIN,
    "tests/test_$module.py": _TEST,
}
