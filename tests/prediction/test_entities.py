"""Entities made of predictions: what they say of themselves before they are in a layer, and what travels with them."""

from __future__ import annotations

import copy
import gzip
import itertools
import pickle
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from papermage_core import Box, Document, Entity, Metadata, Span
from papermage_core.document.queries import reading_order, unit_ranges
from papermage_core.plugin.spec import UnitSpan
from papermage_core.prediction.entities import merged_entities, merged_entity, unit_entity


@pytest.fixture
def doc() -> Document:
    doc = Document("We gave asp-\nCopyright 2020\nirin daily")
    spans = [[(0, 2)], [(3, 7)], [(8, 11), (28, 32)], [(13, 22)], [(23, 27)], [(33, 38)]]
    boxes = [Box(0.1 * i, 0.5, 0.095, 0.01, 0) for i in range(6)]
    words = [
        Entity(spans=[Span(*s) for s in of_word], boxes=[box], metadata=Metadata._of({"font size": 9}))
        for of_word, box in zip(spans, boxes, strict=True)
    ]
    doc.annotate_layer("words", words)
    doc.annotate_layer("tokens", [Entity(spans=[Span(8, 11)], boxes=[Box(0.2, 0.5, 0.05, 0.01, 0)])])
    return doc


def spans_of(entities: Sequence[Entity]) -> list[list[Span]]:
    return [entity.spans for entity in entities]


def test_entities_of_a_batch_are_those_made_one_by_one(doc: Document) -> None:
    spans = [UnitSpan("Drug", ((2, 3),)), UnitSpan("Odd", ((0, 1), (3, 5))), UnitSpan("All", ((0, 6),), 0.25)]
    together = merged_entities(spans, doc.words, [0.5, None, 0.25])
    assert merged_entities([], doc.words, []) == []
    alone = [merged_entity(span, doc.words, score) for span, score in zip(spans, [0.5, None, 0.25], strict=True)]
    assert [e.to_json() for e in together] == [e.to_json() for e in alone]
    assert spans_of(together)[0] == [Span(8, 11), Span(28, 32)]
    assert spans_of(together)[1] == [Span(0, 2), Span(13, 27)]
    assert [e.metadata.to_json() for e in together] == [
        {"label": "Drug", "score": 0.5},
        {"label": "Odd", "score": None},
        {"label": "All", "score": 0.25},
    ]


def test_spans_may_count_the_units_as_they_are_read_and_not_as_they_stand_in_the_layer() -> None:
    doc = Document("one two three four")
    doc.annotate_layer("tokens", [Entity(spans=[Span(*s)]) for s in [(14, 18), (8, 13), (4, 7), (0, 3)]])
    order = reading_order(doc.tokens)
    found = merged_entities([UnitSpan("A", ((0, 2), (3, 4))), UnitSpan("B", ((1, 4),))], doc.tokens, [None] * 2, order)
    assert spans_of(found) == [[Span(0, 7), Span(14, 18)], [Span(4, 18)]]


def test_a_found_entity_knows_text_label_score_and_neighbours_before_it_is_in_a_layer(doc: Document) -> None:
    entity = merged_entity(UnitSpan("Drug", ((2, 3),)), doc.words, 0.5)
    assert (entity.text, entity.label, entity.score, entity.layer) == ("asp irin", "Drug", 0.5, None)
    assert entity.symbols_from_spans == ["asp", "irin"]
    assert [token.text for token in entity.intersect_by_span("tokens")] == ["asp"]
    assert [token.text for token in entity.intersect_by_box("tokens")] == ["asp"]
    with pytest.warns(DeprecationWarning, match="ambiguous"):
        assert len(entity.words) == 1
    doc.annotate_layer("found", [entity])
    assert doc.found[0] is entity
    assert (entity.text, entity.label) == ("asp irin", "Drug")
    assert entity.to_json() == {
        "spans": [[8, 11], [28, 32]],
        "boxes": [[0.2, 0.5, 0.095, 0.01, 0]],
        "metadata": {"label": "Drug", "score": 0.5},
    }


def test_a_tagged_unit_knows_its_document_and_shares_nothing_with_the_unit(doc: Document) -> None:
    unit = doc.words[2]
    entity = unit_entity(unit, "B-Drug", 0.5)
    assert (entity.text, entity.label, entity.score) == ("asp irin", "B-Drug", 0.5)
    assert entity.metadata.to_json() == {"font size": 9, "label": "B-Drug", "score": 0.5}
    entity.spans[0].end = 9
    entity.boxes[0].w = 0.5
    assert unit.to_json()["spans"] == [[8, 11], [28, 32]]
    assert unit.to_json()["boxes"][0][2] == 0.095
    assert unit.metadata.to_json() == {"font size": 9}


def test_an_entity_without_label_reads_as_any_entity_without_such_an_attribute(doc: Document) -> None:
    assert not hasattr(doc.words[0], "label")
    with pytest.raises(AttributeError, match="no attribute 'score'"):
        _ = Entity(spans=[Span(0, 1)]).score
    doc.annotate_layer("label", [Entity(spans=[Span(0, 2)])])
    with pytest.warns(DeprecationWarning, match="ambiguous"):
        assert doc.words[0].label == [doc.get_layer("label")[0]]


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, copy.copy])
def test_a_copy_has_the_text_and_not_the_document(doc: Document, copied) -> None:
    entities = merged_entities([UnitSpan("Drug", ((2, 3),)), UnitSpan("Name", ((0, 2),))], doc.words, [0.5, 0.5])
    box_only = Entity.found_in(doc, [], [Box(0.2, 0.5, 0.01, 0.01, 0)], Metadata(label="Figure"))
    for entity, text in zip([*entities, box_only], ["asp irin", "We gave", "asp"], strict=True):
        other = copied(entity)
        assert (other.text, other.label) == (text, entity.label)
        assert other.to_json() == entity.to_json()
        assert other != entity, "compared by identity, as ever"
        again = pickle.loads(pickle.dumps(other))
        assert again.text == text
        again.spans = [Span(0, 1)]
        with pytest.raises(ValueError, match="spans have changed"):
            _ = again.text
        with pytest.raises(ValueError, match="not attached"):
            other.intersect_by_span("tokens")
        doc.annotate_layer("found", [other])
        assert doc.found[0].text == text
        doc.remove_layer("found")


def test_pickled_entities_do_not_take_their_document_along() -> None:
    doc = Document("word " * 50_000)
    doc.annotate_layer("tokens", [Entity(spans=[Span(0, 4)])])
    entities = merged_entities([UnitSpan("Name", ((0, 1),))] * 10, doc.tokens, [1.0] * 10)
    assert len(pickle.dumps(entities)) < 5_000
    doc.annotate_layer("names", entities)
    assert [e.text for e in pickle.loads(pickle.dumps(doc)).names] == ["word"] * 10


def test_a_found_entity_of_a_document_without_text_or_tokens_can_be_pickled() -> None:
    doc = Document("text")
    entity = Entity.found_in(doc, [], [Box(0, 0, 1, 1, 0)], Metadata())
    assert pickle.loads(pickle.dumps(entity)).text == ""


FOLDERS = [
    *("anystyle_references", "bc5cdr", "craft", "docbank_full", "docbank_pages", "grobid_affiliation"),
    *("grobid_citation", "grobid_date", "grobid_header", "grobid_name_citation", "grobid_name_header"),
    *("grobid_references", "grobid_segmentation", "ncbi_disease", "papermage_docs", "scirex", "silver_pdf"),
    *("field/19b-unsorted-tokens", "field/21-hyphenated", "field/55-words-two-spans"),
]


def documents_of(path: Path, most: int) -> Iterator[Document]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in itertools.islice(file, most):
            yield Document.from_bytes(line)


def some_span(chance: random.Random, units: int) -> UnitSpan:
    """Return an entity of one segment, or of a few not far from each other."""
    at, segments = chance.randrange(units), []
    while at < units and len(segments) < chance.choice([1, 1, 2, 4]):
        segments.append((at, min(units, at + chance.randint(1, 25))))
        at = segments[-1][1] + chance.randint(1, 6)
    return UnitSpan(chance.choice("ABC"), tuple(segments))


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_was_predicted_is_what_is_read_back_in_every_corpus(corpora: Path, folder: str) -> None:
    """So a model scored on its own written predictions is right throughout."""
    chance = random.Random(folder)
    paths = [path for path in sorted((corpora / folder).glob("*.jsonl*")) if "train.jsonl" not in path.name]
    assert paths
    for path in paths:
        for doc in documents_of(path, 3):
            for name in sorted({"tokens", "words", "rows", "blocks", "sentences"} & set(doc.layer_names)):
                units = len(doc.get_layer(name))
                predicted = [some_span(chance, units) for _ in range(50 if units else 0)]
                doc.annotate_layer("found", merged_entities(predicted, doc.get_layer(name), [0.5] * len(predicted)))
                read = Document.from_bytes(doc.to_bytes())
                doc.remove_layer("found")
                runs = unit_ranges(read.get_layer("found"), read.get_layer(name))
                segments: list[list[tuple[int, int]]] = [[] for _ in predicted]
                for i, start, stop in zip(runs.entity.tolist(), runs.start.tolist(), runs.stop.tolist(), strict=True):
                    segments[i].append((start, stop))
                labels = read.get_layer("found").metadata_column("label") or []
                gold = [UnitSpan(label, tuple(found)) for label, found in zip(labels, segments, strict=True)]
                assert gold == predicted, (path, name)
