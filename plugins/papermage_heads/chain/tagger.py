"""From the scores of a batch to tags, entities and their probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from papermage_core.plugin import HeadOutput, LabelScheme, UnitSpan
from papermage_heads.chain.all_paths import sum_paths
from papermage_heads.chain.best import best_paths
from papermage_heads.chain.entities import EntityScorer
from papermage_heads.chain.rules import EntityRules
from papermage_heads.chain.scores import ChainScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChainTagger"]


class ChainTagger:
    """Decodes batches under a scheme: the best legal sequence, with marginals and exact probabilities of entities."""

    def __init__(self, scheme: LabelScheme) -> None:
        self.scheme = scheme
        self.rules = EntityRules.of(scheme)
        self.score_entities = EntityScorer.of(self.rules)

    def __call__(self, emissions: Tensor, mask: Tensor, scores: ChainScores) -> list[HeadOutput]:
        """Return what is said of each of B contexts, for emissions (B, U, K) and a mask (B, U), padding at the end.

        Runs on the CPU, whatever the device: a step of the loop costs less there than a launch elsewhere, and one copy
        of the emissions is all that has to travel.
        """
        if not emissions.numel():
            return [self._empty() for _ in range(len(emissions))]
        emissions, mask = emissions.detach().to("cpu", torch.float64), mask.cpu()
        scores = ChainScores(*(kind.detach().to("cpu", torch.float64) for kind in scores.kinds))
        lengths = mask.sum(1).numpy()
        tags = best_paths(emissions.numpy(), lengths, *(kind.numpy() for kind in scores.kinds))
        sums = sum_paths(emissions, mask, scores, ahead=True)
        n_units, batch = tags.shape[1], np.arange(len(tags))
        sure = sums.marginals.numpy()[batch[:, None], np.arange(n_units), tags].astype(np.float32)
        contexts, starts, stops, labels = self._entities(tags, mask.numpy())
        entity_scores = self.score_entities(sums, scores.transitions.numpy(), lengths, contexts, starts, stops, labels)
        names = self.scheme.labels
        spans: list[list[UnitSpan]] = [[] for _ in range(len(tags))]
        for context, start, stop, label, score in zip(
            *(array.tolist() for array in (contexts, starts, stops, labels, entity_scores)), strict=True
        ):
            spans[context].append(UnitSpan(names[label], ((start, stop),), score))
        tag_names = self.scheme.tags
        return [
            HeadOutput(found, row[:n], score[:n], tag_names)
            for found, row, score, n in zip(spans, tags, sure, lengths.tolist(), strict=True)
        ]

    def _entities(self, tags: NDArray[np.int64], mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
        """Return context, start, stop and label of the entities of legal sequences (B, U), in order."""
        inside = (self.rules.label[tags] >= 0) & mask
        joined = self.rules.continues[tags[:, :-1], tags[:, 1:]] & mask[:, 1:]
        first, last = inside.copy(), inside
        first[:, 1:] &= ~joined
        last[:, :-1] &= ~joined
        contexts, starts = np.nonzero(first)
        stops = np.nonzero(last)[1] + 1
        return contexts, starts, stops, self.rules.label[tags[contexts, starts]]

    def _empty(self) -> HeadOutput:
        return HeadOutput([], np.zeros(0, np.int64), np.zeros(0, np.float32), self.scheme.tags)
