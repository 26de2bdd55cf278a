"""Parts put together again, however many they are."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from papermage_core import Document
from papermage_core.config.writers import writer_for
from papermage_core.data.shards import ShardFacts, errors_path_of, merge_shards, write_facts
from papermage_core.errors import DataError

resource = pytest.importorskip("resource")
PARTS = 120


@pytest.fixture
def few_files() -> Iterator[None]:
    """Let fewer files be open than there are parts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(len(list(Path("/dev/fd").iterdir())) + 40, 64), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def parts(folder: Path, ending: str) -> list[Path]:
    """Write parts of three documents each, as if dealt out one by one, with an error each."""
    job = {"writer": repr(writer_for(folder / f"a{ending}", None))}
    found = []
    for part in range(PARTS):
        path = folder / f"part-{part}{ending}"
        numbers = range(part, 3 * PARTS, PARTS)
        lines = [Document.from_text("a text", f"d{number}").to_bytes() + b"\n" for number in numbers]
        content = b"".join(lines)
        path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
        errors_path_of(path).write_text(f'{{"number": {PARTS - part}}}\n')
        lengths = [each for number, line in zip(numbers, lines, strict=True) for each in (number, len(line))]
        write_facts(path, ShardFacts(shard=part + 1, of=PARTS, job=job, lengths=lengths))
        found.append(path)
    return found


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_more_parts_than_files_may_be_open_are_merged(tmp_path: Path, ending: str, few_files: None) -> None:
    target = tmp_path / f"all{ending}"
    assert merge_shards(parts(tmp_path, ending), target).documents == 3 * PARTS
    content = target.read_bytes()
    lines = (gzip.decompress(content) if ending.endswith(".gz") else content).splitlines()
    assert [Document.from_bytes(line).id for line in lines] == [f"d{number}" for number in range(3 * PARTS)]
    assert [int(line[11:-1]) for line in errors_path_of(target).read_text().splitlines()] == list(range(1, PARTS + 1))


def test_a_part_that_was_cut_is_found_while_it_is_read_bit_by_bit(tmp_path: Path) -> None:
    paths = parts(tmp_path, ".jsonl")
    paths[7].write_bytes(paths[7].read_bytes()[:-5])
    with pytest.raises(DataError, match=r"part-7\.jsonl: this part file is not as long as it was"):
        merge_shards(paths, tmp_path / "all.jsonl")
    assert not (tmp_path / "all.jsonl").exists()


def test_parts_that_nobody_reads_say_what_parts_to_write(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    path.write_text("document\n")
    write_facts(path, ShardFacts(shard=1, of=1, job={"writer": repr(writer_for(path, None))}, lengths=[]))
    with pytest.raises(DataError, match=r"part\.csv: a part of this format .* write parts that end in \.jsonl"):
        merge_shards([path], tmp_path / "all.tei")


def test_a_list_of_errors_that_is_there_already_is_told_with_an_option_that_merge_has(tmp_path: Path) -> None:
    errors_path_of(tmp_path / "all.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"all\.jsonl\.errors\.jsonl already: choose another output_path"):
        merge_shards(parts(tmp_path, ".jsonl"), tmp_path / "all.jsonl")
