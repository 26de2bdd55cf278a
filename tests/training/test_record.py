"""What a run records of itself, and what it never does."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from papermage_core.cli.train import main
from papermage_core.errors import ConfigError
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.surroundings import git_state, peak_memory, versions

SMALL = {"encoder.width": 16, "encoder.rows": 200, "batch_size": 4, "max_epochs": 2, "label_field": "names,amounts"}
Make = Callable[..., EntityClassificationTrainer]


@pytest.fixture
def make(train_file: Path, val_file: Path, tmp_path: Path) -> Make:
    def make(**values: Any) -> EntityClassificationTrainer:
        given = {"data_path": train_file, "val_data_path": val_file, "default_root_dir": tmp_path / "run"}
        return EntityClassificationTrainer(EntityClassificationTrainConfig(**given | SMALL | values))

    return make


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a changed file and a secret in its remote's address, as the working folder."""
    folder = tmp_path / "code"
    folder.mkdir()
    try:
        git(folder, "init", "-q", "-b", "trunk")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git")
    (folder / "a.py").write_text("1")
    git(folder, "add", "a.py")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "remote", "add", "origin", "https://me:hunter2@example.org/x.git")
    (folder / "a.py").write_text("2  # hunter2")
    monkeypatch.chdir(folder)
    return folder


def test_a_run_records_where_it_took_place_and_no_secret(
    make: Make, repository: Path, monkeypatch: pytest.MonkeyPatch, train_file: Path, val_file: Path
) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, "hunter2")
    result = make().train()
    found = json.loads((result.folder / "results" / "results.json").read_text())
    assert found["git"]["branch"] == "trunk"
    assert len(found["git"]["commit"]) == 40
    assert found["git"]["changed_files"] == 1
    assert set(found["files"]) == {str(train_file), str(val_file)}
    assert found["versions"]["torch"] == versions()["torch"]
    assert found["components"]["model_head"]["distribution"] == "papermage_core"
    assert found["machine"]["cores"] == os.cpu_count()
    assert 10**7 < found["peak_memory_bytes"]["process"] <= peak_memory()["process"]
    assert 0 < found["seconds"] < 600
    assert found["best_epoch"] in (1, 2)
    assert found["epochs"] == 2
    facts = json.loads((result.checkpoint / "papermage.json").read_text())
    assert found["data_fingerprint"] == facts["data_fingerprint"]
    for path in (path for path in result.folder.rglob("*") if path.is_file()):
        assert b"hunter2" not in path.read_bytes(), path


def test_a_folder_outside_of_any_repository_has_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


def test_the_state_of_a_repository_is_what_git_says_of_it(repository: Path) -> None:
    def said(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()

    (repository / "new.py").write_text("not known to git")
    (repository / "a.py").rename(repository / "moved.py")
    git(repository, "add", "moved.py")
    git(repository, "checkout", "-q", "--detach")
    state = git_state(repository)
    assert state == {
        "commit": said("rev-parse", "HEAD"),
        "branch": said("rev-parse", "--abbrev-ref", "HEAD"),
        "changed_files": len(said("status", "--porcelain", "--untracked-files=no").splitlines()),
    }
    git(repository, "checkout", "-q", "--orphan", "empty")
    assert git_state(repository) is None  # no commit yet


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_all_files_have_the_permissions_of_the_umask(make: Make, mask: int) -> None:
    before = os.umask(mask)
    try:
        folder = make(max_epochs=1).train().folder
    finally:
        os.umask(before)
    for path in folder.rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_result_prints_as_three_lines_and_knows_its_report(make: Make) -> None:
    result = make().train()
    first, model, report = str(result).splitlines()
    assert first.startswith(f"val F1 {100 * result.scores.f1:.1f} (P ")
    assert model == f"model   {result.checkpoint}"
    assert report == f"report  {result.report}"
    assert result.report.is_file()


def test_the_command_ends_with_what_was_trained_how_well_and_how_to_use_it(
    train_file: Path, val_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"data_path": train_file, "val_data_path": val_file, "default_root_dir": tmp_path / "a run"}
    assert main(["-q", *(f"{key}={value}" for key, value in (given | SMALL).items())]) == 0
    out = capsys.readouterr().out
    checkpoint = tmp_path / "a run" / "checkpoints"
    assert "trained compact + linear on 12 documents, " in out
    assert ": names, amounts\n" in out
    assert "best    epoch " in out
    assert f"report  {tmp_path / 'a run' / 'report.html'}" in out
    shell, python = out.splitlines()[-2:]
    assert shell.split(" data_path=")[0] == f"  papermage-predict 'model_name_or_path={checkpoint}'"
    assert python == f"  EntityClassificationPredictor.from_pretrained({str(checkpoint)!r}).predict(doc)"
    assert main(["-q", "-c", str(tmp_path / "a run" / "config.yaml"), f"default_root_dir={tmp_path / 'again'}"]) == 0
    again = capsys.readouterr().out
    assert again.partition("trained")[0] == out.partition("trained")[0]


@pytest.mark.parametrize("service", ["wandb", "tensorboard", "mlflow"])
def test_a_logger_that_is_not_installed_is_told_with_its_extra(
    make: Make, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"wandb": "WandbLogger", "tensorboard": "TensorBoardLogger", "mlflow": "MLFlowLogger"}[service]

    def missing(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError(service)

    if importlib.util.find_spec(service) is not None:
        monkeypatch.setattr(f"papermage_core.training.lightning.{name}", missing)
    with pytest.raises(ConfigError, match=rf"{service}=true needs .*papermage_core\[{service}\]"):
        make(**{service: True}).train()


def test_tensorboard_gets_losses_and_scores(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning.loggers import CSVLogger

    made: list[Any] = []

    def logger(folder: str, **values: Any) -> CSVLogger:
        made.append(CSVLogger(folder, name=values["name"], version="v"))
        return made[-1]

    monkeypatch.setattr("papermage_core.training.lightning.TensorBoardLogger", logger)
    folder = make(tensorboard=True).train().folder
    head = (folder / "tensorboard" / "v" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"loss", "train_loss", "val_f1", "val_loss", "epoch", "step"} <= set(head)
