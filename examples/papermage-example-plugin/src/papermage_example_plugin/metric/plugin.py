"""The metric ``example-plugin``: F1 of units, so that an entity that is cut short counts in part."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from papermage_core.plugin import MetricConfig, UnitSpan, hookimpl, option

papermage_api_version = 2


class ExamplePluginMetric:
    """Counts units of gold and predicted entities."""

    def __init__(self, by_label: bool) -> None:
        self._by_label = by_label
        self._gold = self._predicted = self._right = 0

    def add(self, gold: Sequence[UnitSpan], predicted: Sequence[UnitSpan], unreachable: Sequence[str] = ()) -> None:
        """Count a document; an entity that touches no unit counts as one unit missed."""
        wanted, found = (set(self._units(spans)) for spans in (gold, predicted))
        self._gold += len(wanted) + len(unreachable)
        self._predicted += len(found)
        self._right += len(wanted & found)

    def _units(self, spans: Sequence[UnitSpan]) -> list[tuple[int, str]]:
        return [(unit, span.label if self._by_label else "") for span in spans for unit in span.units]

    def value(self) -> float:
        """Return F1; 0 where nothing is right."""
        both = self._gold + self._predicted
        return 2 * self._right / both if both else 0.0


@attrs.frozen(kw_only=True)
class ExamplePluginMetricConfig(MetricConfig):
    """F1 of single units."""

    by_label: bool = option(True, help="whether the label of a unit has to be right, too")

    def build(self, labels: Sequence[str]) -> ExamplePluginMetric:
        """Return a new metric."""
        return ExamplePluginMetric(self.by_label)


@hookimpl
def papermage_metric() -> type[ExamplePluginMetricConfig]:
    """Serve ``example-plugin``."""
    return ExamplePluginMetricConfig
