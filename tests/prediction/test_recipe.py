"""A checkpoint keeps the processors of its training, and predicts from raw text with them."""

from __future__ import annotations

import json

import pytest

from papermage_core import Document, Entity, Span
from papermage_core.cli import evaluate
from papermage_core.errors import DataError
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import make_documents, write_jsonl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer


def test_prediction_from_raw_text_does_what_training_did(tmp_path):
    documents = []
    for n in range(12):
        text = f"Patient {n} had ataxia-telangiectasia. It was seen."
        start = text.index("ataxia")
        documents.append(Document(text))
        documents[-1].annotate_layer("Disease", [Entity(spans=[Span(start, text.index("."))])])
    config = EntityClassificationTrainConfig(
        data_path=write_jsonl(documents, tmp_path / "a.jsonl"),
        label_field="Disease",
        context_name="sentences",
        processors="tokens,sentences",
        default_root_dir=tmp_path / "run",
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
        **{"processors.tokens.style": "words", "encoder.width": 8, "encoder.rows": 64},
    )
    trainer = EntityClassificationTrainer(config)
    trainer.train()
    predictor = EntityClassificationPredictor.from_pretrained(tmp_path / "run" / "checkpoints")
    raw = Document("She had IL-2. He had none.")
    units = predictor.predict(raw, merge=False)
    assert [unit.text for unit in units] == ["She", "had", "IL-2", ".", "He", "had", "none", "."]
    assert [len(raw.tokens), len(raw.sentences)] == [8, 2]
    assert [choice["name"] for choice in predictor.blueprint.processors.recipe()] == ["tokens", "sentences"]


def test_texts_are_predicted_and_scored_as_documents_are(tmp_path, capsys):
    documents = [Document.from_text(f"It was ataxia {n}.", layers={"Disease": [(7, 13)]}) for n in range(12)]
    config = EntityClassificationTrainConfig(
        data_path=write_jsonl(documents, tmp_path / "a.jsonl"),
        label_field="Disease",
        processors="tokens",
        default_root_dir=tmp_path / "run",
        max_epochs=20,
        accelerator="cpu",
        learning_rate=1e-2,
        enable_progress_bar=False,
        **{"encoder.width": 8, "encoder.rows": 64},
    )
    EntityClassificationTrainer(config).train()
    predictor = EntityClassificationPredictor.from_pretrained(tmp_path / "run")
    (found,) = predictor.predict("It was ataxia 3.")
    assert (found.text, found.label, 0 < found.score <= 1) == ("ataxia", "Disease", True)
    several = list(predictor.predict_many(["", "It was ataxia 3.", Document.from_text("It was ataxia 3."), " \n"]))
    assert [[entity.text for entity in entities] for entities in several] == [[], ["ataxia"], ["ataxia"], []]
    for wrong, message in (
        (lambda: predictor.predict(tmp_path / "a.pdf"), "read_documents reads files"),
        (lambda: predictor.predict(None), "expected a Document or a text, got NoneType"),
        (lambda: next(predictor.predict_many("one text")), "call predict"),
    ):
        with pytest.raises(TypeError, match=message):
            wrong()
    data = f"data_path={tmp_path / 'a.jsonl'}"  # whose documents have no units but those that the checkpoint makes
    words = [f"model_name_or_path={tmp_path / 'run'}", data, f"train_{data}", "--json"]
    assert evaluate.main(words) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]["in training"]
    assert {name: found["support"] for name, found in groups.items()} == {"8-15": 12}


def test_processors_are_given_where_a_checkpoint_has_none(tmp_path, capsys):
    documents = make_documents(6)
    config = EntityClassificationTrainConfig(
        data_path=write_jsonl(documents, tmp_path / "a.jsonl"),
        label_field="Disease",
        default_root_dir=tmp_path / "run",
        max_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        **{"encoder.width": 8, "encoder.rows": 64},
    )
    EntityClassificationTrainer(config).train()
    with pytest.raises(DataError, match="processors=tokens makes it; reader=NAME reads a file of another format"):
        EntityClassificationPredictor.from_pretrained(tmp_path / "run").predict("Some text.")
    predictor = EntityClassificationPredictor.from_pretrained(tmp_path / "run", processors="tokens")
    assert len(predictor.predict("Some text.", merge=False)) == 3

    texts = [Document.from_text(f"It was ataxia {n}.", layers={"Disease": [(7, 13)]}) for n in range(12)]
    words = [f"model_name_or_path={tmp_path / 'run'}", f"data_path={write_jsonl(texts, tmp_path / 'b.jsonl')}"]
    assert evaluate.main(words) == 3
    assert "and processors=tokens makes it" in capsys.readouterr().err
    words += ["processors=tokens", f"train_data_path={tmp_path / 'b.jsonl'}"]
    assert evaluate.main([*words, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["units"]["units"] == 12 * 5
    assert sum(found["support"] for found in scores["groups"]["in training"].values()) == 12
    assert evaluate.main([*words, "layer_name=found", "label_attribute=kind"]) == 2
    assert "layer_name, label_attribute: for a file of predictions" in capsys.readouterr().err
