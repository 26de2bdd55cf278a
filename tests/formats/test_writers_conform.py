"""The writers of formats keep to what is asked of writers. What comes back is tested format by format."""

from __future__ import annotations

from collections.abc import Sequence

from papermage_core import Document
from papermage_core.testing import DocumentWriterSuite


class NamedDocuments(DocumentWriterSuite):
    """Writes documents that have an id: formats that must have one give it to those without."""

    component = ""

    def documents(self) -> Sequence[Document]:
        documents = super().documents()
        for number, document in enumerate(documents):
            if document.id is None:
                document.metadata["doc_id"] = f"unnamed-{number}"
        return documents


class TestTextWriter(DocumentWriterSuite):
    component = "text"
    reader = None  # several documents in one file come back as one: see test_text


class TokenizedDocuments(DocumentWriterSuite):
    """Writes documents that have tokens."""

    component = ""

    def documents(self) -> Sequence[Document]:
        return [document for document in super().documents() if document.has_layer("tokens")]


class TestConllWriter(TokenizedDocuments):
    component = "conll"


class TestDygieWriter(TokenizedDocuments):
    component = "dygie"


class TestHfTableWriter(TokenizedDocuments):
    component = "hf_table"
    options = ({}, {"file": "parquet"})


class TestSpacyWriter(TokenizedDocuments):
    component = "spacy"
    options = ({}, {"group": "sc"})


class TestBratWriter(NamedDocuments):
    component = "brat"


class TestPubtatorWriter(DocumentWriterSuite):
    component = "pubtator"
    reader = None  # what comes back has a layer of passages too: see test_pubtator


class TestBiocWriter(DocumentWriterSuite):
    component = "bioc"
    reader = None  # what comes back has a layer of passages too: see test_bioc


class TestBiocJsonWriter(DocumentWriterSuite):
    component = "bioc_json"
    reader = None


class TestPawlsWriter(DocumentWriterSuite):
    component = "pawls"

    def documents(self) -> Sequence[Document]:
        """Return documents that have boxes for their tokens."""
        found = [document for document in super().documents() if document.has_layer("tokens")]
        return [document for document in found if len(document.get_layer("tokens").box_arrays())]


class TestFunsdWriter(TokenizedDocuments):
    component = "funsd"


class TestTeiWriter(NamedDocuments):
    component = "tei"


class TestDoccanoWriter(NamedDocuments):
    component = "doccano"


class TestLabelStudioWriter(NamedDocuments):
    component = "label_studio"


class TestCsvWriter(DocumentWriterSuite):
    component = "csv"
    reader = None  # a table of entities is not read


class TestHtmlWriter(DocumentWriterSuite):
    component = "html"
    reader = None  # a page to look at is not read
