"""The head itself."""

from __future__ import annotations

import torch
from papermage_core.plugin import HeadOutput, LabelScheme
from torch import nn


class ExamplePluginHead(nn.Module):
    """Two layers from a unit's vector to the scores of its tags; each unit is decided for itself."""

    def __init__(self, input_size: int, scheme: LabelScheme, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.scheme = scheme
        self.score = nn.Sequential(
            nn.Linear(input_size, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, len(scheme.tags))
        )

    def loss(self, vectors: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy, summed over the units whose tag is known."""
        known = mask & (targets >= 0)  # shape: (B, U)
        scores = self.score(vectors[known]).float()  # shape: (units, K)
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum")

    def decode(self, vectors: torch.Tensor, mask: torch.Tensor) -> list[HeadOutput]:
        """Return the likeliest tag of each unit, with its probability."""
        scores, tags = self.score(vectors).float().softmax(-1).max(-1)  # shapes: (B, U)
        return [
            HeadOutput.from_tags(tags[i, real].cpu().numpy(), scores[i, real].cpu().numpy(), self.scheme)
            for i, real in enumerate(mask)
        ]
