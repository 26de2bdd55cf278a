"""The best model is the one that `monitor` says, and a run that its time ends is a run that is done."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from papermage_core.checkpoint import read_json
from papermage_core.errors import ConfigError
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

SMALL = {"encoder.width": 32, "encoder.rows": 500, "enable_progress_bar": False, "batch_size": 4}


@pytest.fixture
def config(train_file: Path, val_file: Path, tmp_path: Path) -> Callable[..., EntityClassificationTrainConfig]:
    given = {"data_path": train_file, "val_data_path": val_file, "label_field": "names,amounts"}

    def make(**values: Any) -> EntityClassificationTrainConfig:
        return EntityClassificationTrainConfig(**given | {"default_root_dir": tmp_path / "run"} | SMALL | values)

    return make


def history(folder: Path) -> list[dict[str, float]]:
    rows = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    return [{name: float(value or "nan") for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("monitor", ["loss", "amounts.f1", "f1_macro"])
def test_the_model_that_is_kept_is_the_best_by_the_monitor(
    config: Callable[..., EntityClassificationTrainConfig], monitor: str
) -> None:
    result = EntityClassificationTrainer(config(monitor=monitor, max_epochs=4, learning_rate=3e-2)).train()
    rows = history(result.folder)
    values = [row[f"val_{monitor}"] for row in rows]
    best = values.index(min(values) if monitor == "loss" else max(values))
    assert result.scores.f1 == pytest.approx(rows[best]["val_f1"])
    if monitor == "amounts.f1":
        assert result.scores.per_label["amounts"].f1 == pytest.approx(values[best])


def test_patience_counts_by_the_monitor(config: Callable[..., EntityClassificationTrainConfig]) -> None:
    """A rate of almost 0 leaves F1 as it is, so that the second epoch is no better; the loss still falls."""
    slow: dict[str, Any] = {"learning_rate": 1e-6, "max_epochs": 4, "patience": 1}
    by_f1 = EntityClassificationTrainer(config(**slow)).train()
    by_loss = EntityClassificationTrainer(config(monitor="loss", default_root_dir=by_f1.folder / "b", **slow)).train()
    assert len(history(by_f1.folder)) == 2
    assert len(history(by_loss.folder)) == 4


def test_a_label_that_the_data_do_not_have_is_an_error_that_names_theirs(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path, train_file: Path
) -> None:
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    for document in documents:
        for entity in document["entities"]["names"]:
            entity["metadata"] = {"type": "person"}
    (tmp_path / "typed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    with pytest.raises(ConfigError, match=r"expected f1, f1_macro, loss or person\.f1\. Did you mean 'person\.f1'"):
        EntityClassificationTrainer(
            config(
                data_path=tmp_path / "typed.jsonl",
                val_data_path=tmp_path / "typed.jsonl",
                label_field="names",
                label_attribute="type",
                monitor="persn.f1",
            )
        ).train()
    assert not (tmp_path / "run").exists()


def test_a_run_that_its_time_ends_is_scored_and_its_rate_had_gone_down(
    config: Callable[..., EntityClassificationTrainConfig],
) -> None:
    result = EntityClassificationTrainer(
        config(max_time={"seconds": 2}, max_epochs=-1, learning_rate=1e-3, warmup_steps=0)
    ).train()
    assert (result.folder / "results" / "results.json").is_file()
    assert read_json(result.checkpoint)["scores"]["val"]["documents"] == 4
    rates = [row["learning_rate"] for row in history(result.folder)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 2e-4
