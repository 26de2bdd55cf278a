"""What records are made of, and which value lies in which."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Box, Document, Entity, Metadata, Span
from papermage_core.errors import ConfigError
from papermage_records import assembly
from papermage_records.assembly import Value, records_of
from papermage_records.fields import Field, parse_fields


def written_out(field: Field) -> str:
    name = field.key if field.key == field.source else f"{field.key}={field.source}"
    return name + (f"({','.join(map(written_out, field.fields))})" if field.fields else "")


def test_brackets_of_both_kinds_and_white_space_mean_the_same() -> None:
    text = "bib_entry( author[ given , family = surname ],title,\n date )"
    assert written_out(parse_fields(text)) == "bib_entry(author(given,family=surname),title,date)"
    assert parse_fields(written_out(parse_fields(text))) == parse_fields(text)
    assert parse_fields("a layer") == Field("a layer", "a layer")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the name of a layer"),
        ("a(", "the name of a layer"),
        ("a(b", r"'\)'"),
        ("a(b]", r"'\)', got '\]'"),
        ("a()", r"the name of a layer, got '\)'"),
        ("a(b,)", r"the name of a layer, got '\)'"),
        ("a(b)(c)", r"the end, got '\('"),
        ("a(b),c(d)", "the end, got ','"),
        ("a(=b)", "the name of a layer, got '='"),
        ("a(b=)", "the name of a layer"),
        ("a(b,b)", "each key once, got b twice"),
        ("a" + "(a" * 50 + ")" * 50, "nested less deep"),
    ],
)
def test_what_is_no_record_says_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"expected.*{expected}"):
        parse_fields(text)


def document(text: str, **layers: list[Any]) -> Document:
    made = Document(text, metadata=Metadata(doc_id="d"))
    for name, places in layers.items():
        entities = []
        for place in places:
            spans, metadata = (
                (place, {}) if isinstance(place, list) else place if isinstance(place[0], list) else ([place], {})
            )
            entities.append(Entity(spans=[Span(*span) for span in spans], metadata=Metadata(**metadata)))
        made.annotate_layer(name, entities)
    return made


def plain(value: Value) -> Any:
    return {
        key: [plain(each) if each.fields else each.spans for each in values] for key, values in value.fields.items()
    }


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    min_size=1,
    max_size=3,
)


@given(parents=st.lists(spans, max_size=5), children=st.lists(spans, max_size=8))
def test_a_value_is_in_the_entity_that_holds_most_of_its_characters(parents: Any, children: Any) -> None:
    """Counted character by character; of equal ones the first in the text."""
    made = document("x" * 40, p=[list(each) for each in parents], c=[list(each) for each in children])
    ordered = sorted(parents, key=lambda each: (min(s for s, _ in each), max(e for _, e in each)))
    expected: list[list[Any]] = [[] for _ in ordered]
    outside = 0
    for child in children:
        shared = [
            sum(
                min(stop, end) > place >= max(start, begin)
                for start, stop in child
                for begin, end in parent
                for place in range(40)
            )
            for parent in ordered
        ]
        if not shared or not max(shared):
            outside += 1
        else:
            expected[shared.index(max(shared))].append(sorted(child))
    lost: Counter[str] = Counter()
    found = records_of(made, parse_fields("p(c)"), lost)
    assert lost["c outside p"] == outside
    got = [sorted(sorted(each.spans) for each in value.fields.get("c", ())) for value in found]
    assert got == [sorted(each) for each in expected]


def test_values_nest_and_stand_in_the_order_of_the_text() -> None:
    made = document(
        "Smith J, Lee K. On it. 1999",
        bib_entries=[(0, 27)],
        author=[(9, 14), (0, 7)],
        surname=[(9, 12), (0, 5)],
        forename=[(6, 7), (13, 14)],
        date=[(23, 27)],
    )
    (record,) = records_of(made, parse_fields("bib_entry(author[given,family],title,date)"), Counter())
    assert plain(record) == {
        "author": [{"given": [[(6, 7)]], "family": [[(0, 5)]]}, {"given": [[(13, 14)]], "family": [[(9, 12)]]}],
        "date": [[(23, 27)]],
    }


def test_values_are_found_by_layer_or_label() -> None:
    made = document(
        "aa bb cc",
        entries=[(0, 8)],
        predictions=[([[0, 2]], {"label": "title", "score": 0.5}), ([[3, 5]], {"label": "date"})],
        other=[([[6, 8]], {"label": "title"})],
    )
    (record,) = records_of(made, parse_fields("entries(title,year=date,own=other.title)"), Counter())
    assert [each.text for each in record.fields["title"]] == ["aa", "cc"]
    assert [each.score for each in record.fields["title"]] == [0.5, None]
    assert [each.text for each in record.fields["year"]] == ["bb"]
    assert [each.text for each in record.fields["own"]] == ["cc"]


def test_pages_of_a_reference_are_not_the_pages_of_the_document() -> None:
    made = document("see 12-34", pages=[(0, 9)], bib_entries=[(0, 9)], page_range=[(4, 9)])
    (record,) = records_of(made, parse_fields("bib_entries(pages)"), Counter())
    assert [each.text for each in record.fields["pages"]] == ["12-34"]


def test_words_that_a_line_end_hyphenates_are_whole() -> None:
    text = "Bridg-\ning long-\nterm, Hong-\nKong; long-term co-\n  operate x-\n1"
    made = document(text, r=[(0, len(text))])
    (record,) = records_of(made, parse_fields("r"), Counter())
    assert record.text == "Bridging long-term, Hong-Kong; long-term cooperate x- 1"


def test_a_text_is_looked_through_for_hyphens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    pattern = assembly._LETTERS

    class Counting:
        def findall(self, text: str) -> list[str]:
            searched.append(len(text))
            return pattern.findall(text)

    monkeypatch.setattr(assembly, "_LETTERS", Counting())
    text = "con-\nditions of an a-\nnalysis that a-nalysis has\n" * 50
    size = len(text) // 50
    made = document(text, r=[(at, at + size) for at in range(0, len(text), size)])
    records = records_of(made, parse_fields("r"), Counter())
    assert {record.text for record in records} == {"conditions of an a-nalysis that a-nalysis has"}
    assert searched == [len(text)]


def test_entities_without_text_are_where_the_centre_of_their_box_is() -> None:
    made = Document("x")
    made.annotate_layer("figures", [Entity(boxes=[Box(0, 0, 1, 0.5, 0)]), Entity(boxes=[Box(0, 0, 1, 0.5, 1)])])
    made.annotate_layer(
        "captions", [Entity(boxes=[Box(0.1, 0.1, 0.1, 0.1, 1)]), Entity(boxes=[Box(0.1, 0.6, 0.1, 0.1, 1)])]
    )
    lost: Counter[str] = Counter()
    first, second = records_of(made, parse_fields("figures(captions)"), lost)
    assert (len(first.fields.get("captions", ())), len(second.fields["captions"])) == (0, 1)
    assert lost["captions outside figures"] == 1
