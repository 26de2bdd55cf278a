"""The metric keeps to what papermage_core asks of a metric."""

from papermage_core.plugin import UnitSpan
from papermage_core.testing import MetricSuite

from papermage_example_plugin.metric.plugin import ExamplePluginMetricConfig


class TestExamplePluginMetric(MetricSuite):
    component = "example-plugin"
    options = ({}, {"by_label": False})


def test_an_entity_that_is_cut_short_counts_in_part():
    metric = ExamplePluginMetricConfig().build(["Disease"])
    metric.add([UnitSpan.of("Disease", 0, 3)], [UnitSpan.of("Disease", 0, 1)])
    assert metric.value() == 0.5
