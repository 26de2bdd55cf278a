"""Loading a checkpoint: the folder alone is read, and what is damaged in it is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import attrs
import pytest
import torch
from safetensors.torch import load_file, save_file

from papermage_compact.plugin import CompactConfig
from papermage_core.errors import CheckpointError


@pytest.fixture(scope="module")
def config(vectors_file):
    return CompactConfig(width=16, rows=64, layout="off", vectors=str(vectors_file), vectors_size=4)


@pytest.fixture
def folder(config, tmp_path):
    """An encoder's folder in a checkpoint, the weights beside it."""
    made = config.build()
    (tmp_path / "checkpoint" / "encoder").mkdir(parents=True)
    made.save(tmp_path / "checkpoint" / "encoder")
    save_file(
        {f"encoder.{name}": value for name, value in made.state_dict().items()},
        tmp_path / "checkpoint" / "model.safetensors",
    )
    return tmp_path / "checkpoint" / "encoder"


@pytest.mark.parametrize("source", ["/etc/passwd", "somebody/model", "../vectors.txt"])
def test_vectors_come_from_the_folder_or_not_at_all(config, folder, source, vectors_file):
    moved = attrs.evolve(config, vectors=source)
    assert torch.equal(moved.build(folder).words.vectors, config.build().words.vectors)
    (folder / "vectors.safetensors").unlink()
    for named in (moved, config):
        with pytest.raises(CheckpointError, match=r"vectors\.safetensors is missing"):
            named.build(folder)


def edit(path: Path, **changes: torch.Tensor | None) -> None:
    tensors = {**load_file(path), **changes}
    save_file({name: value for name, value in tensors.items() if value is not None}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}"),
        lambda path: edit(path, rounded=None),
        lambda path: edit(path, scales=None),
        lambda path: edit(path, rounded=torch.zeros(40, 4)),
        lambda path: edit(path, rounded=torch.zeros(40, dtype=torch.int8)),
        lambda path: edit(path, scales=torch.full((40, 1), torch.nan)),
        lambda path: edit(path, scales=torch.ones(39, 1)),
        lambda path: edit(path, keys=torch.zeros(39, dtype=torch.int64)),
        lambda path: edit(path, keys=torch.zeros(40)),
    ],
)
def test_damaged_vectors_are_named(config, folder, damage):
    damage(folder / "vectors.safetensors")
    with pytest.raises(CheckpointError, match=r"vectors\.safetensors cannot be used"):
        config.build(folder)


def test_a_tokenizer_that_does_not_fit_its_vectors_is_named(config, folder):
    edit(folder / "vectors.safetensors", keys=None)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        config.build(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be used"):
        config.build(folder)
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="is missing"):
        config.build(folder)
