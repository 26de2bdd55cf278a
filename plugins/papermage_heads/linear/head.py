"""Tags scored unit by unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from papermage_core.plugin import HeadOutput, LabelScheme, UnitSpan
from papermage_heads.chain.legal import LegalChain
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.tagger import ChainTagger
from papermage_heads.scoring import GivenScores, TagScorer, check_finite, split

__all__ = ["LinearHead"]

_DENSE_TAGS = 128
"""Up to this number of tags a table of all transitions is faster than the lists of those that are legal."""


class LinearHead(nn.Module):
    """A softmax over tags at each unit: cross entropy to train, the best legal sequence to decode.

    With ``constrained`` the probabilities are those of the softmax *given that the sequence is legal*: a chain whose
    transitions score zero or are forbidden. So the scores of an entity and of its units fit each other. Without it
    each unit takes its likeliest tag, the scheme reads what comes out, and the score of an entity is that of its least
    sure unit.

    The loss of a unit with target k is $-w_k (1 - p_k)^\\gamma \\log p_k$ (Lin et al. 2017, "Focal Loss for
    Dense Object Detection"), w and gamma being options; label smoothing as in Szegedy et al. 2016.
    """

    weights: Tensor | None

    def __init__(
        self,
        input_size: int,
        scheme: LabelScheme,
        *,
        dropout: float = 0.1,
        weights: Sequence[float] | None = None,
        focal_gamma: float = 0.0,
        label_smoothing: float = 0.0,
        constrained: bool = True,
    ) -> None:
        super().__init__()
        self.scheme = scheme
        self.score: TagScorer | GivenScores = TagScorer(input_size, len(scheme.tags), dropout)
        self.register_buffer("weights", None if weights is None else torch.tensor(weights), persistent=False)
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.tagger = ChainTagger(scheme) if constrained else None
        if self.tagger is not None:
            dense = len(scheme.tags) <= _DENSE_TAGS
            self.legal: ChainScores | LegalChain = ChainScores.of_scheme(scheme) if dense else self.tagger.legal

    def loss(self, vectors: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Return the summed loss of the units with a known target."""
        scores = self.score(vectors, mask).flatten(0, 1)
        targets = targets.masked_fill(~mask, -1).flatten()
        losses = F.cross_entropy(
            scores, targets, self.weights, ignore_index=-1, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.focal_gamma:
            right = scores.softmax(1).gather(1, targets.clamp_min(0)[:, None]).squeeze(1)
            losses = losses * (1.0 - right).clamp_min(0.0) ** self.focal_gamma
        return losses.sum()

    def decode(self, vectors: Tensor, mask: Tensor) -> list[HeadOutput]:
        """Return the best sequence of each context."""
        scores = self.score(vectors, mask)
        if self.tagger is not None:
            return self.tagger(scores, mask, self.legal)
        check_finite(scores)
        top = scores.detach().softmax(2).max(2)
        sure, tags = top.values.cpu().numpy(), top.indices.cpu().numpy()
        lengths = mask.sum(1).tolist()
        return [
            HeadOutput.from_tags(row[:n].astype(np.int64), score[:n], self.scheme)
            for row, score, n in zip(tags, sure, lengths, strict=True)
        ]

    def split(self) -> tuple[nn.Module, LinearHead]:
        """Return what scores the tags of each unit, and the head that decodes these scores."""
        return split(self)

    def candidates(self, vectors: Tensor, mask: Tensor, least: float) -> list[list[UnitSpan]]:
        """Return all entities of each context that have at least this probability; not ``constrained``, those found."""
        if self.tagger is not None:
            return self.tagger.candidates(self.score(vectors, mask), mask, self.legal, least)
        found = self.decode(vectors, mask)
        return [[span for span in each.spans if span.score is None or span.score >= least] for each in found]
