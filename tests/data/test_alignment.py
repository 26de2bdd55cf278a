from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from papermage_core.data.alignment import (
    Gold,
    gold_entities,
    place_units,
    to_document,
    training_spans,
)
from papermage_core.data.issues import Issues
from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import LabelScheme, UnitSpan

TEXT = "ab cd ef gh ij kl mn op"  # eight units of two characters


def spans(*pairs: tuple[int, int]) -> dict[str, Any]:
    return {"spans": [list(pair) for pair in pairs]}


def units(start: int, stop: int) -> tuple[int, int]:
    return 3 * start, 3 * stop - 1


def document(pages: Sequence[dict[str, Any]], **layers: list[dict[str, Any]]) -> Document:
    tokens = [spans(units(i, i + 1)) for i in range(8)]
    return Document.from_json(
        {"symbols": TEXT, "metadata": {}, "entities": {"tokens": tokens, "pages": pages, **layers}, "relations": {}}
    )


def scheme(name: str, *labels: str) -> LabelScheme:
    return Plugins().config_class("label_scheme", name)().build(labels)


TWO_PAGES = [spans((0, 11)), spans((12, 23))]


def learn(
    doc: Document, *fields: str, scheme_name: str = "bio", policy: Any = "longest"
) -> tuple[list[list[UnitSpan]], Issues]:
    issues = Issues()
    places = place_units(doc, "tokens", "pages", issues)
    gold = gold_entities(doc, "tokens", fields, issues)
    assert gold is not None
    return training_spans(gold, places, scheme(scheme_name, *fields), issues, "", policy), issues


def test_units_are_read_in_the_context_that_holds_them() -> None:
    issues = Issues()
    places = place_units(document(TWO_PAGES), "tokens", "pages", issues)
    assert [ids.tolist() for ids in places.units] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert places.context.tolist() == [0] * 4 + [1] * 4
    assert places.position.tolist() == [0, 1, 2, 3] * 2
    assert not issues.counts


def test_units_in_no_context_get_contexts_of_their_own_in_reading_order() -> None:
    issues = Issues()
    places = place_units(document([spans((6, 11)), spans((15, 17))]), "tokens", "pages", issues)
    assert [ids.tolist() for ids in places.units] == [[0, 1], [2, 3], [4], [5], [6, 7]]
    assert issues.counts == {"unit_in_no_context": 5}


def test_units_in_two_contexts_are_read_once() -> None:
    issues = Issues()
    places = place_units(document([spans((0, 14)), spans((9, 23))]), "tokens", "pages", issues)
    assert sorted(unit for ids in places.units for unit in ids.tolist()) == list(range(8))
    assert issues.counts == {"unit_in_several_contexts": 2}


def test_gold_is_cut_at_contexts_for_training_and_counted() -> None:
    found, issues = learn(document(TWO_PAGES, a=[spans(units(2, 6))]), "a")
    assert found == [[UnitSpan.of("a", 2, 4)], [UnitSpan.of("a", 0, 2)]]
    assert issues.counts == {"gold_crosses_contexts": 1}


def test_gold_that_begins_inside_a_unit_is_rounded_out_and_counted() -> None:
    found, issues = learn(document(TWO_PAGES, a=[spans((1, 5))]), "a")
    assert found[0] == [UnitSpan.of("a", 0, 2)]
    assert issues.counts == {"gold_cut_unit": 1}


def test_gold_between_units_cannot_be_learnt_and_is_counted() -> None:
    issues = Issues()
    gold = gold_entities(document(TWO_PAGES, a=[spans((2, 3))]), "tokens", ["a"], issues)
    assert gold == [Gold("a", ())]
    assert issues.counts == {"gold_without_units": 1}


def test_the_same_gold_twice_is_one_entity() -> None:
    found, issues = learn(document(TWO_PAGES, a=[spans(units(0, 1)), spans(units(0, 1))]), "a")
    assert found[0] == [UnitSpan.of("a", 0, 1)]
    assert issues.counts == {"gold_twice": 1}


@pytest.mark.parametrize(("policy", "kept"), [("longest", UnitSpan.of("b", 1, 4)), ("first", UnitSpan.of("a", 0, 2))])
def test_a_flat_scheme_keeps_one_of_two_that_overlap(policy: str, kept: UnitSpan) -> None:
    found, issues = learn(document(TWO_PAGES, a=[spans(units(0, 2))], b=[spans(units(1, 4))]), "b", "a", policy=policy)
    assert found[0] == [kept]
    assert issues.counts == {"gold_overlaps": 1}


def test_a_span_scheme_keeps_both() -> None:
    found, issues = learn(
        document(TWO_PAGES, a=[spans(units(0, 2))], b=[spans(units(1, 4))]), "a", "b", scheme_name="span"
    )
    assert found[0] == [UnitSpan.of("a", 0, 2), UnitSpan.of("b", 1, 4)]
    assert not issues.counts


def test_a_discontinuous_entity_is_kept_whole_or_trained_by_segment() -> None:
    doc = document(TWO_PAGES, a=[spans(units(0, 1), units(2, 4))])
    whole, _ = learn(doc, "a", scheme_name="span")
    assert whole[0] == [UnitSpan("a", ((0, 1), (2, 4)))]
    by_segment, issues = learn(doc, "a")
    assert by_segment[0] == [UnitSpan.of("a", 0, 1), UnitSpan.of("a", 2, 4)]
    assert issues.counts == {"gold_discontinuous": 1}


def test_gold_for_scoring_stays_as_it_was_drawn() -> None:
    issues = Issues()
    gold = gold_entities(
        document(TWO_PAGES, a=[spans(units(2, 6)), spans(units(0, 1), units(2, 3))]), "tokens", ["a"], issues
    )
    assert gold is not None
    assert [entity.span for entity in gold] == [
        UnitSpan.of("a", 2, 6),
        UnitSpan("a", ((0, 1), (2, 3))),
    ]


def test_a_document_without_the_label_layers_was_not_labelled() -> None:
    issues = Issues()
    assert gold_entities(document(TWO_PAGES), "tokens", ["a"], issues) is None
    assert issues.counts == {"layer_missing": 1}


def test_labels_can_come_from_metadata() -> None:
    entities = [spans(units(0, 1)) | {"metadata": {"type": "x"}}, spans(units(1, 2))]
    issues = Issues()
    gold = gold_entities(document(TWO_PAGES, a=entities), "tokens", ["a"], issues, "", "type")
    assert gold is not None
    assert [entity.label for entity in gold] == ["x", "a"]
    assert issues.counts == {"gold_attribute_missing": 1}


def test_the_outside_tag_is_no_label() -> None:
    entities = [spans(units(0, 1)) | {"metadata": {"type": "O"}}]
    with pytest.raises(DataError, match="'type' is 'O'"):
        gold_entities(document(TWO_PAGES, a=entities), "tokens", ["a"], Issues(), "", "type")


def test_predictions_come_back_in_units_of_the_document() -> None:
    import numpy as np

    assert to_document(UnitSpan.of("a", 1, 3, score=0.5), np.arange(4, 8)) == UnitSpan.of("a", 5, 7)
    apart = np.array([0, 1, 5, 6])
    assert to_document(UnitSpan.of("a", 1, 3), apart) == UnitSpan("a", ((1, 2), (5, 6)))
    assert to_document(UnitSpan("a", ((0, 1), (3, 4))), apart) == UnitSpan("a", ((0, 1), (6, 7)))
