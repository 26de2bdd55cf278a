"""What a job kept, and somebody changed: what can be done again is, and what cannot be known is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from papermage_core.errors import ConfigError
from papermage_core.prediction.journal import open_journal, part_folder

FACTS = {"fingerprint": {"model": "a"}, "files": [{"path": "a.jsonl", "size": 3, "changed": 4}], "overwrite": False}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where a job was to write that was stopped after one block."""
    with open_journal(tmp_path / "found.jsonl", FACTS, "found.jsonl", resume=True, overwrite=False) as journal:
        journal.data.write(b"{}\n")
        journal.add(1, 5, {"lost": 2}, [], [1, 3])
        journal.commit()
    return tmp_path / "found.jsonl"


def blocks_and_bytes(output: Path) -> tuple[int, int]:
    with open_journal(output, FACTS, "found.jsonl", resume=True, overwrite=False) as journal:
        return journal.progress.blocks, journal.data.tell()


def line_of(output: Path, **changes: Any) -> bytes:
    line = json.loads((part_folder(output) / "journal.jsonl").read_bytes())
    return json.dumps(line | changes).encode() + b"\n"


def test_a_line_that_a_job_wrote_is_gone_on_from(output: Path) -> None:
    assert blocks_and_bytes(output) == (1, 3)


CHANGES: list[dict[str, Any]] = [
    {"blocks": "x"},
    {"documents": -1},
    {"losses": {"lost": None}},
    {"sizes": [3]},
    {"sizes": {"data": 3}},
    {"sizes": {"data": -3, "errors": 0, "lengths": 0}},
]


@pytest.mark.parametrize("change", [*CHANGES, b"1\n", b"[1]\n", b'"x"\n', b"\xff\n", b"[" * 100_000 + b"\n"])
def test_lines_that_are_none_are_done_again(output: Path, change: dict[str, Any] | bytes) -> None:
    text = change if isinstance(change, bytes) else line_of(output, **change)
    (part_folder(output) / "journal.jsonl").write_bytes(text)
    assert blocks_and_bytes(output) == (0, 0)


JOBS: list[Any] = [3, [], {"format": 1}, {"format": 1, **FACTS, "fingerprint": 3}, {"format": 1, **FACTS, "files": [3]}]


@pytest.mark.parametrize("content", [*map(json.dumps, JOBS), "", "[" * 100_000])
def test_a_job_that_is_none_is_named(output: Path, content: str) -> None:
    (part_folder(output) / "job.json").write_text(content)
    with pytest.raises(ConfigError, match=r"job\.json: cannot be read; begin anew with overwrite=true"):
        blocks_and_bytes(output)
