"""What of training is shown: the bar of the whole run, and a line for each epoch."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl

from papermage_core.training.callbacks import KeepBest
from papermage_core.training.display import Display, duration
from papermage_core.training.module import EntityModule
from papermage_core.training.state import RunState

__all__ = ["EpochLines", "RunBar"]

_HEAD = f"{'epoch':>9} {'loss':>9} {'val loss':>9} {'P':>6} {'R':>6} {'F1':>6}       {'units/s':>9} {'time':>8}"


class EpochLines(pl.Callback):
    """Shows a line after each epoch, below a head; figures of the validation in percent, a mark at the best so far."""

    def __init__(self, display: Display, state: RunState, best: KeepBest) -> None:
        self._display, self._state, self._best = display, state, best
        self._told = False
        self._start = time.monotonic()
        self._units_before = 0
        self._best_before: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an epoch that a run goes on with."""
        self._start, self._best_before = time.monotonic(), self._best.best

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start, self._best_before, self._units_before = time.monotonic(), self._best.best, self._state.units

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the line."""
        if not self._told:
            self._display.line(_HEAD)
            self._told = True
        scores, seconds = self._state.val_scores, time.monotonic() - self._start
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        cells = [f"{epoch.removesuffix('/-1'):>9}", f"{self._state.train_loss:9.4f}", _number(scores.get("val_loss"))]
        names = ("val_precision", "val_recall", "val_f1")
        cells += [f"{100 * scores[name]:6.1f}" if name in scores else f"{'':6}" for name in names]
        is_best = self._best.best is not None and self._best.best != self._best_before
        cells.append("best " if is_best else "     ")
        rate = (self._state.units - self._units_before) * trainer.world_size / max(seconds, 1e-9)
        self._display.line(" ".join([*cells, f"{rate:9,.0f}", f"{duration(seconds):>8}"]).rstrip())


def _number(value: float | None) -> str:
    return f"{'':9}" if value is None else f"{value:9.4f}"


class RunBar(pl.callbacks.ProgressBar):
    """Lightning's progress bar, on the display of the run: one for all epochs, and the time left for them."""

    def __init__(self, display: Display, state: RunState, best: KeepBest) -> None:
        super().__init__()
        self._display, self._state, self._best = display, state, best
        self._task: Any = None
        self._steps, self._validating = 0, 0.0
        self._start = self._began_validation = time.monotonic()
        self._validations = 0
        self._next = 0.0
        self._enabled = True

    def disable(self) -> None:
        """Show nothing more."""
        self._enabled = False

    def enable(self) -> None:
        """Show it again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Show a line above the bar."""
        self._display.line(" ".join(map(str, args)))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the bar."""
        self._start = time.monotonic()
        self._task = self._display.add(f"epoch {trainer.current_epoch + 1}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show how far the run is."""
        self._steps += 1
        if time.monotonic() >= self._next and self._enabled:
            self._next = time.monotonic() + 0.2
            self._show(trainer, batch_idx + 1, "")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self._began_validation = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show how far the validation is."""
        if time.monotonic() >= self._next and self._enabled and not trainer.sanity_checking:
            self._next = time.monotonic() + 0.2
            total = sum(trainer.num_val_batches)
            self._show(trainer, trainer.fit_loop.epoch_loop.batch_idx + 1, f"validating {batch_idx + 1}/{total:g}")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the time of the validation."""
        self._validating += time.monotonic() - self._began_validation
        self._validations += 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        self._display.remove(self._task)

    def _show(self, trainer: pl.Trainer, in_epoch: int, more: str) -> None:
        epochs, batches = trainer.max_epochs or -1, trainer.num_training_batches
        done = trainer.current_epoch * batches + in_epoch
        totals = [float(batches * epochs)] if epochs > 0 else []
        if trainer.max_steps > 0:
            totals.append(float(trainer.max_steps * trainer.accumulate_grad_batches))
        total = min(totals) if totals and math.isfinite(min(totals)) else None
        training = max(time.monotonic() - self._start - self._validating, 1e-9)
        rate = self._state.units * trainer.world_size / training
        parts = [more or f"{rate:,.0f} units/s", f"loss {self._state.train_loss:.3f}"]
        module = trainer.lightning_module
        if isinstance(module, EntityModule) and "val_f1" in module.val_scores:
            parts.append(f"F1 {100 * module.val_scores['val_f1']:.1f}")
        if self._best.best is not None:
            parts.append(f"best {self._best.shown}")
        if total is not None and self._steps:
            left = (total - done) * training / self._steps
            if self._validations:
                left += (total - done) / batches * self._validating / self._validations
            parts.insert(0, f"{duration(max(left, 0.0))} left")
        name = f"epoch {trainer.current_epoch + 1}" + (f"/{epochs}" if epochs > 0 else "")
        self._display.update(self._task, done, total, ", ".join(parts), name)
