"""Label Studio: what people labelled and what a model proposed, in either unit of offsets."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given

from papermage_core import Document
from papermage_core.config.readers import ReaderChoice
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.label_studio import LabelStudioReaderConfig, LabelStudioWriterConfig
from tests.formats.helpers import expected, labelled_documents, labels, plain, written


def region(start: int, stop: int, text: str, *names: str, **others: Any) -> dict[str, Any]:
    value = {"start": start, "end": stop, "text": text, "labels": list(names)}
    return {"id": f"r{start}", "from_name": "label", "to_name": "text", "type": "labels", "value": value} | others


def task(*results: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"id": 3, "data": {"text": "𝛼-syn binds"}, "annotations": [{"result": list(results)}]} | others


TASKS = json.dumps([task(region(0, 5, "𝛼-syn", "Gene")), task(region(6, 11, "binds", "Verb", "Act"))], indent=1)


class TestLabelStudio(DocumentReaderSuite):
    component = "label_studio"
    options = ({}, {"take": "predictions"}, {"label_layer": "entities"})
    samples: ClassVar = {"a.json": TASKS, "b.jsonl": json.dumps(task())}
    broken: ClassVar = {"cut.json": TASKS[:-9], "text.json": '[{"id": 1, "data": {"image": "https://a"}}]'}


def read(path: Path, content: Any = None, **options: Any) -> list[Document]:
    if content is not None:
        path.write_text(json.dumps(content, indent=1))
    return [each.document for each in iter_documents(path, reader=LabelStudioReaderConfig(**options))]


def test_offsets_in_units_of_utf16_are_told_by_the_text(tmp_path: Path) -> None:
    (document,) = read(tmp_path / "a.json", task(region(0, 6, "𝛼-syn", "Gene"), region(7, 12, "binds", "Verb", "Act")))
    assert [(name, e.text, e.start) for name in document.layer_names for e in document.get_layer(name)] == [
        ("Gene", "𝛼-syn", 0), ("Verb", "binds", 6), ("Act", "binds", 6),
    ]  # fmt: skip


def test_what_is_said_of_a_region_is_moved_with_it_and_comes_back_at_its_place(tmp_path: Path) -> None:
    sure = {**region(7, 12, "binds", "Verb"), "type": "choices", "from_name": "sure"}
    sure["value"] = {"start": 7, "end": 12, "text": "binds", "choices": ["sure"]}
    note = {**sure, "type": "textarea", "from_name": "note", "value": {"start": 7, "end": 12, "text": ["a note"]}}
    whole = {"type": "choices", "to_name": "text", "from_name": "kind", "value": {"choices": ["abstract"]}}
    of_html = {**sure, "value": {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "choices": ["sure"]}}
    content = task(region(0, 6, "𝛼-syn", "Gene"), region(7, 12, "binds", "Verb"), sure, note, whole, of_html)
    (document,) = read(tmp_path / "a.json", content)
    moved = [{**each, "value": {**each["value"], "start": 6, "end": 11}} for each in (sure, note)]
    assert document.metadata.label_studio["results"] == [*moved, whole, of_html]
    data, _ = written(LabelStudioWriterConfig().build(), [document])
    results = json.loads(data)[0]["predictions"][0]["result"]
    places = {each["type"]: (each["value"]["start"], each["value"]["end"]) for each in results[1:4]}
    assert places == {"labels": (6, 11), "choices": (6, 11), "textarea": (6, 11)}


def test_regions_of_another_text_of_the_task_are_kept_and_told(tmp_path: Path, caplog: Any) -> None:
    results = [
        region(0, 5, "BRCA1", "Gene", to_name="t"),
        region(13, 17, "TP53", "Gene"),
        region(0, 4, "BRCA", "Part", to_name="t"),
    ]
    content = [
        {"id": 1, "data": {"title": "BRCA1 gene", "text": "Mutations of TP53"}, "annotations": [{"result": results}]}
    ]
    (document,) = read(tmp_path / "a.json", content)
    assert (document.layer_names, [gene.text for gene in document.Gene]) == (["Gene"], ["TP53"])
    assert document.metadata.label_studio["results"] == [results[0], results[2]]
    assert caplog.messages == [
        f"{tmp_path / 'a.json'}: 2 regions are in other texts of the tasks (t), kept as results; "
        "reader.text_key=NAME reads another text"
    ]
    (document,) = read(tmp_path / "a.json", text_key="title")
    assert [(name, document.get_layer(name)[0].text) for name in document.layer_names] == [
        ("Gene", "BRCA1"),
        ("Part", "BRCA"),
    ]


@pytest.mark.parametrize("text", ["BRCA1 \U0001f9ec gene", "<p>BRCA1 \U0001f9ec gene</p>"])
def test_regions_of_html_are_read_where_their_offsets_are_those_of_the_text(
    tmp_path: Path, text: str, caplog: Any
) -> None:
    """A tag HyperText may show plain text, too; of a page, offsets count what is seen of it."""
    value = {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 0, "endOffset": 5, "text": "BRCA1"}
    value |= {"globalOffsets": {"start": 0, "end": 5}, "hypertextlabels": ["Gene"]}
    result = {"id": "a", "from_name": "label", "to_name": "text", "type": "hypertextlabels", "value": value}
    (document,) = read(tmp_path / "a.json", [{"data": {"text": text}, "annotations": [{"result": [result]}]}])
    if text.startswith("<"):
        assert (document.layer_names, document.metadata.label_studio) == ([], {"results": [result]})
        assert caplog.messages == [
            f"{tmp_path / 'a.json'}: 1 region has places of HTML, not of the text: they are kept as results"
        ]
    else:
        assert ([gene.text for gene in document.Gene], caplog.messages) == (["BRCA1"], [])


def test_annotations_and_predictions_are_chosen_and_cancelled_ones_passed_over(tmp_path: Path) -> None:
    made = [
        {"was_cancelled": True, "result": [region(0, 1, "𝛼", "No")]},
        {"result": [region(0, 1, "𝛼", "One")]},
        {"result": [region(0, 1, "𝛼", "Two")]},
    ]
    proposed = [{"result": [region(0, 1, "𝛼", "Model", score=0.5)], "score": 0.5}]
    content = [task(annotations=made, predictions=proposed)]
    path = tmp_path / "a.json"
    assert labels(read(path, content)) == {"One": 1}
    assert labels(read(path, annotator=1)) == {"Two": 1}
    assert labels(read(path, annotator=2)) == {}
    (document,) = read(path, take="predictions")
    assert document.get_layer("Model")[0].score == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (task(region(0, 99, "x", "X")), "line 1, document '3': a region is at 0 to 99"),
        (task({"type": "labels", "value": {"start": "a", "end": 2}}), "document '3': cannot be read as a task"),
        (task({"type": "relation"}), "document '3': cannot be read as a task"),
        ({"id": 1, "data": {"image": "https://example.org/a.png"}}, "document '1': the task has no text"),
    ],
)
def test_a_broken_task_is_refused_by_its_line(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.json", content)


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(tmp_path: Path, corpora: Path) -> None:
    for name, found in expected(corpora, "label_studio").items():
        path = corpora / "formats" / name
        if name.endswith(("polygons.json", "doclang.json", "csv_test2.json")):
            with pytest.raises(DataError, match="the task has no text"):
                list(read_documents(path))
            continue
        errors: list[DataError] = []
        before = [each.document for each in iter_documents(path, on_error=errors.append)]
        assert len(before) + len(errors) == found["tasks"], name
        assert [error.message for error in errors] == ["there is no text"] * ("two_annotators" in name), name
        if "two_annotators" in name:
            found["labels"] = {"Drug": 1, "Protein": 1, "entities": 1}
        assert labels(before) == ({"Drug": 1} if name.endswith("/min.json") else found["labels"]), name
        data, lost = written(LabelStudioWriterConfig(give="annotations").build(), before)
        assert lost == {}, name
        (tmp_path / "back.json").write_bytes(data)
        again = read(tmp_path / "back.json")
        if not name.endswith("/min.json"):  # its regions have no id
            assert plain(again) == plain(before), name


@given(labelled_documents(discontinuous=False))
def test_what_is_written_is_read_back(document: Document) -> None:
    data, lost = written(LabelStudioWriterConfig().build(), [document, document])
    assert lost == {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_bytes(data)
        for found in read(path, take="predictions"):
            spans = {name: [entity.spans for entity in found.get_layer(name)] for name in found.layer_names}
            assert spans == {name: [e.spans for e in document.get_layer(name)] for name in document.layer_names}
            assert (found.id, found.symbols) == (document.id, document.symbols)


def test_proposals_have_scores_and_what_is_lost_is_counted() -> None:
    entities = [{"spans": [[0, 1]], "metadata": {"score": 0.25}}, {"spans": [[0, 1], [2, 3]]}]
    document = Document.from_json({"symbols": "a b", "entities": {"X": entities, "rows": entities}})
    data, lost = written(LabelStudioWriterConfig(model_version="m1").build(), [document])
    (made,) = json.loads(data)[0]["predictions"]
    assert (made["model_version"], made["score"], made["result"][0]["score"]) == ("m1", 0.25, 0.25)
    assert lost == {"rows": 2, "discontinuous entities": 1}
    assert written(LabelStudioWriterConfig().build(), [])[0] == b"[]\n"


@pytest.mark.parametrize("annotator", [0, 1, 2])
def test_tasks_that_were_labelled_more_than_once_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, annotator: int
) -> None:
    def result(label: str) -> dict[str, Any]:
        return {"type": "labels", "to_name": "text", "value": {"start": 0, "end": 4, "text": "Rome", "labels": [label]}}

    made = [{"result": [result("A")]}, {"result": [result("X")], "was_cancelled": True}, {"result": [result("B")]}]
    tasks = [{"id": n, "data": {"text": "Rome is"}, "annotations": made[: 3 * n + 1]} for n in range(2)]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    choice = ReaderChoice(name="label_studio", options={"annotator": annotator})
    one, other = read_documents(tmp_path / "a.json", choice)
    assert [*one.layer_names, *other.layer_names] == [["A", "A"], ["B"], []][annotator]
    assert "1 task has several annotations or predictions, of which one is read" in caplog.text


def test_json_min_keeps_choices_and_the_data_of_a_task(tmp_path: Path) -> None:
    region = {"start": 0, "end": 1, "text": "a", "labels": ["X"]}
    own = {"id": 7, "annotator": 1, "annotation_id": 3, "created_at": "2020", "updated_at": "2020", "lead_time": 3.2}
    task = {**own, "text": "a b", "label": [region], "rel": "yes", "pmid": "5", "more": {"choices": ["u", "v"]}}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    (document,) = read_documents(tmp_path / "a.json")
    assert [entity.text for entity in document.X] == ["a"]
    assert document.metadata["label_studio"] == {"rel": "yes", "pmid": "5", "more": {"choices": ["u", "v"]}}


@pytest.mark.parametrize("place", ["/scans/1.png", "upload/2/b.JPG", "azure-blob://x/y", "C:\\scans\\a.tif"])
def test_where_a_picture_is_is_no_text(tmp_path: Path, place: str) -> None:
    task = {"id": 4, "data": {"image": place}, "annotations": [{"result": []}]}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    with pytest.raises(DataError, match="document '4': the task has no text"):
        list(read_documents(tmp_path / "a.json"))


def test_a_task_without_text_is_named(tmp_path: Path) -> None:
    tasks = [{"id": i, "data": {"text": text}, "annotations": [{"result": []}]} for i, text in enumerate(("a", ""))]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    with pytest.raises(DataError, match="document '1': there is no text"):
        list(read_documents(tmp_path / "a.json"))


@pytest.mark.parametrize(
    "unlabelled",
    [
        {"id": 3, "annotations": [], "drafts": [], "predictions": [], "data": {"text": "word " * 3000}},
        {"id": 3, "data": {"text": "Ab"}, "annotations": []},
        {"data": {"text": "word " * 3000}},
        {"id": 3, "data": {"text": "Ab", "journal": "X"}},
    ],
    ids=["export", "data first", "to import", "to import with ids"],
)
def test_tasks_that_nobody_labelled_yet_are_known_as_tasks(unlabelled: dict[str, Any], tmp_path: Path) -> None:
    for mark in ("", "\ufeff"):
        (tmp_path / "tasks.json").write_text(mark + json.dumps([unlabelled] * 5, indent=1), encoding="utf-8")
        documents = list(read_documents(tmp_path))
        assert [each.symbols for each in documents] == [unlabelled["data"]["text"]] * 5
        assert not any(each.layer_names for each in documents)


def test_notes_of_regions_and_tasks_are_kept(tmp_path: Path) -> None:
    noted = task(region(0, 5, "𝛼-syn", "Gene", meta={"text": ["sure?"]}), meta={"from": "pilot"})
    (tmp_path / "a.json").write_text(json.dumps([noted]), encoding="utf-8")
    (document,) = read_documents(tmp_path / "a.json")
    assert (document.metadata["meta"], document.Gene[0].metadata["meta"]) == ({"from": "pilot"}, {"text": ["sure?"]})
    content, lost = written(LabelStudioWriterConfig(give="annotations").build(), [document])
    (again,) = json.loads(content)
    assert (again["meta"], again["annotations"][0]["result"][0]["meta"]) == ({"from": "pilot"}, {"text": ["sure?"]})
    assert lost == {}


def test_what_nobody_has_labelled_is_written_as_a_task_without_annotations() -> None:
    entities = [{"tokens": []}, {"X": []}, {"X": [{"spans": [[0, 1]]}]}]
    documents = [Document.from_json({"symbols": "ab", "entities": each, "metadata": {}}) for each in entities]
    tasks = json.loads(written(LabelStudioWriterConfig(give="annotations").build(), documents)[0])
    assert [len(task["annotations"]) for task in tasks] == [0, 1, 1]
    tasks = json.loads(written(LabelStudioWriterConfig(give="annotations", layers=("Y",)).build(), documents)[0])
    assert [len(task["annotations"]) for task in tasks] == [0, 0, 0]
    assert all(
        len(task["predictions"]) for task in json.loads(written(LabelStudioWriterConfig().build(), documents)[0])
    )
