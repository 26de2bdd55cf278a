"""File systems that know no locks (network ones, say): files are whole there, too, and leftovers are judged by age."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from papermage_core.files import exclusive, recover, whole, whole_file, whole_folder

fcntl = pytest.importorskip("fcntl", reason="a system without locks has no other way")


@pytest.fixture(autouse=True)
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_files_and_folders_appear_whole(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as file:
        file.write(b"new")
        assert not (tmp_path / "a").exists()
    with whole_folder(tmp_path / "b") as folder:
        (folder / "c").write_bytes(b"c")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c"]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_file(tmp_path / "a") as file:
            file.write(b"new")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_kept_out(tmp_path: Path) -> None:
    with exclusive(tmp_path), exclusive(tmp_path):
        pass


def test_what_was_begun_is_cleared_up_once_it_is_old(tmp_path: Path) -> None:
    young, old = whole._beside(tmp_path / "young", "new"), whole._beside(tmp_path / "old", "new")
    for path in (young, old):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * whole._LONG_AGO
    os.utime(old, (long_ago, long_ago))
    recover(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [young.name]
