from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from papermage_core.errors import ConfigError, DataError
from papermage_core.files import COMPRESSIONS, compression, open_bytes, whole_file

CONTENT = b"".join(b"%d %d\n" % (i, random.Random(i).getrandbits(60)) for i in range(20_000))


def zst(content: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    packed: bytes = zstandard.ZstdCompressor(write_checksum=True).compress(content)
    return packed


def unzst(packed: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    content: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    return content


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst,
}  # fmt: skip
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress, ".zst": unzst,
}  # fmt: skip


def read(path: Path) -> bytes:
    with open_bytes(path) as file:
        return file.read()


def test_every_ending_has_an_oracle() -> None:
    assert set(PACK) == set(UNPACK) == set(COMPRESSIONS)
    assert {compression(f"a{ending.upper()}") for ending in COMPRESSIONS} == set(COMPRESSIONS)


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_what_is_written_under_a_name_is_what_its_own_tool_reads(tmp_path: Path, ending: str) -> None:
    for name in ("one", "two"):
        with whole_file(tmp_path / f"{name}{ending}") as file:
            for start in range(0, len(CONTENT), 1000):
                file.write(CONTENT[start : start + 1000])
    packed = (tmp_path / f"one{ending}").read_bytes()
    assert UNPACK[ending](packed) == CONTENT
    assert packed == (tmp_path / f"two{ending}").read_bytes()
    assert read(tmp_path / f"one{ending}") == CONTENT


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_what_its_own_tool_wrote_is_read_in_one_piece_or_several(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending.upper()}"
    pack = PACK[ending]
    path.write_bytes(pack(CONTENT[:5000]) + pack(b"") + pack(CONTENT[5000:]))
    assert read(path) == CONTENT
    with open_bytes(path) as file:
        assert list(file) == CONTENT.splitlines(keepends=True)


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("left", [0.2, 0.5, 0.99, -1])
def test_a_file_that_is_cut_short_is_never_taken_for_a_whole_one(tmp_path: Path, ending: str, left: float) -> None:
    path = tmp_path / f"a{ending}"
    packed = PACK[ending](CONTENT)
    path.write_bytes(packed[: int(left * len(packed)) if left > 0 else int(left)])
    with pytest.raises(OSError, match="damaged or cut short"):
        read(path)


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_damage_is_an_error_of_one_kind(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    packed = bytearray(PACK[ending](CONTENT))
    packed[len(packed) // 2] ^= 0x55
    for content in (bytes(packed), b"nothing of the kind", b"\n" * 100):
        path.write_bytes(content)
        with pytest.raises(OSError, match="damaged or cut short"):
            read(path)


@pytest.mark.parametrize("ending", ["", *COMPRESSIONS])
def test_what_cannot_be_opened_is_a_data_error_with_its_path(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"folder{ending}").mkdir()
    for name in ("folder", "nowhere"):
        with pytest.raises(DataError, match=f"{name}{ending}: cannot read this file: "):
            open_bytes(tmp_path / f"{name}{ending}")


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zst"
    path.touch()
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    needs = r"a\.zst: (read|writ)ing \.zst files needs zstandard: pip install 'papermage_core\[zstd\]'"
    with pytest.raises(DataError, match=needs):
        open_bytes(path)
    with pytest.raises(ConfigError, match=needs), whole_file(path):
        pass


@pytest.mark.parametrize("ending", ["", *COMPRESSIONS])
def test_a_file_that_is_opened_anew_for_each_block_reads_the_same(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(PACK[ending](CONTENT) if ending else CONTENT)
    with open_bytes(path, block=4096) as file:
        lines = list(file)
    assert b"".join(lines) == CONTENT
    assert len(lines) == CONTENT.count(b"\n")
    with pytest.raises(DataError, match="cannot read this file"):
        open_bytes(tmp_path / f"none{ending}", block=4096)


@pytest.mark.parametrize("ending", sorted(COMPRESSIONS))
def test_what_is_not_compressed_as_its_name_says_is_told(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"a plain text")
    with open_bytes(path) as file, pytest.raises(OSError, match="or not compressed as its name says"):
        file.read()
