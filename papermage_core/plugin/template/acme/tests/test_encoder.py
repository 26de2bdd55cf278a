"""The encoder keeps to what papermage_core asks of an encoder."""

from papermage_core.testing import ContextEncoderSuite


class TestAcmeEncoder(ContextEncoderSuite):
    component = "acme"
    options = ({}, {"window": 4, "size": 8, "rows": 50})
