"""What a run shows: on a terminal, in a file, from Python; and nothing with -q."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from papermage_core.data.parallel import forked, watching
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.display import Display, duration

SMALL = {"encoder.width": 16, "encoder.rows": 200, "batch_size": 4, "max_epochs": 3, "learning_rate": 1e-2}
EPOCH = r"^ +{}/3 +\d\.\d{{4}} +\d\.\d{{4}} +[\d.]+ +[\d.]+ +[\d.]+ +(best +)?[\d,]+ +\S+( s)?$"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def train(train_file: Path, val_file: Path, tmp_path: Path) -> Callable[..., Any]:
    def train(**values: Any) -> Any:
        given = {"data_path": train_file, "val_data_path": val_file, "default_root_dir": tmp_path / "run"}
        config = EntityClassificationTrainConfig(**given | {"label_field": "names,amounts"} | SMALL | values)
        return EntityClassificationTrainer(config).train()

    return train


def test_from_python_lines_stand_on_the_standard_error(
    train: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    train()
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"^reading \S*train\.jsonl \([\d.]+ kB\)\n  12 documents, 24 contexts, [\d,]+ units", err)
    assert re.search(r"^ +epoch +loss +val loss +P +R +F1 +units/s +time$", err, re.MULTILINE)
    for number in (1, 2, 3):
        assert re.search(EPOCH.format(number), err, re.MULTILINE), err
    assert "\x1b" not in err
    first = re.search(EPOCH.format(1), err, re.MULTILINE)
    assert first is not None
    assert "best" in first[0]


@pytest.mark.parametrize("bar", [True, False])
def test_a_terminal_shows_a_bar_for_the_whole_run_above_the_lines(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, bar: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("papermage_core.training.display._REFRESH", 0.0)
    monkeypatch.setattr("papermage_core.training.shown.time.monotonic", iter(range(10**9)).__next__)
    train(enable_progress_bar=bar)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue()).replace("\r", "\n")
    assert ("━" in shown) == bar
    assert bool(re.search(r"epoch 2/3 ━+.* left, [\d,]+ units/s, loss \d\.\d+, F1 [\d.]+, best [\d.]+", shown)) == bar
    assert len(re.findall(r"^ +[123]/3 ", shown, re.MULTILINE)) == 3


def test_a_level_of_the_logger_silences_a_run(train: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("papermage_core")
    logger.setLevel(logging.ERROR)
    try:
        train()
    finally:
        logger.setLevel(logging.NOTSET)
    assert capsys.readouterr() == ("", "")


def test_a_program_that_logs_gets_the_lines_in_its_log(
    train: Callable[..., Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    train(max_epochs=1)
    assert [line for line in caplog.messages if re.match(" +1/1 ", line)]
    assert capsys.readouterr().err == ""


def test_long_work_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("papermage_core.training.display.time.monotonic", lambda: float(next(clock)))
    with Display(bar=False).work("making examples", 100, "documents") as tell:
        for done in range(1, 60):
            tell(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "making examples: 1 of 100 documents, 1:39 left"
    assert 3 <= len(lines) <= 6


def test_work_of_several_processes_is_watched() -> None:
    seen: list[int] = []
    tell, tick = watching(seen.append, 2)

    def work(number: int) -> int:
        for done in range(5):
            tell(number, done + 1)
        return number

    assert forked(2, work, tick) == [0, 1]
    assert tick is not None
    tick()
    assert seen[-1] == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (59.7, "1:00"), (3599.7, "1:00:00"), (90061, "25:01:01")],
)
def test_times_are_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text
