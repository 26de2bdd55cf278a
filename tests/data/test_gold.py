from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from papermage_core.data.gold import label_document, to_document, training_spans
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.document import Document, Entity, Span
from papermage_core.errors import DataError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ContextNeeds, LabelScheme, UnitSpan

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


def parse(doc: Document, *fields: str, **labelling: Any) -> tuple[ParsedDocument | None, Issues]:
    issues = Issues()
    given = Labelling(label_field=fields, **labelling)
    return label_document(Parser(given, ContextNeeds(), issues).parse(doc, "doc"), doc, given, issues), issues


def learn(
    doc: Document, *fields: str, scheme_name: str = "bio", policy: Any = "longest"
) -> tuple[list[list[UnitSpan]], Issues]:
    parsed, issues = parse(doc, *fields)
    assert parsed is not None
    (gold,) = parsed.gold
    assert gold is not None
    return training_spans(parsed, gold, scheme(scheme_name, *fields), issues, policy), issues


def gold_of(doc: Document, *fields: str, **labelling: Any) -> tuple[list[UnitSpan], Issues]:
    parsed, issues = parse(doc, *fields, **labelling)
    assert parsed is not None
    return [entity.as_span() for gold in parsed.gold for entity in gold or ()], issues


def test_gold_is_cut_at_contexts_for_training_and_counted() -> None:
    found, issues = learn(document(TWO_PAGES, a=[spans(units(2, 6))]), "a")
    assert found == [[UnitSpan.of("a", 2, 4)], [UnitSpan.of("a", 0, 2)]]
    assert issues.counts == {"gold_crosses_contexts": 1}


def test_gold_that_begins_inside_a_unit_is_rounded_out_and_counted() -> None:
    found, issues = learn(document(TWO_PAGES, a=[spans((1, 5))]), "a")
    assert found[0] == [UnitSpan.of("a", 0, 2)]
    assert issues.counts == {"gold_cut_unit": 1}


def test_gold_between_units_cannot_be_learnt_and_is_counted() -> None:
    parsed, issues = parse(document(TWO_PAGES, a=[spans((2, 3))]), "a")
    assert parsed is not None
    assert parsed.gold == ((),)
    assert parsed.unreachable == ((0, "a"),)
    assert issues.counts == {"gold_without_units": 1}


def test_the_same_gold_twice_is_one_entity() -> None:
    found, issues = learn(document(TWO_PAGES, a=[spans(units(0, 1)), spans(units(0, 1))]), "a")
    assert found[0] == [UnitSpan.of("a", 0, 1)]
    assert issues.counts == {"gold_twice": 1}


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([units(0, 2), units(1, 3)], True),
        ([units(0, 3), units(1, 2)], True),
        ([units(0, 3), units(0, 3)], True),
        ([units(1, 3), units(0, 2)], True),
        ([units(0, 1), units(1, 3)], False),
        ([units(1, 3), units(0, 1), (0, 0)], False),
    ],
)
def test_an_entity_whose_own_spans_overlap_is_what_they_cover_and_counted(
    places: list[tuple[int, int]], told: bool
) -> None:
    beside = [spans(units(2, 3)), spans(units(1, 4))]  # which overlap each other, not themselves
    found, issues = learn(document(TWO_PAGES, a=[beside[0], spans(*places), beside[1]]), "a", scheme_name="span")
    assert UnitSpan.of("a", 0, 3) in found[0]
    assert issues.counts == ({"gold_overlaps_itself": 1} if told else {})


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
    gold, _ = gold_of(document(TWO_PAGES, a=[spans(units(2, 6)), spans(units(0, 1), units(2, 3))]), "a")
    assert gold == [UnitSpan.of("a", 2, 6), UnitSpan("a", ((0, 1), (2, 3)))]


def test_a_document_without_the_label_layers_was_not_labelled() -> None:
    parsed, issues = parse(document(TWO_PAGES), "a")
    assert parsed is None
    assert issues.counts == {"layer_missing": 1}


def test_units_and_contexts_are_no_label_layer_that_was_meant() -> None:
    _, issues = parse(document(TWO_PAGES, token=[]), "takens", "page")
    (issue,) = issues.examples["layer_missing"]
    assert issue.detail.startswith("no layer 'takens', 'page'. Did you mean 'token'? Layers there: ")


def test_labels_can_come_from_metadata() -> None:
    entities = [spans(units(0, 1)) | {"metadata": {"type": "x"}}, spans(units(1, 2))]
    gold, issues = gold_of(document(TWO_PAGES, a=entities), "a", label_attribute="type")
    assert [entity.label for entity in gold] == ["x", "a"]
    assert issues.counts == {"gold_attribute_missing": 1}


@pytest.mark.parametrize("value", ["O", " ", True, 1.5, ["x"], {"x": 1}])
def test_what_cannot_be_a_label_is_refused_with_its_place(value: Any) -> None:
    entities = [spans(units(0, 1)) | {"metadata": {"type": "x"}}, spans(units(1, 2)) | {"metadata": {"type": value}}]
    with pytest.raises(DataError, match=r"document 'doc', layer 'a', entity 1: 'type' is .*cannot be a label"):
        parse(document(TWO_PAGES, a=entities), "a", label_attribute="type")


def test_a_number_can_be_a_label() -> None:
    entities = [spans(units(0, 1)) | {"metadata": {"type": 7}}]
    gold, _ = gold_of(document(TWO_PAGES, a=entities), "a", label_attribute="type")
    assert gold == [UnitSpan.of("7", 0, 1)]


def test_gold_keeps_its_place_in_its_layer() -> None:
    parsed, _ = parse(document(TWO_PAGES, a=[spans((2, 3)), spans(units(0, 1))], b=[spans(units(0, 1))]), "a", "b")
    assert parsed is not None
    (gold,) = parsed.gold
    assert [(entity.label, entity.field, entity.index) for entity in gold or ()] == [("a", "a", 1), ("b", "b", 0)]


def test_gold_of_units_out_of_order_is_that_of_the_same_units_in_order() -> None:
    layers = {"a": [spans(units(1, 3)), spans(units(4, 5), units(6, 8))]}
    ordered, shuffled = document(TWO_PAGES, **layers), document(TWO_PAGES, **layers)
    shuffled.remove_layer("tokens")
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    shuffled.annotate_layer("tokens", [Entity(spans=[Span(*units(i, i + 1))]) for i in order])
    (one, _), (other, issues) = gold_of(ordered, "a"), gold_of(shuffled, "a")
    assert one == other
    assert issues.counts == {"units_out_of_order": 1}
    parsed, _ = parse(shuffled, "a")
    assert parsed is not None
    assert [word for context in parsed.contexts for word in context.words] == TEXT.split()
    assert parsed.order is not None
    assert [order[i] for i in parsed.order.tolist()] == list(range(8))


def test_predictions_come_back_in_units_of_the_document() -> None:
    import numpy as np

    assert to_document(UnitSpan.of("a", 1, 3, score=0.5), np.arange(4, 8)) == UnitSpan.of("a", 5, 7)
    apart = np.array([0, 1, 5, 6])
    assert to_document(UnitSpan.of("a", 1, 3), apart) == UnitSpan("a", ((1, 2), (5, 6)))
    assert to_document(UnitSpan("a", ((0, 1), (3, 4))), apart) == UnitSpan("a", ((0, 1), (6, 7)))
