from __future__ import annotations

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from papermage_core.evaluation import UnitText, errors, summarise
from papermage_core.plugin.spec import UnitSpan

TEXT = "Solon , G . ( 1999 ) . Intergenerational mobility in the labor market ."
WORDS = TEXT.split()


def text_of(words: list[str], name: str = "d") -> UnitText:
    stops = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = stops - [len(word) for word in words]
    return UnitText(document=name, symbols=" ".join(words), starts=starts, stops=stops)


@pytest.mark.parametrize(
    ("gold", "predicted", "kinds"),
    [
        ([UnitSpan.of("author", 0, 4)], [], ["missed"]),
        ([], [UnitSpan.of("author", 0, 4)], ["spurious"]),
        ([UnitSpan.of("author", 0, 4)], [UnitSpan.of("author", 0, 4)], []),
        ([UnitSpan.of("author", 0, 4)], [UnitSpan.of("title", 0, 4)], ["wrong label"]),
        ([UnitSpan.of("author", 0, 4)], [UnitSpan.of("author", 0, 3)], ["wrong boundary"]),
        ([UnitSpan.of("author", 0, 4)], [UnitSpan.of("title", 0, 3)], ["wrong label and boundary"]),
        ([UnitSpan.of("author", 0, 4)], [UnitSpan.of("author", 4, 7)], ["missed", "spurious"]),
        # one gold, cut in two: the larger part is its pair
        (
            [UnitSpan.of("t", 8, 14)],
            [UnitSpan.of("t", 8, 10), UnitSpan.of("t", 10, 14)],
            ["spurious", "wrong boundary"],
        ),
        # the same place under another label goes before the same label at another place
        ([UnitSpan.of("a", 0, 4)], [UnitSpan.of("b", 0, 4), UnitSpan.of("a", 0, 3)], ["spurious", "wrong label"]),
        ([UnitSpan("a", ((0, 1), (3, 4)))], [UnitSpan.of("a", 0, 4)], ["wrong boundary"]),
        # two segments with the prediction in the gap share no unit
        ([UnitSpan("a", ((0, 1), (3, 4)))], [UnitSpan.of("a", 1, 3)], ["missed", "spurious"]),
    ],
)
def test_each_kind_of_mistake_is_named(gold: list[UnitSpan], predicted: list[UnitSpan], kinds: list[str]) -> None:
    assert sorted(record.kind for record in errors([gold], [predicted], [text_of(WORDS)])) == kinds


def test_a_record_shows_the_text_the_labels_and_what_stands_around() -> None:
    gold, predicted = UnitSpan.of("date", 5, 6), UnitSpan.of("date", 4, 7, score=0.5)
    record = errors([[gold]], [[predicted]], [text_of(WORDS)], snippet=6)[0]
    assert (record.before, record.text, record.after) == (", G . ", "( 1999 )", " .")
    assert record.gold_chars == ((14, 18),)
    value = json.loads(json.dumps(record.to_json()))
    assert value["gold"] == {"label": "date", "start": 5, "stop": 6, "segments": [[5, 6]], "chars": [[14, 18]]}
    assert value["predicted"]["score"] == 0.5
    assert value["kind"] == "wrong boundary"


def test_units_without_a_place_in_the_text_have_an_empty_snippet() -> None:
    text = UnitText(document="d", symbols="ab", starts=np.array([-1, 0]), stops=np.array([-1, 2]))
    alone, with_neighbour = errors([[UnitSpan.of("x", 0, 1), UnitSpan.of("x", 0, 2)]], [[]], [text])
    assert (alone.text, with_neighbour.text) == ("", "ab")


spans = st.builds(
    lambda start, length, label: UnitSpan.of(label, start, min(start + length, len(WORDS))),
    st.integers(0, len(WORDS) - 1),
    st.integers(1, 6),
    st.sampled_from(["author", "title"]),
)


@given(st.lists(spans, max_size=8), st.lists(spans, max_size=8))
def test_every_entity_that_is_not_right_is_in_exactly_one_record(
    gold: list[UnitSpan], predicted: list[UnitSpan]
) -> None:
    records = errors([gold], [predicted], [text_of(WORDS)])
    assert sorted(map(repr, (r.gold for r in records if r.gold))) == sorted(map(repr, set(gold) - set(predicted)))
    assert sorted(map(repr, (r.predicted for r in records if r.predicted))) == sorted(
        map(repr, set(predicted) - set(gold))
    )
    for record in records:
        if record.gold and record.predicted:
            assert max(record.gold.start, record.predicted.start) < min(record.gold.stop, record.predicted.stop)
    summary = summarise(records)
    assert summary.total == sum(summary.by_kind.values()) == len(records)
    assert sum(n for kinds in summary.by_label.values() for n in kinds.values()) == len(records)


def test_the_most_frequent_confusions_come_first() -> None:
    gold = [[UnitSpan.of(label, i, i + 1) for i, label in enumerate("aab")]]
    predicted = [[UnitSpan.of(label, i, i + 1) for i, label in enumerate("bba")]]
    summary = summarise(errors(gold, predicted, [text_of(WORDS)]))
    assert summary.confusions == [("a", "b", 2), ("b", "a", 1)]
    assert json.loads(json.dumps(summary.to_json()))["by_kind"]["wrong label"] == 3
