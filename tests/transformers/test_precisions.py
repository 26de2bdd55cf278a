"""Every precision of Lightning's trainer, with every head and encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from papermage_core.data import read_documents
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-true", "64-true")
HEADS: dict[str, dict[str, Any]] = {
    "linear": {"head": "linear"},
    "crf": {"head": "crf"},
    "span": {"head": "span", "label_scheme": "span", "head.max_gap": 2},  # with links
}


@pytest.mark.parametrize("encoder", ["compact", "hf"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_steps_are_trained_and_predicted_from(
    train_file: Path, tmp_path: Path, model_folder: Callable[[str], Path], precision: str, head: str, encoder: str
) -> None:
    options = {"encoder.width": 32, "encoder.rows": 500}
    if encoder == "hf":
        options = {"encoder": "hf", "encoder.model_name_or_path": str(model_folder("bert"))}
    config = EntityClassificationTrainConfig(
        data_path=train_file,
        label_field="names,amounts",
        default_root_dir=tmp_path / "run",
        precision=precision,
        max_steps=2,
        batch_size=4,
        val_data_path=train_file,
        limit_val_batches=1,
        enable_progress_bar=False,
        **HEADS[head],
        **options,
    )
    result = EntityClassificationTrainer(config).train()
    weights = load_file(result.checkpoint / "model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values() if weight.is_floating_point())
    assert all(math.isfinite(score) for score in result.scores.to_json()["micro"].values())
    predictor = EntityClassificationPredictor.from_pretrained(result.checkpoint)
    (document,) = list(read_documents(train_file))[:1]
    units = predictor.predict(document, merge=False)
    assert len(units) == len(document.tokens)
    assert all(0.0 <= unit.score <= 1.0 for unit in units)
