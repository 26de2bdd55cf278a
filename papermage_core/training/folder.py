"""The folder of a run: whose it is, what is in it already, and how a run that was stopped goes on."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import logging
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.config.structure import unstructure
from papermage_core.config.train import own_options
from papermage_core.errors import CheckpointError, ConfigError
from papermage_core.files import exclusive, recover, whole_folder, whole_text_file
from papermage_core.files.whole import made_folder
from papermage_core.training.state import read_state

__all__ = [
    "FREE_ON_RESUME",
    "RunFolder",
    "check_model",
    "check_resumed",
    "check_resumed_data",
    "config_texts",
    "read_last",
]

_log = logging.getLogger(__name__)
FREE_ON_RESUME = frozenset(
    {
        *("max_epochs", "max_steps", "max_time", "patience", "num_workers", "num_threads", "cache", "offline"),
        *(
            "wandb",
            "tensorboard",
            "mlflow",
            "logger",
            "log_every_n_steps",
            "enable_progress_bar",
            "enable_model_summary",
            "profiler",
        ),
        *("notes", "data_notes", "callbacks", "accelerator", "test_data_path", "checkpoint_every"),
    }
)
"""What may be another when a run goes on: how long it runs, what it shows, where and how fast it computes."""
_COMPARED_BY_CONTENT = frozenset(
    {"data_path", "val_data_path", "reader", "default_root_dir", "resume", "overwrite", "plugins_path"}
)
_OF_NO_ACCOUNT = (FREE_ON_RESUME | _COMPARED_BY_CONTENT) - {
    *("max_epochs", "max_steps", "max_time", "patience", "test_data_path", "data_path", "val_data_path"),
}
"""What does not matter where a run is done already."""
_STATE = {
    **dict.fromkeys(("papermage_config", "pytorch-lightning_version"), str),
    **dict.fromkeys(("papermage_data", "callbacks", "loops", "state_dict"), dict),
    **dict.fromkeys(("optimizer_states", "lr_schedulers"), list),
}
"""What a run cannot go on without."""
_OF_SEVERAL = ("results/folds.json", "results/seeds.json", "results/learning_curve.json", "trials.json")
_OF_RESULTS = frozenset({"files", "splits", "counts", "epochs", "best_epoch", "seconds", "machine"})
"""What is told of a run that is done."""
_RESULTS = ("results", "report.html")
_OUTPUTS = (*_RESULTS, "metrics.csv", "last.ckpt", "previous.ckpt", "config.yaml")
_OF_A_WHOLE_CONFIG = frozenset({"data_path", "label_field", "encoder", "label_scheme", "head", "seed", "resume"})
"""Options of the config.yaml of a run, which has all; one that a person wrote has those that matter."""


class RunFolder:
    """A run's folder, which one run at a time has; what is written in it, beside the model, is written here.

    Nothing in it changes before a run has something of its own to leave there (`begin`), and what tells that a run is
    done is written last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._config: str | None = None
        self._from: Path | None = None

    @property
    def last(self) -> Path:
        """The file to go on from."""
        return self.path / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The file that `last` took the place of, while the run lasts."""
        return self.path / "previous.ckpt"

    @property
    def checkpoint(self) -> Path:
        """The folder of the best model."""
        return self.path / "checkpoints"

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Make the folder and keep other runs out while the block runs; clear up what killed ones left.

        Where the block fails before anything was written, the folder goes again. Raises ConfigError where another run
        has it, or it cannot be made.
        """
        try:
            with made_folder(self.path), exclusive(self.path):
                for folder in (self.path, self.path / "results"):
                    recover(folder)
                yield
        except BlockingIOError as error:
            raise ConfigError(
                f"default_root_dir={self.path}: another run is writing there; choose another folder, or wait"
            ) from error

    # What is there

    @property
    def is_done(self) -> bool:
        """Whether the folder holds a run that came to its end."""
        return (self.path / "results" / "results.json").is_file()

    @property
    def can_go_on(self) -> bool:
        """Whether there is something to go on from."""
        return self.last.is_file() or self.previous.is_file()

    def holds(self, config: str, files: Mapping[str, str]) -> bool:
        """Return whether a run of this config, on files of these hashes, came to its end here."""
        try:
            results = json.loads((self.path / "results" / "results.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if not isinstance(results, dict) or not results.keys() >= _OF_RESULTS:
            return False
        return bool(results["files"] == files and self._was_begun_as(config))

    def holds_beginning(self, config: str) -> bool:
        """Return whether a run of this config was begun here, and killed before it had saved a state to go on from."""
        return not self.is_done and not self.can_go_on and self._was_begun_as(config, but_for=FREE_ON_RESUME)

    def _was_begun_as(self, config: str, but_for: frozenset[str] = frozenset()) -> bool:
        """Return whether the folder's config and this one have the same values that decide what comes out of a run."""
        before, now = self._config_here(), yaml.safe_load(config)
        if not before:
            return False
        free = _OF_NO_ACCOUNT | but_for
        return all(before.get(key) == now.get(key) for key in (before.keys() | now.keys()) - free)

    def _config_here(self) -> dict[str, Any]:
        """Return what config.yaml says; nothing where there is none that can be read."""
        try:
            found = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return found if isinstance(found, dict) else {}

    def holds_file(self, path: Path) -> bool:
        """Return whether a file lies in the folder, by whatever name."""
        return Path(os.path.realpath(path)).parent == Path(os.path.realpath(self.path))

    def check_free(self) -> None:
        """Raise ConfigError where the folder holds a run already: its model and report are not replaced unasked."""
        for name in _OF_SEVERAL:
            if (self.path / name).is_file():
                raise ConfigError(
                    f"{self.path} holds several runs ({name}): choose another default_root_dir, or replace what they "
                    "gave with overwrite=true"
                )
        if self.is_done:
            raise ConfigError(
                f"{self.path} holds a run that is done{self._scores()}: go on with resume=true and more max_epochs, "
                "replace it with overwrite=true, or choose another default_root_dir"
            )
        if self.can_go_on or (self.checkpoint / "papermage.json").is_file():
            raise ConfigError(
                f"{self.path} holds a run that was stopped before its end: go on with resume=true, replace it with "
                "overwrite=true, or choose another default_root_dir"
            )

        if (found := self._of_no_run()) and not self._was_begun:
            raise ConfigError(
                f"{self.path} holds {', '.join(found)}, of no run, in whose place this one would put its own: choose "
                "another default_root_dir, or replace what is there with overwrite=true"
            )

    def check_documents(self, paths: Iterable[Path]) -> None:
        """Raise ConfigError for documents that lie where a run puts what it makes, and removes what is there."""
        places = [Path(os.path.realpath(self.path / name)) for name in self._names]
        for path in paths:
            real = Path(os.path.realpath(path))
            inside = [place for place in places if place == real or place in real.parents]
            if inside:
                raise ConfigError(
                    f"{path} is to be read, and lies where the run puts its {inside[0].name}: choose another "
                    "default_root_dir"
                )

    @property
    def _names(self) -> tuple[str, ...]:
        return (*_OUTPUTS, self.checkpoint.name)

    def _of_no_run(self) -> list[str]:
        """Return what lies where a run puts what it makes."""
        return [name for name in self._names if os.path.lexists(self.path / name)]

    @property
    def _was_begun(self) -> bool:
        """Whether the config here is one that a run left, killed before it had saved anything else."""
        return self._config_here().keys() >= _OF_A_WHOLE_CONFIG

    def _scores(self) -> str:
        try:
            scores = checkpoint.read_json(self.checkpoint)["scores"]
            split = next(name for name in ("test", "val", "train") if name in scores)
            return f" ({split} F1 {100 * scores[split]['micro']['f1']:.1f})"
        except (CheckpointError, KeyError, TypeError, StopIteration):
            return ""

    # What is written

    def expect(self, config: str, resumed: Path | None) -> None:
        """Say what run will be written: its config, and the file that it goes on from."""
        self._config, self._from = config, resumed

    def begin(self, *, keep_model: bool = False) -> None:
        """Make the folder this run's, once: what an earlier one left is removed, and the config written.

        A run that goes on takes away what told that it was done. With ``keep_model`` the model of an earlier run stays
        until there is a new one.
        """
        if self._config is None:
            return
        config, self._config = self._config, None
        if self._from is not None and self.holds_file(self._from):
            gone = [*_RESULTS, *([self.last.name] if self._from.name == self.previous.name else [])]  # that is damaged
        else:
            gone = [*_OUTPUTS, *([] if keep_model else [self.checkpoint.name])]
        for name in gone:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if self._from is not None and not self.holds_file(self._from) and not keep_model:
            model = self._from.parent / self.checkpoint.name
            if model.is_dir():
                with whole_folder(self.checkpoint) as new:
                    shutil.copytree(model, new, dirs_exist_ok=True)
        with whole_text_file(self.path / "config.yaml") as file:
            file.write(config)

    def keep_last(self) -> None:
        """Have `previous` be what `last` is, which is then to be replaced."""
        if not self.last.is_file():
            return
        self.previous.unlink(missing_ok=True)
        try:
            os.link(self.last, self.previous)
        except OSError:  # no links here
            self.last.replace(self.previous)

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write ``metrics.csv``, a row an epoch."""
        self.begin()
        names = list(dict.fromkeys(name for row in rows for name in row))
        with whole_text_file(self.path / "metrics.csv") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows([{k: "" if math.isnan(v) else v for k, v in row.items()} for row in rows])

    def finish(self) -> None:
        """Remove what only a run that lasts needs."""
        self.previous.unlink(missing_ok=True)


def config_texts(config: EntityClassificationTrainConfig, components: ComponentConfigs) -> dict[str, str]:
    """Return every option that shapes the weights of a run, dotted, as text: what a run that goes on must repeat."""
    values: dict[str, Any] = {name: getattr(config, name) for name in own_options()} | dict(config.lightning)
    for key, component in components.by_key().items():
        values |= dict(flat(unstructure(component), f"{key}."))
    for processor in components.processors.recipe():
        values |= dict(flat(processor["options"], f"processors.{processor['name']}."))
    skipped = FREE_ON_RESUME | _COMPARED_BY_CONTENT
    return {
        key: value if isinstance(value, str) else repr(value)
        for key, value in values.items()
        if key.partition(".")[0] not in skipped
    }


def flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with their values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def read_last(paths: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
    """Return the first of these files that a run can go on from, and its state; those passed over are told.

    Raises ConfigError where there is none, and CheckpointError where all are damaged.
    """
    found = [path for path in paths if path.is_file()]
    if not found:
        raise ConfigError(f"resume: there is no {paths[0]}; a run can be resumed once it was saved")
    for path, other in itertools.zip_longest(found, found[1:]):
        try:
            return path, _read_state(path)
        except CheckpointError as error:
            if other is None:
                raise
            _log.warning("%s", str(error).partition(" Copy it")[0])
            _log.warning("going on from the one before it, %s", other)
    raise AssertionError("unreachable")


def _read_state(path: Path) -> dict[str, Any]:
    advice = (
        "Copy it again if it was copied; else start over with overwrite=true. The best model so far is in "
        f"{path.parent / 'checkpoints'}"
    )
    return read_state(path, _STATE, advice)


def check_model(state: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError where the best model of a run that goes on is no longer beside what it goes on from.

    Raises CheckpointError where it is there and cannot be read, before anything is trained.
    """
    model = path.parent / "checkpoints"
    if not state["callbacks"].get("KeepBest", {}).get("saved"):
        return
    if (model / "papermage.json").is_file():
        checkpoint.read_json(model)
    else:
        raise ConfigError(f"resume: {path} goes with the folder {model}, the best model so far, which is not there")


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
            *changed, advice=f"give what the run began with, or start a new run; what may change on resume: {free}"
        )


def check_resumed_data(state: Mapping[str, Any], contents: Mapping[str, str]) -> None:
    """Raise ConfigError where a run would go on with other data; ``contents`` are the hashes of what it was given."""
    before = state["papermage_data"]
    for name, what in (("train", "training"), ("val", "validation")):
        if before.get(name) != contents.get(name):
            raise ConfigError(
                f"resume: the {what} data, or their labels, are not the data that the run began with; "
                "overwrite=true trains anew in this folder, another default_root_dir keeps this run"
            )
    if before.get("start_from") != contents.get("start_from"):
        raise ConfigError(
            "resume: start_from is not the checkpoint that the run began with: it was trained again or changed; "
            "overwrite=true trains anew in this folder, another default_root_dir keeps this run"
        )
