"""What happens around a run's epochs: the best model kept, the last state saved, the history written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from papermage_core.config.every import Every
from papermage_core.config.monitor import Monitor
from papermage_core.errors import CheckpointError, DivergedError, StoppedError
from papermage_core.files import checked_file
from papermage_core.training.folder import RunFolder
from papermage_core.training.module import EntityModule, advice
from papermage_core.training.state import RunState, write_state
from papermage_core.training.stopping import Stopping

__all__ = ["CheckedFiles", "History", "KeepBest", "SaveLast", "SaveLastOfAll", "is_broken_connection"]

_log = logging.getLogger(__name__)
_DEAREST = 0.005
"""Share of the time that saving after epochs may take; more than that waits for a later epoch."""
_BROKEN_CONNECTION = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")


class KeepBest(pl.Callback):
    """Calls ``save`` whenever a validation is better than all before; at the end if there was none."""

    def __init__(self, save: Callable[[pl.LightningModule, float | None], None], monitor: Monitor) -> None:
        self._save, self._monitor = save, monitor
        self.best: float | None = None
        self.epoch: int | None = None
        """The epoch, counted from 1, whose model is kept."""
        self.saved = False

    @property
    def shown(self) -> str:
        """The best value so far, for people: in percent, where it is a share."""
        assert self.best is not None
        return self._monitor.shown(self.best)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know."""
        return {"best": self.best, "saved": self.saved, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what an earlier run knew."""
        self.best, self.saved, self.epoch = state_dict["best"], state_dict["saved"], state_dict["epoch"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the model if it is the best so far."""
        assert isinstance(pl_module, EntityModule)
        value = self._monitor.of({**trainer.callback_metrics, **pl_module.val_scores})
        if trainer.sanity_checking or value is None:
            return
        if self._monitor.is_better(value, than=self.best):
            self.best, self.epoch = value, trainer.current_epoch + 1
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last model if none was validated."""
        if self.best is None:
            if getattr(pl_module, "val_scores", None):
                _log.warning("monitor=%s was no number in any epoch: the last model is kept", self._monitor.name)
            self.epoch = trainer.current_epoch
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
    """Saves the whole state of a run: inside epochs as often as is wanted, after epochs, and when it is to stop.

    Must be the last callback, so that it keeps the others' new states. After an epoch it saves where that takes next to
    nothing of the time since it last did, and after the last one.

    Inside an epoch a state can be taken up only where no gradients wait to be summed up and no validation is due; while
    one is running, what is saved has the whole of it still before it. Several processes agree before they save: about
    once a second, for that takes each of them a message.
    """

    def __init__(self, folder: RunFolder, every: Every | None, stopping: Stopping) -> None:
        self._folder, self._every, self._stopping = folder, every or Every(), stopping
        self._saved_at = self._voted_at = time.monotonic()
        self._cost: float | None = None  # seconds that saving took; None before the first time
        self._steps_to_vote = self._steps_between = 1
        self._due = self._inside_validation = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._saved_at = self._voted_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, or the run is to stop, and the state can be taken up again."""
        due = self._is_due(trainer)
        stop = self._stopping.why is not None
        if trainer.world_size > 1:
            due, stop = self._voted(trainer, due, stop)
        self._due |= due
        if (self._due or stop) and _can_save(trainer):
            self._save(trainer)
            if stop:
                self._stop(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Save and stop inside a validation, if the run is to; several processes go on to its end."""
        if trainer.world_size == 1 and not trainer.sanity_checking and self._stopping.why is not None:
            self._inside_validation = True
            self._save(trainer)
            self._stop(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Tell Lightning, whose counters would go on behind the batches validated, to validate from the start."""
        if self._inside_validation:
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress.update(total=dict(begun), current=dict(begun), is_last_batch=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if it is cheap, or the last epoch, or the run is to stop."""
        since = time.monotonic() - self._saved_at
        cheap = self._cost is None or self._cost < _DEAREST * since
        due = self._due or cheap or _is_over(trainer) or self._is_due(trainer)
        stop = self._stopping.why is not None
        if trainer.world_size > 1:
            self._steps_to_vote = 0
            due, stop = self._voted(trainer, due, stop)
        if due or stop:
            self._save(trainer)
        if stop and not _is_over(trainer):
            self._stop(trainer)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        if self._every.steps:
            return trainer.global_step % self._every.steps == 0
        return bool(self._every.seconds) and time.monotonic() - self._saved_at >= self._every.seconds

    def _voted(self, trainer: pl.Trainer, due: bool, stop: bool) -> tuple[bool, bool]:
        """Return what any of several processes says; all of them get the same, after the same number of steps."""
        if self._every.steps == 0 or not due:
            self._steps_to_vote -= 1
            if self._steps_to_vote > 0:
                return False, False
        now = time.monotonic()
        rate = self._steps_between / max(now - self._voted_at, 1e-3)
        flags = torch.tensor([due, stop, max(1, min(1000, round(rate)))], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        self._steps_to_vote = self._steps_between = int(flags[2])
        self._voted_at = now
        return bool(flags[0]), bool(flags[1])

    def _save(self, trainer: pl.Trainer) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        start = time.monotonic()
        try:
            if trainer.is_global_zero:
                self._folder.begin()
                self._folder.keep_last()
            trainer.save_checkpoint(self._folder.last)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
            if is_broken_connection(trainer, error):
                raise
            kept, reason = self._folder.path / "checkpoints", getattr(error, "strerror", None) or error
            raise CheckpointError(
                f"cannot write {self._folder.last}: {reason}. The best model so far is in {kept}"
            ) from error
        self._saved_at, self._due = time.monotonic(), False
        self._cost = self._saved_at - start

    def _stop(self, trainer: pl.Trainer) -> None:
        place = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step}"
        why = self._stopping.why or "a signal to another process"
        raise StoppedError(f"stopped by {why} in {place}; saved in {self._folder.last}", why)


class SaveLastOfAll(SaveLast, pl.callbacks.Checkpoint):
    """Comes behind callbacks that Lightning calls behind others: those that stop a run by what was logged."""


def _can_save(trainer: pl.Trainer) -> bool:
    """Return whether a run could go on behind the batch that was just trained on."""
    loop = trainer.fit_loop.epoch_loop
    pending = loop._should_accumulate() or loop._num_ready_batches_reached() or trainer.should_stop
    fetcher = trainer.fit_loop._data_fetcher
    return not pending and fetcher is not None and not loop._should_check_val_fx(fetcher)


def _is_over(trainer: pl.Trainer) -> bool:
    """Return whether the epoch that just ended is the last."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    done = trainer.current_epoch + 1
    return trainer.should_stop or (epochs is not None and 0 <= epochs <= done) or 0 <= steps <= trainer.global_step


class CheckedFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, with a checksum; see `papermage_core.files.checked_file`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint to a file."""
        with checked_file(path) as file:
            write_state(checkpoint, file)


class History(pl.Callback):
    """Writes ``metrics.csv``, a row an epoch: whole at every time."""

    def __init__(self, folder: RunFolder, state: RunState) -> None:
        self._folder, self._state = folder, state
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of an earlier run."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row."""
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "train_loss": self._state.train_loss,
                **self._state.train_parts,
                **self._state.val_scores,
                "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
                "seconds": round(self._state.seconds, 3),
            }
        )
        if trainer.is_global_zero:
            self._folder.write_history(self.rows)


def is_broken_connection(trainer: pl.Trainer, error: BaseException) -> bool:
    """Return whether this is what one of several processes meets when another has ended."""
    return trainer.world_size > 1 and any(sign in str(error) for sign in _BROKEN_CONNECTION)
