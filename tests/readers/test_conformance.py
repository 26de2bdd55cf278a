"""The built-in formats keep to what is asked of readers and writers."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import pytest

from papermage_core import Document, Image
from papermage_core.testing import DocumentReaderSuite, DocumentWriterSuite, make_documents, odd_documents
from papermage_formats.jsonl import JsonlWriterConfig

LINES = b"".join(document.to_bytes() + b"\n" for document in [*make_documents(3), *odd_documents()])


class TestJsonlReader(DocumentReaderSuite):
    component = "jsonl"
    options = ({}, {"lenient": False})
    samples: ClassVar = {
        "many.jsonl": LINES,
        "bom.jsonl": b"\xef\xbb\xbf\n \r\n" + LINES.replace(b"\n", b"\r\n"),
        "over-lines.json": b'{\n"symbols": "na\xc3\xafve", "metadata": {}, "entities": {}\n}',
    }
    broken: ClassVar = {
        "b.jsonl": LINES + b"{broken\n" + LINES,
        "empty.jsonl": "",
        "list.jsonl": "[1]",
        "blank.jsonl": "\n \n",
    }


class TestJsonlWriter(DocumentWriterSuite):
    component = "jsonl"
    options = ({}, {"images": False})


class TestParquetWriter(DocumentWriterSuite):
    component = "parquet"

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("pyarrow")


def test_images_are_written_unless_told_otherwise_and_then_counted() -> None:
    pytest.importorskip("PIL")

    def written(**options: Any) -> tuple[Document, dict[str, int]]:
        document = Document("x")
        document.annotate_images([Image.create_rgb_all_white(3, 2), Image.create_rgb_all_white(3, 2)])
        file = io.BytesIO()
        losses = JsonlWriterConfig(**options).build().write([document], file)
        return Document.from_bytes(file.getvalue()), losses

    document, losses = written()
    assert [image.pilimage.size for image in document.images] == [(3, 2), (3, 2)]
    assert losses == {}
    document, losses = written(images=False)
    assert not document.images
    assert losses == {"images": 2}
