"""What the Tab key shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from papermage_core.cli import data
from papermage_core.cli._completable import Completable
from papermage_core.cli._complete import SCRIPTS, answer, candidates, split
from papermage_core.cli.main import commands
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="module")
def known() -> Completable:
    return Completable()


def shown(known: Completable, line: str) -> set[str]:
    return set(candidates(*split(line), known))


@pytest.mark.parametrize("line", ["papermage train ", "papermage-train ", "/usr/bin/papermage-train seed=1 "])
def test_every_option_of_training_is_shown(known: Completable, line: str) -> None:
    assert {f"{name}=" for name in [*own_options(), *lightning_parameters()]} <= shown(known, line)


def test_commands_their_subcommands_and_flags_are_shown(known: Completable) -> None:
    assert shown(known, "papermage ") == {*commands(), "completion", "--help", "--version"}
    assert set(data.OPTIONS) | {"audit", "cache"} == shown(known, "papermage data ") - {"--debug", "--quiet"} - {
        "--help", "--version"
    }  # fmt: skip
    assert {"--strict", "--all", "--json"} <= shown(known, "papermage-data check --")
    assert "--strict" not in shown(known, "papermage-data view --")
    assert {"--dry-run", "--print-config", "--config"} <= shown(known, "papermage-train -")
    assert shown(known, "papermage completion ") == set(SCRIPTS)
    assert shown(known, "papermage nothing ") == shown(known, "ls ") == set()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("papermage-train head=", {f"head={c.name}" for c in Plugins().components("model_head")}),
        ("papermage-train overlap_policy=l", {"overlap_policy=longest"}),
        ("papermage-train patience=n", {"patience=none"}),
        ("papermage-train overwrite=t", {"overwrite=true"}),
        ("papermage-train processors=tokens,ro", {"processors=tokens,rows"}),
        ("papermage-data view colour=a", {"colour=auto", "colour=always"}),
        ("papermage-plugins info head=cr", {"head=crf"}),
        ("papermage-plugins info bio", {"bio", "bioc", "bioc_json", "bioes"}),
        ("papermage-plugins new mine --kind me", {"metric"}),
        ("papermage-data cache ", {"list", "clear"}),
        ("papermage-train processors=tokens processors.tokens.st", {"processors.tokens.style="}),
        ("papermage-train processors=tokens,rows processors.ro", {"processors.rows."}),
        ("papermage-train processors=tokens processors.tokens.style=gr", {"processors.tokens.style=grobid"}),
    ],
)
def test_values_are_those_that_an_option_takes(known: Completable, line: str, expected: set[str]) -> None:
    assert shown(known, line) == expected


def test_dotted_options_are_those_of_the_component_that_is_chosen(known: Completable) -> None:
    def options(name: str, kind: str = "model_head", key: str = "head") -> set[str]:
        return {f"{key}.{option.name}=" for option in describe_options(Plugins().config_class(kind, name))}

    assert shown(known, "papermage-train head.") == options("linear")
    assert shown(known, "papermage-train head=span head.") == options("span") != options("linear")
    assert shown(known, "papermage-train model_name_or_path=x encoder.") == options("hf", "context_encoder", "encoder")
    assert shown(known, "papermage-train head=nothing head.") == set()
    for typed in ("crf", "head=crf"):
        assert shown(known, f"papermage-plugins check {typed} head.") == options("crf")


def test_files_and_folders_are_shown_where_paths_are_typed(known: Completable) -> None:
    Path("my data").mkdir()
    Path("my data/a.jsonl").touch()
    Path("mine.yaml").touch()
    Path(".hidden").touch()
    assert shown(known, "papermage-train data_path=m") == {"data_path=my data/", "data_path=mine.yaml"}
    assert shown(known, "papermage-train data_path=mine.yaml,m") == {
        "data_path=mine.yaml,my data/",
        "data_path=mine.yaml,mine.yaml",
    }
    assert shown(known, "papermage-train data_path=my\\ data/") == {"data_path=my data/a.jsonl"}
    assert shown(known, "papermage-train -c ") == {"my data/", "mine.yaml"}
    assert "mine.yaml" in shown(known, "papermage-data view ")
    assert shown(known, "papermage-train data_path=nowhere/") == set()


def test_components_of_plugin_files_that_are_typed_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "mine.py").write_text(
        "import attrs\nfrom papermage_core.plugin import ModelHeadConfig, hookimpl, option\n"
        "papermage_names = {'model_head': ['mine']}\n"
        "@attrs.frozen(kw_only=True)\nclass Config(ModelHeadConfig):\n    depth: int = option(1, help='how deep')\n"
        "    def build(self, input_size, scheme): ...\n@hookimpl\ndef papermage_model_head(): return Config\n"
    )
    line = f"papermage-train plugins_path={tmp_path / 'mine.py'} head=mi"
    assert answer(["zsh", line]) == 0
    assert capsys.readouterr().out == "head=mine \n"
    answer(["zsh", f"{line}ne head."])
    assert capsys.readouterr().out == "head.depth=\n"


def test_what_was_found_out_is_kept_until_something_is_installed(tmp_path: Path, capsys, monkeypatch) -> None:
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    answer(["zsh", "papermage-train head=c"])
    kept = tmp_path / "cache" / "completion.json"
    content = json.loads(kept.read_text())
    content["found"]["names head"] = ["cobra"]
    kept.write_text(json.dumps(content))
    answer(["zsh", "papermage-train head=c"])
    assert capsys.readouterr().out == "head=crf \nhead=cobra \n"
    (tmp_path / "site" / "new.dist-info").mkdir()
    answer(["zsh", "papermage-train head=c"])
    kept.write_text("[]")
    answer(["zsh", "papermage-train head=c"])
    assert capsys.readouterr().out == "head=crf \n" * 2


def test_a_shell_is_answered_without_torch_and_the_second_time_without_a_library_of_ours() -> None:
    script = (
        "import sys\nfrom papermage_core.cli.main import main\n"
        "main(['complete', 'bash', 'papermage train encoder.w'])\n"
        "print(sorted({'torch', 'attrs', 'yaml', 'papermage_core.config'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert "encoder.width=" in first.splitlines()
    assert first.splitlines()[-1] == "['attrs', 'papermage_core.config', 'yaml']"
    assert second.splitlines()[-1] == "[]"
    assert second.splitlines()[:-1] == first.splitlines()[:-1]
