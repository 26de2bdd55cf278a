"""From the scores of a batch to tags, entities and their probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from papermage_core.plugin import HeadOutput, LabelScheme, UnitSpan
from papermage_heads.chain.entities import EntityRules, entity_probabilities, likely_entities
from papermage_heads.chain.forward_backward import forward_backward
from papermage_heads.chain.legal import LegalChain
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.viterbi import best_paths
from papermage_heads.scoring import check_finite

__all__ = ["ChainTagger"]

_BLOCK = 8_000_000
"""Most scores (B, U, K) that are decoded at once, but for those of one context: 64 MB in float64."""


class ChainTagger:
    """Decodes batches under a scheme: the best legal sequence, with marginals and exact probabilities of entities.

    Entities of that sequence that are less probable than ``threshold`` are left out; tags follow.
    """

    def __init__(self, scheme: LabelScheme, threshold: float = 0.0) -> None:
        self.scheme = scheme
        self.threshold = threshold
        self.legal = LegalChain.of(scheme)
        self.rules = EntityRules.of(scheme, self.legal)

    def __call__(self, emissions: Tensor, mask: Tensor, scores: ChainScores | LegalChain) -> list[HeadOutput]:
        """Return what is said of each of B contexts, for emissions (B, U, K) and a mask (B, U), padding at the end.

        Runs on the CPU, whatever the device: a step of the loop costs less there than a launch elsewhere, and one copy
        of the emissions is all that has to travel.
        """
        if not emissions.numel():
            return [self._empty() for _ in range(len(emissions))]
        return [output for block in _blocks(emissions, mask, scores) for output in self._decode(*block)]

    def candidates(
        self, emissions: Tensor, mask: Tensor, scores: ChainScores | LegalChain, least: float
    ) -> list[list[UnitSpan]]:
        """Return, for each context, all entities that have at least this probability; they may overlap."""
        if not emissions.numel():
            return [[] for _ in range(len(emissions))]
        return [found for block in _blocks(emissions, mask, scores) for found in self._candidates(*block, least)]

    def _candidates(
        self, emissions: Tensor, mask: Tensor, scores: ChainScores | LegalChain, least: float
    ) -> list[list[UnitSpan]]:
        x, lengths = emissions.numpy(), mask.sum(1).numpy()
        result = forward_backward(emissions, mask, scores, log_beta=True)
        check_finite(result.log_z)
        entities, sure = likely_entities(self.rules, x, result, scores, lengths, least)
        return self._spans(len(mask), entities, sure)

    def _spans(self, n_contexts: int, entities: NDArray[np.int64], sure: NDArray[np.float64]) -> list[list[UnitSpan]]:
        names = self.scheme.labels
        spans: list[list[UnitSpan]] = [[] for _ in range(n_contexts)]
        for (context, start, stop, label), score in zip(entities.tolist(), sure.tolist(), strict=True):
            spans[context].append(UnitSpan(names[label], ((start, stop),), score))
        return spans

    def _decode(self, emissions: Tensor, mask: Tensor, scores: ChainScores | LegalChain) -> list[HeadOutput]:
        x, lengths = emissions.numpy(), mask.sum(1).numpy()
        with np.errstate(invalid="ignore"):  # of what is not finite, which is told below
            tags = best_paths(x, lengths, scores)  # before its arrays would stand beside those that follow
        result = forward_backward(emissions, mask, scores, log_beta=True)
        check_finite(result.log_z)
        contexts, starts, stops, labels = self.rules.find(tags, mask.numpy())
        entities = np.stack([contexts, starts, stops, labels], 1)
        entity_scores = entity_probabilities(self.rules, x, result, scores, lengths, entities)
        kept = entity_scores >= self.threshold
        spans = self._spans(len(tags), entities[kept], entity_scores[kept])
        for context in np.unique(contexts[~kept]).tolist():
            n = int(lengths[context])
            tags[context, :n] = self.scheme.encode(spans[context], n)
        sure = np.take_along_axis(result.marginals.numpy(), tags[..., None], 2)[..., 0].astype(np.float32)
        tag_names = self.scheme.tags
        return [
            HeadOutput(found, row[:n], score[:n], tag_names)
            for found, row, score, n in zip(spans, tags, sure, lengths.tolist(), strict=True)
        ]

    def _empty(self) -> HeadOutput:
        return HeadOutput([], np.zeros(0, np.int64), np.zeros(0, np.float32), self.scheme.tags)


def _blocks(
    emissions: Tensor, mask: Tensor, scores: ChainScores | LegalChain
) -> Iterator[tuple[Tensor, Tensor, ChainScores | LegalChain]]:
    """Yield some contexts at a time, on the CPU, in float32 or better, with scores for it."""
    if isinstance(scores, ChainScores):
        scores = scores.detach(torch.float64, torch.device("cpu"))
    size, dtype = max(1, _BLOCK // emissions[0].numel()), torch.promote_types(emissions.dtype, torch.float32)
    for some, real in zip(torch.split(emissions.detach(), size), torch.split(mask.cpu(), size), strict=True):
        yield some.to("cpu", dtype).contiguous(), real, scores
