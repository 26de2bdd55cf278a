"""Places of entities made of units: nothing of others between, nothing apart that belongs together, found again."""

from __future__ import annotations

import gzip
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Box, Document, Entity, Layer, Span
from papermage_core.document.merging import merged_places
from papermage_core.document.queries import unit_ranges

Units = Sequence[int]
"""Units of an entity, by their number, rising."""


def merged(layer: Layer, entities: Sequence[Units]) -> list[tuple[list[Span], list[Box]]]:
    owner = np.repeat(np.arange(len(entities)), [len(units) for units in entities])
    unit = np.fromiter(itertools.chain.from_iterable(entities), np.int64)
    return list(merged_places(layer, owner, unit, len(entities)).lists())


def found_again(doc: Document, name: str, entities: Sequence[Units]) -> list[list[int]]:
    """Return the units that entities cover once they were written and read."""
    made = [Entity(spans=spans, boxes=boxes) for spans, boxes in merged(doc.get_layer(name), entities)]
    doc.annotate_layer("merged", made)
    read = Document.from_bytes(doc.to_bytes())
    runs = unit_ranges(read.get_layer("merged"), read.get_layer(name))
    covered: list[list[int]] = [[] for _ in entities]
    for entity, start, stop in zip(runs.entity.tolist(), runs.start.tolist(), runs.stop.tolist(), strict=True):
        covered[entity] += range(start, stop)
    doc.remove_layer("merged")
    return covered


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Text with units of one to three spans, that share no character, in any order; some spans empty, some adjacent."""
    symbols = draw(st.text("ab \n\u3000\u200b", min_size=12, max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(symbols)), max_size=16)))
    spans = [Span(a, b) for a, b in itertools.pairwise(cuts) if draw(st.integers(0, 3))]
    empty = [span.start for span in spans if span.start == span.end]
    spans = [s for s in spans if s.start < s.end or empty.count(s.start) == 1]  # else nothing tells them apart
    units = []
    for span in draw(st.permutations(spans)):
        if units and len(units[-1]) < 3 and span.start < span.end and not draw(st.integers(0, 3)):
            units[-1].append(span)
        else:
            units.append([span])
    doc = Document(symbols)
    doc.annotate_layer("units", [Entity(spans=unit) for unit in units])
    return doc


@st.composite
def chosen(draw: st.DrawFn, units: int) -> list[list[int]]:
    numbers = st.sets(st.integers(0, units - 1), min_size=1).map(sorted)
    return draw(st.lists(numbers, max_size=4)) if units else []


@given(documents(), st.data())
def test_spans_hold_the_units_and_white_space_between_them_and_are_found_again(
    doc: Document, data: st.DataObject
) -> None:
    layer = doc.get_layer("units")
    entities = data.draw(chosen(len(layer)))
    places = merged(layer, entities)
    assert len(places) == len(entities)
    assert found_again(doc, "units", entities) == entities
    for units, (spans, _) in zip(entities, places, strict=True):
        mine = {c for u in units for s in layer[u].spans for c in range(s.start, s.end)}
        others = [s for u in range(len(layer)) if u not in units for s in layer[u].spans]
        solid = [span for span in spans if span.start < span.end]
        covered = [c for span in solid for c in range(span.start, span.end)]
        assert len(covered) == len(set(covered))
        assert mine <= set(covered)
        assert all(doc.symbols[c].isspace() for c in set(covered) - mine)
        for before, after in itertools.pairwise(solid):
            gap = doc.symbols[before.end : after.start]
            between = any(before.end <= s.start and s.end <= after.start for s in others)
            assert (gap and not gap.isspace()) or between, "what belongs together is in one span"


def test_a_word_broken_by_a_footer_keeps_its_two_spans_and_the_footer_stays_out() -> None:
    doc = Document("We gave asp-\nCopyright 2020\nirin daily")
    spans = [[(0, 2)], [(3, 7)], [(8, 11), (28, 32)], [(13, 22)], [(23, 27)], [(33, 38)]]
    doc.annotate_layer("words", [Entity(spans=[Span(*s) for s in unit]) for unit in spans])
    (given_, word, around), _ = zip(*merged(doc.words, [[0, 1], [2], [1, 2, 5]]), strict=True)
    assert given_ == [Span(0, 7)]
    assert word == [Span(8, 11), Span(28, 32)]
    assert around == [Span(3, 11), Span(28, 38)]


def test_text_of_no_unit_ends_a_span_and_white_space_does_not() -> None:
    doc = Document("breast can-\ncer\u00a0 cells")
    spans = [[(0, 6)], [(7, 10), (12, 15)], [(17, 22)]]
    doc.annotate_layer("tokens", [Entity(spans=[Span(*s) for s in unit]) for unit in spans])
    ((found, _),) = merged(doc.tokens, [[0, 1, 2]])
    assert found == [Span(0, 10), Span(12, 22)]


def test_units_in_one_place_are_one_span_and_a_wordless_unit_at_the_end_keeps_its_own() -> None:
    doc = Document("one two")
    doc.annotate_layer("units", [Entity(spans=[Span(*s)]) for s in [(0, 3), (0, 3), (3, 3), (4, 7)]])
    (both, edge, inside), _ = zip(*merged(doc.units, [[0, 1], [0, 1, 2], [0, 1, 2, 3]]), strict=True)
    assert both == [Span(0, 3)]
    assert edge == [Span(0, 3), Span(3, 3)]
    assert inside == [Span(0, 7)]


def page(places: Sequence[tuple[float, float, float, float]], pages: Sequence[int] | None = None) -> Document:
    """Return a document of words of one letter, one a box (left, top, width, height)."""
    doc = Document(" ".join("w" * len(places)))
    numbers = pages or [0] * len(places)
    made = [
        Entity(spans=[Span(2 * i, 2 * i + 1)], boxes=[Box(*place, page=number)])
        for i, (place, number) in enumerate(zip(places, numbers, strict=True))
    ]
    doc.annotate_layer("tokens", made)
    return doc


def enclosing(doc: Document, units: Units) -> Box:
    return Box.create_enclosing_box([doc.tokens[u].boxes[0] for u in units])


def test_an_entity_has_a_box_a_line_and_none_over_the_gap_between_columns() -> None:
    lines = [(0.1, 0.90), (0.1, 0.92), (0.55, 0.10), (0.55, 0.12)]  # the end of one column, the start of the next
    doc = page([(left + 0.05 * i, top, 0.04, 0.012) for left, top in lines for i in range(4)])
    ((spans, boxes),) = merged(doc.tokens, [range(16)])
    assert spans == [Span(0, 31)]
    assert boxes == [enclosing(doc, range(4 * i, 4 * i + 4)) for i in range(4)]


def test_boxes_of_a_line_across_both_columns_are_apart_even_where_the_units_follow() -> None:
    doc = page([(0.1, 0.5, 0.1, 0.01), (0.205, 0.5, 0.1, 0.01), (0.33, 0.5, 0.1, 0.01), (0.435, 0.5, 0.1, 0.01)])
    ((_, boxes),) = merged(doc.tokens, [range(4)])
    assert boxes == [enclosing(doc, (0, 1)), enclosing(doc, (2, 3))]


def test_boxes_join_over_superscripts_and_from_right_to_left_but_not_over_pages_or_left_out_units() -> None:
    doc = page([(0.5, 0.5, 0.05, 0.01), (0.551, 0.497, 0.004, 0.006), (0.556, 0.5, 0.05, 0.01)])
    ((_, boxes),) = merged(doc.tokens, [range(3)])
    assert boxes == [enclosing(doc, range(3))]
    ((_, boxes),) = merged(doc.tokens, [[0, 2]])
    assert boxes == [doc.tokens[0].boxes[0], doc.tokens[2].boxes[0]]
    backwards = page([(0.5, 0.5, 0.05, 0.01), (0.44, 0.5, 0.05, 0.01), (0.38, 0.5, 0.05, 0.01)], pages=[0, 0, 1])
    ((_, boxes),) = merged(backwards.tokens, [range(3)])
    assert boxes == [enclosing(backwards, (0, 1)), backwards.tokens[2].boxes[0]]


def test_units_without_spans_keep_their_boxes_and_are_found_again_by_them() -> None:
    doc = Document("text")
    grid = [Box(0.1 * (i % 5), 0.1 * (i // 5), 0.098, 0.098, 0) for i in range(25)]
    doc.annotate_layer("figures", [Entity(boxes=[box]) for box in grid])
    for seed in range(20):
        chance = random.Random(seed)
        units = sorted(chance.sample(range(25), chance.randint(1, 20)))
        ((spans, boxes),) = merged(doc.figures, [units])
        assert spans == []
        assert boxes == [grid[u] for u in units]
        assert found_again(doc, "figures", [units]) == [units]


def documents_of(path: Path, most: int) -> Iterator[Document]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in itertools.islice(file, most):
            yield Document.from_bytes(line)


def some_units(chance: random.Random, units: int) -> list[int]:
    """Return the units of one entity: one segment, or a few not far from each other."""
    found: list[int] = []
    at = chance.randrange(units)
    for _ in range(chance.choice([1, 1, 2, 4])):
        found += range(at, min(units, at + chance.randint(1, 25)))
        at = found[-1] + chance.randint(2, 6)
        if at >= units:
            break
    return found


@pytest.mark.parametrize("folder", ["silver_pdf", "papermage_docs"])
def test_joined_boxes_lie_on_the_middle_of_no_other_unit_that_the_units_own_do_not(corpora: Path, folder: str) -> None:
    def lies_on(boxes: Sequence[Box], x: float, y: float) -> bool:
        return any(b.l <= x <= b.l + b.w and b.t <= y <= b.t + b.h for b in boxes)

    chance = random.Random(folder)
    joined = 0
    for path in sorted((corpora / folder).glob("*.jsonl*")):
        for doc in documents_of(path, 2):
            if not len(doc.tokens.box_arrays()):
                continue
            for units in [some_units(chance, len(doc.tokens)) for _ in range(40)]:
                ((_, boxes),) = merged(doc.tokens, [units])
                own = [doc.tokens[u].boxes[0] for u in units]
                for other in {e.id for e in doc.tokens.intersect_by_box(Entity(boxes=boxes))} - set(units):
                    middle = doc.tokens[other].boxes[0].center
                    assert not lies_on(boxes, *middle) or lies_on(own, *middle), (path, units, other)
                joined += len(own) - len(boxes)
    assert joined
