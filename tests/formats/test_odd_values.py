"""Values that stand where another kind belongs: what is said of them, whichever reader finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from papermage_core.config.readers import ReaderChoice
from papermage_core.data import read_documents
from papermage_core.errors import DataError

TEXT = "Aspirin treats breast cancer."
FORM = {"box": [0, 0, 9, 9], "text": "a", "words": [{"box": [0, 0, 9, 9], "text": "a"}], "linking": [], "id": 0}


def with_label(label: Any) -> dict[str, Any]:
    """Return a record for each reader of JSON whose entity has this label."""
    return {
        "doccano": {"text": TEXT, "label": [[15, 28, label]]},
        "spacy": {"text": TEXT, "spans": [{"start": 15, "end": 28, "label": label}]},
        "dygie": {"tokens": TEXT.split(), "entities": [{"start": 2, "end": 4, "type": label}], "relations": []},
        "hf_table": {"tokens": TEXT.split(), "ner": [{"index": [2, 3], "type": label}]},
        "funsd": {"form": [FORM | {"label": label}]},
        "bioc": {
            "documents": [
                {
                    "id": "1",
                    "passages": [
                        {
                            "offset": 0,
                            "text": TEXT,
                            "annotations": [
                                {"infons": {"type": label}, "text": "", "locations": [{"offset": 15, "length": 13}]}
                            ],
                        }
                    ],
                }
            ]
        },
    }


def read(tmp_path: Path, reader: str, record: Any, **options: Any) -> Any:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    (found,) = read_documents(path, ReaderChoice(name=reader, options=options))
    return found


@pytest.mark.parametrize("label", [["a", "b"], {"name": "a"}, True])
@pytest.mark.parametrize("reader", with_label(""))
def test_a_label_that_is_no_text_is_refused(tmp_path: Path, reader: str, label: Any) -> None:
    options = {"tags": "ner"} if reader == "hf_table" else {}
    with pytest.raises(DataError, match=r"x\.json.*: the label of an entity is"):
        read(tmp_path, reader, with_label(label)[reader], **options)


def test_a_label_that_is_not_there_is_not_called_none(tmp_path: Path) -> None:
    assert read(tmp_path, "spacy", with_label(None)["spacy"]).layer_names == ["entities"]


@pytest.mark.parametrize(
    ("reader", "record", "said"),
    [
        ("spacy", {"text": TEXT, "spans": [], "tokens": [{"text": "A"}]}, r"there is no 'start'$"),
        ("spacy", {"text": TEXT, "spans": [], "tokens": [{"start": 0, "end": 999}]}, r"Prodigy: document .* ends past"),
        ("funsd", {"form": [{"text": "a", "words": [{"box": [0, 0, 9, 9]}]}]}, r"there is no 'text'$"),
        (
            "spacy",
            {"text": TEXT, "spans": [{"start": "a", "end": 3, "label": "D"}]},
            r"'a' is no whole number$",
        ),
        ("doccano", {"text": TEXT, "label": [[0, 10**400, "D"]]}, r"0 to a number of more than 400 digits; the text"),
        (
            "doccano",
            {"text": TEXT, "label": [["x" * 5000]]},
            r"cannot be read as an entity: .{100}; expected \[start, end, ",
        ),
        ("spacy", {"text": TEXT, "spans": [[0, 7, "D"]]}, r"an entity: \[0, 7, 'D'\]; .*; lists: reader=doccano"),
    ],
)
def test_what_a_reader_came_upon_is_said_for_people(tmp_path: Path, reader: str, record: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, reader, record)


@pytest.mark.parametrize("reader", with_label(""))
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "x.json"
    text = json.dumps(with_label("a")[reader])
    path.write_text(text.replace('"text": ', '"text": "", "text": ').replace('"tokens": ', '"tokens": [], "tokens": '))
    options = {"tags": "ner"} if reader == "hf_table" else {}
    with pytest.raises(DataError, match=r"x\.json, line 1: key '\w+' stands twice in .*column \d+"):
        list(read_documents(path, ReaderChoice(name=reader, options=options)))


def test_a_key_that_stands_twice_beside_the_records_is_refused(tmp_path: Path) -> None:
    text = json.dumps(with_label("a")["bioc"])
    (tmp_path / "x.json").write_text(text.replace("{", '{"documents": [], ', 1))
    with pytest.raises(DataError, match=r"x\.json: key 'documents' stands twice in the object"):
        list(read_documents(tmp_path / "x.json", ReaderChoice(name="bioc")))
