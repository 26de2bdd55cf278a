"""doccano: records of every version of its exports."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given

from papermage_core import Document
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.doccano import DoccanoReaderConfig, DoccanoWriterConfig
from tests.formats.helpers import expected, labelled_documents, labels, plain, written

LINE = '{"id": 7, "text": "𝛼 is\\r\\nα", "label": [[0, 1, "Gene"], [6, 7, "Gene"]], "meta": {"x y": 1}}\n'


class TestDoccano(DocumentReaderSuite):
    component = "doccano"
    options = ({}, {"label_layer": "entities"})
    samples: ClassVar = {"a.jsonl": LINE * 2, "list.json": f"[\n{LINE},\n{LINE}]", "mark.json": "\ufeff\n" + LINE}
    texts: ClassVar = {"a.jsonl": [{"Gene": ["𝛼", "α"]}] * 2, "mark.json": [{"Gene": ["𝛼", "α"]}]}
    broken: ClassVar = {"a.jsonl": "{", "none.jsonl": "\n", "text.jsonl": '{"label": []}', "number.json": "7"}


def test_records_are_read_whatever_stands_between_them(tmp_path: Path) -> None:
    pretty = '{\n "text": "ab",\n "label": [\n  [0, 1, "X"]\n ]\n}\n'
    for name, text, lines in [
        ("a.jsonl", LINE + "\n" + LINE, [1, 3]),
        ("b.json", f"[{pretty},\n{pretty}]", [1, 8]),
        ("c.jsonl", pretty + pretty, [1, 7]),
    ]:
        (tmp_path / name).write_text(text)
        found = list(iter_documents(tmp_path / name))
        data = (tmp_path / name).read_bytes()
        assert [each.line for each in found] == lines
        assert all(data[each.byte or 0 :].startswith(b"{") for each in found), name
        assert [document.layer_names for document in (each.document for each in found)] in ([["Gene"]] * 2, [["X"]] * 2)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"text": "ab", "label": [[0, 1, null]]}', "cannot be read as an entity: [0, 1, None]"),
        ('{"text": "ab", "label": [[1, 5, "X"]]}', "X is at 1 to 5; the text has 2 characters"),
        ('{"text": "ab", "label": [[1]]}', "cannot be read as an entity"),
        ('{"text": "ab", "label": [[0, "1", "X"]]}', "cannot be read as an entity"),
        ('{"text": "ab", "label": 3}', "'label' is no list"),
        ('{"text": "ab", "entities": [], "relations": [{"from_id": 1}]}', "cannot be read as a relation"),
        ('{"text": ""}', "there is no text"),
        ('{"text": 3}', "has no text"),
        ('{"text"', "is not JSON"),
        ('{"text": "a", "label": []},', "'; no comma stands between records of JSON Lines"),
        ('{"text": "a", "label": [],}', "is not JSON: trailing comma in object, column 27, near "),
        ("[]]", "is not JSON"),
    ],
)
def test_one_broken_record_does_not_lose_the_file(tmp_path: Path, record: str, message: str) -> None:
    path = tmp_path / "a.doccano"
    for lines, at in (([LINE, record + "\n", LINE], 2), ([record + "\n", LINE, LINE], 1)):
        path.write_text("".join(lines))
        errors: list[DataError] = []
        assert len(list(iter_documents(path, on_error=errors.append))) == 2
        (error,) = errors
        assert message in str(error)
        assert (error.path, error.line) == (path, at)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ('"label": null', []),
        ('"label": [], "entities": [{"start_offset": 0, "end_offset": 1, "label": "X"}]', ["X"]),
        ('"label": null, "annotations": [[0, 1, "X"]]', ["X"]),
    ],
)
def test_entities_are_under_the_key_that_holds_some(tmp_path: Path, record: str, found: list[str]) -> None:
    (tmp_path / "a.doccano").write_text('{"text": "ab", ' + record + "}\n")
    (document,) = read_documents(tmp_path)
    assert document.layer_names == found


@pytest.mark.parametrize("broken", [["{"], ['{"text": "a'], ["what an editor wrote"] * 150])
def test_first_lines_that_are_broken_are_told_and_the_others_read(tmp_path: Path, broken: list[str]) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join([*broken, LINE * 2]))
    errors: list[DataError] = []
    documents = list(iter_documents(tmp_path / "a.jsonl", reader="doccano", on_error=errors.append))
    assert [error.line for error in errors] == [*range(1, len(broken) + 1)]
    assert [each.line for each in documents] == [len(broken) + 1, len(broken) + 2]


def test_the_line_of_a_fault_in_json_over_many_lines_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.doccano").write_text('{\n "text": "ab",\n "label": [[0, 1 "X"]]\n}\n')
    with pytest.raises(DataError, match=r"a.doccano, line 3: is not JSON"):
        list(read_documents(tmp_path / "a.doccano"))


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(tmp_path: Path, corpora: Path) -> None:
    for name, found in expected(corpora, "doccano_jsonl").items():
        errors: list[DataError] = []
        keys: dict[str, Any] = {"text_key": "column_data", "label_key": "column_label"} if "other_col" in name else {}
        located = iter_documents(corpora / "formats" / name, reader=DoccanoReaderConfig(**keys), on_error=errors.append)
        before = [each.document for each in located]
        if "hard" in name:
            assert [(error.line, error.message.split(";")[0]) for error in errors] == [
                (2, "there is no text"),
                (4, "X is at 4 to 40"),
            ]
        elif "pretty" in name:
            assert labels(before) == {"ORG": 1, "DATE": 1, "PERSON": 2}
        else:
            entities = {"LOC": 1} if "missing" in name else found["entities"]
            assert labels(before) == entities, name
            assert len(errors) == found["without_text"], name
        relations = sum(len(document.metadata.get("relations", None) or ()) for document in before)
        assert relations == (3 if "pretty" in name else found["relations"]), name
        data, lost = written(DoccanoWriterConfig().build(), before)
        assert lost == {}, name
        (tmp_path / "back.doccano").write_bytes(data)
        assert plain(list(read_documents(tmp_path / "back.doccano"))) == plain(before), name


@given(labelled_documents(discontinuous=False))
def test_what_is_written_is_read_back(document: Document) -> None:
    data, lost = written(DoccanoWriterConfig().build(), [document])
    assert lost == {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.doccano"
        path.write_bytes(data)
        assert plain(list(read_documents(path))) == plain([document])


def test_relations_may_number_the_entities(tmp_path: Path, corpora: Path) -> None:
    documents = list(read_documents(corpora / "formats" / "hf_table" / "pie_train.json"))
    assert (len(documents), labels(documents)) == (7, {"PER": 7, "ORG": 9})
    assert documents[1].metadata.relations == [{"label": "per:employee_of", "arguments": [["from", 0], ["to", 1]]}]
    assert [entity.metadata.id for entity in (*documents[1].PER, *documents[1].ORG)] == [0, 1]
    assert len(list(read_documents(corpora / "formats" / "hf_table" / "pie_test.json"))) == 2
    data, lost = written(DoccanoWriterConfig().build(), documents)
    assert lost == {}
    (tmp_path / "back.doccano").write_bytes(data)
    assert plain(list(read_documents(tmp_path / "back.doccano"))) == plain(documents)
