"""The table of entities: what pandas and spreadsheets open."""

from __future__ import annotations

import csv
import io

from papermage_core import Document
from papermage_formats.csv import CsvWriterConfig
from tests.formats.helpers import written


def document() -> Document:
    boxed = {"spans": [[0, 4]], "boxes": [[0.1, 0.2, 0.3, 0.05, 1]], "metadata": {"score": 0.75}}
    split = {"spans": [[0, 1], [5, 6]], "metadata": {"label": "=cmd()", "id": 3}}
    layers = {"tokens": [{"spans": [[0, 4]]}], "pages": [{"spans": [[0, 4]]}, {"spans": [[5, 8]]}], "X": [boxed, split]}
    return Document.from_json({"symbols": '+1,"\n2\u2028α', "metadata": {"doc_id": "d"}, "entities": layers})


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_each_entity_is_a_row() -> None:
    data, lost = written(CsvWriterConfig(safe=False).build(), [document()])
    assert rows(data) == [
        ["document", "page", "label", "text", "start", "end", "score", "box", "layer"],
        ["d", "1", "X", '+1,"', "0", "4", "0.75", "0.1 0.2 0.3 0.05", "X"],
        ["d", "0;1", "=cmd()", "+ 2", "0;5", "1;6", "", "", "X"],
    ]
    assert lost == {"tokens": 1, "pages": 2, "texts of documents": 1, "metadata of entities": 1}


def test_no_cell_is_run_as_a_formula() -> None:
    data, _ = written(CsvWriterConfig(mark=True).build(), [document()])
    assert data.startswith(b"\xef\xbb\xbf")
    texts = [cell for row in rows(data)[1:] for cell in row if cell]
    assert not [cell for cell in texts if cell[0] in "=+-@\t\r\n"]
    assert "'=cmd()" in texts


def test_layers_that_are_named_are_written() -> None:
    data, lost = written(CsvWriterConfig(layers=("tokens",)).build(), [document()])
    assert [row[2:6] for row in rows(data)[1:]] == [["tokens", "'+1,\"", "0", "4"]]
    assert lost["X"] == 2
