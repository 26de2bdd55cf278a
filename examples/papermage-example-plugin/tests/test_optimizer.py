"""The optimizer keeps to what papermage_core asks of an optimizer."""

from papermage_core.testing import OptimizerSuite

from papermage_example_plugin.optimizer.plugin import ExamplePluginConfig


class TestExamplePlugin(OptimizerSuite):
    component = "example-plugin"
    options = ({}, {"momentum": 0.5, "level": 0})


def test_the_rates_fall_at_the_end_only():
    config = ExamplePluginConfig(level=0.5)
    assert [config.factor(step, 100, 0) for step in (0, 50, 75, 100)] == [1, 1, 0.5, 0]
