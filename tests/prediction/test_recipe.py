"""A checkpoint keeps the processors of its training, and predicts from raw text with them."""

from __future__ import annotations

from papermage_core import Document, Entity, Span
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import write_jsonl
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
