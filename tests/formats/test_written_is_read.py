"""What a writer of a format writes, the reader of the format reads; what it could not read is refused before."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from papermage_core import Document, Entity, Span
from papermage_core.config.readers import ReaderChoice
from papermage_core.data import read_documents
from papermage_core.data.writers import write_documents
from papermage_core.document import Image
from papermage_core.errors import DataError
from papermage_core.plugin.manager import Plugins

PLUGINS = Plugins()
READERS = {each.name: each.name for each in PLUGINS.components("document_reader")} | {"bioc_json": "bioc"}
WRITERS = [each.name for each in PLUGINS.components("document_writer") if each.name in READERS and each.name != "text"]
TEXTS = (
    "ab cd",
    "a\n\nb",
    " ",
    "\n \n",
    "[]",
    "#\t-",
    "-DOCSTART-",
    "O",
    '{"a": 1}',
    "<a>",
    "a|t|b",
    "x\u00a0",
    "\u2028",
)
COMMENTS = (
    "global.columns = ID FORM", "newdoc id = 7", "doc_id = x", "begin document", "end document", "a\tO", "O", "x\r\ny",
    "", "text = ab cd", "text = other",
)  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Draw a document that lacks boxes, tokens, entities, pages or text, or has them without the others."""
    text = draw(st.sampled_from(TEXTS))
    cut = draw(st.integers(0, len(text)))
    halves = [[0, cut], [cut, len(text)]]
    boxes = st.sampled_from([[], [[0.1, 0.1, 0.2, 0.1, 0]], [[0.4, 0.1, 0.2, 0.1, 1]]])
    layers = {}
    for name in ("tokens", "X", "sentences"):
        if draw(st.booleans()):
            places = draw(st.sampled_from([[], halves[:1], halves[1:], halves, [None]]))
            layers[name] = [
                {"spans": [place], "boxes": draw(boxes)} if place else {"spans": [], "boxes": [[0, 0, 0.1, 0.1, 0]]}
                for place in places
            ]
    if draw(st.booleans()):
        bare = draw(st.booleans())
        layers["pages"] = [
            {"spans": spans, "boxes": [] if bare else [[0, 0, 1, 1, page]]}
            for page, spans in enumerate([half] for half in halves)
        ]
    for sentence in layers.get("sentences", ()):
        sentence["metadata"] = {"comments": draw(st.lists(st.sampled_from(COMMENTS), max_size=2))}
    metadata = draw(st.sampled_from([{}, {"doc_id": "d"}, {"doc_id": "a b/\n"}]))
    return Document.from_json({"symbols": text, "metadata": metadata, "entities": layers})


def pictures() -> Document:
    """Return a document without text."""
    pil = pytest.importorskip("PIL.Image")
    picture = Image()
    picture.pilimage = pil.new("RGB", (2, 2))
    document = Document(images=[picture])
    document.annotate_layer("tokens", [])
    return document


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
@given(st.lists(documents(), min_size=1, max_size=2))
@example([Document("ab cd")])
def test_what_is_written_is_read(writer: str, given: list[Document]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{PLUGINS.config_class('document_writer', writer).suffixes[0]}"
        refusal = ""
        try:
            write_documents(given, path, writer)
        except DataError as exc:
            refusal = str(exc)
        if refusal:
            assert "this format needs" in refusal
            assert not list(Path(folder).iterdir())
        else:
            assert len(list(read_documents(path, reader=READERS[writer]))) == len(given)


@pytest.mark.parametrize("writer", [*WRITERS, "text"])
def test_a_document_without_text_is_refused_or_read(writer: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{PLUGINS.config_class('document_writer', writer).suffixes[0]}"
    if writer in ("jsonl", "parquet"):
        write_documents([pictures()], path, writer)
        assert len(next(iter(read_documents(path))).images or ()) == 1
    else:
        with pytest.raises(DataError, match=r"has no (text|token with text( and a box)?), which this"):
            write_documents([Document("ab"), pictures()][writer not in ("text", "tei") :], path, writer)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("writer", WRITERS)
def test_the_ending_that_a_writer_gives_needs_no_reader_named(writer: str, tmp_path: Path) -> None:
    box = [[0.1, 0.1, 0.2, 0.1, 0]]
    layers = {"tokens": [{"spans": [[0, 2]], "boxes": box}], "X": [{"spans": [[0, 2]], "boxes": box}]}
    document = Document.from_json({"symbols": "ab", "metadata": {"doc_id": "d"}, "entities": layers})
    for suffix in PLUGINS.config_class("document_writer", writer).suffixes:
        write_documents([document], tmp_path / f"out{suffix}", writer)
        assert [each.symbols for each in read_documents(tmp_path / f"out{suffix}")] == ["ab"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"[]", b" [ ]\n", b"[]\n[]\n"])
@pytest.mark.parametrize("reader", ["bioc", "doccano", "funsd", "hf_table", "label_studio", "spacy"])
def test_a_file_without_documents_is_told(reader: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.json: this file holds no document"):
        list(read_documents(path, reader=reader))


@pytest.mark.parametrize("name", ["conll", "spacy", "funsd"])
def test_a_book_is_written_and_read_as_an_abstract_is(tmp_path: Path, name: str) -> None:
    """With thousands of sentences and entities: looked for one by one, these took minutes."""
    text = " ".join(["word"] * 60_000)
    tokens, sentences = ([(at, at + size) for at in range(0, len(text), size + 1)] for size in (4, 49))
    document = Document.from_text(text, "book", {"tokens": tokens, "sentences": sentences, "X": tokens[::3]})
    for number, entity in enumerate(document.X):
        entity.metadata.id = f"T{number}"
    suffix = {"conll": ".conll", "spacy": ".spacy", "funsd": ".funsd"}[name]
    write_documents([document], tmp_path / f"a{suffix}", name)
    (found,) = read_documents(tmp_path / f"a{suffix}", name)
    assert len(found.X) == len(document.X)
    if name != "funsd":  # which has no text but that of entities, and no sentences
        assert [(s.start, s.end) for s in found.sentences] == sentences


@pytest.mark.parametrize("name", ["label_studio", "doccano", "brat", "bioc", "pubtator"])
def test_what_was_found_beside_gold_of_the_same_label_stands_once_and_is_told(name: str, tmp_path: Path) -> None:
    document = Document.from_text("breast cancer or flu", layers={"Disease": [(0, 13)]})
    found = [Entity(spans=[Span(*place)], metadata={"label": "Disease", "score": 0.9}) for place in [(0, 13), (17, 20)]]
    document.annotate_layer("predictions", found)
    path = tmp_path / f"found.{'ann' if name == 'brat' else 'x'}"
    losses = write_documents([document], path, writer=name).losses
    assert losses["entities that stand in another layer, too"] == 1
    assert losses["names of layers where several have one label (writer.layers=NAME writes one)"] == 1
    (read,) = read_documents(
        path, ReaderChoice(name=name, options={"take": "predictions"} if name == "label_studio" else {})
    )
    assert sorted(entity.text for entity in read.get_layer("Disease")) == ["breast cancer", "flu"]


def test_entities_with_ids_of_their_own_are_all_written(tmp_path: Path) -> None:
    document = Document.from_text("flu")
    for name in ("first", "second"):
        document.annotate_layer(name, [Entity(spans=[Span(0, 3)], metadata={"label": "Disease", "id": name})])
    write_documents([document], tmp_path / "a.doccano")
    (read,) = read_documents(tmp_path / "a.doccano")
    assert [entity.metadata["id"] for entity in read.get_layer("Disease")] == ["first", "second"]
