"""FUNSD: forms of words with boxes, labels and links."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.data import iter_documents, read_documents, write_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.funsd import FunsdReaderConfig, FunsdWriterConfig
from tests.formats.helpers import expected, labels, plain


def item(name: Any, words: list[Any], label: str = "question", **values: Any) -> dict[str, Any]:
    found = [{"text": text, "box": box} for text, box in words]
    return {"id": name, "text": "", "box": [0, 0, 10, 20], "label": label, "words": found, "linking": []} | values


FORM = [
    item(0, [("Name:", [0, 0, 10, 10]), ("", [10, 0, 20, 10])], linking=[[0, 1]]),
    item(1, [("𝛼", [20, 0, 40, 10]), ("b", [50, 0, 100, 50])], "answer", linking=[[0, 1]]),
    item(2, [], "other"),
]


class TestFunsd(DocumentReaderSuite):
    component = "funsd"
    skip: ClassVar = {"a large file is not held in memory": "a file is a page: it is read whole"}
    options = ({}, {"width": 200.0, "height": 100.0, "label_layer": "all"})
    samples: ClassVar = {
        "a.json": json.dumps({"form": FORM}, indent=1),
        "xfund.json": json.dumps({"lang": "zh", "documents": [{"id": f"n{n}", "document": FORM} for n in range(3)]}),
    }
    broken: ClassVar = {
        "none.json": '{"form": []}',
        "text.json": '{"form": 3}',
        "box.json": json.dumps({"form": [item(0, [("a", [0, 1, 2])])]}),
        "word.json": '{"form": [{"id": 0, "words": [{"box": [0, 0, 1, 1]}]}]}',
        "place.json": '{"form": [{"id": 0, "words": [], "label": "x"}, {"text": "a"}]}',
        "infinite.json": json.dumps({"form": [item(0, [("a", [0, 1, 2, 1e400])])]}).replace("Infinity", "1e400"),
        "cut.json": '{"form": [',
        "list.json": "[1]",
    }


def read(path: Path, *items: dict[str, Any], **options: Any) -> Document:
    path.write_text(json.dumps({"form": items}))
    (document,) = read_documents(path, FunsdReaderConfig(**options) if options else None)
    return document


def test_words_boxes_labels_and_links_are_read(tmp_path: Path) -> None:
    document = read(tmp_path / "a.json", *FORM)
    assert (document.symbols, document.id) == ("Name:\n𝛼 b", "a")
    assert [token.to_json() for token in document.tokens] == [
        {"spans": [[0, 5]], "boxes": [[0.0, 0.0, 0.1, 0.2, 0]]},
        {"boxes": [[0.1, 0.0, 0.1, 0.2, 0]]},
        {"spans": [[6, 7]], "boxes": [[0.2, 0.0, 0.2, 0.2, 0]]},
        {"spans": [[8, 9]], "boxes": [[0.5, 0.0, 0.5, 1.0, 0]]},
    ]
    assert document.answer[0].to_json() == {
        "spans": [[6, 9]], "boxes": [[0.0, 0.0, 0.1, 0.4, 0]], "metadata": {"id": 1},
    }  # fmt: skip
    assert "spans" not in document.other[0].to_json()
    assert document.metadata.relations == [{"label": None, "arguments": [["", 0], ["", 1]]}]
    assert document.pages[0].metadata.to_json() == {"width": 100.0, "height": 50.0}
    text_only = read(tmp_path / "b.json", {"text": "two words", "box": [0, 0, 1, 1], "label": "header"})
    assert [token.text for token in text_only.tokens] == ["two", "words"]


def test_the_size_of_the_page_is_that_which_is_known(tmp_path: Path) -> None:
    def size(document: Document) -> dict[str, Any]:
        return document.pages[0].metadata.to_json()

    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    path = tmp_path / "annotations" / "a.json"
    picture = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 762, 1000)
    (tmp_path / "images" / "a.png").write_bytes(picture)
    assert size(read(path, *FORM)) == {"width": 762.0, "height": 1000.0}
    path.with_name("a.png").write_bytes(picture[:20])
    assert size(read(path, *FORM)) == {"width": 762.0, "height": 1000.0}
    assert size(read(path, *FORM, width=900.0)) == {"width": 900.0, "height": 1000.0}
    path.write_text(json.dumps({"form": FORM, "img": {"width": 300, "height": 200}}))
    (document,) = read_documents(path)
    assert size(document) == {"width": 300.0, "height": 200.0}


def test_boxes_the_wrong_way_round_are_set_right_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = read(tmp_path / "a.json", item(0, [("a", [30, 0, 10, 10]), ("b", [0, 0, 40, 40])]))
    assert document.tokens[0].boxes[0].to_json() == [0.25, 0.0, 0.5, 0.25, 0]
    assert "a.json: 1 box with corners the wrong way round, which are set right" in caplog.text
    document = read(tmp_path / "a.json", item(0, [("a", [10, 50, 20, 30])], box=[10, 50, 20, 30]))
    assert document.tokens[0].boxes[0].to_json() == [0.2, 0.666666666667, 0.8, 0.333333333333, 0]
    assert "a.json: boxes are read as left, right, top, bottom" in caplog.text


def test_one_broken_form_does_not_lose_the_file(tmp_path: Path) -> None:
    good = {"id": "one", "document": FORM}
    broken = {"id": "two", "document": [item(0, [("a", [0, 0, 1, "x"])])]}
    (tmp_path / "a.json").write_text('{"documents": [\n' + ",\n".join(map(json.dumps, (good, broken, good))) + "]}")
    errors: list[DataError] = []
    assert [each.line for each in iter_documents(tmp_path, on_error=errors.append)] == [2, 4]
    assert [(error.line, error.message) for error in errors] == [(3, "[0, 0, 1, 'x'] is no box")]


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(tmp_path: Path, corpora: Path) -> None:
    for name, found in expected(corpora, "funsd").items():
        (document,) = read_documents(corpora / "formats" / name)
        assert labels([document], ("tokens", "pages")) == found["entities"], name
        assert len(document.tokens) == found["words"], name
        assert sum(not token.spans for token in document.tokens) == found["empty_words"], name
        assert len(document.metadata.get("relations", None) or ()) == found["links"], name
        folder = tmp_path / f"{document.id}.funsd"
        assert write_documents([document], folder).losses == {}
        assert plain(list(read_documents(folder))) == plain([document]), name


def back(document: Document) -> tuple[Document, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        lost = dict(FunsdWriterConfig().build().write(iter([document]), Path(folder)))
        (found,) = (each.document for each in FunsdReaderConfig().build().read(next(Path(folder).glob("*.json"))))
    return found, lost


BOX = st.lists(st.integers(0, 700), min_size=4, max_size=4).map(
    lambda b: [*map(min, b[:2], b[2:]), *map(max, b[:2], b[2:])]
)
WORD = st.tuples(st.sampled_from(["a", "𝛼b", "", "c d"]), BOX)


@given(st.lists(st.tuples(st.lists(WORD, max_size=3), st.sampled_from(["q", "a", ""])), min_size=1, max_size=4))
def test_what_is_written_is_read_back(items: list[tuple[list[Any], str]]) -> None:
    form = [item(number, words, label) for number, (words, label) in enumerate(items)]
    form.append(item("last", [("end", [0, 0, 731, 977])], linking=[["last", 0]]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(json.dumps({"form": form}))
        (document,) = (each.document for each in FunsdReaderConfig().build().read(path))
    found, lost = back(document)
    assert lost == {}
    assert plain([found]) == plain([document])


def test_what_forms_do_not_hold_is_counted() -> None:
    box = [0.1, 0.1, 0.1, 0.1]
    tokens = [
        {"spans": [[0, 2]], "boxes": [[*box, 0], [*box, 1]], "metadata": {"size": 1}},
        {"spans": [[4, 5]]}, {"spans": [[5, 6]]},
    ]  # fmt: skip
    entities: dict[str, Any] = {
        "tokens": tokens,
        "rows": tokens,
        "X": [
            {"spans": [[0, 1]], "boxes": [[*box, 0], [*box, 0]], "metadata": {"score": 1}},
            {"spans": [[0, 2], [4, 5]]}, {"spans": [[0, 5]]},
        ],
    }  # fmt: skip
    relations = [
        {"label": "of", "arguments": [["a", 1], ["b", 2], ["c", 3]]},
        {"label": None, "arguments": [["", 8], ["", 9]]},
    ]
    metadata = {"other": 1, "relations": relations}
    found, lost = back(Document.from_json({"symbols": "ab\n cde", "metadata": metadata, "entities": entities}))
    assert lost == {
        "rows": 3, "boxes": 1, "boxes of other pages": 1, "discontinuous entities": 1, "tokens outside entities": 2,
        "entities that end inside a token": 1, "overlapping entities": 1, "metadata of tokens": 1, "relations": 2,
        "metadata of entities": 1, "entities without tokens": 2, "metadata of relations": 1,
        "roles of relations": 1, "white space": 1,
        "documents without width and height of pages": 1, "metadata of documents": 1, "document ids": 1,
    }  # fmt: skip
    assert found.symbols == "ab"
    with pytest.raises(DataError, match="has no tokens"):
        back(Document("a"))


def test_boxes_beyond_the_page_are_told_once_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.json"
    words = [
        {"box": box, "text": "a"} for box in ([0, 0, 10, 10], [95, 5, 120, 15], [-3, 5, 9, 15], [90, 5, 100.05, 15])
    ]
    form = [{"id": 0, "text": "a", "box": [0, 0, 100, 20], "label": "x", "linking": [], "words": words}]
    size = {"width": 100, "height": 200}
    path.write_text(json.dumps([{"id": name, "form": form, "img": size} for name in "ab"]))
    found = list(read_documents(path))
    assert found[0].get_layer("tokens")[1].boxes[0].xy_coordinates == pytest.approx((0.95, 0.025, 1.0, 0.075))
    assert [message for message in caplog.messages if "beyond" in message] == [
        f"{path}: 4 boxes lie beyond the page, whose edge cuts off what is outside; the first: "
        "document 'a', page 1, which is 100 wide and 200 high: [95, 5, 120, 15]"
    ]
