"""The head keeps to what papermage_core asks of a head."""

from papermage_core.testing import ModelHeadSuite


class TestAcmeHead(ModelHeadSuite):
    component = "acme"
    options = ({}, {"hidden": 8, "dropout": 0.0})
