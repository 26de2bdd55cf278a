"""PAWLS: what people drew on the pages of a PDF, with the tokens under it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.data import iter_documents, read_documents, write_documents
from papermage_core.data.readers import companions_of
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.hf_table import HfTableReaderConfig
from papermage_formats.pawls import PawlsReaderConfig, PawlsWriterConfig
from tests.formats.helpers import expected, labels, plain

WORDS = [("Deep", 10, 100), ("-", 30, 100), ("𝛼", 33, 100.5), (" ", 60, 100), ("end", 10, 120)]
PAGE = {"width": 200, "height": 400}


def structure() -> list[dict[str, Any]]:
    tokens = [{"text": text, "x": x, "y": y, "width": 3 if text == "-" else 20, "height": 10} for text, x, y in WORDS]
    return [
        {"page": PAGE | {"index": 0}, "tokens": tokens},
        {"page": {"width": 50.5, "height": 60, "index": 1}, "tokens": tokens[:1]},
        {"page": PAGE | {"index": 2}, "tokens": []},
    ]


def annotation(**values: Any) -> dict[str, Any]:
    tokens = [{"pageIndex": 0, "tokenIndex": i} for i in (4, 0, 1)]
    bounds = {"left": -1, "top": 90, "right": 100, "bottom": 140}
    found = {"id": "a1", "page": 0, "label": {"text": "Title", "color": "#fff"}, "bounds": bounds, "tokens": tokens}
    return found | values


RELATION = {"id": "r", "sourceIds": ["a1"], "targetIds": ["a2", "a3"], "label": {"text": "of", "color": "#000"}}


def paper(folder: Path, *annotations: dict[str, Any], pages: Any = None, relations: Any = ()) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pdf_structure.json").write_text(json.dumps(structure() if pages is None else pages))
    file = folder / "me@x.org_annotations.json"
    file.write_text(json.dumps({"annotations": annotations, "relations": relations}))
    return file


class TestPawls(DocumentReaderSuite):
    component = "pawls"
    samples = {"pdf_structure.json": json.dumps(structure())}  # noqa: RUF012
    broken = {  # noqa: RUF012
        "pdf_structure.json": "[{}]",
        "alone_annotations.json": '{"annotations": []}',
        "name_mapping.json": "{}",
    }


def test_tokens_pages_and_annotations_are_read(tmp_path: Path) -> None:
    freeform = annotation(id="a2", page=1, label={"text": "Figure"}, tokens=None)
    paper(tmp_path / "sha", annotation(), freeform, relations=[RELATION])
    (tmp_path / "sha" / "sha.pdf").write_text("is not read")
    (document,) = read_documents(tmp_path / "sha")
    assert (document.id, document.symbols) == ("sha", "Deep-𝛼\nend\nDeep")
    assert [[tuple(span) for span in t.to_json().get("spans", [])] for t in document.tokens] == [
        [(0, 4)], [(4, 5)], [(5, 6)], [], [(7, 10)], [(11, 15)],
    ]  # fmt: skip
    assert document.tokens[0].boxes[0].to_json() == [0.05, 0.25, 0.1, 0.025, 0]
    assert [page.metadata.to_json() for page in document.pages][1] == {"width": 50.5, "height": 60.0}
    assert document.Title[0].to_json() == {
        "spans": [[0, 5], [7, 10]],
        "boxes": [[0.0, 0.225, 0.5, 0.125, 0]],
        "metadata": {"id": "a1", "color": "#fff"},
    }
    assert document.Figure[0].to_json()["boxes"][0][4] == 1
    assert not document.Figure[0].spans
    arguments = [["source", "a1"], ["target", "a2"], ["target", "a3"]]
    assert document.metadata.relations == [{"id": "r", "label": "of", "arguments": arguments, "color": "#000"}]
    assert document.metadata.annotator == "me@x.org"


def test_a_folder_of_papers_has_a_document_for_each_annotator(tmp_path: Path) -> None:
    file = paper(tmp_path / "one", annotation())
    file.with_name("you_annotations.json").write_text('{"annotations": []}')
    paper(tmp_path / "two").unlink()
    (tmp_path / "name_mapping.json").write_text('{"one": "A title"}')
    (tmp_path / "configuration.json").write_text("{}")
    found = list(read_documents(tmp_path))
    assert [(d.id, d.metadata.get("title", None), d.metadata.get("annotator", None)) for d in found] == [
        ("one", "A title", "me@x.org"), ("one", "A title", "you"), ("two", None, None),
    ]  # fmt: skip
    write_documents(found, tmp_path / "again.pawls")
    again = tmp_path / "again.pawls"
    assert sorted(str(path.relative_to(again)) for path in again.rglob("*.json")) == [
        "name_mapping.json", "one/me@x.org_annotations.json", "one/pdf_structure.json", "one/you_annotations.json",
        "two/pdf_structure.json",
    ]  # fmt: skip
    assert plain(list(read_documents(tmp_path / "again.pawls"))) == plain(found)
    assert [d.id for d in read_documents(tmp_path / "*" / "me@x.org_annotations.json")] == ["one"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (annotation(page=7), "annotation 'a1' is on page 7 of 3"),
        (annotation(tokens=[{"pageIndex": 1, "tokenIndex": 1}]), "annotation 'a1' names token 1 of page 1"),
        (annotation(tokens=[{"pageIndex": -1, "tokenIndex": 0}]), "annotation 'a1' names token 0 of page -1"),
        (
            annotation(bounds={"left": 9, "top": 1, "right": 3, "bottom": 2}),
            r"annotation 'a1': \[9, 1, 3, 2\] is no box",
        ),
        (annotation(bounds={"left": 9}), "cannot be read as annotations of PAWLS: there is no 'top'"),
        ([], "cannot be read as annotations of PAWLS"),
    ],
)
def test_errors_name_file_and_annotation(tmp_path: Path, broken: Any, message: str) -> None:
    file = paper(tmp_path / "one", broken)
    with pytest.raises(DataError, match=message) as caught:
        list(read_documents(file))
    assert caught.value.path == file
    paper(tmp_path / "two", annotation())
    (tmp_path / "name_mapping.json").write_text("{}")
    errors: list[DataError] = []
    assert [each.document.id for each in iter_documents(tmp_path, on_error=errors.append)] == ["two"]
    assert [error.path for error in errors] == [file]


def pages_of(*numbers: Any) -> list[dict[str, Any]]:
    """Pages of a word each, w0, w1, …, with these as index."""
    token = {"x": 1, "y": 1, "width": 2, "height": 2}
    return [
        {"page": PAGE | ({} if number is None else {"index": number}), "tokens": [token | {"text": f"w{place}"}]}
        for place, number in enumerate(numbers)
    ]


def on(page: int) -> dict[str, Any]:
    bounds = {"left": 0, "top": 0, "right": 4, "bottom": 4}
    return annotation(page=page, tokens=[{"pageIndex": page, "tokenIndex": 0}], bounds=bounds)


@pytest.mark.parametrize(
    ("numbers", "page", "word", "text"),
    [
        ((0, 1, 2), 1, "w1", "w0\nw1\nw2"),
        ((2, 0, 1), 2, "w0", "w1\nw2\nw0"),
        ((3, 7), 7, "w1", "w0\nw1"),
        ((1, 2), 1, "w1", "w0\nw1"),
        ((None, None), 1, "w1", "w0\nw1"),
    ],
)
def test_a_page_is_that_of_its_index(tmp_path: Path, numbers: Any, page: int, word: str, text: str) -> None:
    (document,) = read_documents(paper(tmp_path / "one", on(page), pages=pages_of(*numbers)))
    assert document.symbols == text
    (entity,) = document.Title
    assert (entity.text, entity.boxes[0].page) == (word, page)
    (around,) = (each for each in document.pages if each.boxes[0].page == page)
    assert around.text == word


@pytest.mark.parametrize("numbers", [(0, 0), (0, -1), (0, "1"), (0, True)])
def test_an_index_that_tells_no_page_is_refused(tmp_path: Path, numbers: Any) -> None:
    with pytest.raises(DataError, match=r"pdf_structure.json: index of pages is \["):
        list(read_documents(paper(tmp_path / "one", pages=pages_of(*numbers))))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"page": PAGE, "tokens": [{"text": "a", "x": 1, "y": 1, "width": float("nan"), "height": 1}]}, "is not JSON"),
        ({"page": PAGE, "tokens": [{"text": "a", "x": 1, "y": 1, "width": -1, "height": 1}]}, "page 1: .* is no box"),
        ({"page": {"width": 0, "height": 1}, "tokens": []}, "page 1: a page is 0 wide and 1 high"),
        ({"page": PAGE, "tokens": []}, "there is no text"),
        ({"page": PAGE}, "cannot be read: KeyError"),
    ],
)
def test_hostile_pages_are_refused(tmp_path: Path, page: dict[str, Any], message: str) -> None:
    file = paper(tmp_path / "one", pages=[page])
    for path in (file, file.with_name("pdf_structure.json")):
        with pytest.raises(DataError, match=message):
            list(read_documents(path))


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(tmp_path: Path, corpora: Path) -> None:
    for name, found in expected(corpora, "pawls").items():
        if "annotations" in found:
            (document,) = read_documents(corpora / "formats" / name)
            assert labels([document], ("tokens", "pages")) == found["annotations"], name
            assert len(document.metadata.get("relations", None) or ()) == found["relations"], name
            covered = [e for n in found["annotations"] for e in document.get_layer(n)]
            tokens = [
                t
                for t in document.tokens
                if t.spans and any(s.start < t.end and t.start < s.end for e in covered for s in e.spans)
            ]
            assert len(tokens) == found["token_references"]
            assert write_documents([document], tmp_path / f"{document.id}.pawls").losses == {}
            assert plain(list(read_documents(tmp_path / f"{document.id}.pawls"))) == plain([document])
        elif "tokens" in found:
            (document,) = read_documents(corpora / "formats" / name)
            assert (len(document.pages), len(document.tokens)) == (found["pages"], found["tokens"])


COORDINATE = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(st.sampled_from(["a", "𝛼b", ""]), COORDINATE, COORDINATE, st.integers(0, 1)), min_size=1))
def test_what_is_written_is_read_back(tmp_path_factory: Any, words: list[tuple[str, float, float, int]]) -> None:
    words = [("x", 0.5, 0.5, 0), *sorted(words, key=lambda word: word[3])]
    pages: list[dict[str, Any]] = [{"page": {"width": 612.5, "height": 791}, "tokens": []} for _ in range(2)]
    for text, x, y, page in words:
        token = {"text": text, "x": x * 600, "y": y * 780, "width": 10 * y, "height": 11 * x}
        pages[page]["tokens"].append(token)
    folder = tmp_path_factory.mktemp("pawls")
    file = paper(folder / "one", annotation(), pages=pages)
    file.write_text(json.dumps({"annotations": [annotation(tokens=[{"pageIndex": 0, "tokenIndex": 0}])]}))
    reader = PawlsReaderConfig().build()
    before = [each.document for each in reader.read(file)]
    (folder / "back").mkdir()
    assert dict(PawlsWriterConfig().build().write(iter(before), folder / "back")) == {}
    assert plain([each.document for each in reader.read(folder / "back" / "name_mapping.json")]) == plain(before)


def test_what_pawls_does_not_hold_is_counted(tmp_path: Path) -> None:
    box = [0.5, 0.5, 0.1, 0.1, 0]
    tokens = [{"spans": [[0, 2]], "boxes": [box], "metadata": {"size": 1}}, {"spans": [[4, 5]]}]
    entities: dict[str, Any] = {
        "tokens": tokens,
        "rows": tokens,
        "X": [{"spans": [[0, 1]], "boxes": [box, box], "metadata": {"id": "1", "score": 1}}, {"spans": [[4, 5]]}],
    }
    relations = [{"label": "of", "arguments": [["a", "1"]]}]
    metadata = {"other": 1, "relations": relations}
    document = Document.from_json({"symbols": "ab\n cd", "metadata": metadata, "entities": entities})
    assert write_documents([document], tmp_path / "a.pawls").losses == {
        "rows": 2, "metadata of tokens": 1, "tokens without boxes": 1, "boxes": 1, "entities without boxes": 1,
        "entities without tokens": 1, "entities that end inside a token": 2, "metadata of entities": 1,
        "white space between tokens": 1, "documents without width and height of pages": 1, "document ids": 1,
        "roles of relations": 1,
        "documents without annotator": 1, "metadata of documents": 1,
    }  # fmt: skip
    with pytest.raises(DataError, match="has no tokens"):
        write_documents([Document("a")], tmp_path / "b.pawls")


def test_what_belongs_to_a_file_counts_as_its_content(tmp_path: Path) -> None:
    file = paper(tmp_path / "one", annotation())
    (tmp_path / "name_mapping.json").write_text("{}")
    structure_file = file.with_name("pdf_structure.json")
    assert companions_of(file, PawlsReaderConfig()) == [structure_file]
    assert companions_of(tmp_path / "name_mapping.json", PawlsReaderConfig()) == [file, structure_file]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "data-00000-of-00001.arrow").touch()
    table = tmp_path / "dataset_dict.json"
    assert tmp_path / "train" / "data-00000-of-00001.arrow" in companions_of(table, HfTableReaderConfig())


def test_boxes_beyond_the_page_are_told_with_their_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    within = {"left": 0, "top": 90, "right": 200.1, "bottom": 140}
    pages = structure()
    pages[1]["tokens"] = [pages[1]["tokens"][0] | {"x": -20}]
    annotations = annotation(bounds=within), annotation(id="a2", bounds=within | {"bottom": 5000})
    path = paper(tmp_path / "a", *annotations, pages=pages)
    list(read_documents(path))
    found = [message for message in caplog.messages if "beyond" in message]
    assert [message.partition(": document")[0] for message in found] == [
        f"{file}: 1 box lies beyond the page, whose edge cuts off what is outside; the first"
        for file in (path.with_name("pdf_structure.json"), path)
    ]
    assert "document 'a', page 2, which is" in found[0]
    assert "5000]" in found[1]
