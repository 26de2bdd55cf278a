from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from papermage_core.cli.tune import main


@pytest.mark.parametrize("arguments", [["--help"], ["data_path=a", "label_field=b", "--dry-run"]])
def test_it_answers_without_torch_and_optuna(arguments: list[str]) -> None:
    program = f"""
import sys
from papermage_core.cli.tune import main
try:
    code = main({arguments!r})
except SystemExit as done:
    code = done.code
assert not code, code
sys.exit(str([name for name in ("torch", "optuna", "pytorch_lightning") if name in sys.modules] or ""))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() in ("", "[]"), done.stderr


@pytest.fixture(autouse=True)
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").touch()


def test_without_a_space_it_says_what_would_be_varied(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data_path=a", "label_field=b", "head=crf", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "learning_rate            0.0006 to 0.015, log" in printed
    assert "encoder.dropout          0.1 to 0.6" in printed


def test_a_space_may_stand_in_the_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base.yaml").write_text(
        "data_path: a\nlabel_field: b\nn_trials: 3\nspace:\n  head: [linear, crf]\n  learning_rate: {low: 1, high: 2}\n"
    )
    assert main(["-c", str(tmp_path / "base.yaml"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "head                     linear, crf" in printed
    assert "learning_rate            1 to 2" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do: type papermage-tune"),
        (["data_path=a", "label_field=b", "n_trials=0"], "n_trials='0' (command line): expected a whole number"),
        (["data_path=a", "label_field=b", "n_trails=3"], "n_trails (command line): unknown option"),
        (["data_path=a", "label_field=b", "search=head.dropuot"], "Did you mean 'head.dropout'"),
        (["data_path=a", "label_field=b", "space=none.yaml"], "cannot read the config file none.yaml"),
        (["data_path=a", "label_field=b", "folds=3", "--dry-run"], "scores single runs: leave out folds"),
        (["data_path=a", "label_field=b", "accelerator=foo", "--dry-run"], "invalid accelerator name"),
        (["data_path=a", "label_field=b", "accelerator=foo"], "invalid accelerator name"),
    ],
)
def test_what_is_wrong_is_a_message(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_an_option_that_is_varied_is_not_typed_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data_path=a", "label_field=b", "--dry-run"]
    assert main([*words, "learning_rate=0.1", "search=learning_rate,head.dropout"]) == 2
    assert "learning_rate=0.1 (command line): it is to be varied as well" in capsys.readouterr().err
    (tmp_path / "space.yaml").write_text("head: [linear, crf]\n")
    assert main([*words, "head=crf", "space=space.yaml"]) == 2
    assert "head=crf (command line): it is to be varied as well" in capsys.readouterr().err
    (tmp_path / "run.yaml").write_text("learning_rate: 0.1\nhead.dropout: 0.3\n")
    assert main([*words, "-c", "run.yaml", "search=learning_rate"]) == 0
    assert "learning_rate            0.0006 to 0.015, log" in capsys.readouterr().out


def test_what_is_given_in_a_file_and_varied_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run.yaml").write_text("learning_rate: 0.1\nhead.dropout: 0.3\n")
    assert main(["data_path=a", "label_field=b", "--dry-run", "-c", "run.yaml", "search=learning_rate"]) == 0
    assert [record.getMessage() for record in caplog.records] == ["learning_rate=0.1 (run.yaml:1) is varied instead"]


def test_components_that_are_not_drawn_are_told_before_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text("head: [crf, span]\nlabel_scheme: [bio, span]\n")
    assert main(["data_path=a", "label_field=b", "space=space.yaml", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "not drawn, for they do not fit: head=crf with label_scheme=span" in printed
    assert "not drawn, for they do not fit: head=span with label_scheme=bio" in printed


def test_all_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data_path=a", "label_field=b", "n_trials=0", "srch=head", "seed=1", "seed=2", "stray", "head.dropuot=1"]
    assert main(words) == 2
    told = capsys.readouterr().err
    for error in (
        "stray: expected key=value",
        "seed is given twice",
        "n_trials='0' (command line)",
        "srch (command line): unknown option. Did you mean 'search'?",
        "Did you mean 'head.dropout'?",
    ):
        assert error in told


def test_a_dry_run_refuses_documents_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data_path=no", "label_field=b", "--dry-run"]) == 3
    assert "data_path=no (command line): no such file or folder" in capsys.readouterr().err
