"""The page on the config agrees with the config."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from papermage_core.cli._train_help import as_typed
from papermage_core.cli.train import main
from papermage_core.config import EntityClassificationTrainConfig, load_config
from papermage_core.config.train import own_options

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_option_is_listed_with_its_default() -> None:
    options = PAGE.read_text(encoding="utf-8").partition("## Options")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \| (.*?) ?\|", options, re.MULTILINE)
    listed = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}

    assert list(listed) == list(own_options())
    for name, field in own_options().items():
        if listed[name] == "required":
            assert field.default is not None
            assert name in ("data_path", "label_field")
        else:
            assert listed[name].strip("`") == as_typed(field.default), name


def test_the_three_ways_to_give_a_config_agree(tmp_path: Path) -> None:
    file = tmp_path / "base.yaml"
    file.write_text(blocks("yaml")[0])
    names: dict[str, EntityClassificationTrainConfig] = {}
    exec(blocks("python")[0], names)

    assert load_config([file]) == names["config"]


def test_the_commands_shown_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(blocks("yaml")[0])
    Path("mine.yaml").write_text("notes: mine\n")
    for folder in ("silver", "more"):
        Path(folder).mkdir()
        Path(folder, "a.jsonl").touch()
    for name in ("train.jsonl", "mine.jsonl"):
        Path(name).touch()
    commands = [line[2:] for block in blocks("console") for line in block.splitlines()]

    assert len(commands) >= 4
    for command in commands:
        assert main([*shlex.split(command)[1:], "--dry-run"]) == 0, capsys.readouterr().err


def test_the_faults_shown_are_those_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("data_path: a\nlabel_field: b\n\nlearning_rate: fast\n")

    assert main(["-c", "mine.yaml", "sed=1", "head=crf", "head.dropout=1"]) == 2
    assert capsys.readouterr().err == blocks("text")[0]
