"""What a run goes on from, in a file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from papermage_core.training.state import write_state


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_is_told_as_one() -> None:
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - closing it is no part of what is tried
    with full, pytest.raises(OSError, match="No space left") as told:
        write_state({"weights": torch.zeros(100_000)}, full)
    assert told.value.errno == errno.ENOSPC


def test_what_torch_cannot_write_is_raised_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file, pytest.raises(Exception, match=r"pickle|local object"):
        write_state({"weights": lambda: None}, file)
