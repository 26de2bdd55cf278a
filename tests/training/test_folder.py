"""What a run finds in its folder, leaves there, and puts back of its process."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from papermage_core.errors import CheckpointError, ConfigError, DataError, DivergedError
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

SMALL = {"encoder.width": 32, "encoder.rows": 500, "enable_progress_bar": False, "batch_size": 4, "max_epochs": 1}


@pytest.fixture
def config(train_file: Path, tmp_path: Path) -> Callable[..., EntityClassificationTrainConfig]:
    def make(**values: Any) -> EntityClassificationTrainConfig:
        given = {"data_path": train_file, "label_field": "names,amounts", "default_root_dir": tmp_path / "run"}
        return EntityClassificationTrainConfig(**given | SMALL | values)

    return make


def train(config: EntityClassificationTrainConfig) -> Path:
    return EntityClassificationTrainer(config).train().folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_is_not_replaced_unasked(config: Callable[..., EntityClassificationTrainConfig]) -> None:
    folder = train(config())
    before = contents(folder)
    with pytest.raises(ConfigError, match=r"holds a run that is done \(val F1 [\d.]+\): go on with resume=true"):
        train(config(seed=3))
    assert contents(folder) == before
    assert train(config(seed=3, overwrite=True)) == folder
    after = contents(folder)
    assert all(after[name] != before[name] for name in ("report.html", "config.yaml", "checkpoints/model.safetensors"))


@pytest.mark.parametrize(
    "name", ["results/mine.txt", "report.html", "config.yaml", "metrics.csv", "checkpoints/mine.bin", "last.ckpt/mine"]
)
def test_what_a_person_put_where_a_run_puts_its_own_is_not_replaced_unasked(
    config: Callable[..., EntityClassificationTrainConfig], name: str, tmp_path: Path
) -> None:
    mine = tmp_path / "run" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("learning_rate: 0.1  # mine\n")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    first = name.partition("/")[0]
    with pytest.raises(ConfigError, match=f"holds {first}, of no run, .*another default_root_dir.*overwrite=true"):
        train(config())
    assert contents(tmp_path / "run").keys() == {name, "notes.txt"}
    train(config(overwrite=True))
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert not mine.exists() or mine.read_text() != "learning_rate: 0.1  # mine\n"


@pytest.mark.parametrize("name", ["results/mine.txt", "report.html"])
def test_an_evaluation_replaces_nothing_unasked(
    config: Callable[..., EntityClassificationTrainConfig], name: str, tmp_path: Path
) -> None:
    folder = train(config())
    mine = tmp_path / "scored" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    given = {"mode": "eval", "model_name_or_path": str(folder / "checkpoints"), "default_root_dir": tmp_path / "scored"}
    with pytest.raises(ConfigError, match=f"holds {name.partition('/')[0]} already: set overwrite=true"):
        EntityClassificationTrainer(config(**given)).evaluate()
    assert contents(tmp_path / "scored") == {name: b"mine"}
    EntityClassificationTrainer(config(**given, overwrite=True)).evaluate()


def test_a_folder_with_other_things_in_it_is_trained_in(
    config: Callable[..., EntityClassificationTrainConfig], train_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "run" / "data").mkdir(parents=True)
    (tmp_path / "run" / "data" / "train.jsonl").write_bytes(train_file.read_bytes())
    train(config(data_path=tmp_path / "run" / "data" / "train.jsonl"))
    assert (tmp_path / "run" / "data" / "train.jsonl").read_bytes() == train_file.read_bytes()


@pytest.mark.parametrize("more", [{}, {"overwrite": True}, {"resume": "auto"}])
@pytest.mark.parametrize("key", ["data_path", "val_data_path", "test_data_path"])
@pytest.mark.parametrize("place", ["results/a.jsonl", "checkpoints/in/a.jsonl", "metrics.csv"])
def test_documents_are_not_read_where_a_run_puts_its_own(
    config: Callable[..., EntityClassificationTrainConfig],
    train_file: Path,
    tmp_path: Path,
    more: dict[str, Any],
    key: str,
    place: str,
) -> None:
    mine = tmp_path / "run" / place
    mine.parent.mkdir(parents=True)
    mine.write_bytes(train_file.read_bytes())
    (tmp_path / "other").symlink_to(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"is to be read, and lies where the run puts its \w+"):
        train(config(**{key: tmp_path / "other" / place, "reader": "jsonl"}, **more))
    assert mine.read_bytes() == train_file.read_bytes()


def test_a_run_that_was_stopped_is_not_replaced_unasked(config: Callable[..., EntityClassificationTrainConfig]) -> None:
    folder = train(config())
    (folder / "results" / "results.json").unlink()
    with pytest.raises(ConfigError, match="holds a run that was stopped before its end"):
        train(config())


def test_a_run_that_replaces_another_and_fails_before_it_has_a_model_leaves_it_whole(
    config: Callable[..., EntityClassificationTrainConfig],
) -> None:
    folder = train(config())
    before = contents(folder)
    with pytest.raises(DivergedError):
        train(config(overwrite=True, learning_rate=1e30, max_epochs=5))
    assert contents(folder) == before


def test_a_run_that_replaces_another_and_fails_later_leaves_nothing_of_it(
    config: Callable[..., EntityClassificationTrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    from papermage_core.training import trainer

    folder = train(config())
    before = contents(folder)
    monkeypatch.setattr(trainer, "evaluate_model", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(config(overwrite=True, seed=3))
    after = contents(folder)
    assert not [name for name in after if after[name] == before.get(name)]
    assert not [name for name in after if name.startswith("results") or name == "report.html"]
    with pytest.raises(ConfigError, match="holds a run that was stopped before its end"):
        train(config())


def test_one_run_at_a_time_has_a_folder(config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path) -> None:
    from papermage_core.files import exclusive

    (tmp_path / "run").mkdir()
    with exclusive(tmp_path / "run"), pytest.raises(ConfigError, match="another run is writing there"):
        train(config())
    assert train(config()).is_dir()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"data_path": "nowhere.jsonl"}, DataError),
        ({"label_field": "nope"}, DataError),
        ({"entity_name": "tokenz"}, DataError),
        ({"resume": True}, ConfigError),
    ],
)
def test_a_start_that_fails_leaves_no_folder(
    config: Callable[..., EntityClassificationTrainConfig],
    tmp_path: Path,
    change: dict[str, Any],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        train(config(default_root_dir=tmp_path / "deep" / "run", **change))
    assert not (tmp_path / "deep").exists()


# Going on ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 0.5}, "learning_rate is 0.5; the run began with None"),
        ({"weight_decay": 0.5}, "weight_decay is 0.5; the run began with 0.01"),
        ({"seed": 1}, "seed is 1; the run began with 470"),
        ({"batch_size": 8}, "batch_size is 8; the run began with 4"),
        ({"encoder.dropout": 0.1}, "encoder.dropout is 0.1; the run began with 0.4"),
        ({"precision": "bf16-mixed"}, "precision is bf16-mixed; the run began with none"),
        ({"context_name": "tokens"}, "context_name is tokens; the run began with pages"),
        ({"head": "crf"}, "head is crf; the run began with linear"),
    ],
)
def test_a_run_goes_on_only_with_the_options_that_it_began_with(
    config: Callable[..., EntityClassificationTrainConfig], change: dict[str, Any], said: str
) -> None:
    folder = train(config())
    before = contents(folder)
    with pytest.raises(ConfigError) as caught:
        train(config(resume=True, max_epochs=2, **change))
    assert f"resume: {said}" in str(caught.value)
    assert contents(folder) == before, "nothing is written before the checks"


def test_a_run_does_not_go_on_with_other_validation_data(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, train_file: Path
) -> None:
    folder = train(config(val_data_path=val_file))
    before = contents(folder)
    with pytest.raises(ConfigError, match="the validation data, or their labels, are not the data that the run began"):
        train(config(val_data_path=train_file, resume=True, max_epochs=2))
    assert contents(folder) == before


def test_a_run_goes_on_for_more_epochs(config: Callable[..., EntityClassificationTrainConfig]) -> None:
    folder = train(config())
    train(config(resume=True, max_epochs=3, patience=5, num_workers=0))
    assert len((folder / "metrics.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text"])
def test_a_damaged_last_checkpoint_is_named(
    config: Callable[..., EntityClassificationTrainConfig], damage: str
) -> None:
    folder = train(config())
    last = folder / "last.ckpt"
    content = last.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]
    last.write_bytes({"cut": content[:-1000], "bit": flipped, "empty": b"", "text": b"hello" * 100}[damage])
    with pytest.raises(CheckpointError, match=r"last\.ckpt .*overwrite=true") as caught:
        train(config(resume=True, max_epochs=2))
    assert "weights_only" not in str(caught.value)


def test_a_run_goes_on_beside_a_best_model_that_can_be_read_or_says_so_before_it_trains(
    config: Callable[..., EntityClassificationTrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = train(config()) / "checkpoints" / "papermage.json"
    facts.write_bytes(facts.read_bytes()[:100])
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", lambda *given, **named: pytest.fail("it trains"))
    with pytest.raises(CheckpointError, match=r"papermage\.json is damaged"):
        train(config(resume=True, max_epochs=2))


# Divergence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["linear", "crf", "span"])
def test_a_run_that_diverges_stops_and_says_where(
    config: Callable[..., EntityClassificationTrainConfig], head: str
) -> None:
    scheme = {"label_scheme": "span"} if head == "span" else {}
    with pytest.raises(DivergedError, match=r"training diverged .*Try a lower learning_rate \(now 1e\+30\)") as caught:
        train(config(head=head, learning_rate=1e30, gradient_clip_val=0, max_epochs=5, **scheme))
    assert "doc-" in str(caught.value) or "weights" in str(caught.value)


# The process ---------------------------------------------------------------------------------------------------------


def state_of_process() -> dict[str, Any]:
    kind, keys, place, *_ = np.random.get_state()
    return {
        "environment": dict(os.environ),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "streams": (sys.stdout, sys.stderr),
        "warnings": list(warnings.filters),
        "folder": Path.cwd(),
        "random": (random.getstate(), kind, keys.tolist(), place, torch.get_rng_state().tolist()),
        "start": multiprocessing.get_start_method(allow_none=True),
    }


def test_training_and_predicting_leave_the_process_as_it_was(
    config: Callable[..., EntityClassificationTrainConfig], train_file: Path
) -> None:
    from papermage_core import Document

    train(config(default_root_dir=config().default_root_dir.with_name("first")))  # type: ignore[union-attr]  # imports
    before = state_of_process()
    folder = train(config(offline=True, num_threads=3, head="crf"))
    predictor = EntityClassificationPredictor.from_pretrained(folder)
    predictor.predict(Document.from_json(json.loads(train_file.read_text().splitlines()[0])))
    after = state_of_process()
    assert {name for name in before if before[name] != after[name]} == set()
