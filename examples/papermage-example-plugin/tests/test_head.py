"""The head keeps to what papermage_core asks of a head."""

from papermage_core.testing import ModelHeadSuite


class TestExamplePluginHead(ModelHeadSuite):
    component = "example-plugin"
    options = ({}, {"hidden": 8, "dropout": 0.0})
