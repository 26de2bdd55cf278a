"""A learning rate for this data and model, by a range test."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
import warnings
from typing import Any

import attrs
import pytorch_lightning as pl
from pytorch_lightning.tuner.tuning import Tuner

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.errors import PapermageError
from papermage_core.training.lightning import quiet_lightning
from papermage_core.training.module import EntityModule
from papermage_core.training.state import random_states, restore_random_states

__all__ = ["find_learning_rate"]

_log = logging.getLogger(__name__)
_STEPS = 100
_LOWEST, _HIGHEST = 0.02, 100.0
"""What is tried, in multiples of the encoder's own rate."""
_SHARE = 0.1
"""How much of the rate with the least loss is taken. Lightning's own suggestion, the steepest fall over the rate, is at
the first rates that are tried: a tenth of the encoder's own, with which nothing was learnt on our corpora."""


def find_learning_rate(module: EntityModule, config: EntityClassificationTrainConfig) -> None:
    """Set the peak learning rates of a module to a tenth of the rate at which its loss is least, in 100 rising steps.

    Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, by Lightning's finder. Weights and random
    states are then as before, so that a run with the rate that was found is the same run. Raises PapermageError where
    no loss was a number.
    """
    own = module.blueprint.encoder.default_learning_rate
    states = random_states()
    given = {key: value for key, value in config.lightning.items() if key in ("accelerator", "precision")}
    with quiet_lightning(), warnings.catch_warnings(), module.diverging(), tempfile.TemporaryDirectory() as folder:
        warnings.filterwarnings("ignore", ".*`max_epochs` was not set.*")
        trainer = pl.Trainer(
            default_root_dir=folder,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            limit_val_batches=0,
            gradient_clip_val=config.lightning.get("gradient_clip_val", 1.0),
            **given,
        )
        with contextlib.redirect_stderr(io.StringIO()):  # a bar of its own, which nothing turns off
            finder = Tuner(trainer).lr_find(
                module, min_lr=own * _LOWEST, max_lr=own * _HIGHEST, num_training=_STEPS, update_attr=False
            )
    restore_random_states(states)
    results: dict[str, Any] = {} if finder is None else finder.results
    tried = zip(results.get("loss", ()), results.get("lr", ()), strict=True)
    finite = [(float(loss), float(rate)) for loss, rate in tried if math.isfinite(loss)]
    if not finite:
        raise PapermageError("find_learning_rate=true: the loss is a number at no rate; give a learning_rate")
    found = float(f"{_SHARE * min(finite)[1]:.2g}")
    _log.info("found learning_rate=%g (the encoder's own: %g); give it to skip the search", found, own)
    module.optimisation = attrs.evolve(module.optimisation, learning_rate=found, head_learning_rate=found)
