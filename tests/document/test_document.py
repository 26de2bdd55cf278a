"""magelib's behaviour: what scripts written for papermage rely on."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Box, Document, Entity, Layer, Metadata, Prediction, Span
from papermage_core.document import SpanArrays
from papermage_core.errors import DataError


@pytest.fixture
def doc() -> Document:
    doc = Document("one two\nthree", metadata=Metadata(doc_id="d1"))
    tokens = [Entity(spans=[Span(0, 3)]), Entity(spans=[Span(4, 7)]), Entity(spans=[Span(8, 13)])]
    doc.annotate_layer("tokens", tokens)
    doc.annotate_layer("rows", [Entity(spans=[Span(0, 7)]), Entity(spans=[Span(8, 13)])])
    return doc


def test_layers_are_attributes_and_sequences(doc: Document) -> None:
    assert doc.layers == ["symbols", "images", "metadata", "tokens", "rows"]
    assert doc.tokens is doc.get_layer("tokens")
    assert [t.text for t in doc.tokens] == ["one", "two", "three"]
    assert doc.tokens[-1].id == 2
    assert [t.id for t in doc.tokens[1:]] == [1, 2]
    assert doc.tokens[0] in doc.tokens
    assert len(doc.rows) == 2
    assert "tokens" in dir(doc)


def test_an_entity_knows_its_layer_and_document_and_finds_others(doc: Document) -> None:
    row = doc.rows[0]
    assert row.layer is doc.rows
    assert row.layer.doc is doc
    assert [t.text for t in row.intersect_by_span("tokens")] == ["one", "two"]
    with pytest.warns(DeprecationWarning, match="ambiguous"):
        assert [t.id for t in row.tokens] == [0, 1]
    with pytest.warns(DeprecationWarning, match="ambiguous"):
        assert [t.id for t in doc.find(Span(5, 9), "tokens")] == [1, 2]
    assert [t.id for t in doc.rows.tokens] == [0, 1, 2]


def test_text_comes_from_metadata_then_spans_then_boxes() -> None:
    doc = Document("a\nb c")
    on_page = Box(0.1, 0.1, 0.1, 0.1, 0)
    doc.annotate_layer("tokens", [Entity(spans=[Span(0, 3)]), Entity(spans=[Span(4, 5)], boxes=[on_page])])
    doc.annotate_layer("figures", [Entity(boxes=[Box(0, 0, 0.5, 0.5, 0)]), Entity(boxes=[Box(0, 0, 0.5, 0.5, 1)])])
    assert doc.tokens.texts() == ["a b", "c"]
    assert doc.figures.texts() == ["c", ""]
    doc.tokens[0].text = "stored"
    assert doc.tokens[0].text == "stored"
    assert doc.tokens.texts() == ["stored", "c"]


def test_entities_of_a_layer_may_overlap(doc: Document) -> None:
    doc.annotate_layer("nested", [Entity(spans=[Span(0, 7)]), Entity(spans=[Span(0, 3)])])
    assert [e.id for e in doc.tokens[0].intersect_by_span("nested")] == [0, 1]
    assert Document.from_bytes(doc.to_bytes()).to_json() == doc.to_json()


def test_names_that_a_layer_cannot_have_are_refused(doc: Document) -> None:
    for name in ("symbols", "metadata", "images", "tokens", "find", "to_json", "__class__"):
        with pytest.raises(AssertionError):
            doc.annotate_layer(name, [Entity(spans=[Span(0, 1)])])
    doc.annotate_layer("from_bytes", [Entity(spans=[Span(0, 1)])])  # a name that magelib does not take
    assert len(doc.get_layer("from_bytes")) == 1


def test_a_removed_layer_can_be_added_again(doc: Document) -> None:
    rows = doc.rows
    doc.remove_layer("rows")
    doc.remove_layer("never there")
    assert rows.doc is None
    with pytest.raises(AttributeError, match="no layer 'rows'"):
        doc.get_layer("rows")
    doc.annotate_layer("lines", rows)
    assert doc.lines is rows


def test_what_belongs_to_one_cannot_be_given_to_another(doc: Document) -> None:
    with pytest.raises(AttributeError):
        Layer([doc.tokens[0]])
    with pytest.raises(AttributeError):
        Document("text").annotate_layer("tokens", doc.tokens)


def test_annotate_takes_predictions_one_by_one_or_in_lists(doc: Document) -> None:
    one = Prediction("a", [Entity(spans=[Span(0, 1)])])
    more = [Prediction("b", [Entity(spans=[Span(0, 1)])]), Prediction("c", [])]
    doc.annotate(one, more)
    assert doc.layers[-3:] == ["a", "b", "c"]


def test_empty_documents_and_entities_are_refused() -> None:
    with pytest.raises(ValueError, match="symbols"):
        Document("")
    with pytest.raises(ValueError, match="spans"):
        Entity()
    with pytest.raises(KeyError):
        Document.from_json({"entities": {}})
    with pytest.raises(ValueError):
        Document.from_json({"symbols": "a", "entities": {"tokens": [{}]}})


def test_metadata_reads_as_a_dict_and_by_dots() -> None:
    metadata = Metadata(a=1)
    metadata.b = [2]
    metadata["c"] = 3
    assert (metadata.a, metadata["b"], metadata.get("c")) == (1, [2], 3)
    assert metadata.missing is None
    assert metadata.get("missing", 7) == 7
    assert list(metadata) == ["a", "b", "c"]
    assert metadata.pop("a") == 1
    with pytest.raises(KeyError):
        metadata.pop("a")
    with pytest.raises(ValueError, match="not a valid variable name"):
        metadata.set("not an identifier", 1)
    written = metadata.to_json()
    written["b"].append(5)
    assert metadata.b == [2]
    assert copy.deepcopy(metadata) == metadata == pickle.loads(pickle.dumps(metadata))


def test_spans_and_boxes_compare_by_value() -> None:
    assert Span(1, 2) == Span.from_json([1, 2])
    assert len({Span(1, 2), Span(1, 2)}) == 1
    assert sorted([Span(3, 4), Span(1, 5), Span(1, 2)]) == [Span(1, 2), Span(1, 5), Span(3, 4)]
    assert Span.create_enclosing_span([Span(3, 4), Span(1, 2)]) == Span(1, 4)
    box = Box(0, 0, 1, 0.5, 2)
    assert box.to_json() == [0.0, 0.0, 1.0, 0.5, 2]
    assert box == Box.from_json([0, 0, 1, 0.5, 2.0])
    assert Box.create_enclosing_box([Box(0, 0, 0.25, 0.25, 0), Box(0.5, 0.5, 0.25, 0.25, 0)]) == Box(
        0, 0, 0.75, 0.75, 0
    )
    assert box.to_absolute(200, 100).to_relative(200, 100) == box
    assert Box.from_xy_coordinates(-5, 2, 30, 4, 0, page_width=20, page_height=10) == Box(0, 2, 20, 2, 0)
    for width in (-0.1, float("nan")):
        with pytest.raises(AssertionError):
            Box(0, 0, width, 1, 0)


def test_a_document_can_be_pickled_and_copied_before_and_after_it_was_looked_at(doc: Document) -> None:
    doc.tokens[0].metadata.label = "x"
    read = Document.from_bytes(doc.to_bytes())
    for original in (doc, read):
        for _ in range(2):
            for copied in (pickle.loads(pickle.dumps(original)), copy.deepcopy(original)):
                assert copied.to_bytes() == original.to_bytes()
                assert copied.tokens.doc is copied
                assert copied.tokens[0].layer is copied.tokens
                assert copied.tokens.metadata_column("label") == ["x", None, None]
            assert original.tokens[1].metadata.get("label", None) is None  # looked at


def test_columns_of_metadata_follow_changes(doc: Document) -> None:
    read = Document.from_bytes(doc.to_bytes())
    assert read.tokens.metadata_column("font") is None
    read.tokens[1].metadata.font = "Times"
    assert read.tokens.metadata_column("font") == [None, "Times", None]
    read.tokens[1].metadata = Metadata(size=3)
    assert read.tokens.metadata_column("font") is None
    assert read.tokens.metadata_column("size") == [None, 3, None]


def test_keys_of_metadata_are_those_of_any_entity_the_frequent_ones_first(doc: Document) -> None:
    read = Document.from_bytes(doc.to_bytes())
    assert read.tokens.metadata_keys() == []
    read.tokens[1].metadata = Metadata(size=3, font="Times")
    read.tokens[2].metadata = Metadata(font=None)
    for document in (read, Document.from_bytes(read.to_bytes())):
        assert document.tokens.metadata_keys() == ["font", "size"]
        assert document.tokens.metadata_keys(1) == ["font"]


def test_changes_of_entities_are_written(doc: Document) -> None:
    read = Document.from_bytes(doc.to_bytes())
    read.tokens[1].spans[0].end = 6
    read.tokens[2].metadata.score = 0.5
    assert Document.from_bytes(read.to_bytes()).to_json()["entities"]["tokens"] == [
        {"spans": [[0, 3]]},
        {"spans": [[4, 6]]},
        {"spans": [[8, 13]], "metadata": {"score": 0.5}},
    ]


def test_numbers_that_json_lacks_are_not_written_as_null(doc: Document) -> None:
    doc.tokens[0].metadata.score = float("nan")
    with pytest.raises(DataError, match="nan cannot be written"):
        doc.to_bytes()
    doc.tokens[0].metadata.score = None
    assert b'"score":null' in doc.to_bytes()


def test_importing_the_package_is_light() -> None:
    heavy = "{'torch', 'PIL', 'transformers', 'pytorch_lightning'}"
    code = f"import sys, papermage_core; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@given(
    st.integers(0, 4).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from([None, 0, "x", False]), min_size=n, max_size=n), max_size=4)
    )
)
def test_columns_of_metadata_read_as_the_same_rows_do(columns: list[list[object]]) -> None:
    named = dict(zip("abcd", columns, strict=False))
    n = len(columns[0]) if columns else 0
    places = list(range(n))
    spans = SpanArrays.one_each(np.array(places, np.int64), np.array(places, np.int64) + 1)
    rows = [{key: values[i] for key, values in named.items() if values[i] is not None} for i in places]
    by_column, by_row = Layer.from_arrays(spans, None, named), Layer.from_arrays(spans, None, rows)
    for key in "abcde":
        assert by_column.metadata_column(key) == by_row.metadata_column(key)
    assert by_column.metadata_keys() == by_row.metadata_keys()
    assert by_column.metadata_keys(1) == by_row.metadata_keys(1)
    assert [entity.metadata.to_json() for entity in by_column] == rows
    if n:
        by_column[0].metadata.set("e", 1)
        assert by_column.metadata_column("e") == [1, *[None] * (n - 1)]
        assert "e" in by_column.metadata_keys()


# Slips


def test_a_dict_is_taken_as_metadata_and_nothing_else() -> None:
    doc = Document("some text", metadata={"doc_id": "a"})
    entity = Entity(spans=[Span(0, 4)], metadata={"label": "x"})
    layer = Layer([entity], metadata={"made": "by hand"})
    doc.annotate_layer("found", layer)
    assert (doc.id, doc.found[0].label, layer.metadata.made) == ("a", "x", "by hand")
    doc.metadata, entity.metadata = {"doc_id": "b"}, {"label": "y"}
    assert Document.from_json(doc.to_json()).metadata == Metadata(doc_id="b")
    assert doc.to_json()["entities"]["found"] == [{"spans": [[0, 4]], "metadata": {"label": "y"}}]
    for wrong in ("a", [1], 3):
        with pytest.raises(TypeError, match="expected Metadata or a dict as metadata"):
            Document("some text", metadata=wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="expected Metadata or a dict as metadata"):
            Entity(spans=[Span(0, 4)], metadata=wrong)  # type: ignore[arg-type]


def test_an_entity_takes_spans_and_boxes_alone() -> None:
    with pytest.raises(TypeError, match="expected a Span, got tuple"):
        Entity(spans=[(0, 4)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="expected a Box, got list"):
        Entity(boxes=[[0, 0, 1, 1, 0]])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        (0, 10, "ends past the text: the text has 9 characters"),
        (5, 2, "ends before it begins"),
        (-1, 2, "begins before the text"),
        (0.5, 2, "no whole number"),
        ("0", 2, "no whole number"),
    ],
)
def test_a_span_that_is_not_in_the_text_is_refused_where_it_is_annotated(start: Any, end: Any, problem: str) -> None:
    """What would be written with it could not be read again."""
    doc = Document("some text", metadata=Metadata(doc_id="a"))
    entities = [Entity(spans=[Span(0, 9)]), Entity(spans=[Span(0, 1), Span(start, end)])]
    with pytest.raises(ValueError, match=f"document 'a', layer 'found', entity 1: .*{problem}"):
        doc.annotate_layer("found", entities)
    assert "found" not in doc.layers
    doc.annotate_layer("found", entities[:1])  # none was put in a layer
    if isinstance(start, int):
        with pytest.raises(ValueError, match=f"entity 0: .*{problem}"):
            doc.annotate_layer("more", Layer.from_arrays(SpanArrays.one_each([start], [end])))


def test_offsets_of_numpy_are_whole_numbers() -> None:
    doc = Document("some text")
    doc.annotate_layer("found", [Entity(spans=[Span(np.int32(0), np.int64(4))])])
    assert doc.found[0].text == "some"


def test_a_copy_has_layers_of_its_own() -> None:
    doc = Document.from_text("a b", layers={"x": [(0, 1)]})
    other = copy.copy(doc)
    other.remove_layer("x")
    other.annotate_layer("y", [])
    assert (doc.layer_names, other.layer_names) == (["x"], ["y"])
    assert doc.x[0].text == "a"
    assert copy.copy(doc).x.doc is not doc


def test_a_layer_is_made_of_whatever_gives_entities_and_of_nothing_else() -> None:
    doc = Document.from_text("a b")
    doc.annotate_layer("x", (Entity(spans=[Span(at, at + 1)]) for at in (0, 2)))
    assert [entity.text for entity in doc.x] == ["a", "b"]
    with pytest.raises(TypeError, match="expected entities as layer 'y', got NoneType"):
        doc.annotate_layer("y", None)  # type: ignore[arg-type]


def test_nothing_is_assigned_to_a_layer() -> None:
    doc = Document.from_text("a b", layers={"x": [(0, 1)]})
    with pytest.raises(AttributeError, match=r"doc.remove_layer\('x'\) and then doc.annotate_layer\('x'"):
        doc.x = []
    doc.y = 3
    assert (doc.x[0].text, doc.y) == ("a", 3)
