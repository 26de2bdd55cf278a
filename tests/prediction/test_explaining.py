"""What carries an entity, held against documents in which somebody wrote ``□``."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from papermage_core import Document, Entity, Span
from papermage_core.data.units import ParsedDocument
from papermage_core.errors import DataError
from papermage_core.plugin.spec import Context, HeadOutput, UnitSpan
from papermage_core.prediction import EntityClassificationPredictor as Predictor
from papermage_core.prediction import Explanation, explaining
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer


@pytest.fixture(scope="module")
def predictor(train_file: Path, val_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    config = EntityClassificationTrainConfig(
        data_path=train_file,
        val_data_path=val_file,
        label_field="names,amounts",
        head="crf",
        max_epochs=4,
        learning_rate=1e-2,
        default_root_dir=tmp_path_factory.mktemp("run"),
        enable_progress_bar=False,
        **{"encoder.width": 32, "encoder.rows": 500},
    )
    return Predictor.from_pretrained(EntityClassificationTrainer(config).train().checkpoint)


@pytest.fixture
def record(tmp_path: Path, write_corpus: Callable[..., Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(write_corpus(tmp_path / "new.jsonl", n=1, seed=9).read_text(encoding="utf-8"))
    return found


def written_over(record: dict[str, Any], start: int, stop: int) -> Document:
    """Return the document with a token written over by one sign, and all that stands after it moved."""
    other = copy.deepcopy(record)
    other["symbols"] = other["symbols"][:start] + "□" + other["symbols"][stop:]
    moved = stop - start - 1
    for layer in other["entities"].values():
        for entity in layer:
            for span in entity["spans"]:
                span[0] -= moved * (span[0] >= stop)
                span[1] -= moved * (span[1] >= stop)
    return Document.from_json(other)


def test_a_weight_is_what_the_score_loses_where_a_word_is_written_over(
    predictor: Predictor, record: dict[str, Any]
) -> None:
    doc = Document.from_json(record)
    entity = max(predictor.predict(doc), key=lambda each: each.score)
    why = predictor.explain(doc, entity)
    assert (why.text, why.label, why.is_probability) == (entity.text, entity.label, True)
    assert why.score == pytest.approx(entity.score, abs=1e-5)
    (page,) = [page for page in doc.pages if page.start <= entity.start < page.end]
    tokens = [token for token in doc.tokens if page.start <= token.start < page.end]
    assert [(each.text, each.start, each.stop) for each in why.weights] == [(t.text, t.start, t.end) for t in tokens]
    compared = 0
    for each in why.weights:
        assert each.is_entity == (entity.start <= each.start < entity.end)
        moved = (each.stop - each.start - 1) * np.array([entity.start >= each.stop, entity.end >= each.stop])
        place = tuple((np.array([entity.start, entity.end]) - moved).tolist())
        left = {
            (e.start, e.end): e.score
            for e in predictor.predict(written_over(record, each.start, each.stop))
            if e.label == entity.label
        }
        if place in left:
            assert why.score - each.weight == pytest.approx(left[place], abs=1e-4)
            compared += 1
        else:
            assert why.score - each.weight < 0.6  # something else is likelier
    assert compared > len(tokens) // 2
    assert max(abs(each.weight) for each in why.weights) > 0.01


def test_it_is_shown_as_text_and_as_a_page(predictor: Predictor, record: dict[str, Any]) -> None:
    doc = Document.from_json(record)
    why = predictor.explain(doc, predictor.predict(doc)[0])
    greatest = max(why.weights, key=lambda each: abs(each.weight))
    assert str(why).splitlines()[1].startswith(f"{greatest.weight:+.3f}  {greatest.text}")
    page = why.show().page
    assert page.count("<strong") == sum(each.is_entity for each in why.weights)
    assert page.count(" title=") == len(why.weights)
    assert "<iframe" in why._repr_html_()


def test_units_of_a_layer_are_hidden_together_and_one_that_was_missed_may_be_asked_about(
    predictor: Predictor, record: dict[str, Any]
) -> None:
    doc = Document.from_json(record)
    first, second = doc.tokens[0], doc.tokens[1]
    doc.annotate_layer("pairs", [Entity([Span(first.start, second.end)])])
    missed = Entity([Span(first.start, second.end)])
    missed.metadata.label = "names"
    why = predictor.explain(doc, missed, by="pairs")
    alone = predictor.explain(doc, missed)
    assert len(why.weights) == len(alone.weights) - 1
    assert (why.weights[0].start, why.weights[0].stop) == (first.start, second.end)
    assert why.weights[1:] == [
        attrs.evolve(each, weight=pytest.approx(each.weight, abs=1e-5)) for each in alone.weights[2:]
    ]
    assert 0 <= why.score < 1
    with pytest.raises(DataError, match="there is no layer 'lines' to hide units by"):
        predictor.explain(doc, missed, by="lines")


def test_what_cannot_be_explained_is_told(predictor: Predictor, record: dict[str, Any]) -> None:
    doc = Document.from_json(record)
    entity = Entity([Span(0, len(doc.symbols or ""))])
    with pytest.raises(ValueError, match="explain: the entity has no label"):
        predictor.explain(doc, entity)
    entity.metadata.label = "nmes"
    with pytest.raises(ValueError, match=r"'nmes' is no label of this model\. Did you mean 'names'"):
        predictor.explain(doc, entity)
    entity.metadata.label = "names"
    with pytest.raises(ValueError, match="lies in several contexts, which are read apart"):
        predictor.explain(doc, entity)
    nowhere = Entity([Span(doc.tokens[0].end, doc.tokens[0].end)])
    nowhere.metadata.label = "names"
    with pytest.raises(ValueError, match="lies in no unit of the document"):
        predictor.explain(doc, nowhere)


def after_doctor(documents: Iterable[ParsedDocument]) -> Iterator[tuple[ParsedDocument, list[list[HeadOutput]]]]:
    """What a head says that finds the word after ``Dr``, and gives no probability."""
    for parsed in documents:
        said = []
        for context in parsed.contexts:
            words = list(context.words)
            spans = [UnitSpan("names", ((i, i + 1),)) for i in range(1, len(words)) if words[i - 1] == "Dr"]
            n = len(words)
            said.append([HeadOutput(spans, np.zeros(n, np.int64), np.ones(n, np.float32), ("O",))])
        yield parsed, said


@pytest.mark.parametrize("n", [6, explaining.MOST + 1])
def test_without_probabilities_it_is_lost_or_stays(n: int) -> None:
    """In long contexts neighbours are hidden together."""
    words = ["a", "b", "Dr", "Who", *["c"] * (n - 4)]
    text = " ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    stops = starts + [len(word) for word in words]
    context = Context(words=words, space_before=np.ones(n, np.bool_))
    parsed = ParsedDocument(
        name="d", symbols=text, contexts=[context], units=[np.arange(n)], starts=starts, stops=stops
    )
    entity = Entity([Span(7, 10)])
    entity.metadata.label = "names"
    why: Explanation = explaining.explained(parsed, entity, after_doctor, 0, list)
    assert not why.is_probability
    assert why.score == 1
    carrying = "Dr" if n == 6 else "Dr Who"
    assert [each.text for each in why.weights if each.weight] == [carrying]
    assert len(why.weights) == (n if n == 6 else -(-n // 2))
    assert "it is lost (1) or stays (0)" in str(why)
