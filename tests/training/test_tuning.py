"""A search: its trials are run once each, whatever becomes of the processes."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from papermage_core.cli.train import main as train_main
from papermage_core.cli.tune import main
from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.space import Dimension
from papermage_core.errors import CheckpointError, ConfigError, DataError
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training.tuning import TuneOptions, tune
from papermage_core.training.tuning_report import TuneResult

optuna = pytest.importorskip("optuna")

SPACE = (
    Dimension(key="head", kind="choice", choices=("linear", "crf")),
    Dimension(key="learning_rate", kind="float", low=1e-3, high=5e-2, log=True),
    Dimension(key="head.label_smoothing", kind="float", low=0.0, high=0.2),
)


UNDEFINED = """
import attrs
from papermage_core.plugin import MetricConfig, hookimpl

class Undefined:
    def add(self, gold, predicted, unreachable=()): ...
    def value(self): return float("nan")

@attrs.frozen(kw_only=True)
class UndefinedConfig(MetricConfig):
    def build(self, labels): return Undefined()

@hookimpl
def papermage_metric(): return UndefinedConfig
"""


@pytest.fixture
def words(train_file: Path, val_file: Path, tmp_path: Path) -> list[str]:
    return [
        *(f"data_path={train_file}", f"val_data_path={val_file}", "label_field=names,amounts", "max_epochs=2"),
        *("encoder.width=16", "encoder.rows=500", "batch_size=4", "enable_progress_bar=false", "cache=false"),
        f"default_root_dir={tmp_path / 'search'}",
    ]


@pytest.fixture
def config(train_file: Path, val_file: Path) -> Callable[..., EntityClassificationTrainConfig]:
    def make(**values: Any) -> EntityClassificationTrainConfig:
        given = {"data_path": train_file, "val_data_path": val_file, "label_field": "names,amounts", "max_epochs": 2}
        small = {"encoder.width": 16, "encoder.rows": 500, "batch_size": 4, "enable_progress_bar": False}
        return EntityClassificationTrainConfig(**given | small | {"cache": False} | values)

    return make


def epochs(result: TuneResult, number: int) -> list[float]:
    rows = csv.DictReader((result.folder / "trials" / f"{number:04}" / "metrics.csv").read_text().splitlines())
    return [float(row["val_f1"]) for row in rows]


def test_a_search_leaves_a_table_a_page_and_the_best_run(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    result = tune(config(), SPACE, tmp_path / "search", TuneOptions(n_trials=3, pruning=False))
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    for trial in result.trials:
        assert trial.value == max(epochs(result, trial.number))
        assert ("head.label_smoothing" in trial.values) == (trial.values["head"] == "linear")
    best = result.best
    assert best is not None
    assert best.value == max(trial.value or 0 for trial in result.trials)
    assert EntityClassificationPredictor.from_pretrained(result.folder / "best").labels == ("names", "amounts")
    assert all(len(line) <= 80 for line in result.table().splitlines())
    page = (result.folder / "report.html").read_text()
    assert "<svg" in page
    for trial in result.trials:
        assert (result.folder / "trials" / trial.name / "checkpoints").is_dir(), "it is told by the name of its folder"
        assert f"<td>{trial.name}<td>" in page
        assert re.search(rf"^ {trial.name} ", result.table(), re.MULTILINE)
    with pytest.raises(CheckpointError, match=r"The best of its models is in .*best$"):
        EntityClassificationPredictor.from_pretrained(result.folder)
    assert "http" not in page.replace("http://www.w3.org", "")
    assert train_main(["-c", str(result.folder / "best.yaml"), "--dry-run"]) == 0
    record = json.loads((result.folder / "trials.json").read_text())
    assert record["best"] == best.number
    again = tune(config(), SPACE, tmp_path / "search", TuneOptions(n_trials=3, pruning=False))
    assert again.trials == result.trials


def test_a_trial_that_a_process_left_is_gone_on_with(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed when its run was done and nothing was recorded yet; and when nothing but the trial was."""
    from papermage_core.training import tuning

    class KilledError(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise KilledError

    options = TuneOptions(n_trials=2, pruning=False)
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", killed)
        with pytest.raises(KilledError):
            tune(config(), SPACE, tmp_path / "search", options)
    trained = (tmp_path / "search" / "trials" / "0000" / "last.ckpt").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_suggest", killed)
        with pytest.raises(KilledError):
            tune(config(), SPACE, tmp_path / "search", options)
    result = tune(config(), SPACE, tmp_path / "search", options)
    assert [trial.state for trial in result.trials] == ["complete", "complete"]
    assert (tmp_path / "search" / "trials" / "0000" / "last.ckpt").stat().st_mtime_ns == trained
    undisturbed = tune(config(), SPACE, tmp_path / "other", options)
    assert [trial.values for trial in undisturbed.trials] == [trial.values for trial in result.trials]
    assert [trial.value for trial in undisturbed.trials] == [trial.value for trial in result.trials]


@pytest.mark.slow
def test_a_killed_process_loses_and_repeats_nothing_and_two_go_on_together(words: list[str], tmp_path: Path) -> None:
    search = ["search=learning_rate,head.dropout", "n_trials=4", "pruning=false"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "papermage_core.cli.tune", *words, *search]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    trials = tmp_path / "search" / "trials"
    while process.poll() is None and not list(trials.glob("0001/*")):
        time.sleep(0.01)
    time.sleep(random.random() / 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert main([*words, *search, "-q"]) == 0
    assert process.wait() == 0
    record = json.loads((tmp_path / "search" / "trials.json").read_text())["trials"]
    assert [each["state"] for each in record] == ["complete"] * 4
    assert sorted(path.name for path in trials.iterdir()) == ["0000", "0001", "0002", "0003"]
    assert len({str(each["values"]) for each in record}) == 4
    for path in trials.iterdir():
        rows = csv.DictReader((path / "metrics.csv").read_text().splitlines())
        assert [row["epoch"] for row in rows] == ["0", "1"]


@pytest.mark.slow
def test_trials_worse_than_most_end_early_and_failures_are_told(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    space = (Dimension(key="learning_rate", kind="choice", choices=(2e-2, 1e-7, 1e30)),)
    options = TuneOptions(n_trials=9)
    result = tune(config(max_epochs=4, gradient_clip_val=0), space, tmp_path / "search", options)
    states = {trial.values["learning_rate"]: trial.state for trial in result.trials}
    assert len(result.trials) == 9
    assert states.get(1e30, "fail") == "fail"
    assert result.best is not None
    assert result.best.values["learning_rate"] == 2e-2
    for trial in result.trials:
        if trial.state == "pruned":
            assert trial.values["learning_rate"] == 1e-7
            assert trial.epochs < 4


def test_components_that_do_not_fit_each_other_are_not_drawn(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space = (
        Dimension(key="head", kind="choice", choices=("crf", "span")),
        Dimension(key="label_scheme", kind="choice", choices=("bio", "io", "span")),
        Dimension(key="head.dropout", kind="choice", choices=(0.1, 0.2)),
    )
    caplog.set_level("INFO", "papermage_core.training.tuning")
    result = tune(config(max_epochs=1), space, tmp_path / "search", TuneOptions(n_trials=5, pruning=False))
    assert "not drawn, for they do not fit: head=span with label_scheme=bio or io" in caplog.text
    assert [trial.state for trial in result.trials] == ["complete"] * 5, [trial.error for trial in result.trials]
    assert {trial.values["head"] for trial in result.trials} == {"crf", "span"}
    for trial in result.trials:
        assert list(trial.values) == ["head", "label_scheme", "head.dropout"]
        assert (trial.values["head"] == "span") == (trial.values["label_scheme"] == "span")


def test_another_search_is_not_gone_on_with(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    space = SPACE[1:2]
    tune(config(max_epochs=1), space, tmp_path / "search", TuneOptions(n_trials=1))
    with pytest.raises(ConfigError, match="max_epochs=1, and now it is 2; go on with what it began with, or"):
        tune(config(), space, tmp_path / "search", TuneOptions(n_trials=1))
    result = tune(config(max_epochs=1, resume="auto"), space, tmp_path / "search", TuneOptions(n_trials=1))
    assert len(result.trials) == 1  # resume=auto is what a search that was stopped advises
    with pytest.raises(ConfigError, match=r"space: learning_rate"):
        tune(
            config(max_epochs=1),
            (Dimension(key="learning_rate", kind="float", low=1e-3, high=1e-2),),
            tmp_path / "search",
        )


def test_a_search_that_cannot_be_recorded_leaves_no_folder(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"storage=nowhere: .*; give another storage or"):
        tune(config(), SPACE, tmp_path / "search", TuneOptions(storage="nowhere"))
    assert not (tmp_path / "search").exists()


def test_a_search_whose_folder_or_trials_were_spoilt_is_told_before_it_trains(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    folder, space = tmp_path / "search", SPACE[1:2]
    for name in ("best", "trials", "locks"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
        with pytest.raises(ConfigError, match=rf"search: {name} in it is a file, .*; move the file away, or choose"):
            tune(config(), space, folder, TuneOptions(n_trials=1))
        assert [path.name for path in folder.iterdir()] == [name]
        (folder / name).unlink()
    tune(config(max_epochs=1), space, folder, TuneOptions(n_trials=1))
    with contextlib.closing(sqlite3.connect(folder / "trials.db")) as database, database:
        assert database.execute("UPDATE trial_params SET distribution_json = '{}'").rowcount == 1
    with pytest.raises(ConfigError, match=r"a trial in it cannot be read, .* is missing; give another storage"):
        tune(config(max_epochs=1), space, folder, TuneOptions(n_trials=2))


def test_a_space_that_holds_nothing_is_an_error(words: list[str], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "space.yaml").write_text("# nothing yet\n")
    assert main([*words, f"space={tmp_path / 'space.yaml'}"]) == 2
    assert "space.yaml: the file holds no option" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 3, "val_data_path": ()}, "scores single runs"),
        ({"seed": "1,2"}, "scores single runs"),
        ({"resume": True}, "by itself"),
        ({"val_data_path": (), "val_split": 0}, "something to validate on"),
    ],
)
def test_what_does_not_go_with_a_search_is_an_error(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(config(**values), SPACE, tmp_path / "search")
    assert not (tmp_path / "search").exists()


def test_a_trial_whose_metric_is_never_a_number_fails_and_the_next_begins(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    """It was validated: that there is nothing to validate on would be wrong, and end the search."""
    (tmp_path / "undefined.py").write_text(UNDEFINED)
    given = config(max_epochs=1, plugins_path=tmp_path / "undefined.py", monitor="undefined")
    result = tune(given, SPACE[:2], tmp_path / "search", TuneOptions(n_trials=2))
    assert [trial.state for trial in result.trials] == ["fail"] * 2
    assert {trial.error for trial in result.trials} == {"val_undefined was no number in any epoch"}
    assert result.best is None


def test_trials_that_end_before_their_first_epoch_are_told_from_those_without_data(
    tmp_path: Path, config: Callable[..., EntityClassificationTrainConfig]
) -> None:
    with pytest.raises(DataError, match=r"allow trials more than max_steps=1, by which they end before"):
        tune(config(max_steps=1), None, tmp_path / "search", TuneOptions(n_trials=1))
