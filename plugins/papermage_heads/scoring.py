"""Unit vectors to scores of tags."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from papermage_core.errors import PapermageError

__all__ = ["GivenScores", "TagScorer", "check_finite", "split"]

Head = TypeVar("Head", bound=Any)


def check_finite(*tensors: Tensor) -> None:
    """Raise PapermageError if a tensor that predictions are made from holds NaN or infinity."""
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise PapermageError(
            "the unit vectors or the weights of the model hold NaN or infinity, so nothing can be predicted from them: "
            "its training diverged; train again with a lower learning_rate, gradient_clip_val=1 or precision=32-true"
        )


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
        """Return scores (B, U, K), in float32 or better, for vectors (B, U, D); what is at padding goes nowhere."""
        vectors = vectors.masked_fill(~mask[..., None], 0.0)
        if self.training and self.dropout:
            kept = torch.empty_like(vectors[:, :1]).bernoulli_(1 - self.dropout)
            vectors = vectors * kept.div_(1 - self.dropout)
        scores: Tensor = self.linear(vectors)
        return scores if scores.dtype == torch.float64 else scores.float()


class GivenScores(nn.Module):
    """Takes the place of a `TagScorer` in a head whose vectors are scores already."""

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Return the scores (B, U, K), in float32 or better; what is at padding goes nowhere."""
        scores = scores.masked_fill(~mask[..., None], 0.0)
        return scores if scores.dtype == torch.float64 else scores.float()


def split(head: Head) -> tuple[nn.Module, Head]:
    """Return what scores the tags of each unit in a head with a `TagScorer`, and the head that decodes these scores."""
    rest = copy.deepcopy(head)
    rest.score = GivenScores()
    return head.score.linear, rest
