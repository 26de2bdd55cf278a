"""The processor keeps to what papermage_core asks of a document processor."""

from papermage_core import Document
from papermage_core.testing import DocumentProcessorSuite

from papermage_acme.processor.plugin import AcmeProcessorConfig


class TestAcmeProcessor(DocumentProcessorSuite):
    component = "acme"
    options = ({}, {"pattern": "x*"})


def test_numbers_are_found():
    (document,) = AcmeProcessorConfig().build().process([Document("1 of 2.5")])
    assert [number.text for number in document.get_layer("numbers")] == ["1", "2.5"]
