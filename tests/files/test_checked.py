from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from papermage_core.errors import CheckpointError
from papermage_core.files import check_file, checked_file

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as it was written."""
    with checked_file(tmp_path / "last.ckpt") as file:
        for start in range(0, len(CONTENT), 100):
            file.write(CONTENT[start : start + 100])
    return tmp_path / "last.ckpt"


def test_what_was_written_is_sound_and_stands_as_it_was_given(path: Path) -> None:
    check_file(path, "")
    assert path.read_bytes()[:-82] == CONTENT
    with checked_file(path) as file:
        file.write(b"")
    check_file(path, "")


def test_every_flipped_bit_is_found(path: Path) -> None:
    sound, chance = path.read_bytes(), random.Random(0)
    for _ in range(200):
        damaged = bytearray(sound)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"last\.ckpt is (damaged|cut short).*Start anew\.$"):
            check_file(path, "Start anew.")


def test_every_missing_end_is_found(path: Path) -> None:
    sound = path.read_bytes()
    for length in [*range(100), *range(len(sound) - 100, len(sound))]:
        path.write_bytes(sound[:length])
        with pytest.raises(CheckpointError, match=r"last\.ckpt is cut short"):
            check_file(path, "")
    path.write_bytes(sound + b"\n")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is cut short, or is no such file"):
        check_file(path, "")


def test_torch_writes_and_reads_such_files(tmp_path: Path) -> None:
    content = {"weights": torch.arange(1000.0), "step": 7}
    with checked_file(tmp_path / "last.ckpt") as file:
        torch.save(content, file)
    check_file(tmp_path / "last.ckpt", "")
    found = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert found["step"] == 7
    assert found["weights"].equal(content["weights"])
    found = torch.load(tmp_path / "last.ckpt", weights_only=True, mmap=True)
    assert found["weights"].equal(content["weights"])
