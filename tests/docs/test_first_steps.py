"""The first tutorial, command by command as it is written, and what each prints."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pypdfium2", reason="the tutorial reads a PDF")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-steps.md").read_text(encoding="utf-8")
COMMANDS = {found.name: found for found in entry_points(group="console_scripts") if found.name.startswith("papermage-")}
SLOW = re.compile(r"[\w ]+: [\d,]+ of [\d,]+ \w+, .* left")
"""What is said of a step that takes long, on a machine with other work."""
FOUND = re.compile(r"  (Drug|Disease|Dose) +(\d\.\d\d)  (\S.*)")


def blocks() -> Iterator[tuple[str, str]]:
    """The language and the text of each block, in order."""
    yield from re.findall(r"^```(console|python)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def steps(block: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that it prints."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *lines = step.splitlines()
        yield command, [line for line in lines if line.strip()]


def shape(lines: list[str]) -> list[list[str]]:
    """The words of lines without what another machine may find otherwise: scores, how much was found, seconds."""
    found = []
    for line in lines:
        line = re.sub(r"^(new|paper): .*", r"\1:", line)
        line = re.sub(r"^ +(\d+/\d+) .*", r"\1", line)  # of an epoch, how it went
        line = re.sub(r"\b(\d+) of (\d+), scored|\(\d+ threads?\)|^time .*", "", line)
        same = re.sub(r"\d+(?= metadata of entities)", "#", re.sub(r"\d+\.\d+", "#", line))
        found.append(re.sub(r"\d+$", "#", same).split() if "#" in same else same.split())
    return found


class Terminal:
    """Runs what is typed in a folder, and returns the lines that a person would see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any) -> None:
        self.monkeypatch, self.capsys, self.caplog = monkeypatch, capsys, caplog

    def type(self, command: str) -> list[str]:
        name, *words = command.split()
        if name == "cd":
            self.monkeypatch.chdir(words[0])
            return []
        if name not in COMMANDS:
            done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
            return done.stdout.splitlines()
        with self.monkeypatch.context() as patch:
            if name == "papermage-predict":
                patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
            if name == "papermage-train":
                words.append("enable_progress_bar=no")
            self.caplog.clear()
            assert COMMANDS[name].load()(words) == 0
        out, err = self.capsys.readouterr()
        logged = [record.getMessage() for record in self.caplog.records if record.name.startswith("papermage_")]
        assert not err.strip()
        said = "\n".join([*logged, out] if name == "papermage-train" else [out, *logged])
        return [line for line in said.splitlines() if line.strip() and not SLOW.fullmatch(line)]


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    terminal = Terminal(monkeypatch, capsys, caplog)
    texts = (ROOT / "examples" / "data" / "tutorial" / "new.txt").read_text(encoding="utf-8")
    seen: dict[str, list[str]] = {}
    for language, block in blocks():
        if language == "python":
            exec(block, {})
            printed = capsys.readouterr().out.splitlines()
            assert any(line.startswith("5 mg Dose 0.9") for line in printed), printed
            continue
        for command, shown in steps(block):
            printed = seen[command] = terminal.type(command)
            if any(map(FOUND.fullmatch, shown)):
                assert sum(map(bool, map(FOUND.fullmatch, printed))) > 4, printed
                printed, shown = ([line for line in lines if not FOUND.fullmatch(line)] for lines in (printed, shown))
            assert shape(printed) == shape(shown), command
    found = [*map(FOUND.fullmatch, seen["papermage-predict model_name_or_path=run data_path=new.txt"])]
    places = {(match[1], match[3]) for match in found if match}
    assert {("Dose", "200 mg"), ("Dose", "2 mg/kg")} <= places
    assert all(text in texts for _, text in places)
    for run in ("run", "run2"):
        (scores,) = [
            line.split() for command, lines in seen.items() for line in lines
            if command.endswith(f"default_root_dir={run}") and line.startswith("all (micro)")
        ]  # fmt: skip
        assert float(scores[4]) > 75, "the sample abstracts can be learnt"
    assert "vancolimus" in Path("paper.html").read_text(encoding="utf-8")
    assert Path("found.csv").read_text(encoding="utf-8").startswith("document,page,label,text")
