"""The writer keeps to what papermage_core asks of a document writer."""

import io

from papermage_core.testing import DocumentWriterSuite, make_document

from papermage_acme.writer.plugin import AcmeWriterConfig


class TestAcmeWriter(DocumentWriterSuite):
    component = "acme"
    options = ({}, {"layers": ["tokens"]})
    reader = None  # nothing reads such a table back


def test_every_entity_is_a_line():
    file = io.BytesIO()
    config = AcmeWriterConfig(layers=("Disease",))
    config.build().write([make_document("No ataxia.", {"Disease": ["ataxia"]}, doc_id="1")], file)
    assert file.getvalue().decode() == '1\tDisease\t3\t9\t"ataxia"\n'
