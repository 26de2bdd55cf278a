"""What a run knows of itself beside its model: its clock, the epoch so far, and the random states of every process.

The one place for what a run that goes on must take up; Lightning keeps weights, optimizer, schedule and counters.
"""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from papermage_core.errors import CheckpointError
from papermage_core.files import check_file
from papermage_core.training.module import EntityModule

__all__ = ["RunState", "random_states", "read_state", "restore_random_states", "write_state"]


class RunState(pl.Callback):
    """Keeps the state of a run; must be the first of its callbacks, so that others find it up to date."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._start, self._before = time.perf_counter() - seconds, 0.0
        self._loss: Tensor | float = 0.0
        self._examples = 0
        self._parts: dict[str, Tensor | float] = {}
        self.units = 0
        """Units trained on since the run began, or went on."""
        self._to_restore: dict[str, Any] | None = None
        self.val_scores: dict[str, float] = {}
        """What the last validation of this epoch found; empty where there was none yet."""

    @property
    def seconds(self) -> float:
        """How long the run has taken, what it took before it was stopped included."""
        return self._before + time.perf_counter() - self._start

    @property
    def train_loss(self) -> float:
        """Mean loss of the epoch's examples so far, those of this process; NaN before the first."""
        return float(self._loss) / self._examples if self._examples else float("nan")

    @property
    def train_parts(self) -> dict[str, float]:
        """Means of the losses that heads name beside the one that is optimised, as `train_loss`."""
        return {f"train_{name}": float(value) / self._examples for name, value in self._parts.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a run that goes on has to know; every process must call it at once."""
        own = {
            "loss": float(self._loss),
            "examples": self._examples,
            "parts": {name: float(value) for name, value in self._parts.items()},
            "random": self._to_restore or random_states(),
        }
        return {"seconds": self.seconds, "val_scores": self.val_scores, "processes": _gathered(own)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state; random states are put back when training goes on."""
        self._before = state_dict["seconds"]
        self.val_scores = dict(state_dict["val_scores"])
        own = state_dict["processes"][_rank() % len(state_dict["processes"])]
        self._loss, self._examples, self._to_restore = own["loss"], own["examples"], own["random"]
        self._parts = dict(own.get("parts", {}))

    # What happens in a run

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin an epoch."""
        self._restore()
        self._loss, self._examples, self._parts, self.val_scores = 0.0, 0, {}, {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the random states back where the run goes on inside an epoch."""
        if self._to_restore is not None:
            self._restore()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the loss of a batch."""
        count = len(batch.index)
        loss = outputs["loss"]
        self._loss = self._loss + (loss.item() if loss.device.type == "cpu" else loss) * count
        self._examples += count
        for name, part in outputs.items():
            if name != "loss":
                self._parts[name] = self._parts.get(name, 0.0) + part * count
        assert isinstance(pl_module, EntityModule)
        self.units += pl_module.units_of(batch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the random states back where the run goes on with a validation."""
        if not trainer.sanity_checking:
            self._restore()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the scores of a validation."""
        assert isinstance(pl_module, EntityModule)
        if not trainer.sanity_checking and pl_module.val_scores:
            self.val_scores = dict(pl_module.val_scores)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the mean loss of the epoch, over all processes; those that heads name are of all, too, from here on."""
        self._loss = float(self._loss)
        if trainer.world_size > 1:
            names = sorted(self._parts)
            own = [self._examples, self._loss, *(float(self._parts[name]) for name in names)]
            sums = torch.tensor(own, dtype=torch.float32, device=pl_module.device)
            torch.distributed.all_reduce(sums)
            self._examples, self._loss = int(sums[0]), float(sums[1])
            self._parts = {name: float(value) for name, value in zip(names, sums[2:], strict=True)}
        if self._examples:
            pl_module.log("train_loss", self.train_loss, sync_dist=False, rank_zero_only=False)

    def _restore(self) -> None:
        if self._to_restore is not None:
            restore_random_states(self._to_restore)
            self._to_restore = None


def random_states() -> dict[str, Any]:
    """Return the states of all random generators of this process, as plain values and tensors."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "python": random.getstate(),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put all random generators where `random_states` found them."""
    torch.set_rng_state(states["torch"].cpu())
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))


def _rank() -> int:
    return torch.distributed.get_rank() if _several() else 0


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _gathered(own: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the states of all processes, by rank."""
    if not _several():
        return [own]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return parts


def write_state(content: dict[str, Any], file: IO[bytes]) -> None:
    """Write what a run goes on from. Raises OSError for a full disk, of which torch says "unexpected pos" alone."""
    try:
        torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def read_state(path: Path, kinds: Mapping[str, type], advice: str) -> dict[str, Any]:
    """Return what `write_state` wrote into a `checked_file`, which has values of these kinds by name.

    Raises CheckpointError, with ``advice`` what to do, for anything else; no code of the file is run.
    """
    try:
        check_file(path, advice)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:  # which advises to run the code
        raise CheckpointError(f"{path} holds other things than numbers, texts and tensors. {advice}") from error
    except Exception as error:  # of a file that anything may have been done to
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error}). {advice}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not the last.ckpt of a run. {advice}")
    if wrong := [name for name, kind in kinds.items() if not isinstance(state.get(name), kind)]:
        raise CheckpointError(f"{path} is not the last.ckpt of a run of this version: no {', '.join(wrong)}. {advice}")
    return state
