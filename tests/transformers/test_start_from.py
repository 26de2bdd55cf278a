"""Training of a transformer goes on from a checkpoint, which holds all that it needs of the model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer


def test_it_begins_with_the_weights_of_the_checkpoint_and_not_with_those_of_the_model(
    model_folder: Callable[[str], Path], train_file: Path, val_file: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder("bert"), model)
    quiet = {"enable_progress_bar": False, "cache": False, "offline": True}
    first = EntityClassificationTrainConfig(
        data_path=train_file,
        label_field="names,amounts",
        model_name_or_path=str(model),
        max_epochs=1,
        default_root_dir=tmp_path / "first",
        **quiet,
    )
    start = EntityClassificationTrainer(first).train()
    shutil.rmtree(model)
    further = EntityClassificationTrainConfig(
        data_path=val_file,
        start_from=start.folder,
        learning_rate=1e-12,
        weight_decay=0,
        max_epochs=1,
        default_root_dir=tmp_path / "next",
        **{"encoder.freeze_layers": 1},
        **quiet,
    )
    result = EntityClassificationTrainer(further).train()
    before, after = (load_file(folder / "checkpoints/model.safetensors") for folder in (start.folder, result.folder))
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)
    assert {file.name for file in (result.checkpoint / "encoder").iterdir()} == {
        file.name for file in (start.checkpoint / "encoder").iterdir()
    }
