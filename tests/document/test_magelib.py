"""What scripts for papermage's magelib rely on: its names, what its objects do, and which errors they raise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import papermage_core.document as magelib
from papermage_core.document import (
    Box,
    Document,
    Entity,
    EntityBoxIndexer,
    EntitySpanIndexer,
    Image,
    Layer,
    Metadata,
    Prediction,
    Span,
    TokensFieldName,
)
from papermage_core.errors import DataError

CLASSES = ["Box", "Document", "Entity", "EntityBoxIndexer", "EntitySpanIndexer", "Image", "Layer", "Metadata"]
FIELDS = [
    *("Abstracts", "Algorithms", "Authors", "Bibliographies", "Blocks", "Captions", "Entities", "Equations"),
    *("Figures", "Footers", "Footnotes", "Headers", "Images", "Keywords", "Lists", "Metadata", "Pages", "Paragraphs"),
    *("Relations", "Rows", "Sections", "Sentences", "Symbols", "Tables", "Titles", "Tokens", "Words"),
]


def test_every_name_that_magelib_exports_is_there() -> None:
    expected = [*CLASSES, "Prediction", "Span", *(f"{name}FieldName" for name in FIELDS)]
    assert set(expected) <= set(magelib.__all__)
    for name in FIELDS:
        assert getattr(magelib, f"{name}FieldName") == name.lower()
    try:
        import papermage.magelib as theirs
    except ImportError:
        return
    assert set(theirs.__all__) <= set(magelib.__all__)


def test_a_star_import_brings_what_is_exported() -> None:
    found: dict[str, Any] = {}
    exec("from papermage_core.document import *", found)
    assert set(magelib.__all__) <= set(found)


coordinates = st.integers(0, 12)
spans = st.tuples(coordinates, coordinates).map(sorted).map(lambda pair: Span(*pair))
boxes = st.tuples(coordinates, coordinates, coordinates, coordinates, st.integers(0, 1)).map(lambda b: Box(*b))


@given(st.lists(st.lists(spans, min_size=1, max_size=2), max_size=5), st.lists(spans, min_size=1, max_size=2))
def test_a_span_index_finds_by_shared_characters_and_takes_no_spans_that_share_any(
    places: list[list[Span]], asked: list[Span]
) -> None:
    def shared(a: Span, b: Span) -> bool:
        return max(a.start, b.start) < min(a.end, b.end)

    entities = [Entity(spans=place) for place in places]
    every = [span for place in places for span in place]
    if any(shared(a, b) for i, a in enumerate(every) for b in every[:i]):
        with pytest.raises(ValueError, match="overlap"):
            EntitySpanIndexer(entities)
        return
    expected = [e for e in entities if any(s.start < q.end and s.end > q.start for s in e.spans for q in asked)]
    assert EntitySpanIndexer(entities).find(Entity(spans=asked)) == sorted(expected, key=lambda e: e.start)
    Layer(entities)
    assert EntitySpanIndexer(entities).find(Entity(spans=asked)) == expected, "by their number in a layer"


@given(st.lists(st.lists(boxes, min_size=1, max_size=2), max_size=4), st.lists(boxes, min_size=1, max_size=2))
def test_a_box_index_finds_by_touching_boxes_and_refuses_those_that_touch_where_asked_to(
    places: list[list[Box]], asked: list[Box]
) -> None:
    def touch(a: Box, b: Box) -> bool:
        across = a.l <= b.l + b.w and b.l <= a.l + a.w
        return across and a.t <= b.t + b.h and b.t <= a.t + a.h and a.page == b.page

    entities = [Entity(boxes=place) for place in places]
    expected = [e for e in entities if any(touch(mine, query) for mine in e.boxes for query in asked)]
    assert EntityBoxIndexer(entities).find(Entity(boxes=asked)) == expected
    every = [box for place in places for box in place]
    if any(touch(a, b) for i, a in enumerate(every) for b in every[:i]):
        with pytest.raises(ValueError, match="overlap"):
            EntityBoxIndexer(entities, allow_overlap=False)
    else:
        assert EntityBoxIndexer(entities, allow_overlap=False).find(Entity(boxes=asked)) == expected


@pytest.mark.parametrize("index", [EntitySpanIndexer([]), EntityBoxIndexer([])])
def test_an_index_of_nothing_finds_nothing_and_a_query_is_an_entity(index: EntitySpanIndexer) -> None:
    assert index.find(Entity(spans=[Span(0, 1)], boxes=[Box(0, 0, 1, 1, 0)])) == []
    with pytest.raises(TypeError, match="expected an Entity"):
        index.find(Span(0, 1))  # type: ignore[arg-type]


def test_spans_overlap_in_a_character_or_where_an_empty_one_begins() -> None:
    for a, b, overlap in [
        (Span(2, 5), Span(2, 5), True),
        (Span(2, 5), Span(4, 9), True),
        (Span(2, 5), Span(3, 4), True),
        (Span(2, 5), Span(5, 9), False),
        (Span(2, 2), Span(2, 2), True),
        (Span(2, 2), Span(2, 5), True),
        (Span(5, 5), Span(2, 5), False),
    ]:
        assert a.is_overlap(b) is b.is_overlap(a) is overlap
    assert Span.create_enclosing_span([Span(4, 5), Span(1, 2), Span(2, 3)]) == Span(1, 5)
    for create in (Span.create_enclosing_span, Box.create_enclosing_box):
        with pytest.raises(ValueError, match="non-empty"):
            create([])


def test_boxes_overlap_in_both_directions_on_one_page_and_have_corners_and_a_middle() -> None:
    box = Box(0.25, 0.5, 0.5, 0.25, 1)
    assert box.xy_coordinates == (0.25, 0.5, 0.75, 0.75)
    assert box.center == (0.5, 0.625)
    assert Box.from_xy_coordinates(0.25, 0.5, 0.75, 0.75, page=1) == box
    assert box.is_overlap(box)
    assert box.is_overlap(Box(0.7, 0.7, 1, 1, 1))
    assert not box.is_overlap(Box(0.25, 0.5, 0.5, 0.25, 2))
    assert not box.is_overlap(Box(0.76, 0.5, 0.5, 0.25, 1))
    assert not box.is_overlap(Box(0.25, 0.76, 0.5, 0.25, 1))
    assert [type(value) for value in Box(1, 2, 3, 4, 5.0).to_json()] == [float] * 4 + [int]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same page"):
        Box.create_enclosing_box([box, Box(0, 0, 1, 1, 2)])
    for x2, y2 in [(0.1, 1), (1, 0.1)]:
        with pytest.raises(AssertionError):
            Box.from_xy_coordinates(0.5, 0.5, x2, y2, page=0)


def test_an_entity_belongs_to_one_layer_and_has_a_number_only_there() -> None:
    entity, layer = Entity(spans=[Span(0, 1)]), Layer([])
    assert (entity.layer, entity.id) == (None, None)
    with pytest.raises(AttributeError):
        entity.id = 3
    entity.layer = layer
    entity.id = 3
    assert (entity.layer, entity.id) == (layer, 3)
    for change in [lambda: setattr(entity, "layer", Layer([])), lambda: setattr(entity, "id", 4)]:
        with pytest.raises(AttributeError):
            change()
    entity.layer = None
    assert entity.layer is None
    assert repr(Entity(spans=[Span(0, 1)])) == "Unannotated Entity: {'spans': [[0, 1]]}"


def test_what_needs_a_document_says_that_there_is_none() -> None:
    loose = Entity(spans=[Span(0, 1)], boxes=[Box(0, 0, 1, 1, 0)])
    in_layer = Layer([Entity(spans=[Span(0, 1)])])[0]
    for entity, missing in [(loose, "not attached to a Layer"), (in_layer, "Layer is not attached to a Document")]:
        for ask in [
            lambda e: e.text,
            lambda e: e.symbols_from_spans,
            lambda e: e.symbols_from_boxes,
            lambda e: e.intersect_by_span("tokens"),
            lambda e: e.intersect_by_box("tokens"),
        ]:
            with pytest.raises(ValueError, match=missing):
                ask(entity)
        assert not hasattr(entity, "tokens")
    assert Entity(spans=[Span(0, 1)], metadata=Metadata(text="said")).text == "said"
    picture = Document(images=[Image()])
    picture.annotate_layer("figures", [Entity(boxes=[Box(0, 0, 1, 1, 0)])])
    with pytest.raises(ValueError, match="missing symbols"):
        _ = picture.get_layer("figures")[0].text


def test_layers_are_equal_by_their_entities_and_cross_referenced_in_order() -> None:
    doc = Document("one two three")
    doc.annotate_layer(TokensFieldName, [Entity(spans=[Span(*s)]) for s in [(0, 3), (4, 7), (8, 13)]])
    doc.annotate_layer("chunks", [Entity(spans=[Span(0, 5)]), Entity(spans=[Span(8, 9)])])
    assert doc.tokens == doc.get_layer("tokens")
    assert doc.tokens != doc.chunks
    assert doc.tokens != doc.tokens.entities
    assert Layer([]) == Layer([])
    with pytest.warns(DeprecationWarning, match="ambiguous"):
        assert doc.chunks[0].tokens == doc.tokens[:2]
    assert doc.intersect_by_span(doc.tokens[2], "chunks") == [doc.chunks[1]]
    assert doc.intersect_by_box(doc.tokens[2], "chunks") == []
    with pytest.raises(TypeError):
        doc.intersect_by_span(Span(0, 1), "tokens")  # type: ignore[arg-type]
    with pytest.warns(DeprecationWarning, match="ambiguous"), pytest.raises(TypeError):
        doc.find(doc.tokens[0], "tokens")  # type: ignore[arg-type]
    assert "Layer with 2 Entities" in repr(doc.chunks)
    assert Layer.from_json(doc.tokens.to_json()).to_json() == doc.tokens.to_json()


@pytest.mark.parametrize("name", ["tokens", "symbols", "images", "metadata", "find", "layers", "__class__", "said"])
def test_whatever_way_a_second_layer_comes_to_a_name_it_is_an_assertion_that_fails(name: str) -> None:
    doc = Document("one two")
    tokens = [Entity(spans=[Span(0, 3)])]
    doc.annotate_layer("tokens", tokens)
    doc.said = "an attribute that a script has set"  # type: ignore[attr-defined]
    for layer in (lambda: [Entity(spans=[Span(0, 3)])], lambda: [], lambda: tokens, lambda: doc.tokens):
        with pytest.raises(AssertionError, match=name):
            doc.annotate_layer(name, layer())
        with pytest.raises(AssertionError, match=name):
            doc.annotate(Prediction(name, layer()))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=name):
        doc.annotate_relation(name)
    assert doc.layer_names == ["tokens"]
    assert doc.tokens.entities is tokens


def test_entities_of_a_layer_that_was_refused_can_be_given_to_another() -> None:
    doc = Document("one two")
    doc.annotate_layer("tokens", [Entity(spans=[Span(0, 3)])])
    fresh = [Entity(spans=[Span(0, 3)]), Entity(spans=[Span(4, 7)])]
    for refused, error in [
        ([*fresh, doc.tokens[0]], AttributeError),
        ([*fresh, fresh[0]], AttributeError),
        ([*fresh, {"spans": [[0, 1]]}], TypeError),
        ([*fresh, None], TypeError),
    ]:
        with pytest.raises(error):
            doc.annotate_layer("found", refused)  # type: ignore[arg-type]
        assert [(e.layer, e.id) for e in fresh] == [(None, None)] * 2
    doc.annotate_layer("found", fresh)
    assert doc.get_layer("found").entities == fresh
    assert doc.tokens[0].id == 0


@pytest.mark.parametrize("name", ["symbols", "images", "metadata", "token", "nothing\n", 5, None])
def test_a_layer_that_is_not_there_is_named_with_those_that_are(name: Any) -> None:
    doc = Document("one two")
    doc.annotate_layer("tokens", [Entity(spans=[Span(0, 3)])])
    query = doc.tokens[0]
    for ask in [
        lambda: doc.get_layer(name),
        lambda: doc.intersect_by_span(query, name),
        lambda: query.intersect_by_box(name),
        lambda: doc.to_json(layers=[name]),
        lambda: doc.to_bytes(layers=[name]),
    ]:
        for kind in (AttributeError, DataError):
            with pytest.raises(kind) as caught:
                ask()
        assert repr(name) in str(caught.value)
        assert "Layers here: 'tokens'" in str(caught.value)
    assert not hasattr(doc, "token")


@pytest.mark.parametrize("name", ["a\ud800", 5, None, b"tokens"])
def test_a_name_that_no_file_can_hold_is_refused_for_a_layer(name: Any) -> None:
    doc = Document("one two")
    with pytest.raises(AssertionError, match=r"layer .* (named|be a string)"):
        doc.annotate_layer(name, [])
    assert doc.layer_names == []
