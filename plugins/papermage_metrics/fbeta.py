"""The metric ``fbeta``."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from papermage_core.plugin import MetricConfig, UnitSpan, hookimpl, option

__all__ = ["FBeta", "FBetaConfig", "papermage_metric"]

papermage_api_version = 2


class FBeta:
    """F-beta of entities, strict: label and both ends are right.

    >>> metric = FBeta(2.0)
    >>> metric.add([UnitSpan.of("X", 0, 1), UnitSpan.of("X", 3, 4)], [UnitSpan.of("X", 0, 1)])
    >>> round(metric.value(), 4)  # 5 · P · R / (4 · P + R)
    0.5556
    """

    def __init__(self, beta: float) -> None:
        self._square = beta * beta
        self._gold = self._predicted = self._right = 0

    def add(self, gold: Sequence[UnitSpan], predicted: Sequence[UnitSpan], unreachable: Sequence[str] = ()) -> None:
        """Count a document."""
        self._gold += len(set(gold)) + len(unreachable)
        self._predicted += len(set(predicted))
        self._right += len(set(gold) & set(predicted))

    def value(self) -> float:
        """Return F-beta; 0 where nothing is right."""
        bottom = self._square * self._gold + self._predicted
        return (1 + self._square) * self._right / bottom if bottom else 0.0


@attrs.frozen(kw_only=True)
class FBetaConfig(MetricConfig):
    """F-beta of entities: above 1, beta makes what was missed count for more than what is wrong."""

    beta: float = option(2.0, help="how much more recall counts than precision", gt=0)

    def build(self, labels: Sequence[str]) -> FBeta:
        """Return a new metric."""
        return FBeta(self.beta)


@hookimpl
def papermage_metric() -> type[MetricConfig]:
    """Return the config class of ``fbeta``."""
    return FBetaConfig
