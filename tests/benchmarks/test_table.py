"""What a benchmark prints says what it was measured on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import benchmarks
from benchmarks import Record, record
from benchmarks.__main__ import main
from benchmarks._table import header, table

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
ABOUT = re.compile(
    r"\*.+, \d+ cores?, .*load .+; \d{4}-\d{2}-\d{2}(?: to \d{4}-\d{2}-\d{2})?; commits? [0-9a-f]{7}.*; `.+`.*\*"
)
"""Processor, cores and load; date; commit; command."""


def test_the_header_names_processor_date_commit_and_command() -> None:
    line = header("python -m benchmarks crf")
    assert ABOUT.fullmatch(line), line
    assert line.endswith("; `python -m benchmarks crf`*")


def test_a_table_has_a_row_for_each_record() -> None:
    measured = record("a|b", 3.0, "s", reference="peer", reference_value=2.0, target="at most 2")
    lines = list(table([measured, Record(name="alone", value=12345.0, unit="MB")]))
    assert lines[2:] == [r"| a\|b | 3 s | peer: 2 | 1.5 | at most 2 |", "| alone | 1.234e+04 MB | – | – | – |"]


def test_the_command_prints_a_table_under_its_header(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> Iterator[Record]:
        yield Record(name="made up", value=1.0, unit="s", note="of nothing")

    made = ModuleType("benchmarks.crf")
    made.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.crf", made)
    monkeypatch.setattr(benchmarks, "crf", made, raising=False)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "crf"])
    main()
    about, _, title, *rest = capsys.readouterr().out.splitlines()
    assert ABOUT.fullmatch(about)
    assert title == "## crf"
    assert "| made up | 1 s | – | – | – |" in rest
    assert "made up: of nothing" in rest


def test_every_section_of_the_page_says_what_it_was_measured_on() -> None:
    sections = re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]
    tables = [section for section in sections if re.search(r"^\|---", section, re.MULTILINE)]
    assert len(tables) >= 5
    without = [section.splitlines()[0] for section in tables if not any(map(ABOUT.fullmatch, section.splitlines()))]
    assert without == []
