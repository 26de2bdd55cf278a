"""Runs that are stopped or killed, and go on: they end as if nothing had happened."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file

from papermage_core.errors import CheckpointError, ConfigError, StoppedError
from papermage_core.files import checked_file
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.module import EntityModule

SMALL = {
    "num_threads": 1,  # the threads of OpenMP do not live on in a fork
    **{"encoder.width": 16, "encoder.rows": 200, "enable_progress_bar": False, "batch_size": 4},
    **{"label_field": "names,amounts", "max_epochs": 2, "learning_rate": 1e-2, "warmup_steps": 0.2},
}
Make = Callable[..., EntityClassificationTrainer]


@pytest.fixture
def make(train_file: Path, val_file: Path, tmp_path: Path) -> Make:
    def make(name: str, **values: Any) -> EntityClassificationTrainer:
        given = {"data_path": train_file, "val_data_path": val_file, "default_root_dir": tmp_path / name}
        return EntityClassificationTrainer(EntityClassificationTrainConfig(**given | SMALL | values))

    return make


def end_of(folder: Path) -> dict[str, Any]:
    """Return all that a run leaves, but for times."""
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    results = json.loads((folder / "results" / "results.json").read_text())
    state = torch.load(folder / "last.ckpt", weights_only=True)
    weights = load_file(folder / "checkpoints" / "model.safetensors")
    moments = state["optimizer_states"][0]["state"]
    return {
        "metrics": [{key: value for key, value in row.items() if key != "seconds"} for row in rows],
        "results": {key: results[key] for key in ("split", "splits", "calibration", "files", "issues")},
        "best": {name: weight.tolist() for name, weight in weights.items()},
        "last": {name: weight.tolist() for name, weight in state["state_dict"].items()},
        "optimizer": {i: {name: value.tolist() for name, value in of.items()} for i, of in moments.items()},
        "files": sorted(path.name for path in folder.iterdir()),
    }


class StopAt(pl.Callback):
    """Has a run stop at the n-th batch of training or of validation, or the n-th end of a validation."""

    def __init__(self, trainer: EntityClassificationTrainer, where: str, n: int) -> None:
        self._trainer, self._where, self._left = trainer, where, n

    def _count(self, where: str) -> None:
        self._left -= where == self._where
        if where == self._where and self._left == 0:
            assert self._trainer.stop("a test")

    def on_train_batch_start(self, *_: Any) -> None:
        self._count("train")

    def on_validation_batch_start(self, *_: Any) -> None:
        self._count("val")

    def on_validation_end(self, *_: Any) -> None:
        self._count("val end")


CASES: dict[str, dict[str, Any]] = {
    "plain": {"head": "crf"},
    "gradients summed up": {"accumulate_grad_batches": 2},
    "validated twice an epoch": {"val_check_interval": 0.5},
    "so many steps": {"max_epochs": -1, "max_steps": 10},
    "stopped by patience": {"patience": 1, "learning_rate": 1e-6, "max_epochs": 4},
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_anywhere_ends_as_if_it_had_not_been(make: Make, case: str) -> None:
    """Inside an epoch, at its last batch and so in the validation after it, at the end of that, and again."""
    expected = end_of(make("whole", **CASES[case]).train().folder)
    stops = []
    for where, n in (("train", 2), ("train", 3), ("train", 1), ("val end", 1), ("train", 1), ("val", 2)):
        stopped = make("run", resume="auto", **CASES[case])
        stopped.config = stopped.config.replace(callbacks=[StopAt(stopped, where, n)])
        try:
            stopped.train()
        except StoppedError as error:
            stops.append(str(error))
    assert len(set(stops)) >= 3
    assert all(re.search(r"stopped by a test in epoch [12], step \d+; saved in .*last\.ckpt", said) for said in stops)
    assert end_of(make("run", resume="auto", **CASES[case]).train().folder) == expected


def test_a_run_in_a_folder_that_is_named_otherwise_keeps_its_best_model(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No epoch after the first is better: what was learned is too little."""
    values = {"learning_rate": 1e-9, "max_epochs": 3}
    expected = end_of(make("whole", **values).train().folder)
    (tmp_path / "runs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "runs", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for place, again, resume in (
        ("link/a", "runs/a", "auto"),
        ("runs/b", "link/b", True),
        ("runs/c", "./runs/c", Path("link/c/last.ckpt")),
    ):
        stopped = make("x", default_root_dir=place, **values)
        stopped.config = stopped.config.replace(callbacks=[StopAt(stopped, "train", 8)])
        with pytest.raises(StoppedError):
            stopped.train()
        assert end_of(make("x", default_root_dir=again, resume=resume, **values).train().folder) == expected


def test_the_state_before_a_damaged_one_is_gone_on_from_and_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    expected = end_of(make("whole").train().folder)
    for damage in ("cut", "bit", "missing"):
        stopped = make(damage, checkpoint_every=2)
        stopped.config = stopped.config.replace(callbacks=[StopAt(stopped, "train", 5)])
        with pytest.raises(StoppedError):
            stopped.train()
        last = stopped.folder / "last.ckpt"
        content = last.read_bytes()
        if damage == "missing":
            last.unlink()
        else:
            flipped = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
            last.write_bytes(content[:-700] if damage == "cut" else flipped)
        caplog.clear()
        resumed = make(damage, resume="auto")
        assert end_of(resumed.train().folder) == expected
        ours = [record for record in caplog.records if record.name.startswith("papermage_core.")]
        told = [record.message for record in ours if "previous.ckpt" in record.message]
        assert bool(told) == (damage != "missing")


def test_auto_starts_goes_on_and_leaves_what_is_done(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    first = make("run", resume="auto", max_epochs=1).train()
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    caplog.set_level("INFO", "papermage_core")
    again = make("run", resume="auto", max_epochs=1).train()
    assert "this run is done" in caplog.text
    assert again.scores.to_json() == first.scores.to_json()
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before
    further = make("run", resume="auto", max_epochs=2).train()
    assert len((further.folder / "metrics.csv").read_text().splitlines()) == 3
    with pytest.raises(ConfigError, match=r"resume: seed is 1; the run began with 470"):
        make("run", resume="auto", max_epochs=2, seed=1).train()


def test_a_done_run_whose_model_was_damaged_since_is_not_called_done(make: Make) -> None:
    done = make("run", resume="auto", max_epochs=1).train()
    weights = done.checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is done, but .*model\.safetensors is damaged: .* overwrite=true"):
        make("run", resume="auto", max_epochs=1).train()
    again = make("run", resume=False, max_epochs=1, overwrite=True).train()
    assert again.scores.to_json() == done.scores.to_json()


def test_the_default_folder_knows_its_own_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    data = tmp_path / "data.jsonl"
    data.write_bytes(train_file.read_bytes())
    caplog.set_level("INFO", "papermage_core")
    first = make("x", default_root_dir=None, data_path=data, max_epochs=1).train()
    again = make("x", default_root_dir=None, data_path=data, max_epochs=1, num_workers=0).train()
    assert again.folder == first.folder
    assert "this run is done" in caplog.text
    data.write_bytes(b"".join(train_file.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(ConfigError, match="holds a run that is done"):
        make("x", default_root_dir=None, data_path=data, max_epochs=1).train()


def test_a_run_goes_on_in_another_folder_with_its_model(make: Make, tmp_path: Path) -> None:
    make("run", max_epochs=1).train()
    before = end_of(tmp_path / "run")
    last = tmp_path / "run" / "last.ckpt"
    moved = make("moved", resume=last, max_epochs=2).train()
    assert end_of(moved.folder)["metrics"][0] == before["metrics"][0]
    assert end_of(tmp_path / "run") == before
    with pytest.raises(ConfigError, match="moved holds a run that is done"):
        make("moved", resume=last, max_epochs=2).train()
    (last.parent / "checkpoints" / "papermage.json").unlink()
    with pytest.raises(ConfigError, match=r"goes with the folder .*checkpoints"):
        make("run", resume=True, max_epochs=3).train()


@pytest.mark.parametrize("content", ["[1]", '"x"', "{", "files"])
def test_results_that_were_damaged_are_made_again(make: Make, content: str) -> None:
    path = make("run", max_epochs=1).train().folder / "results" / "results.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({"files": results["files"]}) if content == "files" else content)
    make("run", resume="auto", max_epochs=1).train()
    assert json.loads(path.read_text())["splits"] == results["splits"]


class _Runs:
    def __reduce__(self) -> Any:
        return (print, ("run",))


STATES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda state: state.update(epoch=_Runs()), "holds other things than numbers, texts and tensors. Copy it again"),
    (lambda state: state.pop("callbacks"), r"is not the last\.ckpt of a run of this version: no callbacks\. Copy it"),
    (lambda state: state["state_dict"].popitem(), "do not fit the model that its options make now: .*Missing key"),
]


def test_a_state_that_fits_its_checksum_and_nothing_else_is_told(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one of other versions would, or one that somebody made; what it says is not run."""
    last = make("run", max_epochs=1).train().folder / "last.ckpt"
    sound = last.read_bytes()
    for change, told in STATES:
        last.write_bytes(sound)
        state = torch.load(last, weights_only=True)
        change(state)
        with checked_file(last) as file:
            torch.save(state, file)
        with pytest.raises(CheckpointError, match=told):
            make("run", max_epochs=2, resume=True).train()
    assert "run" not in capsys.readouterr().out


# Killed --------------------------------------------------------------------------------------------------------------


def killed(trainer: EntityClassificationTrainer, kill: Callable[[int], None]) -> None:
    """Train in a fork, which ``kill`` is to end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            trainer.train()
            code = 0
        finally:
            os._exit(code)
    kill(child)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (-signal.SIGKILL, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(make: Make) -> None:
    start = time.monotonic()
    expected = end_of(make("whole", checkpoint_every=1).train().folder)
    seconds = time.monotonic() - start
    chance = random.Random(7)
    for name in ("a", "b"):

        def kill(child: int) -> None:
            time.sleep(chance.random() * seconds)
            os.kill(child, signal.SIGKILL)

        for _ in range(2):
            killed(make(name, checkpoint_every=1, resume="auto"), kill)
        assert end_of(make(name, checkpoint_every=1, resume="auto").train().folder) == expected


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
@pytest.mark.parametrize(("saved", "written"), [(1, 0), (4, 9), (8, 30)])
def test_a_run_killed_while_it_saves_ends_as_if_it_had_not_been(
    make: Make, saved: int, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies in its ``saved``-th save, after so many writes to the file."""
    from papermage_core.files import checked

    expected = end_of(make("whole", checkpoint_every=1).train().folder)
    counts = {"saves": 0, "writes": 0}
    write = checked._Summed.write

    def counted(self: Any, data: Any) -> int:
        if counts.get("file") != id(self):
            counts.update(saves=counts["saves"] + 1, writes=0, file=id(self))
        counts["writes"] += 1
        if counts["saves"] == saved and counts["writes"] > written:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(checked._Summed, "write", counted)
        killed(make("run", checkpoint_every=1), lambda child: None)
    folder = make("run", resume="auto").folder
    assert not (folder / "results").exists()
    assert end_of(make("run", checkpoint_every=1, resume="auto").train().folder) == expected


def test_a_run_killed_before_it_saved_its_state_begins_again_as_it_was(make: Make) -> None:
    expected = end_of(make("whole").train().folder)
    folder = make("run").train().folder
    for path in (folder / "last.ckpt", folder / "report.html", *(folder / "results").iterdir()):
        path.unlink()
    (folder / "results").rmdir()
    with pytest.raises(ConfigError, match="was stopped before its end"):
        make("run", resume="auto", learning_rate=3e-3).train()
    begun = (folder / "config.yaml").read_text()
    for text in ("- a list", "a: [", ""):
        (folder / "config.yaml").write_text(text)
        with pytest.raises(ConfigError, match="was stopped before its end"):
            make("run", resume="auto").train()
    (folder / "config.yaml").write_text(begun)

    assert end_of(make("run", resume="auto").train().folder) == expected


# Signals -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def arguments(train_file: Path, val_file: Path, tmp_path: Path) -> list[str]:
    given = {"data_path": train_file, "val_data_path": val_file, "default_root_dir": tmp_path / "the run"}
    return [f"{key}={value}" for key, value in (given | SMALL).items()]


@pytest.fixture
def raised_at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def arm(number: int, step: int) -> None:
        original = EntityModule.training_step

        def raising(self: EntityModule, batch: Any, batch_idx: int) -> Any:
            if self.global_step == step:
                monkeypatch.undo()
                os.kill(os.getpid(), number)
            return original(self, batch, batch_idx)

        monkeypatch.setattr(EntityModule, "training_step", raising)

    return arm


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(("name", "code"), [("SIGUSR1", 75), ("SIGHUP", 75), ("SIGTERM", 75), ("SIGINT", 130)])
def test_a_signal_saves_ends_with_its_code_and_says_what_to_type(
    arguments: list[str],
    raised_at_step: Callable[[int, int], None],
    capsys: pytest.CaptureFixture[str],
    name: str,
    code: int,
    tmp_path: Path,
) -> None:
    from papermage_core.cli.train import main

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)
    found = [signal.getsignal(number) for number in numbers]
    before = [*[signal.SIG_DFL] * 3, signal.default_int_handler]  # who runs the tests may have some ignored
    try:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        raised_at_step(getattr(signal, name), 3)
        assert main(["-q", *arguments, "overwrite=true"]) == code
        assert [signal.getsignal(number) for number in numbers] == before
    finally:
        for number, handler in zip(numbers, found, strict=True):
            signal.signal(number, handler)
    out, err = capsys.readouterr()
    assert out == ""
    said, typed = err.splitlines()
    assert said.startswith(f"papermage-train: stopped by {'Ctrl-C' if name == 'SIGINT' else name} in epoch 1, step 4")
    words = shlex.split(typed.removeprefix("go on with:"))
    assert words == ["papermage-train", "-q", *arguments, "resume=auto"]
    assert main(words[1:]) == 0
    assert (tmp_path / "the run" / "results" / "results.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_command_that_a_scheduler_ends_is_typed_again(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "papermage_core.cli.train", *arguments[:-3], "max_epochs=100000", *arguments[-2:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "the run" / "last.ckpt").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert re.search(r"stopped by SIGTERM in epoch \d+, step \d+", err)
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("resume=auto")
