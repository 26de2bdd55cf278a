"""Unit vectors to scores of tags."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TagScorer"]


class TagScorer(nn.Module):
    """Dropout and one linear layer.

    Dropout takes the same values from all units of a context (Gal and Ghahramani 2016): a random number for each value
    would cost more than the layer.
    """

    def __init__(self, input_size: int, n_tags: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = nn.Linear(input_size, n_tags)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return scores (B, U, K) in float32 for vectors (B, U, D); what they hold at padding goes nowhere."""
        vectors = vectors.masked_fill(~mask[..., None], 0.0)
        if self.training and self.dropout:
            kept = torch.empty_like(vectors[:, :1]).bernoulli_(1 - self.dropout)
            vectors = vectors * kept.div_(1 - self.dropout)
        scores: Tensor = self.linear(vectors)
        return scores.float()
