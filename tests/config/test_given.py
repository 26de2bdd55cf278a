"""Files and arguments are read without guessing, and keep their places."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

from papermage_core.config import given
from papermage_core.config.given import from_file, from_mapping, from_overrides, read_overrides
from papermage_core.config.values import Text
from papermage_core.errors import ConfigError


@pytest.fixture(autouse=True, params=["CSafeLoader", "SafeLoader"])
def _either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may come without its C parser; both must say the same."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without its C parser")
    monkeypatch.setattr(given, "_Loader", getattr(yaml, request.param))


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def pairs(folder: Path, text: str) -> dict[str, object]:
    return {item.key: item.value for item in from_file(written(folder, text))}


def test_yaml_values_stay_texts(tmp_path: Path) -> None:
    text = "label_field: on\nlearning_rate: 5e-5\nnotes: 2020-01-01\nseed: 0x10\n"

    assert pairs(tmp_path, text) == {
        "label_field": "on",
        "learning_rate": "5e-5",
        "notes": "2020-01-01",
        "seed": "0x10",
    }


def test_only_unquoted_yaml_may_say_none(tmp_path: Path) -> None:
    found = pairs(tmp_path, "a: none\nb: 'none'\n")

    assert isinstance(found["a"], Text)
    assert not isinstance(found["b"], Text)


def test_nested_yaml_becomes_dotted_keys(tmp_path: Path) -> None:
    text = "head: {name: crf, dropout: 0.1}\nencoder:\n  lora:\n    name: q\n    rank: 8\nencoder.width: 3\n"

    assert pairs(tmp_path, text) == {
        "head": "crf",
        "head.dropout": "0.1",
        "encoder.lora.name": "q",
        "encoder.lora.rank": "8",
        "encoder.width": "3",
    }


def test_yaml_lists_and_mappings_are_kept(tmp_path: Path) -> None:
    assert pairs(tmp_path, "label_field: [a, 'b,c']\nmax_time: {hours: 2}\n") == {
        "label_field": ["a", "b,c"],
        "max_time": {"hours": "2"},
    }


def test_each_value_knows_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "# comment\nseed: 1\nhead:\n  dropout: 0.1\n")

    assert [item.source for item in from_file(path)] == [f"{path}:2", f"{path}:4"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeffseed: 1\n"])
def test_empty_files_and_byte_order_marks_are_fine(tmp_path: Path, text: str) -> None:
    assert set(pairs(tmp_path, text)) <= {"seed"}


def aliases(form: str, names: int = 40, each: int = 9) -> str:
    """Return a file of a few lines in which each name stands for the one before several times."""
    lines = ["a0: &a0 {}\n" if "{{" in form else "a0: &a0 []\n"]
    for i in range(1, names):
        inner = ", ".join(f"k{j}: *a{i - 1}" if "{{" in form else f"*a{i - 1}" for j in range(each))
        lines.append(f"a{i}: &a{i} {form.format(inner)}\n")
    return "".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "config.yaml:2: not well-formed YAML"),
        ("- a\n- b\n", "config.yaml:1: expected 'key: value' lines"),
        ("just words", "config.yaml:1: expected 'key: value' lines"),
        ("seed: 1\nnotes: x\nseed: 2\n", "config.yaml:3: seed is given twice, first in line 1"),
        ("head:\n  dropout: 1\n  dropout: 2\n", "config.yaml:3: head.dropout is given twice, first in line 2"),
        ("? [a, b]\n: 1\n", "config.yaml:1: expected a name before ':'"),
        ("head: &h\n  inner: *h\n", "head.inner contains itself"),
        ("label_field: &l\n  - *l\n", "config.yaml:1: label_field contains itself"),
        ("label_field: [{[a]: 1}]\n", "config.yaml:1: expected a name before ':'"),
        ("max_time: {hours: 1, hours: 2}\n", "config.yaml:1: max_time.hours is given twice"),
        ("head: crf\nhead.dropout: 1\nencoder:\n  width: 3\nencoder.width: 4\n", "config.yaml:5): encoder.width=3 and"),
        ("head: crf\nhead.name: span\n", "config.yaml:2): head=crf and head=span; give one of them"),
        (f"a: {'[' * 3000}{']' * 3000}\n", "config.yaml:1: values are nested more than 50 deep"),
        ("".join(f"{'  ' * i}a{i}:\n" for i in range(3000)), "config.yaml:51: values are nested more than 50 deep"),
        (f"a: {'{b: ' * 99}1{'}' * 99}\n", "config.yaml:1: values are nested more than 50 deep"),
        (f"{'? ' * 3000}a\n", "config.yaml:1: values are nested more than 50 deep"),
        (aliases("[{}]"), "with its aliases, the file holds more than 100000 values"),
        (aliases("{{{}}}"), "with its aliases, the file holds more than 100000 values"),
        (aliases("[{}]", names=3000, each=1), "values are nested more than 50 deep"),
        (f"notes: {'x' * 10_000_000}\n", "it has more than 10000000 bytes"),
        ("a: 1\n---\nb: 2\n", "not well-formed YAML"),
        ("a: \0", "not well-formed YAML"),
    ],
)
def test_a_faulty_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(written(tmp_path, text))

    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_a_folder_and_binary_data_are_told(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x80")

    for name, message in [("none.yaml", "No such file"), ("", "Is a directory"), ("binary.yaml", "not UTF-8")]:
        with pytest.raises(ConfigError, match=message):
            from_file(tmp_path / name)


def test_python_mappings_may_be_nested_or_dotted() -> None:
    found = from_mapping({"head": {"name": "crf", "dropout": 0.1}, "encoder.width": 3, "max_time": {"hours": 2}})

    assert {item.key: item.value for item in found} == {
        "head": "crf",
        "head.dropout": 0.1,
        "encoder.width": 3,
        "max_time": {"hours": 2},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=1", "notes=x", "seed=2"], "seed is given twice (command line): seed=1 and seed=2; give one of them"),
        (["seed=1", "seed=1"], "seed is given twice (command line): seed=1 and seed=1; give one of them"),
        (["head.a=1", "head.a=2"], "head.a is given twice (command line): head.a=1 and head.a=2; give one of them"),
        (["head=a", "head.name=b"], "head is given twice (command line): head=a and head=b; give one of them"),
        (["seed =1", "seed=2"], "seed is given twice (command line): seed=1 and seed=2; give one of them"),
    ],
)
def test_a_key_given_twice_is_an_error_with_both_values(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_overrides(arguments)

    assert caught.value.errors == (message,)


def test_a_key_given_twice_in_python_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"head.dropout is given twice \(Python\)"):
        from_mapping({"head": {"name": "crf", "dropout": 0.1}, "head.dropout": 0.2})


@pytest.mark.parametrize("command", ["evaluate", "predict", "data"])
def test_every_command_refuses_an_option_given_twice(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"papermage_core.cli.{command}").main
    words = ["check"] if command == "data" else []

    assert main([*words, "data_path=a", "data_path=b"]) == 2
    assert "data_path is given twice (command line): data_path=a and data_path=b" in capsys.readouterr().err


def test_everything_after_the_first_equals_sign_is_the_value() -> None:
    (item,) = from_overrides(["notes=a=b c"])

    assert (item.key, item.value) == ("notes", "a=b c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning_rate", "1e-3"], "--learning_rate 1e-3: options have no dashes, type learning_rate=1e-3"),
        (["--learning-rate=1e-3"], "--learning-rate=1e-3: options have no dashes, type learning_rate=1e-3"),
        (["--max_steps", "-1"], "--max_steps -1: options have no dashes, type max_steps=-1"),
        (["--wandb", "seed=1"], "--wandb: options have no dashes, type wandb=..."),
        (["wandb"], "wandb: expected key=value"),
        (["my.yaml"], "my.yaml: expected key=value; for a config file type -c my.yaml"),
        (["train.jsonl"], "train.jsonl: expected key=value; for the documents type data_path=train.jsonl"),
        (["=3"], "=3: the name before '=' is missing; there must be no space around '='"),
    ],
)
def test_an_argument_of_another_form_is_told_what_to_type(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_overrides(arguments)

    assert caught.value.errors == (message,)


def test_all_faulty_arguments_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        from_overrides(["--a", "1", "b", "c=1", "--d", "--e", "2"])

    assert len(caught.value.errors) == 4


@pytest.mark.parametrize("text", ["seed = 1\n", '[head]\nname = "crf"\n', "seed = 1\n[head]\nx = [1,\n"])
def test_a_file_in_toml_is_told_what_a_config_file_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="; a config file is YAML or JSON, not TOML"):
        from_file(path)


def test_words_that_are_not_understood_hide_nothing() -> None:
    words = ["stray", "seed=1", "seed=2", "--lr", "3", "processors=tokens,", "sentences,", "rows", "notes=x"]
    found, errors = read_overrides(words)
    assert [(item.key, item.value) for item in found] == [("seed", "1"), ("notes", "x")]
    assert errors == [
        "processors=tokens, sentences, rows: there must be no space in a list; type processors=tokens,sentences,rows",
        "stray: expected key=value",
        "--lr 3: options have no dashes, type lr=3",
        "seed is given twice (command line): seed=1 and seed=2; give one of them",
    ]
