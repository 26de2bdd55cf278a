"""The callback that ``tidy`` adds to a run."""

from __future__ import annotations

from typing import Any

import torch
from papermage_core.errors import PapermageError
from pytorch_lightning import Callback, LightningModule, Trainer


class StopAtNan(Callback):
    """Stops a run, and says so, once the loss is not a finite number."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss of the batch."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None and not torch.isfinite(torch.as_tensor(loss)).all():
            raise PapermageError(f"the loss of batch {batch_idx} is {loss}; try a smaller learning_rate")
