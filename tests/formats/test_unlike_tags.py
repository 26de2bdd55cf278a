"""Tags that somebody mistyped: told, with their place and what was likely meant, and read as they stand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from papermage_core.config.readers import ReaderChoice
from papermage_core.data import read_documents
from papermage_formats import unlike_tags as module
from papermage_formats.unlike_tags import unlike_tags

TOKENS = ["He", "met", "Jane", "Doe", "in", "Rome"]
TAGS = ["O", "O", "B-PER", "I-PER", "O", "B-LOC"]


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("BI-PER", "B-PER"),
        ("b-PER", "B-PER"),
        ("i-PER", "I-PER"),
        ("B_PER", "B-PER"),
        ("B-Per", "B-PER"),
        ("B PER", "B-PER"),
        ("I-PRE", "I-PER"),
        ("B-PERS", "B-PER"),
        ("B-PER.", "B-PER"),
        ("PER", "B-PER"),
        ("B-", ""),
        ("o", "O"),
        ("0", "O"),
        ("NN", ""),
    ],
)
def test_a_slip_is_found_and_what_was_meant(tag: str, meant: str) -> None:
    assert unlike_tags({"O": 50, "B-PER": 20, "I-PER": 20, "B-LOC": 9, tag: 1}) == {tag: meant}


@pytest.mark.parametrize(
    "tags",
    [
        "B-PER I-PER B-LOC S-LOC E-LOC L-LOC U-LOC O _",
        "B I O",
        "S B I E O",
        "PER LOC per-mille O o",
        "I-<author> <author> I-<date> <date> <other> I-<other>",
        "B-Level1 B-Level1 B-Level1 B-Level1 B-Level1 B-Level1 B-Level2",
        "B-ClassA B-ClassA B-ClassA B-ClassA B-ClassA B-ClassA B-ClassB",
        "B-Gene B-Gene B-Gene B-Gene B-Gene B-Gene B-Disease B-Variant",
        "B-人 B-地 I-人",
        "B-A NN B-A NN",
        "O",
        "",
    ],
)
def test_what_may_be_right_is_not_told(tags: str) -> None:
    found = tags.split()
    assert unlike_tags({tag: found.count(tag) for tag in found}) == {}


def test_one_letter_in_the_lower_case_does_not_go_unseen_where_tags_have_no_label() -> None:
    assert unlike_tags({"B": 9, "I": 9, "O": 30, "b": 1}) == {"b": "B"}


def test_the_line_is_told_once_for_a_file_and_the_labels_are_those_of_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.conll"
    sound = "".join(f"{token}\t{tag}\n" for token, tag in zip(TOKENS, TAGS, strict=True))
    odd = sound.replace("B-PER", "BI-PER")
    path.write_text(f"# doc_id = a\n{sound}\n# doc_id = b\n{sound}\n# doc_id = c\n{odd}\n{odd}", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        documents = list(read_documents(path))
    assert [message for message in caplog.messages if "tag" in message] == [
        f"{path}: 1 tag is unlike the others of the file, each a label of its own as it stands: "
        "'BI-PER' in line 20 (was 'B-PER' meant?)"
    ]
    assert [entity.text for entity in documents[-1].get_layer("BI-PER")] == ["Jane", "Jane"]


def test_the_row_is_told_where_rows_are_documents(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.jsonl"
    rows = [TAGS, TAGS, ["O", "O", "B-PER", "I-Per", "O", "B-LOC"]]
    path.write_text("".join(json.dumps({"tokens": TOKENS, "ner_tags": tags}) + "\n" for tags in rows))
    with caplog.at_level(logging.WARNING):
        list(read_documents(path, ReaderChoice(name="hf_table")))
    assert "'I-Per' in row 3 (was 'I-PER' meant?)" in caplog.text


def test_a_first_line_may_be_names_of_columns_that_nobody_knows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.conll"
    path.write_text("Token\tEntity_Type\n" + "".join(map("{}\t{}\n".format, TOKENS, TAGS)))
    with caplog.at_level(logging.WARNING):
        list(read_documents(path))
    assert "'Entity_Type' in line 1 (reader.header=true if it names the columns)" in caplog.text


def test_thousands_of_codes_are_not_held_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each against each, they took a minute."""
    likened = list[tuple[str, str]]()
    monkeypatch.setattr(module, "_likeness", lambda *pair: likened.append(pair) or 0.0)
    codes = {f"B-C{code:07}": 1 + code % 40 for code in range(0, 7_000, 7)}
    assert unlike_tags({"O": 10**6, **codes, "c-C0000007": 1}) == {"c-C0000007": ""}
    assert len(likened) <= len(codes)
