"""Pieces → what the heads say, and predictions in units of documents."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from papermage_core.data.alignment import to_document
from papermage_core.data.batches import LengthSampler, collate
from papermage_core.data.windows import Piece
from papermage_core.errors import ConfigError
from papermage_core.model.entity_model import EntityModel
from papermage_core.plugin.spec import ContextEncoderConfig, HeadOutput, UnitSpan

__all__ = ["BatchLimits", "decode_pieces", "document_spans", "pick_device"]


@attrs.frozen
class BatchLimits:
    """How much goes in a batch: windows, or where that is None their padded cost."""

    size: int | None
    cost: int

    @classmethod
    def of(cls, encoder: ContextEncoderConfig, batch_size: int | None, *, times: int = 1) -> BatchLimits:
        """Return the limits for a given ``batch_size``, or ``times`` the encoder's own."""
        return cls(batch_size, times * encoder.default_batch_cost)

    @classmethod
    def without_gradient(
        cls, encoder: ContextEncoderConfig, batch_size: int | None, device: torch.device | str
    ) -> BatchLimits:
        """Return the limits for evaluation and prediction, which keep nothing for a backward pass."""
        return cls.of(encoder, batch_size, times=2 if torch.device(device).type == "cpu" else 16)


def decode_pieces(
    model: EntityModel, pieces: Sequence[Piece], limits: BatchLimits, device: torch.device | str = "cpu"
) -> list[list[HeadOutput]]:
    """Return, for each piece, what each head says of it. The model is put in eval mode and left there.

    Pieces of like length run together; the result does not depend on which.
    """
    model.eval()
    outputs: list[list[HeadOutput]] = [[] for _ in pieces]
    sampler = LengthSampler(pieces, batch_size=limits.size, batch_cost=limits.cost, shuffle=False)
    with torch.inference_mode():
        for index in sampler:
            batch = collate(index, [pieces[i] for i in index], model.encoder.collate, max_cost=limits.cost)
            for of_task in model.decode(batch.to(device)):
                for i, found in zip(index, of_task, strict=True):
                    outputs[i].append(found)
    return outputs


def document_spans(outputs: Sequence[HeadOutput], units: NDArray[np.int64]) -> list[UnitSpan]:
    """Return what the heads found in a context, in units of its document, by start, then stop."""
    spans = [to_document(span, units) for found in outputs for span in found.spans]
    return sorted(spans) if len(outputs) > 1 else spans


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of a name: ``auto`` is the GPU where there is one, else the CPU.

    ``gpu``, and what torch calls its devices (``cpu``, ``cuda:1``), are names too. Raises ConfigError for one that is
    not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("cuda" if name == "gpu" else name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts it
        found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise ConfigError(f"no device {name!r} on this machine; there are: {', '.join(['cpu', *found])}") from error
    return device
