"""Whose a file of a shared ending is, however long the text before what tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.files.outline import json_outline

TEXT = 'BRCA1 said: "\\" [' + "word, " * 20_000
SPAN = {"start": 0, "end": 5, "label": "X"}
PLACE = {"infons": {"type": "X"}, "locations": [{"offset": 0, "length": 5}]}
LONG: dict[str, Any] = {
    "doccano": {"id": 1, "text": TEXT, "label": [[0, 5, "X"]]},
    "prodigy": {"text": TEXT, "tokens": [{"start": 0, "end": 5}] * 1000, "spans": [SPAN], "_input_hash": 1},
    "prodigy_without_tokens": {"text": TEXT, "spans": [SPAN], "answer": "accept"},
    "prodigy_to_come": {"text": TEXT, "spans": [SPAN]},
    "spacy": [TEXT, {"entities": [[0, 5, "X"]]}],
    "hf_table": {"id": "1", "tokens": ["BRCA1"] + ["word"] * 20_000, "ner_tags": ["B-X"] + ["O"] * 20_000},
    "dygie": {"doc_key": "1", "sentences": [["BRCA1"], ["word"] * 20_000], "ner": [[[0, 0, "X"]], []]},
    "gliner": {"tokenized_text": ["BRCA1"] + ["word"] * 20_000, "ner": [[0, 0, "X"]]},
    "spert": {"tokens": ["BRCA1"] + ["word"] * 20_000, "entities": [{"type": "X", "start": 0, "end": 1}]},
    "label_studio": {
        "data": {"text": TEXT},
        "annotations": [{"result": [{"type": "labels", "value": {"start": 0, "end": 5, "labels": ["X"]}}]}],
    },
    "json_min": {"text": TEXT, "label": [{**SPAN, "labels": ["X"]}], "annotator": 1, "annotation_id": 1},
    "bioc": {
        "id": "1",
        "infons": {"abstract": TEXT},
        "passages": [{"offset": 0, "text": TEXT, "annotations": [PLACE]}],
    },
    "own": {"metadata": {"abstract": TEXT}, "entities": {"X": [{"spans": [[0, 5]]}]}, "symbols": TEXT},
}


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("record", LONG.values(), ids=LONG)
def test_a_record_is_known_by_what_comes_after_a_long_text(tmp_path: Path, record: Any, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    is_list = ending == ".json" and "symbols" not in record
    path.write_text(json.dumps([record] if is_list else record), encoding="utf-8")
    for place in (tmp_path, path):
        (document,) = read_documents(place)
        assert [entity.text for entity in document.X] == ["BRCA1"]


def test_where_the_first_bytes_tell_nothing_readers_are_shown_the_keys(tmp_path: Path) -> None:
    """A file that nobody knows is still nobody's."""
    (tmp_path / "a.json").write_text(json.dumps({"title": TEXT, "what": [1, 2, 3]}), encoding="utf-8")
    with pytest.raises(ValueError, match="none knows this file"):
        list(iter_documents(tmp_path / "a.json"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=100),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def cut(value: Any) -> Any:
    """Return a value with what an outline keeps of it, the texts as they are."""
    if isinstance(value, list):
        return [cut(each) for each in value[:3]]
    return {key: cut(each) for key, each in value.items()} if isinstance(value, dict) else value


@given(
    st.lists(st.lists(JSON, max_size=5) | st.dictionaries(st.text(max_size=4), JSON), min_size=1, max_size=3),
    st.booleans(),
)
def test_an_outline_is_json_with_all_keys_and_the_first_items_of_lists(values: list[Any], escaped: bool) -> None:
    lines = "\n".join(json.dumps(value, ensure_ascii=escaped) for value in values).encode("utf-8", "replace")
    outline = json_outline(lines, 1 << 20).decode("utf-8", "replace")
    found = [json.loads(line) for line in outline.split("\n")]

    def alike(one: Any, other: Any) -> bool:
        if isinstance(one, str) and isinstance(other, str):
            return one[:4] == other[:4]
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(alike, one, other))
        if isinstance(one, dict) and isinstance(other, dict):
            return list(one) == list(other) and all(map(alike, one.values(), other.values()))
        return bool(one == other)

    assert alike(found, [cut(value) for value in values])


@given(st.binary(max_size=200), st.integers(0, 50))
def test_an_outline_of_anything_is_as_long_as_it_may_be(data: bytes, size: int) -> None:
    assert len(json_outline(data, size)) <= size


@pytest.mark.parametrize("before", ["", "<!DOCTYPE article>\n", "<pmc-articleset>"])
def test_articles_of_jats_are_not_taken_for_tei(tmp_path: Path, before: str) -> None:
    """Their elements touch: words would run into each other."""
    article = "<article><front><journal-id>Nat</journal-id><issn>1</issn></front><body><p>We</p></body></article>"
    after = "</pmc-articleset>" if "set" in before else ""
    (tmp_path / "a.xml").write_text(f'<?xml version="1.0"?>\n{before}{article}{after}')
    (document,) = read_documents(tmp_path / "a.xml")
    assert "p" in document.layer_names
    assert "tei" not in document.layer_names
    (tmp_path / "a.xml").write_text("<article xmlns='http://docbook.org/ns/docbook'><para>We</para></article>")
    with pytest.raises(
        DataError,
        match="none knows this file: type reader=alto or reader=bioc or reader=jats or reader=page_xml or reader=tei",
    ):
        list(read_documents(tmp_path / "a.xml"))
