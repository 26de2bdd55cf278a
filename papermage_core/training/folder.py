"""The folder of a run: whose it is, what is in it already, and how a run that was stopped goes on."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.config.structure import unstructure
from papermage_core.config.train import own_options
from papermage_core.errors import CheckpointError, ConfigError
from papermage_core.files import check_file, exclusive, recover

__all__ = ["FREE_ON_RESUME", "RunFolder", "check_resumed", "check_resumed_data", "config_texts", "read_last"]

FREE_ON_RESUME = frozenset(
    {
        *("max_epochs", "max_steps", "max_time", "patience", "num_workers", "num_threads", "cache", "offline"),
        *("wandb", "logger", "log_every_n_steps", "enable_progress_bar", "enable_model_summary", "profiler"),
        *("notes", "data_notes", "callbacks", "accelerator", "test_data_path"),
    }
)
"""What may be another when a run goes on: how long it runs, what it shows, where and how fast it computes."""
_COMPARED_BY_CONTENT = frozenset(
    {"data_path", "val_data_path", "reader", "default_root_dir", "resume", "overwrite", "plugins_path"}
)
_OUTPUTS = ("results", "report.html", "metrics.csv", "last.ckpt", "config.yaml")


class RunFolder:
    """A run's folder, which one run at a time has."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def last(self) -> Path:
        """The file to go on from."""
        return self.path / "last.ckpt"

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Make the folder and keep other runs out while the block runs; clear up what killed ones left.

        Where the block fails before anything was written, the folder goes again. Raises ConfigError where another run
        has it, or it cannot be made.
        """
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with exclusive(self.path):
                for folder in (self.path, self.path / "results"):
                    recover(folder)
                yield
        except BlockingIOError as error:
            raise ConfigError(
                f"default_root_dir={self.path}: another run is writing there; choose another folder, or wait"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                for path in missing:  # from the innermost; one that holds something stays
                    path.rmdir()

    def check_free(self) -> None:
        """Raise ConfigError where the folder holds a run already: its model and report are not replaced unasked."""
        ways = "go on with resume=true, replace it with overwrite=true, or choose another default_root_dir"
        if (self.path / "results" / "results.json").is_file():
            raise ConfigError(f"{self.path} holds a run that is done{self._scores()}: {ways}")
        if self.last.is_file() or (self.path / "checkpoints" / "papermage.json").is_file():
            raise ConfigError(f"{self.path} holds a run that was stopped before its end: {ways}")

    def _scores(self) -> str:
        try:
            scores = checkpoint.read_json(self.path / "checkpoints")["scores"]
            split = next(name for name in ("test", "val", "train") if name in scores)
            return f" ({split} F1 {100 * scores[split]['micro']['f1']:.1f})"
        except (CheckpointError, KeyError, TypeError, StopIteration):
            return ""

    def clear(self) -> None:
        """Remove what an earlier run left beside its model, which stays until there is a new one."""
        for name in _OUTPUTS:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def config_texts(config: EntityClassificationTrainConfig, components: ComponentConfigs) -> dict[str, str]:
    """Return every option that shapes the weights of a run, dotted, as text: what a run that goes on must repeat."""
    values: dict[str, Any] = {name: getattr(config, name) for name in own_options()} | dict(config.lightning)
    for key, component in components.by_key().items():
        values |= dict(_flat(unstructure(component), f"{key}."))
    for processor in components.processors.recipe():
        values |= dict(_flat(processor["options"], f"processors.{processor['name']}."))
    skipped = FREE_ON_RESUME | _COMPARED_BY_CONTENT
    return {
        key: value if isinstance(value, str) else repr(value)
        for key, value in values.items()
        if key.partition(".")[0] not in skipped
    }


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def read_last(path: Path) -> dict[str, Any]:
    """Return the state that a run goes on from.

    Raises ConfigError where there is none, and CheckpointError for one that is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"resume: there is no {path}; a run can be resumed once its first epoch is done")
    advice = (
        "Copy it again if it was copied; else start over with overwrite=true. The best model so far is in "
        f"{path.parent / 'checkpoints'}"
    )
    try:
        check_file(path, advice)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # of a file that anything may have been done to
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error}). {advice}") from error
    if not isinstance(state, dict) or "papermage_config" not in state:
        raise CheckpointError(f"{path} is not the last.ckpt of a run of this version. {advice}")
    return state


def check_resumed(state: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Raise ConfigError where a run would go on with options other than those that it began with."""
    before = json.loads(state["papermage_config"])
    changed = [
        f"resume: {key} is {texts.get(key, 'not there')}; the run began with {before.get(key, 'none')}"
        for key in sorted(before.keys() | texts.keys())
        if before.get(key) != texts.get(key)
    ]
    if changed:
        free = ", ".join(sorted(FREE_ON_RESUME))
        raise ConfigError(
            *changed, f"give what the run began with, or start a new run; what may change on resume: {free}"
        )


def check_resumed_data(state: Mapping[str, Any], contents: Mapping[str, str]) -> None:
    """Raise ConfigError where a run would go on with other data; ``contents`` are the hashes of what it was given."""
    before = state["papermage_data"]
    for name, what in (("train", "training"), ("val", "validation")):
        if before.get(name) != contents.get(name):
            raise ConfigError(
                f"resume: the {what} data, or their labels, are not the data that the run began with; start a new run"
            )
