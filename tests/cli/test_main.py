"""``papermage``: the commands by one name."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest

from papermage_core.cli import predict, train
from papermage_core.cli.main import commands, main


def test_every_command_of_its_own_is_a_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = metadata.distribution("papermage_core").entry_points
    names = {point.name for point in scripts if point.group == "console_scripts"} - {"papermage"}

    assert {f"papermage-{name}" for name in commands()} == names
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in commands():
        assert f"\n  {name:12} " in out
    assert "``" not in out


def test_completion_says_how_each_shell_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "--help"]) == 0
    out = capsys.readouterr().out
    for shell in ("bash", "zsh", "fish"):
        assert f"papermage completion {shell}" in out


@pytest.mark.parametrize(
    ("words", "command"),
    [(["train", "data_path=a", "x"], train), (["papermage-predict", "colour=1"], predict), (["train"], train)],
)
def test_a_subcommand_does_what_the_command_does(words, command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == command.main(words[1:]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) > 1
    assert errors[: len(errors) // 2] == errors[len(errors) // 2 :]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["trian"], "Did you mean 'train'?"), (["completion", "csh"], "expected one of bash, zsh, fish")],
)
def test_what_is_no_command_is_told_with_the_nearest(words, message, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(set(commands()) - {"plugins"}))
@pytest.mark.parametrize("word", ["debug", "quiet=true"])
def test_every_command_tells_a_flag_that_is_typed_as_a_word(
    command, word, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, *(["stats"] if command == "data" else []), "data_path=a.jsonl", word]) == 2
    name = word.partition("=")[0]
    assert f"{word}: {name} is a flag; type --{name}" in capsys.readouterr().err


def test_its_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"papermage_core {metadata.version('papermage_core')}\n"


def test_help_imports_no_command() -> None:
    script = (
        "import sys\nfrom papermage_core.cli.main import main\nmain(['--help'])\n"
        "found = {'torch', 'attrs', 'papermage_core.cli.train'} & set(sys.modules)\n"
        "sys.exit(f'{found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    command = [sys.executable, "-c", "import sys; from papermage_core.cli.main import main; sys.exit(main(['--help']))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("name", "words", "nearest"),
    [
        ("data", ["chek", "a.jsonl"], "check"),
        ("data", ["-q", "convrt"], "convert"),
        ("data", ["cache", "lst"], "list"),
        ("plugins", ["lst"], "list"),
        ("plugins", ["new", "acme", "--kind", "haed"], "head"),
    ],
)
def test_a_word_that_is_misspelt_gets_the_one_that_is_nearest(
    capsys: pytest.CaptureFixture[str], name: str, words: list[str], nearest: str
) -> None:
    with pytest.raises(SystemExit) as left:
        import_module(f"papermage_core.cli.{name}").main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith(f"). Did you mean {nearest!r}?\n")


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("data", ["check", "a.jsonl", "--jsn"], "--jsn. Did you mean '--json'?"),
        ("plugins", ["list", "--chek=3"], "--chek=3. Did you mean '--check'?"),
        ("plugins", ["list", "--qwxz"], "--qwxz"),
    ],
)
def test_a_flag_that_is_misspelt_gets_the_one_that_is_nearest(
    capsys: pytest.CaptureFixture[str], name: str, words: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as left:
        import_module(f"papermage_core.cli.{name}").main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith(f"unrecognized arguments: {told}\n")
