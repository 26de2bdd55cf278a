"""What a config names is looked for before anything is read, and all that is missing is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from papermage_core.config.paths import check_paths
from papermage_core.errors import ConfigError, DataError

NOTHING: dict[str, Any] = {
    "data_path": [], "val_data_path": [], "test_data_path": [], "resume": False, "mode": "train",
    "model_name_or_path": None,
}  # fmt: skip


def check(**values: Any) -> None:
    check_paths(NOTHING | values, dict.fromkeys(values, "command line"))


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("papers").mkdir()
    Path("papers/a.jsonl").touch()
    Path("run").mkdir()
    Path("last.ckpt").touch()


@pytest.mark.parametrize("path", ["papers", "papers/a.jsonl", "papers/*.jsonl", "**/*.jsonl", "-"])
def test_documents_that_are_there_are_found(path: str) -> None:
    check(data_path=[Path(path)])


@pytest.mark.parametrize("path", ["paper", "papers/b.jsonl", "papers/*.xml", "a" * 300, "papers/a.jsonl/b"])
def test_documents_that_are_not_there_are_told(path: str) -> None:
    with pytest.raises(DataError, match=r"^data_path=.* \(command line\): no such file or folder$"):
        check(data_path=[Path(path)])


def test_all_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        check(data_path=[Path("x"), Path("papers")], val_data_path=[Path("y")], test_data_path=[Path("z")])
    assert [line.partition(" ")[0] for line in str(caught.value).splitlines()] == [
        "data_path=x", "val_data_path=y", "test_data_path=z",
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["bert-base-cased", "allenai/scibert_scivocab_uncased", "run", "./run"])
def test_a_name_on_the_hub_is_not_looked_up_and_a_folder_may_be_named(model: str) -> None:
    check(model_name_or_path=model)


@pytest.mark.parametrize(
    "values",
    [
        {"model_name_or_path": "./gone"},
        {"model_name_or_path": "a/b/c"},
        {"model_name_or_path": "~/gone-for-ever"},
        {"encoder.model_name_or_path": "/gone"},
        {"mode": "eval", "model_name_or_path": "bert-base-cased"},
        {"processors.predictor.model_name_or_path": "gone"},
        {"processors.predictor.model_name_or_path": "last.ckpt"},
        {"encoder.pretrained": Path("gone")},
        {"encoder.pretrained": "~/gone"},
        {"encoder.pretrained": "last.ckpt"},
    ],
)
def test_a_folder_that_is_not_there_is_told(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        check(**values)


@pytest.mark.parametrize(
    "values",
    [{"encoder.pretrained": "run"}, {"encoder.pretrained": "none"}, {"encoder.pretrained": "gone", "mode": "eval"}],
)
def test_what_is_pretrained_is_looked_for_where_it_is_wanted(values: dict[str, Any]) -> None:
    check(**values)


def test_one_model_under_two_keys_is_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check(**{"model_name_or_path": "./gone", "encoder.model_name_or_path": "./gone"})
    assert len(caught.value.errors) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "eval", "model_name_or_path": "hf:somebody/model"},
        {"processors.predictor.model_name_or_path": "hf:somebody/model@v1"},
    ],
)
def test_a_checkpoint_on_the_hub_is_not_looked_up(values: dict[str, Any]) -> None:
    check(**values)


def test_a_list_of_terms_must_be_there() -> None:
    check(**{"processors.terms.path": Path("last.ckpt")})
    with pytest.raises(ConfigError, match=r"^processors\.terms\.path=drugs\.tsv \(command line\): no such file$"):
        check(**{"processors.terms.path": "drugs.tsv"})


def test_a_state_to_go_on_from_must_be_there() -> None:
    check(resume=Path("last.ckpt"))
    check(resume="auto")
    with pytest.raises(
        ConfigError,
        match=r"^resume=first\.ckpt \(command line\): no such file; expected true, false, auto or the last\.ckpt of a ",
    ):
        check(resume=Path("first.ckpt"))


def test_a_name_that_holds_a_comma_is_told_where_a_list_cuts_it() -> None:
    Path("papers/b, c.jsonl").touch()
    with pytest.raises(DataError) as caught:
        check(data_path=[Path("papers/a.jsonl"), Path("papers/b"), Path("c.jsonl")])
    hint = """for the file 'papers/b, c.jsonl' type the list as '["papers/b, c.jsonl", "..."]'"""
    assert str(caught.value).count(hint) == 2


@pytest.mark.parametrize("key", ["model_name_or_path", "encoder.model_name_or_path"])
def test_a_file_in_the_place_of_a_models_folder_is_told_as_one(key: str) -> None:
    Path("run/config.json").touch()
    with pytest.raises(ConfigError, match=r"no such folder: it is a file; name the folder that it is in, run$"):
        check(**{key: "run/config.json"})
