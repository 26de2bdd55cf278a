"""A linear-chain conditional random field."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from papermage_core.plugin import HeadOutput, LabelScheme, UnitSpan
from papermage_heads.chain.forward_backward import forward_backward
from papermage_heads.chain.loss import negative_log_likelihood
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.tagger import ChainTagger
from papermage_heads.chain.viterbi import n_best_paths
from papermage_heads.scoring import GivenScores, TagScorer, split

__all__ = ["CrfHead"]


class CrfHead(nn.Module):
    """Tags scored together: emissions from a linear layer, learned transitions, starts and ends.

    Lafferty, McCallum and Pereira (2001), "Conditional Random Fields". What the scheme forbids has no probability, in
    the loss as in decoding. Scores are marginals: of a unit's tag, and of the whole entity.

    ``weights`` are the odds that a tag gets for free: the loss is taken with ``log(weight)`` subtracted from the
    emissions, decoding without, so that what is learned makes up for it. Without transitions this has the optimum of
    weighted cross entropy, and it remains a likelihood (logit adjustment, Menon et al. 2021).

    Entities of the best sequence that are less probable than ``threshold`` are left out.
    """

    log_weights: Tensor | None

    def __init__(
        self,
        input_size: int,
        scheme: LabelScheme,
        *,
        dropout: float = 0.1,
        weights: Sequence[float] | None = None,
        focal_gamma: float = 0.0,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        n_tags = len(scheme.tags)
        self.score: TagScorer | GivenScores = TagScorer(input_size, n_tags, dropout)
        self.transitions = nn.Parameter(torch.zeros(n_tags, n_tags))
        self.start = nn.Parameter(torch.zeros(n_tags))
        self.end = nn.Parameter(torch.zeros(n_tags))
        self.focal_gamma = focal_gamma
        self.register_buffer("log_weights", None if weights is None else torch.tensor(weights).log(), persistent=False)
        self.legal = ChainScores.of_scheme(scheme)
        self.tagger = ChainTagger(scheme, threshold)

    @property
    def chain(self) -> ChainScores:
        """The learned scores of starts, ends and transitions, minus infinity where the scheme forbids."""
        legal = self.legal.detach(torch.float32, self.transitions.device)
        return ChainScores(self.transitions + legal.transitions, self.start + legal.start, self.end + legal.end)

    def loss(self, vectors: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Return the summed negative log-likelihood; unknown targets are summed over."""
        emissions = self.score(vectors, mask)
        if self.log_weights is not None:
            emissions = emissions - self.log_weights
        return negative_log_likelihood(emissions, mask, targets, self.chain, focal_gamma=self.focal_gamma)

    def decode(self, vectors: Tensor, mask: Tensor) -> list[HeadOutput]:
        """Return the best legal sequence of each context, less entities below the threshold, with marginals."""
        return self.tagger(self.score(vectors, mask), mask, self.chain)

    def split(self) -> tuple[nn.Module, CrfHead]:
        """Return what scores the tags of each unit, and the head that decodes these scores."""
        return split(self)

    def candidates(self, vectors: Tensor, mask: Tensor, least: float) -> list[list[UnitSpan]]:
        """Return all entities of each context that have at least this probability, overlapping or not."""
        return self.tagger.candidates(self.score(vectors, mask), mask, self.chain, least)

    @torch.no_grad()
    def n_best(self, vectors: Tensor, mask: Tensor, n: int) -> list[list[tuple[list[UnitSpan], float]]]:
        """Return for each context the entities of its ``n`` best sequences and their probabilities, best first."""
        emissions, chain = self.score(vectors, mask).cpu(), self.chain.detach(torch.float64, torch.device("cpu"))
        log_z = forward_backward(emissions, mask.cpu(), chain).log_z.tolist()
        ranked = n_best_paths(emissions.numpy(), mask.sum(1).cpu().numpy(), chain, n=n)
        return [
            [(self.tagger.scheme.decode(path), math.exp(score - total)) for path, score in paths]
            for paths, total in zip(ranked, log_z, strict=True)
        ]
