"""What a benchmark prints says what it was measured on."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import benchmarks
from benchmarks import NeedsError, NotMeasured, Record, Rows, record
from benchmarks.__main__ import main
from benchmarks._table import header, row
from tests.parsing import parsed

DOCS = Path(__file__).parents[2] / "docs"
ABOUT = re.compile(
    r"\*.+, \d+ cores?, .*load .+; \d{4}-\d{2}-\d{2}(?: to \d{4}-\d{2}-\d{2})?; commits? [0-9a-f]{7}.*; `.+`.*\*"
)
"""Processor, cores and load; date; commit; command."""


def test_the_header_names_processor_date_commit_and_command() -> None:
    line = header("python -m benchmarks crf")
    assert ABOUT.fullmatch(line), line
    assert line.endswith("; `python -m benchmarks crf`*")


def test_a_record_is_a_row() -> None:
    measured = record("a|b", 3.0, "s", reference="peer", reference_value=2.0, target="at most 2")
    assert row(measured) == r"| a\|b | 3 s | peer: 2 | 1.5 | at most 2 |"
    assert row(Record(name="alone", value=12345.0, unit="MB")) == "| alone | 1.234e+04 MB | – | – | – |"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """What runs benchmarks that are these functions."""

    def run_(**given: Callable[[], Rows]) -> int:
        for name, function in given.items():
            made = ModuleType(f"benchmarks.{name}")
            made.run = function  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, f"benchmarks.{name}", made)
            monkeypatch.setattr(benchmarks, name, made, raising=False)
        monkeypatch.setattr(sys, "argv", ["benchmarks", *given, "--json", str(tmp_path / "found.json")])
        return main()

    return run_


def test_each_row_is_there_as_soon_as_it_is_measured(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said, written = [], []

    def measured() -> Rows:
        for name in ("one", "two"):
            yield Record(name=name, value=1.0, unit="s", note=f"of {name}")
            said.append(capsys.readouterr().out.splitlines())
            written.append([each["name"] for each in json.loads((tmp_path / "found.json").read_text())])

    assert run(crf=measured) == 0
    about, empty, title, _, *rest = said[0]
    assert ABOUT.fullmatch(about)
    assert (empty, title) == ("", "## crf")
    assert rest == ["| | value | reference | ratio | asked for |", "|---|---|---|---|---|", "| one | 1 s | – | – | – |"]
    assert said[1] == ["| two | 1 s | – | – | – |"]
    assert written == [["one"], ["one", "two"]]
    assert capsys.readouterr().out.split("\n\n") == ["\none: of one", "two: of two\n"]


def test_what_cannot_be_measured_is_told_and_the_rest_is(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking() -> Rows:
        import nothing_like_this  # type: ignore[import-not-found]  # noqa: F401

        yield NotMeasured("never", "reached")

    def needing() -> Rows:
        yield Record(name="before", value=1.0, unit="s")
        yield NotMeasured("the peer", "pip install peer")
        raise NeedsError("PAPERMAGE_CORPORA")

    def failing() -> Rows:
        yield Record(name="good", value=1.0, unit="s")
        raise ValueError("a fault of ours")

    def sound() -> Rows:
        yield Record(name="sound", value=1.0, unit="s")

    assert run(data=lacking, crf=needing, labels=failing, heads=sound) == 1
    out, err = capsys.readouterr()
    for line in (
        "Not measured: data needs nothing_like_this: pip install 'papermage_core[bench]'.",
        "Not measured: the peer, which needs pip install peer.",
        "Not measured: crf needs PAPERMAGE_CORPORA.",
        "Not measured: labels failed.",
        *(f"| {name} | 1 s | – | – | – |" for name in ("before", "good", "sound")),
    ):
        assert line in out.splitlines()
    assert "ValueError: a fault of ours" in err


@pytest.mark.parametrize("path", sorted(Path(benchmarks.__path__[0]).glob("*.py")), ids=lambda path: path.stem)
def test_what_benchmarks_import_of_ours_is_there(path: Path) -> None:
    """Whatever they import late, and in the code that they give to other processes, too."""
    tree = parsed(path)
    codes = [
        ast.parse(str(node.value.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and "\nimport " in str(node.value.value)
        and ast.unparse(node.targets[0]) != "_BEFORE"  # of an older version
    ]
    for node in (each for code in (tree, *codes) for each in ast.walk(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("papermage_", "benchmarks", "tests")):
            try:
                module = importlib.import_module(str(node.module))
            except ModuleNotFoundError as missing:
                if str(missing.name).startswith(("papermage_", "benchmarks", "tests")):
                    raise
                continue  # a peer of another benchmark
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")


@pytest.mark.parametrize("page", ["benchmarks.md", "tried.md"])
def test_every_section_of_the_page_says_what_it_was_measured_on(page: str) -> None:
    sections = re.split(r"^##+ ", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    tables = [section for section in sections if re.search(r"^\|---", section, re.MULTILINE)]
    assert len(tables) >= 5
    without = [section.splitlines()[0] for section in tables if not any(map(ABOUT.fullmatch, section.splitlines()))]
    assert without == []
