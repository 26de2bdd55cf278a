"""The learning rate over a run, whether steps or time limit it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytorch_lightning as pl

if TYPE_CHECKING:
    from papermage_core.training.module import Optimisation

__all__ = ["learning_rate_factor"]


def learning_rate_factor(trainer: pl.Trainer, optimisation: Optimisation) -> Callable[[int], float]:
    """Return step → what the learning rates are multiplied with.

    Under ``max_time`` they decay with the time left, if that is the nearer end: a rate that is still high when training
    stops costs accuracy (Li, Yumer and Ramanan, "Budgeted Training", ICLR 2020).
    """
    total = float(trainer.estimated_stepping_batches)
    timer = next((each for each in trainer.callbacks if isinstance(each, pl.callbacks.Timer)), None)  # type: ignore[attr-defined]
    if timer is None or timer.time_remaining() is None:
        return lambda step: optimisation.factor(step, int(total))
    share = optimisation.warmup_steps if optimisation.warmup_steps <= 1 else 0.0

    def factor(step: int) -> float:
        elapsed, left = timer.time_elapsed(), timer.time_remaining() or 0.0
        spent = elapsed / max(elapsed + left, 1e-9)
        of_time = max(0.0, 1 - spent) / max(1 - share, 1e-9)
        if math.isinf(total):
            warm = optimisation.factor(step, 2**62) if optimisation.warmup_steps > 1 else spent / max(share, 1e-9)
            return min(1.0, warm, of_time)
        return min(optimisation.factor(step, int(total)), of_time)

    return factor
