from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from papermage_core.errors import ConfigError
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.trainer import RunResult


@pytest.fixture
def train(train_file: Path, tmp_path: Path) -> Callable[..., RunResult]:
    def run(name: str, **values: Any) -> RunResult:
        given = {"data_path": train_file, "label_field": "names,amounts", "default_root_dir": tmp_path / name}
        small = {"encoder.width": 16, "encoder.rows": 500, "batch_size": 4, "enable_progress_bar": False}
        config = EntityClassificationTrainConfig(**given | small | {"max_epochs": 1, "cache": False} | values)
        return EntityClassificationTrainer(config).train()

    return run


def test_the_rate_that_is_found_is_told_and_a_run_with_it_is_the_same_run(
    train: Callable[..., RunResult], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "papermage_core"):
        searched = train("searched", find_learning_rate=True)
    told = re.search(r"found learning_rate=(\S+) \(the encoder's own: 0\.003\)", caplog.text)
    assert told
    assert 6e-6 < float(told[1]) <= 0.03
    given = train("given", learning_rate=float(told[1]))
    one, other = (load_file(run.checkpoint / "model.safetensors") for run in (searched, given))
    assert all(one[name].equal(other[name]) for name in one)
    assert not list(searched.folder.glob(".lr_find*"))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"learning_rate": 1e-3}, "give one of the two"), ({"devices": 2}, "in one process")],
)
def test_what_does_not_go_with_a_search_for_the_rate_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EntityClassificationTrainConfig(data_path="a", label_field="b", find_learning_rate=True, **values)
