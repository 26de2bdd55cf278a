from __future__ import annotations

from typing import Any

import pytest

from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin.spec import ContextNeeds

TEXT = "ab cd ef gh ij kl mn op"  # eight units of two characters


def document(pages: list[tuple[int, int]] | None, **metadata: Any) -> Document:
    layers = {"tokens": [{"spans": [[3 * i, 3 * i + 2]]} for i in range(8)]}
    if pages is not None:
        layers["pages"] = [{"spans": [list(page)]} for page in pages]
    return Document.from_json({"symbols": TEXT, "metadata": metadata, "entities": layers, "relations": {}})


def parser() -> Parser:
    return Parser(Labelling(), ContextNeeds(), Issues())


def units_of(parsed: ParsedDocument) -> list[list[int]]:
    return [units.tolist() for units in parsed.units]


def test_units_are_read_in_the_context_that_holds_them() -> None:
    parse = parser()
    parsed = parse.parse(document([(0, 11), (12, 23)]), "")
    assert units_of(parsed) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    context, place = parsed.places()
    assert context.tolist() == [0] * 4 + [1] * 4
    assert place.tolist() == [0, 1, 2, 3] * 2
    assert not parse.issues.counts


def test_units_in_no_context_get_contexts_of_their_own_in_reading_order() -> None:
    parse = parser()
    parsed = parse.parse(document([(6, 11), (15, 17)]), "")
    assert units_of(parsed) == [[0, 1], [2, 3], [4], [5], [6, 7]]
    assert parse.issues.counts == {"unit_in_no_context": 5}


def test_units_in_two_contexts_are_read_once() -> None:
    parse = parser()
    parsed = parse.parse(document([(0, 14), (9, 23)]), "")
    assert sorted(unit for units in units_of(parsed) for unit in units) == list(range(8))
    assert parse.issues.counts == {"unit_in_several_contexts": 2}


def test_documents_without_the_layer_of_contexts_are_read_whole_and_counted_once() -> None:
    parse = parser()
    for _ in range(3):
        assert units_of(parse.parse(document(None), "")) == [list(range(8))]
    assert parse.issues.counts == {"no_context_layer": 1}
    assert "processors=" not in parse.issues.examples["no_context_layer"][0].detail


def test_what_makes_the_layer_of_contexts_is_named() -> None:
    parse = Parser(Labelling(context_name="sentences"), ContextNeeds(), Issues())
    parse.parse(document(None), "")
    assert parse.issues.examples["no_context_layer"][0].detail.endswith("; processors=sentences makes it")


def test_a_document_that_lacks_the_contexts_of_those_before_is_refused() -> None:
    parse = parser()
    parse.parse(document([(0, 23)]), "one")
    with pytest.raises(DataError, match=r"document 'two': no layer 'pages'.*; context_name=... names another"):
        parse.parse(document(None), "two")


def test_a_document_that_has_contexts_which_those_before_lack_is_refused() -> None:
    parse = parser()
    parse.parse(document(None), "one")
    with pytest.raises(DataError, match=r"document 'two': there is a layer 'pages', which the documents before"):
        parse.parse(document([(0, 23)]), "two")


def test_a_misspelt_layer_of_contexts_is_refused_with_the_nearest_name() -> None:
    parse = Parser(Labelling(context_name="page"), ContextNeeds(), Issues())
    with pytest.raises(DataError, match="Did you mean 'pages'"):
        parse.parse(document([(0, 23)]), "")


@pytest.mark.parametrize("name", ["symbols", "metadata", "images"])
def test_what_is_no_layer_of_entities_is_refused(name: str) -> None:
    parse = Parser(Labelling(entity_name=name), ContextNeeds(), Issues())
    with pytest.raises(DataError, match=f"no layer '{name}'.*; entity_name=... names another"):
        parse.parse(document(None, title="x"), "")


def test_all_metadata_are_the_plain_values_of_every_key_but_the_one_of_labels() -> None:
    read = document([(0, 11), (12, 23)])
    for i, token in enumerate(read.get_layer("tokens")):
        token.metadata.bold = i % 2 == 0
        token.metadata.label = "x"
        if i == 3:
            token.metadata.odd = {"a": 1}
        if i == 5:
            token.metadata.odd = 2.5
    for attribute, keys in ((None, {"bold", "label", "odd"}), ("label", {"bold", "odd"})):
        labelling = Labelling(label_field=("tokens",), label_attribute=attribute)
        first, second = Parser(labelling, ContextNeeds(all_metadata=True), Issues()).parse(read, "").contexts
        assert set(first.metadata) == set(second.metadata) == keys
        assert list(first.metadata["bold"]) == [True, False, True, False]
        assert list(first.metadata["odd"]) == [None] * 4
        assert list(second.metadata["odd"]) == [None, 2.5, None, None]
    asked = Parser(Labelling(), ContextNeeds(metadata=("bold",)), Issues()).parse(read, "").contexts
    assert set(asked[0].metadata) == {"bold"}


def test_a_document_of_too_many_keys_is_read_by_its_most_frequent_ones() -> None:
    read = document(None)
    for i, token in enumerate(read.get_layer("tokens")):
        token.metadata.bold = True
        for j in range(100):
            token.metadata.set(f"key{i}_{j}", j)
    (context,) = Parser(Labelling(), ContextNeeds(all_metadata=True), Issues()).parse(read, "").contexts
    assert len(context.metadata) == 64
    assert "bold" in context.metadata
