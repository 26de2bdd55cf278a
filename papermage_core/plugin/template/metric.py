"""A metric that counts units."""

from __future__ import annotations

__all__ = ["FILES"]

_PLUGIN = '''\
"""The metric ``$name``: F1 of units, so that an entity that is cut short counts in part."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from papermage_core.plugin import MetricConfig, UnitSpan, hookimpl, option

papermage_api_version = $api_version


class ${class_name}Metric:
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
class ${class_name}MetricConfig(MetricConfig):
    """F1 of single units."""

    by_label: bool = option(True, help="whether the label of a unit has to be right, too")

    def build(self, labels: Sequence[str]) -> ${class_name}Metric:
        """Return a new metric."""
        return ${class_name}Metric(self.by_label)


@hookimpl
def papermage_metric() -> type[${class_name}MetricConfig]:
    """Serve ``$name``."""
    return ${class_name}MetricConfig
'''

_TEST = '''\
"""The metric keeps to what papermage_core asks of a metric."""

from papermage_core.plugin import UnitSpan
from papermage_core.testing import MetricSuite

from $module.plugin import ${class_name}MetricConfig


class Test${class_name}Metric(MetricSuite):
    component = "$name"
    options = ({}, {"by_label": False})


def test_an_entity_that_is_cut_short_counts_in_part():
    metric = ${class_name}MetricConfig().build(["Disease"])
    metric.add([UnitSpan.of("Disease", 0, 3)], [UnitSpan.of("Disease", 0, 1)])
    assert metric.value() == 0.5
'''

FILES = {
    "src/$module/plugin.py": _PLUGIN,
    "tests/test_$module.py": _TEST,
}
