from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from papermage_core.config import EntityClassificationTrainConfig, load_config
from papermage_core.errors import ConfigError


def config(**values: Any) -> EntityClassificationTrainConfig:
    return EntityClassificationTrainConfig(**{"data_path": "a.jsonl", "label_field": "title,author"} | values)


def test_seeds_and_folds_are_read_as_they_are_typed(tmp_path: Path) -> None:
    made = load_config([], ["data_path=a.jsonl", "label_field=b", "seed=1,2,3", "folds=metadata:part"])
    assert (made.seeds, made.seed, made.folds) == ((1, 2, 3), 1, "metadata:part")
    assert (config(seed="7").seeds, config().seed, config(folds="5").folds) == ((7,), 470, 5)
    (tmp_path / "config.yaml").write_text(made.to_yaml())
    assert load_config([tmp_path / "config.yaml"]).seeds == (1, 2, 3)


def test_what_makes_several_runs_is_told_from_the_outside_in() -> None:
    assert config().several is None
    assert config(folds=5, fold="2").several is None
    assert config(folds=5).several == "folds"
    assert config(folds=5, seed="1,2").several == "seeds"
    assert config(learning_curve=True, seed="1,2").several == "learning_curve"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1}, "folds=1 (Python): expected a whole number at least 2, or metadata:KEY"),
        ({"folds": "five"}, "folds='five' (Python): expected a whole number at least 2, or metadata:KEY"),
        ({"folds": "metadata:"}, "expected a whole number at least 2"),
        ({"fold": "1"}, "give folds as well"),
        ({"folds": 5, "fold": "6"}, "fold='6' (Python): expected a whole number from 1 to 5"),
        ({"folds": 5, "val_data_path": "b.jsonl"}, "folds=5 and val_data_path"),
        ({"folds": 5, "test_data_path": "b.jsonl"}, "folds=5 and test_data_path"),
        ({"folds": 5, "learning_curve": True}, "folds=5 and learning_curve=true"),
        ({"folds": 5, "label_field": "predictions"}, "which label_field names"),
        ({"folds": 5, "resume": True}, "folds=5 and resume=True"),
        ({"seed": "1,2", "resume": True}, "seed=1,2 and resume=True"),
        ({"seed": "1,2", "resume": "old/last.ckpt"}, "seed=1,2 and resume=old"),
        ({"seed": "1,2,1"}, "expected one seed or several, each of them once"),
        ({"seed": "1,-2"}, "seed='1,-2' (Python): expected"),
        ({"seed": []}, "expected one seed or several"),
        ({"seed": "1,2", "mode": "eval", "model_name_or_path": "m"}, "mode=eval"),
        ({"learning_curve": True, "train_share": 0.5}, "train_share=0.5"),
        ({"learning_curve": True, "data_path": "-"}, "standard input"),
        ({"folds": 5, "devices": 2}, "give devices=1"),
        ({"seed": "1,2", "num_nodes": 2}, "give devices=1"),
    ],
)
def test_what_cannot_go_together_is_one_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**values)
    assert message in str(caught.value)
    assert len(caught.value.errors) == 1


def test_one_of_the_folds_goes_with_what_an_ordinary_run_goes_with() -> None:
    assert config(folds=5, fold="2", resume=True, devices=2).several is None
