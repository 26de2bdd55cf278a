"""The writer keeps to what papermage_core asks of a document writer."""

import io

from papermage_core.testing import DocumentWriterSuite, make_document

from papermage_example_plugin.writer.plugin import ExamplePluginWriterConfig


class TestExamplePluginWriter(DocumentWriterSuite):
    component = "example-plugin"
    options = ({}, {"layers": ["tokens"]})
    reader = None  # nothing reads such a table back


def test_every_entity_is_a_line():
    file = io.BytesIO()
    config = ExamplePluginWriterConfig(layers=("Disease",))
    config.build().write([make_document("No ataxia.", {"Disease": ["ataxia"]}, doc_id="1")], file)
    assert file.getvalue().decode() == '1\tDisease\t3\t9\t"ataxia"\n'
