"""JSON of tokens in sentences, as DyGIE++, PURE, SpERT and GLiNER are trained on it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given

from papermage_core import Document, Entity, Span
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.dygie import DygieReaderConfig, DygieWriterConfig
from tests.formats.helpers import plain, tokenized_documents, written

RECORD: dict[str, Any] = {
    "doc_key": "J87-1003",
    "dataset": "scierc",
    "sentences": [["We", "use", "a", "parser", "."], ["It", "parses", "𝛼", "texts"]],
    "ner": [[[3, 3, "Method"]], [[5, 5, "Generic"], [7, 8, "Material"], [8, 8, "Material"]]],
    "relations": [[], [[5, 5, 7, 8, "USED-FOR"]]],
    "clusters": [[[3, 3], [5, 5]]],
}
LINE = json.dumps(RECORD) + "\n"
GLINER: dict[str, Any] = {"tokenized_text": ["A", "parser", "runs"], "ner": [[1, 1, "Method"], [0, 1, "Thing"]]}
SPERT: dict[str, Any] = {
    "tokens": ["A", "parser", "reads", "texts"],
    "entities": [{"type": "Method", "start": 1, "end": 2}, {"type": "Material", "start": 3, "end": 4}],
    "relations": [{"type": "Reads", "head": 0, "tail": 1}],
    "orig_id": 12,
}


class TestDygie(DocumentReaderSuite):
    component = "dygie"
    options = ({}, {"label_layer": "entities"})
    samples: ClassVar = {
        "a.jsonl": LINE * 2,
        "gliner.json": json.dumps([GLINER, GLINER]),
        "spert.json": json.dumps([SPERT]),
        "bare.dygie": '{"sentences": [["Some", "words"]]}\n',
    }
    texts: ClassVar = {
        "a.jsonl": [{"Method": ["parser"], "Material": ["𝛼 texts", "texts"], "clusters": ["parser", "It"]}] * 2,
        "gliner.json": [{"Method": ["parser"], "Thing": ["A parser"]}] * 2,
        "spert.json": [{"Method": ["parser"], "Material": ["texts"]}],
    }
    broken: ClassVar = {
        "a.dygie": "{",
        "none.dygie": "\n",
        "number.dygie": "7",
        "empty.dygie": '{"sentences": [[]]}',
        "ner.dygie": '{"sentences": [["a"]], "ner": [[[0, 1, "X"]]]}',
    }


def only(record: dict[str, Any], folder: Path, **options: Any) -> Document:
    (folder / "a.dygie").write_text(json.dumps(record), encoding="utf-8")
    (found,) = iter_documents(folder / "a.dygie", reader=DygieReaderConfig(**options))
    return found.document


def test_all_of_a_record_is_in_the_document(tmp_path: Path) -> None:
    document = only(RECORD | {"events": [[], [[[6, "Act"], [7, 8, "Theme"]]]]}, tmp_path)
    assert (document.id, document.symbols) == ("J87-1003", "We use a parser .\nIt parses 𝛼 texts")
    assert [each.text for each in document.sentences] == ["We use a parser .", "It parses 𝛼 texts"]
    assert [each.metadata.chain for each in document.clusters] == [0, 0]
    ids = {
        each.metadata.id: each.text for name in ("Method", "Generic", "Material") for each in document.get_layer(name)
    }
    (relation,) = document.metadata["relations"]
    assert relation["label"] == "USED-FOR"
    assert [(role, ids[of]) for role, of in relation["arguments"]] == [("from", "It"), ("to", "𝛼 texts")]
    assert document.metadata["dygie"] == {"dataset": "scierc", "events": [[], [[[6, "Act"], [7, 8, "Theme"]]]]}


def test_other_records_of_tokens_are_read(tmp_path: Path) -> None:
    document = only(SPERT, tmp_path)
    assert (document.id, document.symbols) == ("12", "A parser reads texts")
    assert not document.has_layer("sentences")
    assert document.metadata["relations"] == [{"label": "Reads", "arguments": [["from", 0], ["to", 1]]}]
    assert [each.text for each in only(GLINER, tmp_path).Thing] == ["A parser"]


def test_predictions_have_scores_under_the_key_that_is_named(tmp_path: Path) -> None:
    predicted = {**RECORD, "predicted_ner": [[[3, 3, "Method", 7.1, 0.93]], []]}
    (entity,) = only(predicted, tmp_path, entities="predicted_ner").Method
    assert (entity.text, entity.score) == ("parser", 0.93)
    with pytest.raises(DataError, match="has nothing under 'predicted_ner'"):
        only(RECORD, tmp_path, entities="predicted_ner")


def test_what_nobody_labelled_has_no_layer_of_labels(tmp_path: Path) -> None:
    bare = {"sentences": [["Some", "words"]]}
    assert not only(bare, tmp_path, label_layer="found").has_layer("found")
    assert only(bare | {"ner": [[]]}, tmp_path, label_layer="found").has_layer("found")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentences": ["We use"]}, "has no sentences of tokens"),
        ({"sentences": [["We", ""]], "ner": [[]]}, "sentences holds '', which is no token"),
        ({"sentences": [["We", 3]], "ner": [[]]}, "sentences holds 3, which is no token"),
        ({"ner": [[[3, 3, "Method"]]]}, "'ner' has 1 list for 2 sentences"),
        (
            {"ner": [[[3, 9, "Method"]], []]},
            "an entity is at tokens 3 to 9; the document has 9 tokens, numbered from 0",
        ),
        ({"ner": [[[4, 3, "Method"]], []]}, "an entity is at tokens 4 to 3"),
        ({"ner": [[[True, 3, "Method"]], []]}, "cannot be read as a place"),
        ({"ner": [[[3, "Method"]], []]}, "cannot be read as an entity"),
        ({"ner": 3}, "'ner' is no list"),
        ({"clusters": [[3]]}, "cannot be read as a place: 3"),
        ({"clusters": 3}, "'clusters' is no list of lists"),
        ({"relations": 3}, "'relations' is no list"),
    ],
)
def test_one_broken_record_does_not_lose_the_file(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.dygie"
    path.write_text(LINE + json.dumps(RECORD | change) + "\n" + LINE)
    errors: list[DataError] = []
    assert len(list(iter_documents(path, on_error=errors.append))) == 2
    (error,) = errors
    assert message in str(error)
    assert (error.path, error.line) == (path, 2)


@pytest.mark.parametrize("relation", [[0, 1, 5, 5, "X"], [3, 3, 5, 5, "X", 0.7], [3, 3], "X", [None, 3, 5, 5, "X"]])
def test_a_relation_of_another_form_is_kept_as_it_stands(tmp_path: Path, relation: Any) -> None:
    document = only(RECORD | {"relations": [[relation], []]}, tmp_path)
    assert "relations" not in document.metadata
    assert document.metadata["dygie"]["relations"] == [relation]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    odd = RECORD | {"relations": [[[0, 1, 5, 5, "X"]], []]}
    (tmp_path / "a.dygie").write_text(LINE + json.dumps(odd))
    documents = list(read_documents(tmp_path / "a.dygie"))
    before = plain(documents)
    data, lost = written(DygieWriterConfig().build(), documents)
    assert lost == {}
    assert [json.loads(line) for line in data.splitlines()] == [RECORD, odd]
    assert plain(documents) == before


@given(tokenized_documents(" "))
def test_what_is_written_is_read_again(document: Document) -> None:
    document.annotate_layer("sentences", [Entity(spans=[Span(0, len(document.symbols))])])
    data, lost = written(DygieWriterConfig().build(), [document])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.dygie").write_bytes(data)
        (again,) = read_documents(Path(folder))
    assert lost == {}
    for name in document.layer_names:
        first, second = ([(e.start, e.end) for e in d.get_layer(name)] for d in (document, again))
        assert sorted(first) == sorted(second), name


def test_what_cannot_be_written_is_counted() -> None:
    layers = {
        "tokens": [{"spans": [place]} for place in ([0, 1], [2, 3], [4, 5], [6, 7])],
        "sentences": [{"spans": [[0, 3]]}, {"spans": [[4, 7]]}],
        "X": [
            {"spans": [[0, 1]], "metadata": {"id": 0}},
            {"spans": [[2, 5]]},
            {"spans": [[0, 1], [2, 3]]},
            {"spans": [[6, 7]], "metadata": {"id": 1}},
        ],
    }
    relations = [{"label": "R", "arguments": [["from", 0], ["to", 1]]}]
    document = Document.from_json({"symbols": "a b\nc d", "metadata": {"relations": relations}, "entities": layers})
    data, lost = written(DygieWriterConfig().build(), [document])
    record = json.loads(data)
    assert (record["doc_key"], record["ner"]) == ("document-1", [[[0, 0, "X"]], [[3, 3, "X"]]])
    assert lost == {
        "entities over several sentences": 1, "discontinuous entities": 1, "relations": 1, "document ids": 1
    }  # fmt: skip
