"""The scheme keeps to what papermage_core asks of a label scheme."""

from papermage_core.testing import LabelSchemeSuite


class TestAcmeScheme(LabelSchemeSuite):
    component = "acme"
