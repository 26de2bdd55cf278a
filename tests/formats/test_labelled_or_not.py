"""What nobody has labelled is told from what was labelled without anything found: it has no layer of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from papermage_core import read_documents
from papermage_core.config.readers import ReaderChoice


def task(**values: Any) -> dict[str, Any]:
    return {"data": {"text": "Rome is"}} | values


LABEL_STUDIO = [
    (task(annotations=[{"result": []}]), True),
    (task(annotations=[]), False),
    (task(annotations=[{"result": [], "was_cancelled": True}]), False),
    (task(annotations=[], predictions=[{"result": []}]), False),
]
PRODIGY = [
    ({"text": "Rome is", "spans": [], "answer": "accept"}, True),
    ({"text": "Rome is", "spans": [], "answer": "reject"}, False),
    ({"text": "Rome is", "spans": [], "answer": "ignore"}, False),
    ({"text": "Rome is"}, False),
    (["Rome is", {"entities": []}], True),
    (["Rome is", {"cats": {"a": 1}}], False),
]
DOCCANO = [
    ({"text": "Rome is", "label": []}, True),
    ({"text": "Rome is", "label": None}, True),
    ({"text": "Rome"}, False),
]


@pytest.mark.parametrize(
    ("reader", "record", "is_labelled"),
    [
        *(("label_studio", *each) for each in LABEL_STUDIO),
        *(("spacy", *each) for each in PRODIGY),
        *(("doccano", *each) for each in DOCCANO),
        ("conll", "Rome\tB-X\nis\tO\n", True),
        ("conll", "Rome\tO\nis\tO\n", True),
        ("conll", "Rome\nis\n", False),
        ("conll", "1\tRome\tRome\tX\t_\t_\t0\troot\t_\t_\n", False),
    ],
)
def test_what_nobody_labelled_has_no_layer_of_labels(
    tmp_path: Path, reader: str, record: Any, is_labelled: bool
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(record if isinstance(record, str) else json.dumps(record) + "\n")
    (document,) = read_documents(path, ReaderChoice(name=reader, options={"label_layer": "gold"}))
    assert document.has_layer("gold") == is_labelled
