"""The scheme keeps to what papermage_core asks of a label scheme."""

from papermage_core.testing import LabelSchemeSuite


class TestExamplePluginScheme(LabelSchemeSuite):
    component = "example-plugin"
