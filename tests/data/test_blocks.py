"""Blocks hold every document once, are read from the middle of files, and are those of shares, too."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from papermage_core import Document, Metadata
from papermage_core.config.readers import ReaderChoice
from papermage_core.data import blocks, read_documents
from papermage_core.data.blocks import BlockReader, Plan
from papermage_core.data.readers import iter_documents
from papermage_core.data.writers import write_documents
from papermage_core.errors import DataError


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_BYTES", 300)
    monkeypatch.setattr(blocks, "_DOCUMENTS", 5)


def line(number: int, size: int = 10) -> bytes:
    return Document("x" * size, metadata=Metadata(doc_id=str(number))).to_bytes() + b"\n"


def read(files: list[Path], first: int = 0, every: int = 1, skipping: bool = True, **options: Any) -> list[Any]:
    """Return what comes of all blocks: number, and line and id, or the error."""
    choice = ReaderChoice(**options)
    reader = BlockReader(choice, first, every)
    found = []
    for block in Plan(files, choice, every):
        for number, each in reader.read(block, skipping):
            found.append((number, str(each) if isinstance(each, DataError) else (each.line, each.document.id)))
    return found


def expected(files: list[Path], first: int = 0, every: int = 1) -> list[Any]:
    """Return the same by reading the files from end to end."""
    found: list[Any] = []

    def failed(error: DataError) -> None:
        found.append(str(error))

    for located in iter_documents(list(files), on_error=failed):
        found.append((located.line, located.document.id))
    return [(number, each) for number, each in enumerate(found) if number >= first and (number - first) % every == 0]


LINES = st.one_of(
    st.just(b"\n"), st.just(b"  \r\n"), st.just(b"{broken\n"), st.builds(line, st.integers(0, 99), st.integers(1, 400))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.lists(LINES, max_size=14), min_size=1, max_size=3),
    mark=st.booleans(),
    every=st.integers(1, 4),
    first=st.integers(0, 3),
)
def test_blocks_hold_what_reading_gives(
    files: list[list[bytes]], mark: bool, every: int, first: int, tmp_path: Path
) -> None:
    paths = []
    for number, lines in enumerate(files):
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_bytes((b"\xef\xbb\xbf" if mark else b"") + b"".join(lines).rstrip(b"\n"))
    assert read(paths, min(first, every - 1), every) == expected(paths, min(first, every - 1), every)


def test_a_large_document_ends_a_block_and_many_small_ones_do(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join([line(0, 1000), *(line(n, 1) for n in range(1, 12)), line(12, 1000)]))
    plan = Plan([path], ReaderChoice())
    found = list(plan)
    assert [block.count for block in found] == [1, 5, 5, 2]
    assert [block.first for block in found] == [0, 1, 6, 11]
    assert plan.documents == 13
    assert sum(block.size for block in found) == path.stat().st_size
    assert str(found[1]) == f"documents 1 to 5, {path}"


def test_small_files_share_a_block(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"Text {number}. " * 5)
    files = sorted(tmp_path.glob("*.txt"))
    plan = Plan(files, ReaderChoice())
    plan.look_ahead(60)
    assert plan.documents == 7
    assert 1 < len(list(plan)) < 7
    assert [each[1][1] for each in read(files)] == [str(number) for number in range(7)]


def test_a_file_that_is_one_document_counts_for_more_than_as_much_of_others(tmp_path: Path) -> None:
    text = "As long as it is. " * 5
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(text)
    blocks_ = list(Plan(sorted(tmp_path.glob("*.txt")), ReaderChoice()))
    assert [(block.first, block.count, block.size) for block in blocks_] == [(n, 1, len(text)) for n in range(4)]
    path = tmp_path / "all.jsonl"
    path.write_bytes(b"".join(line(number, 40) for number in range(4)))
    assert path.stat().st_size > 300
    assert [block.count for block in Plan([path], ReaderChoice())] == [3, 1]


def test_a_plan_tells_whether_so_many_blocks_are_left(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(line(number, 1) for number in range(12)))  # three blocks
    plan = Plan([path], ReaderChoice())
    assert plan.has(3)
    assert not plan.has(4)
    plan.take()
    assert (plan.has(2), plan.has(3)) == (True, False)
    assert len(list(plan)) == 2
    assert not plan.has(1)


def test_a_compressed_file_that_is_cut_short_gives_what_is_there(tmp_path: Path) -> None:
    chance = random.Random(0)
    text = "".join(f"-DOCSTART-\n\n{chance.randbytes(2000).hex()}\tO\n\n" for _ in range(1000))
    path = tmp_path / "a.conll.gz"
    path.write_bytes(gzip.compress(text.encode())[:-2000])
    found = read([path])
    assert len(found) > 100
    assert "damaged" in found[-1][1]
    assert found == expected([path])


def test_a_file_may_be_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(line(number) for number in range(7)))
    assert read([path, path]) == expected([path, path])
    assert len(read([path, path])) == 14


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(line(number) for number in range(7)))
    found = list(Plan([path], ReaderChoice()))
    path.write_bytes(b"".join(line(number) for number in range(6)))
    with pytest.raises(DataError, match=r"a\.jsonl: this file has fewer documents"):
        [list(BlockReader(ReaderChoice()).read(block)) for block in found]


def test_compressed_files_and_tables_are_cut_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    documents = [Document("x" * 50, metadata=Metadata(doc_id=str(number))) for number in range(70)]
    for name in ("a.jsonl.gz", "a.parquet"):
        path = tmp_path / name
        write_documents(documents, path)
        assert len(list(Plan([path], ReaderChoice()))) > 3
        for first, every in ((0, 1), (1, 3)):
            assert read([path], first, every) == expected([path], first, every)


def test_files_that_cannot_be_read_are_one_document_each(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", b""), ("b.jsonl", b"\x1f\x8b\x08junk"), ("c.jsonl", line(1)), ("d.json", b"")):
        (tmp_path / name).write_bytes(content)
    files = sorted(tmp_path.iterdir())
    found = read(files)
    assert [number for number, _ in found] == [0, 1, 2, 3]
    assert ["c.jsonl" in str(files[number]) for number, each in found if isinstance(each, tuple)] == [True]
    assert "d.json: this file is empty" in found[3][1]
    with pytest.raises(DataError, match=r"a\.jsonl"):
        read(files, skipping=False)


def test_a_reader_that_only_reads_is_enough(tmp_path: Path) -> None:
    class Words:
        suffixes = (".words",)

        def read(self, path: Path) -> Iterator[Document]:
            yield from (Document(word) for word in path.read_text().split())

    path = tmp_path / "a.words"
    path.write_text("one two three four five six seven")
    from papermage_core.data.readers import chosen_reader

    choice = chosen_reader(Words())
    reader = BlockReader(choice, 1, 2)
    plan = list(Plan([path], choice, 2))
    found = [each.document.symbols for block in plan for _, each in reader.read(block)]
    assert found == ["two", "four", "six"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_reading_begins_at_every_place(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    write_documents([Document("x", metadata=Metadata(doc_id=str(number))) for number in range(200)], path)
    from papermage_core.data.readers import reader_config

    reader: Any = reader_config(path, None).build()
    places = list(reader.places(path))
    assert len(places) == 200
    for number in (0, 1, 63, 64, 65, 199):
        found = list(reader.read(path, start=places[number]))
        assert [each.document.id for each in found] == [str(n) for n in range(number, 200)]
        assert found[0].line == number + 1
        share = list(reader.read(path, start=places[number], first=1, every=60))
        assert [each.document.id for each in share] == [str(n) for n in range(number + 1, 200, 60)]


def test_no_document_is_lost_on_real_files(corpora: Path) -> None:
    path = corpora / "ncbi_disease" / "dev.jsonl"
    ids = [document.id for document in read_documents(path)]
    assert [each[1] for _, each in read([path])] == ids
    assert len(ids) == len([json.loads(row) for row in path.read_bytes().splitlines()])
