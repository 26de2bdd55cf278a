"""spaCy: what its DocBin files hold is read and written without it; JSON of spaCy 2 and Prodigy is read."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.config.readers import ReaderChoice
from papermage_core.data import iter_documents, read_documents, write_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.docbin import Row, encode_docbin
from papermage_formats.spacy import SpacyReaderConfig, SpacyWriterConfig
from papermage_formats.spacy_strings import hash_string
from tests.formats.helpers import CHARACTERS, expected, labels, plain, read_back, tokenized_documents, written

WORDS = ["💩", "x", "\n\n", "𝛼", "."]
SPACES = [False, True, False, True, False]
TEXT = "💩x \n\n𝛼 ."


def row(**columns: list[Any]) -> Row:
    iob = {"ent_iob": [2, 3, 2, 3, 1], "ent_type": [None, "Gene", None, "Drug", "Drug"]}
    return Row(WORDS, SPACES, iob | columns, user_data={"id": "one", "n": 1})


def docbin(*rows: Row) -> bytes:
    return b"".join(encode_docbin(iter(rows)))


def changed(data: bytes, **values: Any) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(msgspec.msgpack.decode(zlib.decompress(data)) | values))


GOOD = docbin(row(), row(sent_start=[1, 0, 0, 1, 0]), Row(["a"], [False], {}))
PRODIGY = {"text": "a 𝛼", "spans": [{"start": 2, "end": 3, "token_start": 1, "token_end": 1, "label": "Gene"}]}


class TestSpacy(DocumentReaderSuite):
    component = "spacy"
    skip: ClassVar = {"a large file is not held in memory": "JSON of Prodigy and spaCy 2 is read whole"}
    options = ({}, {"label_layer": "all"})
    samples: ClassVar = {
        "a.spacy": GOOD,
        "p.jsonl": "\n".join([json.dumps(PRODIGY)] * 3),
        "t.json": json.dumps([["a 𝛼", {"entities": [[2, 3, "Gene"]], "spans": {"sc": [[0, 3, "All"]]}}]] * 3),
    }
    broken: ClassVar = {
        "cut.spacy": GOOD[:-9],
        "empty.spacy": b"",
        "none.spacy": docbin(),
        "text.spacy": "not packed",
        "number.spacy": zlib.compress(b"\x07"),
        "lengths.spacy": changed(GOOD, lengths=b"\x09\x00\x00\x00"),
        "negative.spacy": changed(GOOD, lengths=b"\xff" * 12),
        "attrs.spacy": changed(GOOD, attrs=[65]),
        "strings.spacy": changed(GOOD, strings=[]),
        "user_data.spacy": changed(GOOD, user_data=[b"\xc1", b"\x80", b"\x80"]),
        "groups.spacy": changed(GOOD, span_groups=[b"\x91\x01", b"", b""]),
        "wordless.spacy": docbin(Row([], [], {})),
        "a.jsonl": json.dumps(PRODIGY | {"spans": [{"start": 2, "end": 9, "label": "X"}]}),
    }


def test_a_document_of_spacy_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.spacy").write_bytes(GOOD)
    first, second, third = iter_documents(tmp_path)
    document = first.document
    assert (first.line, document.id, document.symbols) == (1, "one", TEXT)
    assert [TEXT[t.start : t.end] for t in document.tokens] == WORDS
    assert [(n, [e.text for e in document.get_layer(n)]) for n in ("Gene", "Drug")] == [
        ("Gene", ["x"]),
        ("Drug", ["𝛼 ."]),
    ]
    assert document.metadata.user_data == {"id": "one", "n": 1}
    assert [(s.start, s.end) for s in second.document.sentences] == [(0, 5), (5, 8)]
    assert (third.document.layer_names, third.document.id) == (["tokens"], "a-3")


def test_sentences_are_those_of_the_parse_where_they_are_not_marked(tmp_path: Path) -> None:
    parsed = row(head=[1, 0, 1, 1, 0], dep=["det", "ROOT", "x", "x", "ROOT"], lemma=["a", None, "b", "c", "d"])
    (tmp_path / "a.spacy").write_bytes(docbin(parsed))
    (document,) = read_documents(tmp_path)
    assert [(s.start, s.end) for s in document.sentences] == [(0, 2), (3, 8)]
    assert document.tokens[0].metadata.to_json() == {"lemma": "a", "dep": "det", "head": 1}
    (again,), lost = read_back(SpacyWriterConfig(), SpacyReaderConfig(), [document])
    assert lost == {}
    assert plain([again]) == plain([document])


def test_one_broken_document_does_not_lose_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.spacy").write_bytes(changed(GOOD, user_data=[b"\x80", b"\xc1", b"\x80"]))
    errors: list[DataError] = []
    assert [each.line for each in iter_documents(tmp_path, on_error=errors.append)] == [1, 3]
    assert [(error.line, error.path) for error in errors] == [(2, tmp_path / "a.spacy")]


def test_a_small_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    (tmp_path / "a.spacy").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a.spacy: holds more than 1 MiB, decompressed; reader.max_mb reads more"):
            list(read_documents(tmp_path, SpacyReaderConfig(max_mb=1)))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_layers_that_overlap_are_span_groups(tmp_path: Path) -> None:
    entities = {
        "tokens": [{"spans": [[0, 1]]}, {"spans": [[2, 3]]}],
        "A": [{"spans": [[0, 3]], "metadata": {"id": "7"}}],
        "B": [{"spans": [[0, 1]]}, {"spans": [[0, 3]], "metadata": {"label": "C", "score": 0.5}}],
    }
    document = Document.from_json({"symbols": "a b", "metadata": {"doc_id": "d"}, "entities": entities})
    (back,), lost = read_back(SpacyWriterConfig(), SpacyReaderConfig(), [document])
    assert lost == {}
    assert back.to_json()["entities"] == entities
    assert back.metadata.span_groups == ["B"]
    (back,), lost = read_back(SpacyWriterConfig(group="sc"), SpacyReaderConfig(), [document])
    assert [(e.text, e.metadata.to_json()) for e in back.sc] == [
        ("a b", {"label": "A", "id": "7"}), ("a", {"label": "B"}), ("a b", {"label": "C", "score": 0.5}),
    ]  # fmt: skip
    assert lost == {}


def test_what_spacy_has_no_place_for_is_counted() -> None:
    tokens = [
        {"spans": [[0, 2]], "boxes": [[0, 0, 1, 1, 0]]},
        {"spans": [[4, 5]], "metadata": {"pos": "NN", "size": 1}},
    ]
    entities = {
        "tokens": tokens,
        "X": [{"spans": [[0, 1]], "metadata": {"score": 0.5, "more": 1}}, {"spans": [[0, 2], [4, 5]]}],
        "rows": tokens,
        "sentences": [{"spans": [[0, 2]]}],
    }
    document = Document.from_json({"symbols": "ab\n cd", "metadata": {"a": [1]}, "entities": entities})
    (back,), lost = read_back(SpacyWriterConfig(), SpacyReaderConfig(), [document])
    assert lost == {
        "rows": 2, "boxes": 1, "entities that end inside a token": 1, "metadata of entities": 1, "scores": 1,
        "discontinuous entities": 1, "document ids": 1, "metadata of tokens": 2, "borders of sentences": 1,
    }  # fmt: skip
    assert (back.symbols, back.metadata.a, len(back.tokens)) == ("ab\n cd", [1], 2)
    with pytest.raises(DataError, match="has no tokens"):
        written(SpacyWriterConfig().build(), [Document("a")])


@given(tokenized_documents("", " ", "  ", "\n", " \n", "\u2028", "  \t ", " - "))
def test_what_is_written_is_read_back(document: Document) -> None:
    (found,), lost = read_back(SpacyWriterConfig(), SpacyReaderConfig(), [document])
    assert lost == {}
    found.metadata.pop("span_groups", None)
    assert plain([found]) == plain([document])


def test_prodigy_and_spacy_2_are_read(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 1, "label": "A"}, {"start": 2, "end": 3, "label": "B"}]
    relation = {"head_span": spans[1], "child_span": spans[0], "label": "of", "head": 1, "child": 0}
    task = {"text": "a b", "spans": spans, "relations": [relation], "answer": "accept", "_task_hash": 1}
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(task | {"answer": each}) for each in ("accept", "reject")))
    accepted, rejected = read_documents(tmp_path)
    assert accepted.metadata.relations == [{"label": "of", "arguments": [["head", "T2"], ["child", "T1"]]}]
    assert [entity.metadata.id for entity in (*accepted.A, *accepted.B)] == ["T1", "T2"]
    assert (rejected.layer_names, rejected.metadata.answer) == ([], "reject")
    tokens = [[{"orth": "A", "ner": "U-X"}, {"orth": "b.", "ner": "-", "tag": "N"}], [{"orth": "c", "ner": "B-X"}]]
    item = {"id": 3, "paragraphs": [{"sentences": [{"tokens": each} for each in tokens]}] * 2}
    (tmp_path / "a.jsonl").write_text(json.dumps([item]))
    (document,) = read_documents(tmp_path)
    assert (document.id, document.symbols) == ("3", "A b.\nc\nA b.\nc")
    assert [entity.text for entity in document.X] == ["A", "c", "A", "c"]
    assert (len(document.sentences), len(document.get_layer("paragraphs"))) == (4, 2)
    item["paragraphs"] = [{"raw": "A c", "sentences": [{"tokens": tokens[0]}]}]
    (tmp_path / "a.jsonl").write_text(json.dumps([item]))
    with pytest.raises(DataError, match=r"a.jsonl, line 1: the token 'b\.' is not in the text at character 2"):
        list(read_documents(tmp_path))


def test_what_else_prodigy_says_is_kept_and_tasks_without_spans_are_read(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 1, "label": "A", "source": "m"}]
    more = {"meta": {"source": "x"}, "_annotator_id": "me", "accept": ["U"], "options": []}
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a b", "spans": spans, "answer": "accept", **more}))
    (document,) = read_documents(tmp_path)
    del more["options"]
    assert document.metadata["prodigy"] == more
    assert document.A[0].metadata["prodigy"] == {"source": "m"}
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a b", "label": "POS", "answer": "accept"}))
    (document,) = read_documents(tmp_path)
    assert (document.symbols, document.metadata["prodigy"]) == ("a b", {"label": "POS"})


def test_an_entity_of_a_pair_may_name_its_concept_and_what_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(["a b", {"entities": [[0, 1, "X", "Q5"]]}]))
    (document,) = read_documents(tmp_path)
    assert document.X[0].metadata["kb_id"] == "Q5"
    for found in ([0, 1], [0, 1, None], "X", [0, 1, "X", "", 1]):
        (tmp_path / "a.json").write_text(json.dumps(["a b", {"entities": [found]}]))
        with pytest.raises(DataError, match=r"cannot be read as an entity: .*"):
            list(read_documents(tmp_path))


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_pairs_of_text_and_entities_are_read_alone_in_a_list_and_one_a_line(tmp_path: Path, ending: str) -> None:
    pairs = [[f"{word} is", {"entities": [[0, 1, "X"]]}] for word in "abc"]
    path = tmp_path / f"a{ending}"
    for text in (json.dumps(pairs), "\n".join(map(json.dumps, pairs)), json.dumps(pairs, indent=1)):
        path.write_text(text)
        assert [document.X[0].text for document in read_documents(path)] == ["a", "b", "c"]
    path.write_text(json.dumps(pairs[0]))
    assert [document.X[0].text for document in read_documents(path)] == ["a"]


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(corpora: Path) -> None:
    for name, found in expected(corpora, "spacy").items():
        errors: list[DataError] = []
        before = [each.document for each in iter_documents(corpora / "formats" / name, on_error=errors.append)]
        broken = {"hard.spacy": ["there is no text"], "empty.spacy": ["this file holds no document"]}
        assert [error.message for error in errors] == broken.get(Path(name).name, [])
        assert len(before) + len(errors) == found.get("documents", found.get("records")) or name.endswith("empty.spacy")
        assert (
            sum(len(d.tokens) for d in before if d.has_layer("tokens")) == found.get("tokens", 0) or "records" in found
        )
        groups = {layer for document in before for layer in document.metadata.get("span_groups", None) or ()}
        without = ("tokens", "sentences", "paragraphs", *groups)
        assert labels(before, without) == (found.get("entities") or found.get("spans") or {}), name
        spans = [
            f"{group}:{e.metadata.label}"
            for d in before
            for group in groups
            if d.has_layer(group)
            for e in d.get_layer(group)
        ]
        assert {span: spans.count(span) for span in spans} == found.get("span_groups", {}), name
        assert sum(len(d.metadata.get("relations", None) or ()) for d in before) == found.get("relations", 0), name
        if before and before[0].has_layer("tokens"):
            back, lost = read_back(SpacyWriterConfig(), SpacyReaderConfig(), before)
            sources = {"metadata of entities"} if name.endswith("demo.jsonl") else set()  # of Prodigy's spans
            assert set(lost) <= {"paragraphs"} | sources, name
            assert plain(back) == plain(before) or lost, name


def of_spacy(doc: Any) -> dict[str, Any]:
    return {
        "text": doc.text,
        "ents": [(e.start_char, e.end_char, e.label_, e.kb_id_) for e in doc.ents],
        "spans": {key: [(s.start_char, s.end_char, s.label_) for s in group] for key, group in doc.spans.items()},
        "sentences": [(s.start_char, s.end_char) for s in doc.sents] if doc.has_annotation("SENT_START") else [],
        "tokens": [(t.idx, t.text, t.lemma_, t.tag_, t.pos_, t.dep_, t.head.i) for t in doc],
    }


def test_spacy_reads_what_is_written_as_it_was(corpora: Path, tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin

    vocab = spacy.blank("en").vocab
    for name in ("demo", "entities_spans", "hard"):
        path = corpora / "formats" / "spacy" / f"{name}.spacy"
        theirs = [of_spacy(doc) for doc in DocBin().from_disk(path).get_docs(vocab) if len(doc)]
        documents = [each.document for each in iter_documents(path, on_error=[].append)]
        write_documents(documents, tmp_path / f"{name}.spacy")
        ours = [of_spacy(doc) for doc in DocBin().from_disk(tmp_path / f"{name}.spacy").get_docs(vocab)]
        assert ours == theirs, name


@given(tokenized_documents("", " ", "  ", "\n", " \n", "\u2028"), st.booleans())
def test_spacy_reads_the_same_offsets(document: Document, grouped: bool) -> None:
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin

    data, _ = written(SpacyWriterConfig(group="sc" if grouped else "").build(), [document])
    (doc,) = DocBin().from_bytes(data).get_docs(spacy.blank("en").vocab)
    assert doc.text == document.symbols
    found = [*doc.ents, *(span for group in doc.spans.values() for span in group)]
    names = [name for name in document.layer_names if name != "tokens"]
    wanted = [(e.start, e.end, name) for name in names for e in document.get_layer(name)]
    assert sorted((e.start_char, e.end_char, e.label_) for e in found) == sorted(wanted)


def test_spacy_counts_the_sentences_of_what_is_written(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    docs = [nlp("One is here. Two is not."), nlp("\n A  b. C ")]
    docs[0][1].lemma_, docs[0][1].tag_, docs[0][1].pos_ = "be", "VBZ", "VERB"
    DocBin(docs=docs).to_disk(tmp_path / "a.spacy")
    documents = list(read_documents(tmp_path / "a.spacy"))
    assert [len(document.sentences) for document in documents] == [len(list(doc.sents)) for doc in docs]
    assert documents[0].tokens[1].metadata.to_json() == {"lemma": "be", "pos": "VERB", "tag": "VBZ"}
    write_documents(documents, tmp_path / "b.spacy")
    again = list(DocBin().from_disk(tmp_path / "b.spacy").get_docs(nlp.vocab))
    assert [of_spacy(doc) for doc in again] == [of_spacy(doc) for doc in docs]


@given(st.text(CHARACTERS))
def test_strings_have_the_numbers_of_spacy(text: str) -> None:
    strings = pytest.importorskip("spacy.strings")
    assert hash_string(text) == strings.get_string_id(text)


def test_what_doc_to_json_gives_is_read(tmp_path: Path) -> None:
    record = {
        "text": "Aspirin treats flu. It does.",
        "ents": [{"start": 0, "end": 7, "label": "Drug"}, {"start": 15, "end": 18, "label": "Disease", "kb_id": "D1"}],
        "sents": [{"start": 0, "end": 19}, {"start": 20, "end": 28}],
        "tokens": [
            {"id": 0, "start": 0, "end": 7, "tag": "NN", "pos": "", "dep": "nsubj", "head": 1},
            {"id": 1, "start": 8, "end": 14, "tag": "VBZ", "pos": "", "dep": "ROOT", "head": 1},
        ],
        "cats": {"a": 1.0},
        "spans": {"sc": [{"start": 0, "end": 14, "label": "X", "kb_id": ""}]},
        "_": {"mine": 3},
    }
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps({"text": "None.", "ents": [], "tokens": []}) + "\n")
    document, empty = read_documents(path)
    assert document.layer_names == ["tokens", "sentences", "Drug", "Disease", "sc"]
    assert [(e.text, dict(e.metadata)) for e in document.get_layer("Disease")] == [("flu", {"kb_id": "D1"})]
    assert [(e.text, dict(e.metadata)) for e in document.get_layer("sc")] == [("Aspirin treats", {"label": "X"})]
    assert [e.text for e in document.get_layer("sentences")] == ["Aspirin treats flu.", "It does."]
    assert dict(document.get_layer("tokens")[1].metadata) == {"tag": "VBZ", "dep": "ROOT", "head": 1}
    assert dict(document.metadata) == {
        "doc_id": "x-1", "cats": {"a": 1.0}, "user_data": {"mine": 3}, "span_groups": ["sc"]
    }  # fmt: skip
    assert empty.layer_names == []
    (_, empty) = read_documents(path, ReaderChoice(name="spacy", options={"label_layer": "gold"}))
    assert empty.layer_names == ["gold"]


@given(
    st.lists(st.none() | st.text(st.sampled_from('ab é𝛼🧬"\\\n\r'), min_size=1, max_size=12), min_size=1, max_size=5),
    st.lists(st.sampled_from(["data", "text", "X", "symbols?", "label"]), min_size=1, max_size=3, unique=True),
    st.booleans(),
    st.data(),
)
def test_what_ner_annotator_exports_is_read(
    texts: list[str | None], classes: list[str], classes_first: bool, data: st.DataObject
) -> None:
    """The oracle is the slice of each text."""
    items: list[Any] = []
    for text in texts:
        places = [sorted(data.draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=2)))] if text else []
        labels = [data.draw(st.sampled_from(classes)) for _ in places]
        items.append(text and [text, {"entities": [[*p, label] for p, label in zip(places, labels, strict=True)]}])
    about = {"classes": classes, "annotations": items}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(about if classes_first else dict(reversed(about.items()))), encoding="utf-8")
        if not any(items):
            with pytest.raises(DataError, match=r"a\.json: nobody has annotated anything in this file"):
                list(read_documents(path))
            return
        documents = list(read_documents(path))
    numbered = [(number, *item) for number, item in enumerate(items, 1) if item]
    assert [(document.id, document.symbols) for document in documents] == [(f"a-{n}", text) for n, text, _ in numbered]
    for document, (_, text, said) in zip(documents, numbered, strict=True):
        found = [(name, each.text) for name in document.layer_names for each in document.get_layer(name)]
        assert found == [(label, text[start:stop].replace("\n", " ")) for start, stop, label in said["entities"]]


def test_what_nobody_came_to_in_ner_annotator_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = ["word " * 2000, {"entities": [[0, 4, "text"]]}]
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [None, item, None], "classes": ["text"]}))
    (document,) = read_documents(tmp_path)
    assert [entity.text for entity in document.get_layer("text")] == ["word"]
    told = f"{tmp_path / 'a.json'}: 2 of 3 items null: not annotated yet, and their text is not here"
    assert caplog.messages == [told]
    (tmp_path / "a.json").write_text(
        json.dumps({"classes": ["X"], "annotations": [["a", {"entities": [[0, 9, "X"]]}]]})
    )
    with pytest.raises(DataError, match=r"a\.json, line 1: X is at 0 to 9; the text has 1 characters?"):
        list(read_documents(tmp_path))
