"""What happens around a run's epochs: the best model kept, the last state saved, the history written."""

from __future__ import annotations

import csv
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from papermage_core.config.monitor import Monitor
from papermage_core.errors import CheckpointError, DivergedError
from papermage_core.files import checked_file, whole_text_file
from papermage_core.training.module import EntityModule, advice

__all__ = ["CheckedFiles", "History", "KeepBest", "SaveLast"]


class KeepBest(pl.Callback):
    """Calls ``save`` whenever a validation is better than all before; at the end if there was none."""

    def __init__(self, save: Callable[[pl.LightningModule, float | None], None], monitor: Monitor) -> None:
        self._save, self._monitor = save, monitor
        self.best: float | None = None
        self.saved = False

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know."""
        return {"best": self.best, "saved": self.saved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what an earlier run knew."""
        self.best, self.saved = state_dict["best"], state_dict["saved"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the model if it is the best so far."""
        assert isinstance(pl_module, EntityModule)
        value = self._monitor.of({**trainer.callback_metrics, **pl_module.val_scores})
        if trainer.sanity_checking or value is None:
            return
        if self._monitor.is_better(value, than=self.best):
            self.best = value
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last model if none was validated."""
        if self.best is None:
            self._write(trainer, pl_module)

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not all(bool(torch.isfinite(weight).all()) for weight in pl_module.parameters()):
            assert isinstance(pl_module, EntityModule)
            rate = pl_module.optimisation.learning_rate
            raise DivergedError(
                f"training diverged: weights are no numbers after step {trainer.global_step}. {advice(rate)}"
            )
        if trainer.is_global_zero:
            assert isinstance(pl_module, EntityModule)
            self._save(pl_module, pl_module.val_scores.get("val_f1"))
        self.saved = True


class SaveLast(pl.Callback):
    """Writes ``last.ckpt`` after each epoch: weights, optimizer, schedule, random states, position in the data."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._states: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all random generators."""
        kind, keys, position, has_gauss, gauss = np.random.get_state()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts again."""
        self._states = state_dict

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the random generators where the resumed run had left them."""
        if self._states is None:
            return
        torch.set_rng_state(self._states["torch"].cpu())
        if torch.cuda.is_available() and len(self._states["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in self._states["cuda"]])
        kind, keys, position, has_gauss, gauss = self._states["numpy"]
        np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
        version, internal, gauss_next = self._states["python"]
        random.setstate((version, tuple(internal), gauss_next))
        self._states = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, whole or not at all."""
        if getattr(trainer, "fast_dev_run", False):
            return
        try:
            trainer.save_checkpoint(self._path)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
            kept = self._path.parent / "checkpoints"
            raise CheckpointError(f"cannot write {self._path}: {error}. The best model so far is in {kept}") from error


class CheckedFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, with a checksum; see `papermage_core.files.checked_file`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint to a file."""
        with checked_file(path) as file:
            torch.save(checkpoint, file)


class History(pl.Callback):
    """Writes ``metrics.csv``, a row an epoch: whole at every time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, float]] = []
        self._start = time.perf_counter()
        self._before = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of an earlier run."""
        self.rows = list(state_dict["rows"])
        self._before = self.rows[-1]["seconds"] if self.rows else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row."""
        assert isinstance(pl_module, EntityModule)
        metrics = trainer.callback_metrics or pl_module.val_scores
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        names = dict.fromkeys(
            ("train_loss", "val_loss", "val_f1", "val_precision", "val_recall", *pl_module.val_scores)
        )
        for name in names:
            if name in metrics:
                row[name] = float(metrics[name])
        row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        row["seconds"] = round(self._before + time.perf_counter() - self._start, 3)
        self.rows.append(row)
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with whole_text_file(self._path) as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows([{k: "" if math.isnan(v) else v for k, v in row.items()} for row in self.rows])
