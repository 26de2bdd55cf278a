"""Documents from plain text, and entities as rows of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from papermage_core import Document, Entity, Metadata, Span, read_documents, to_rows, write_documents
from papermage_core.document import ROW_COLUMNS
from papermage_core.errors import DataError
from papermage_core.prediction.pages import failing_page
from papermage_records.jsonl import RecordLinesConfig


def test_a_document_of_a_text_keeps_it_and_has_the_layers_given() -> None:
    text = "𝛼-synuclein\r\nin e\u0301tude \u2028 here"
    doc = Document.from_text(text, doc_id="a", layers={"gene": [(0, 11)], "none": []})
    assert (doc.symbols, doc.id, doc.layer_names) == (text, "a", ["gene", "none"])
    assert [entity.text for entity in doc.gene] == ["𝛼-synuclein"]
    assert Document.from_text("x").id is None
    assert Document.from_bytes(doc.to_bytes()).to_json() == doc.to_json()


def test_what_is_no_text_and_places_outside_of_it_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a text, got bytes"):
        Document.from_text(b"x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have text"):
        Document.from_text("")
    for place in ((0, 3), (1, 1), (2, 1), (-1, 1)):
        with pytest.raises(DataError, match=r"layer 'x': .* the text has 2 characters"):
            Document.from_text("ab", layers={"x": [place]})
    with pytest.raises(DataError, match="own fields"):
        Document.from_text("ab", layers={"symbols": [(0, 1)]})


def odd_document() -> Document:
    boxed = {"spans": [[0, 4]], "boxes": [[0.1, 0.2, 0.3, 0.05, 1]], "metadata": {"score": 0.75}}
    split = {"spans": [[0, 1], [5, 6]], "metadata": {"label": "Y"}}
    layers = {"pages": [{"spans": [[0, 4]]}, {"spans": [[5, 8]]}], "X": [boxed, split]}
    return Document.from_json({"symbols": "some\n2 b", "metadata": {}, "entities": layers})


def test_rows_hold_what_the_csv_writer_writes(tmp_path) -> None:
    documents = [odd_document(), Document.from_text("gene", "g", {"X": [(0, 4)]})]
    rows = to_rows(documents, "X")
    assert rows[0] == {
        **{"document": "1", "page": 1, "label": "X", "text": "some", "start": 0, "end": 4, "score": 0.75},
        **{"box": "0.1 0.2 0.3 0.05", "layer": "X"},
    }
    assert [rows[1][key] for key in ("page", "label", "start", "end", "score")] == ["0;1", "Y", "0;5", "1;6", None]
    assert [rows[2][key] for key in ("document", "page", "text", "box")] == ["g", None, "gene", None]
    write_documents(documents, tmp_path / "found.csv")
    written = list(csv.DictReader(io.StringIO((tmp_path / "found.csv").read_text(), newline="")))
    assert written == [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
    assert list(written[0]) == list(ROW_COLUMNS)


def test_a_page_has_the_number_of_its_box_where_pages_before_it_are_left_out() -> None:
    """Such as those of a PDF that cannot be read."""
    pages = [{"spans": [[0, 1]], "boxes": [[0, 0, 1, 1, 2]]}, {"spans": [[2, 3]], "boxes": [[0, 0, 1, 1, 4]]}]
    layers = {"pages": pages, "X": [{"spans": [[0, 1]]}, {"spans": [[2, 3]]}, {"spans": [[0, 3]]}]}
    doc = Document.from_json({"symbols": "a b", "metadata": {}, "entities": layers})
    assert [row["page"] for row in to_rows(doc, "X")] == [2, 4, "2;4"]
    target = io.BytesIO()
    RecordLinesConfig(records="X").build().write([doc], target)
    assert [json.loads(line)["pages"] for line in target.getvalue().splitlines()] == [[2], [2, 4], [4]]
    error = DataError("wrong", layer="X", entity=1)
    assert failing_page(lambda documents: None, doc, error) == 4
    assert failing_page(_fails_at_b, doc, ValueError()) == 4


def _fails_at_b(documents: Sequence[Document]) -> None:
    if any("b" in (document.symbols or "") for document in documents):
        raise ValueError


def test_layers_are_chosen_and_one_that_no_document_has_is_named() -> None:
    doc = odd_document()
    doc.annotate_layer("predictions", [Entity(spans=[Span(0, 4)], metadata=Metadata(label="Z"))])
    other = Document.from_text("a text")
    assert [row["label"] for row in to_rows([other, doc], ("predictions", "X"))] == ["Z", "X", "Y"]
    assert to_rows(doc, "predictions")[0]["document"] == "1"
    assert to_rows(iter([]), ()) == []
    with pytest.raises(ValueError, match=r"no document has the layer 'prediction'\. .*predictions.*Layers: X, pages"):
        to_rows([doc, other], "prediction")
    with pytest.raises(TypeError, match="expected documents, got str"):
        to_rows("text", "X")  # type: ignore[arg-type]


def test_papers_become_a_table_by_the_names_of_the_front_door(tmp_path) -> None:
    pytest.importorskip("pypdfium2", reason="papers are PDFs")
    folder = Path(__file__).parents[2] / "examples" / "data" / "tutorial"
    (paper,) = read_documents(f"{folder}/*.pdf")
    rows = to_rows(paper, "rows")
    assert [rows[0][key] for key in ("document", "page", "label", "start")] == ["paper", 0, "rows", 0]
    assert rows[0]["text"].startswith("Vancolimus in patients with lupus nephritis")
    assert write_documents([paper], tmp_path / "paper.csv", options={"layers": ["rows"]}).documents == 1
    assert len((tmp_path / "paper.csv").read_text().splitlines()) == 1 + len(rows)
