from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest

from papermage_core.files import whole_file, whole_text_file


def write(path: Path, content: bytes, *, fail: bool = False) -> None:
    with whole_file(path) as file:
        file.write(content)
        if fail:
            raise RuntimeError("in the middle")


@pytest.mark.parametrize("name", ["a.bin", "a.jsonl.gz"])
def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, b"old")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(RuntimeError, match="in the middle"):
        write(tmp_path / name, b"new", fail=True)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write(target, b"old")
    with whole_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_gz_is_compressed_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write(tmp_path / name, b"content" * 100)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"content" * 100
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write(tmp_path / "whole", b"")
    assert stat.S_IMODE((tmp_path / "whole").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_text_is_utf8_and_lone_surrogates_are_escaped(tmp_path: Path) -> None:
    with whole_text_file(tmp_path / "a.txt") as file:
        file.write("é\n\ud800")
    assert (tmp_path / "a.txt").read_bytes() == "é\n\\ud800".encode()


def test_a_missing_folder_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "no" / "a", b"")
