"""The processor keeps to what papermage_core asks of a document processor."""

from papermage_core import Document
from papermage_core.testing import DocumentProcessorSuite

from papermage_example_plugin.processor.plugin import ExamplePluginProcessorConfig


class TestExamplePluginProcessor(DocumentProcessorSuite):
    component = "example-plugin"
    options = ({}, {"pattern": "x*"})


def test_numbers_are_found():
    (document,) = ExamplePluginProcessorConfig().build().process([Document("1 of 2.5")])
    assert [number.text for number in document.get_layer("numbers")] == ["1", "2.5"]
