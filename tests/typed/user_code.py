"""What users write, as a type checker sees it: `mypy tests/typed`. An ignored error that is none any more is one."""

from __future__ import annotations

from pathlib import Path

from papermage_core import Document, Entity
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer


def train() -> Path:
    config = EntityClassificationTrainConfig(
        data_path=["a.jsonl", Path("b.jsonl")],
        label_field="Disease,Chemical",
        encoder="compact",
        head={"name": "crf", "dropout": 0.2},
        seed=[1, 2, 3],
        max_epochs=3,
        gradient_clip_val=1.0,
        precision="bf16-mixed",
    )
    trainer = EntityClassificationTrainer(config)
    result = trainer.train()
    return result.checkpoint


def predict(doc: Document, docs: list[Document]) -> list[Entity]:
    predictor = EntityClassificationPredictor.from_pretrained(Path("run/checkpoints"), batch_size=8)
    for _, entities in zip(docs, predictor.predict_many(docs), strict=True):
        print(entities[0].text, entities[0].score)
    entities = predictor.predict(doc=doc, min_score=0.5)
    doc.annotate_layer(name="predictions", entities=entities)
    return entities


def wrong() -> None:
    EntityClassificationTrainConfig(data_path="a.jsonl")  # type: ignore[call-arg]
    EntityClassificationTrainConfig(data_path="a.jsonl", label_field="x", max_epoch=3)  # type: ignore[call-arg]
    EntityClassificationTrainConfig(data_path="a.jsonl", label_field="x", max_epochs="many")  # type: ignore[arg-type]
    EntityClassificationTrainConfig(data_path="a.jsonl", label_field="x", mode="test")  # type: ignore[arg-type]
