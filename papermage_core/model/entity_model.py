"""An encoder with its heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from papermage_core.data.batches import Batch
from papermage_core.plugin.spec import ContextEncoder, HeadOutput, ModelHead, UnitSpan

__all__ = ["EntityModel"]


class EntityModel(nn.Module):
    """Windows → unit vectors → what each head makes of them. One head for each task.

    An encoder sees windows; a head sees contexts: each unit's vector comes from the window that sees most around it.
    """

    def __init__(self, encoder: ContextEncoder, heads: Sequence[ModelHead]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)  # type: ignore[arg-type]  # a ModelHead is a Module, which a Protocol cannot say

    def forward(self, batch: Batch) -> Tensor:
        """Return the vectors of a batch's units. Shape (B, U, D); what stands at padding is arbitrary but finite."""
        outputs = [self.encoder(run) for run in batch.features]
        if not outputs or batch.gather.numel() == 0:
            return torch.zeros(*batch.gather.shape, self.encoder.output_size, device=batch.gather.device)
        if batch.direct:
            return outputs[0]
        rows = torch.cat([output.flatten(0, 1) for output in outputs])
        return rows[batch.gather]

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch: the sum of the heads' losses over its number of units. A scalar, float32."""
        return self.loss_of(self(batch), batch)

    def loss_of(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Return the loss, a scalar, for vectors that ``forward`` gave, shape (B, U, D)."""
        total = vectors.new_zeros((), dtype=torch.float32)
        for head, targets in zip(self.heads, batch.targets, strict=True):
            total = total + _known_loss(head, vectors, batch.mask, targets)
        return total / batch.mask.sum().clamp(min=1)

    def decode(self, batch: Batch) -> list[list[HeadOutput]]:
        """Return, for each head, what it says of each of the B examples."""
        return self.decode_of(self(batch), batch)

    def decode_of(self, vectors: Tensor, batch: Batch) -> list[list[HeadOutput]]:
        """Return, for each head, what it says of each of the B examples; vectors as ``forward`` gave, (B, U, D)."""
        return [head.decode(vectors, batch.mask) for head in self.heads]  # type: ignore[operator]

    def candidates(self, batch: Batch, least: float) -> list[list[HeadOutput]]:
        """Return what ``decode`` does, but as entities all that have at least the probability ``least``.

        They may overlap. A head that has no method ``candidates(vectors, mask, least)``, which returns the entities of
        each context, gives those that it decodes.
        """
        vectors, found = self(batch), []
        for head, outputs in zip(self.heads, self.decode_of(vectors, batch), strict=True):
            of_head = getattr(head, "candidates", None)
            if of_head is None:
                found.append([attrs.evolve(each, spans=_likely(each.spans, least)) for each in outputs])
                continue
            spans = of_head(vectors, batch.mask, least)
            found.append([attrs.evolve(each, spans=some) for each, some in zip(outputs, spans, strict=True)])
        return found


def _likely(spans: Sequence[UnitSpan], least: float) -> list[UnitSpan]:
    return [span for span in spans if span.score is None or span.score >= least]


def _known_loss(head: nn.Module, vectors: Tensor, mask: Tensor, targets: Any) -> Tensor:
    """Return a head's loss over the examples that somebody labelled: all, but for spans that are None."""
    if isinstance(targets, list) and any(target is None for target in targets):
        rows = [row for row, target in enumerate(targets) if target is not None]
        if not rows:
            return vectors.new_zeros((), dtype=torch.float32)
        vectors, mask, targets = vectors[rows], mask[rows], [targets[row] for row in rows]
    loss: Tensor = head.loss(vectors, mask, targets)  # type: ignore[operator]
    return loss
