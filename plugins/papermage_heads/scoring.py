"""Unit vectors to scores of tags."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["TagScorer"]


class TagScorer(nn.Module):
    """Dropout and one linear layer."""

    def __init__(self, input_size: int, n_tags: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(input_size, n_tags)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return scores (B, U, K) in float32 for vectors (B, U, D); what they hold at padding goes nowhere."""
        scores: Tensor = self.linear(self.dropout(vectors.masked_fill(~mask[..., None], 0.0)))
        return scores.float()
