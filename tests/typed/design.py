"""The Python of the design, word for word, as a type checker sees it."""

from __future__ import annotations

from pathlib import Path

from papermage_core import Box, Document, Entity, Span
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer


def train_and_predict(doc: Document, docs: list[Document]) -> None:
    config = EntityClassificationTrainConfig(data_path="train.jsonl", label_field="words_starting_with_td")
    trainer = EntityClassificationTrainer(config)
    trainer.train()
    folder: Path = trainer.config.default_root_dir
    predictor = EntityClassificationPredictor.from_pretrained(
        model_name_or_path=trainer.config.default_root_dir / "checkpoints", entity_name="tokens", context_name="pages"
    )
    entities: list[Entity] = predictor.predict(doc=doc)
    for found in predictor.predict_many(docs):
        entities += found
    entities += predictor.predict(doc, merge=False)
    doc.annotate_layer("predictions", entities)
    print(folder, sum(entity.score for entity in entities), [entity.text.upper() for entity in entities])
    print({entity.label.lower(): entity.metadata.label for entity in entities})


def unplaced(config: EntityClassificationTrainConfig) -> Path:
    return config.default_root_dir / "checkpoints"  # type: ignore[operator]


def made() -> Entity:
    return Entity(spans=[Span(0, 4)], boxes=[Box(l=0.1, t=0.1, w=0.2, h=0.1, page=0)])
