"""Entities scored as spans."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from papermage_core.plugin import HeadOutput, LabelScheme, UnitSpan
from papermage_heads.scoring import check_finite
from papermage_heads.span.choose import choose, unit_tags
from papermage_heads.span.links import LinkScorer, neighbours, walks
from papermage_heads.span.scorer import Parts, SpanScorer
from papermage_heads.span.segments import Overlap

__all__ = ["SpanHead"]

_RARE = 4.0
"""Weight in the loss of what belongs to discontinuous entities, of which there are few even where there are any; the
probability of a link is taken without it."""
_PROPOSED = 0.02
"""Probability, raised by this weight, from which on a span may be a segment of one: low, the links decide."""


class SpanHead(nn.Module):
    """Every span of up to ``max_length`` units is scored for every label; segments found so are linked.

    A span of one label is a yes or no of its own (a sigmoid), so that entities may overlap, nest and carry several
    labels, and the score is the probability of the whole entity.

    Of what the literature offers, this is the form whose memory is linear in the units, which contexts of whole pages
    and articles need. W2NER (Li et al. 2022) and the biaffine and triaffine models (Yu et al. 2020; Yuan et al. 2022)
    score the square of all pairs of units, with a tensor for each; SpanMarker (Aarsen 2023) feeds a pair of markers
    a span through the encoder, which ties the head to transformers. Enumerating spans of bounded length from
    boundary, content and width vectors is SpERT's way (Eberts and Ulges 2020); with a sum before the nonlinearity in
    place of a concatenation its products are taken once a unit, not once a span. The biaffine form was left for the
    same reason: its cost grows with labels times width, here only a thin last layer does.

    Discontinuous entities follow Li et al. 2021, "A Span-Based Model for Joint Overlapped and Discontinuous Named
    Entity Recognition": their segments are spans of channels of their own, and a link says that one segment follows
    another in an entity of a label. An entity is a longest walk along links; its score is the product of theirs. W2NER
    finds the same in one grid, at the square of the units; hypergraphs and transition systems (Muis and Lu 2016; Dai
    et al. 2020) are ambiguous, or cannot run as one batch. Where training data holds no discontinuous entity, none of
    this is built.

    The tag of a unit is that of the likeliest entity predicted over it. Its score is that entity's; for ``O`` it is
    what the likeliest span over the unit leaves.
    """

    def __init__(
        self,
        input_size: int,
        scheme: LabelScheme,
        *,
        hidden: int = 96,
        dropout: float = 0.1,
        max_length: int = 8,
        max_gap: int = 0,
        overlap: Overlap = "any",
        threshold: float = 0.5,
        link_threshold: float = 0.35,
    ) -> None:
        super().__init__()
        self.labels = scheme.labels
        self.max_length = max_length
        self.max_gap = max_gap
        self.overlap: Overlap = overlap
        self.threshold = threshold
        self.link_threshold = link_threshold
        n_labels = len(scheme.labels)
        self.spans = SpanScorer(input_size, hidden, max_length, n_labels * (2 if max_gap else 1), dropout)
        self.links = LinkScorer(hidden, max_gap, n_labels, dropout) if max_gap else None
        self._index = {label: index for index, label in enumerate(self.labels)}

    def loss(self, vectors: Tensor, mask: Tensor, targets: Sequence[Sequence[UnitSpan]]) -> Tensor:
        """Return the summed binary cross entropy of all spans and links; longer entities are left out."""
        batch = _Batch.of(vectors, mask)
        parts = self.spans.parts(batch.vectors)
        wanted = self._wanted(targets, batch)
        blocks = self.spans.blocks(len(batch.left))
        score = self.spans if len(blocks) == 1 else self.spans.frugal
        total = parts.start.sum() * 0.0
        proposed = []
        for start, stop in blocks:
            scores = score(parts, start, stop)
            real = self._real(batch, start, stop)
            unit, length, channel = (
                wanted[(wanted[:, 0] >= start) & (wanted[:, 0] < stop)] - wanted.new_tensor([start, 0, 0])
            ).t()
            positive = scores[unit, length - 1, channel]
            total = total + (F.softplus(scores).sum(2) * real).sum() - positive.sum()
            if self.links is not None:
                segments = positive[channel >= len(self.labels)]
                total = total + (_RARE - 1) * F.softplus(-segments).sum()
            if self.links is not None:
                proposed.append(self._proposed(scores.detach(), real, start))
        if self.links is not None:
            total = total + self._link_loss(parts, batch, targets, _surest(proposed, batch))
        return total

    @torch.no_grad()
    def decode(self, vectors: Tensor, mask: Tensor) -> list[HeadOutput]:
        """Return the entities whose probability reaches the threshold, less those that ``overlap`` forbids."""
        batch = _Batch.of(vectors, mask)
        parts = self.spans.parts(batch.vectors)
        found: list[list[UnitSpan]] = [[] for _ in range(len(mask))]
        covered = vectors.new_zeros(len(batch.left), dtype=torch.float32)
        proposed = []
        for start, stop in self.spans.blocks(len(batch.left)):
            scores = self.spans(parts, start, stop)
            check_finite(scores)
            real = self._real(batch, start, stop)
            sure = scores[..., : len(self.labels)].sigmoid() * real[..., None]
            _cover(covered, sure.amax(2), start)
            self._collect(found, batch, sure, start, self.threshold)
            if self.links is not None:
                proposed.append(self._proposed(scores, real, start))
        if self.links is not None:
            self._collect_linked(found, parts, batch, _surest(proposed, batch), self.link_threshold)
        outside = (1.0 - covered).cpu().numpy()
        tag_names = ("O", *self.labels)
        results = []
        for spans, first, n in zip(found, batch.first.tolist(), batch.lengths.tolist(), strict=True):
            kept = choose(spans, self.overlap)
            tags, scores = unit_tags(kept, outside[first : first + n], self._index)
            results.append(HeadOutput(kept, tags, scores, tag_names))
        return results

    @torch.no_grad()
    def candidates(self, vectors: Tensor, mask: Tensor, least: float) -> list[list[UnitSpan]]:
        """Return all entities of each context that have at least this probability, overlapping or not."""
        batch = _Batch.of(vectors, mask)
        parts = self.spans.parts(batch.vectors)
        found: list[list[UnitSpan]] = [[] for _ in range(len(mask))]
        proposed = []
        for start, stop in self.spans.blocks(len(batch.left)):
            scores = self.spans(parts, start, stop)
            check_finite(scores)
            real = self._real(batch, start, stop)
            self._collect(found, batch, scores[..., : len(self.labels)].sigmoid() * real[..., None], start, least)
            if self.links is not None:
                proposed.append(self._proposed(scores, real, start))
        if self.links is not None:
            self._collect_linked(found, parts, batch, _surest(proposed, batch), max(least, _PROPOSED))
        return [sorted(span for span in spans if span.score is not None and span.score >= least) for spans in found]

    def _real(self, batch: _Batch, start: int, stop: int) -> Tensor:
        """Return which spans beginning at these units end within their context. Shape (stop - start, W)."""
        lengths = torch.arange(1, self.max_length + 1, device=batch.left.device)
        return lengths <= batch.left[start:stop, None]

    def _wanted(self, targets: Sequence[Sequence[UnitSpan]], batch: _Batch) -> Tensor:
        """Return first unit, length and channel of what is to be found. Shape (M, 3)."""
        rows = set()
        for spans, first in zip(targets, batch.first.tolist(), strict=True):
            for span in spans:
                label = self._index[span.label]
                if span.is_discontinuous and self.links is None:
                    continue
                channel = label + len(self.labels) * span.is_discontinuous
                rows |= {(first + start, stop - start, channel) for start, stop in span.segments}
        fitting = sorted(row for row in rows if row[1] <= self.max_length)
        return torch.tensor(fitting, dtype=torch.int64, device=batch.left.device).view(-1, 3)

    def _proposed(self, scores: Tensor, real: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Return first unit and length, (F, 2), and score, (F,), of spans that may be segments of an entity."""
        sure = scores[..., len(self.labels) :].amax(2)
        unit, length = ((sure > math.log(_PROPOSED / (1 - _PROPOSED))) & real).nonzero().t()
        return torch.stack([unit + start, length + 1], 1), sure[unit, length]

    def _pairs(self, batch: _Batch, proposed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs of proposed segments that a link may join, by index. Two tensors (P,)."""
        starts, lengths = proposed.t()
        return neighbours(starts.contiguous(), starts + lengths, batch.context[starts], self.max_gap)

    def _link_scores(self, parts: Parts, proposed: Tensor, left: Tensor, right: Tensor) -> Tensor:
        assert self.links is not None
        vectors = self.spans.vectors(parts, proposed[:, 0], proposed[:, 1])
        end, start = proposed[left].sum(1), proposed[right, 0]
        between = parts.mean(end, start - end).to(vectors.dtype)
        scores: Tensor = self.links(vectors[left], vectors[right], between, start - end)
        return scores

    def _link_loss(
        self, parts: Parts, batch: _Batch, targets: Sequence[Sequence[UnitSpan]], proposed: Tensor
    ) -> Tensor:
        """Return the loss of the links between true segments, and those that the spans' scores propose."""
        gold = {
            ((first + left[0], left[1] - left[0]), (first + right[0], right[1] - right[0]), self._index[span.label])
            for spans, first in zip(targets, batch.first.tolist(), strict=True)
            for span in spans
            for left, right in itertools.pairwise(span.segments)
        }
        true = sorted({segment for link in gold for segment in link[:2] if segment[1] <= self.max_length})
        both = torch.cat([proposed.new_tensor(true).view(-1, 2), proposed])
        candidates: Tensor = torch.unique(both, dim=0)
        left, right = self._pairs(batch, candidates)
        scores = self._link_scores(parts, candidates, left, right)
        place = {segment: index for index, segment in enumerate(map(tuple, candidates.tolist()))}
        joined = {
            (place[first], place[second], label) for first, second, label in gold if first in place and second in place
        }
        wanted = torch.zeros_like(scores)
        row = {pair: index for index, pair in enumerate(zip(left.tolist(), right.tolist(), strict=True))}
        for first_place, second_place, label in joined:
            if (first_place, second_place) in row:
                wanted[row[first_place, second_place], label] = 1.0
        return F.binary_cross_entropy_with_logits(scores, wanted, reduction="sum", pos_weight=scores.new_tensor(_RARE))

    def _collect(self, found: list[list[UnitSpan]], batch: _Batch, sure: Tensor, start: int, least: float) -> None:
        """Add the contiguous entities of a block to those found."""
        unit, length, label = (sure >= least).nonzero().t()
        scores = sure[unit, length, label].tolist()
        context = batch.context[unit + start]
        begins = (unit + start - batch.first[context]).tolist()
        for row, begin, size, index, score in zip(
            context.tolist(), begins, (length + 1).tolist(), label.tolist(), scores, strict=True
        ):
            found[row].append(UnitSpan(self.labels[index], ((begin, begin + size),), score))

    def _collect_linked(
        self, found: list[list[UnitSpan]], parts: Parts, batch: _Batch, proposed: Tensor, least: float
    ) -> None:
        """Add the discontinuous entities to those found."""
        left, right = self._pairs(batch, proposed)
        sure = (self._link_scores(parts, proposed, left, right) - math.log(_RARE)).sigmoid()
        pair, label = (sure >= least).nonzero().t()
        links: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
        for a, b, index, row, score in zip(
            left[pair].tolist(),
            right[pair].tolist(),
            label.tolist(),
            batch.context[proposed[left[pair], 0]].tolist(),
            sure[pair, label].tolist(),
            strict=True,
        ):
            links.setdefault((row, index), []).append((a, b, score))
        ends = torch.stack([proposed[:, 0], proposed.sum(1)], 1) - batch.first[batch.context[proposed[:, 0]], None]
        places = list(map(tuple, ends.tolist()))
        for (row, index), some in links.items():
            for walk, score in walks(some):
                found[row].append(UnitSpan(self.labels[index], tuple(places[node] for node in walk), score))


@attrs.frozen(eq=False)
class _Batch:
    """The real units of B contexts, one after the other. N units."""

    vectors: Tensor
    """Shape (N, D)."""
    context: Tensor
    """Row of each unit. Shape (N,)."""
    left: Tensor
    """Units from each to the end of its context, itself included. Shape (N,)."""
    first: Tensor
    """Where each context begins. Shape (B,)."""
    lengths: Tensor
    """Units of each context. Shape (B,)."""

    @classmethod
    def of(cls, vectors: Tensor, mask: Tensor) -> _Batch:
        context, unit = mask.nonzero().t()
        lengths = mask.sum(1)
        return cls(vectors[mask], context, lengths[context] - unit, lengths.cumsum(0) - lengths, lengths)


def _surest(proposed: Sequence[tuple[Tensor, Tensor]], batch: _Batch) -> Tensor:
    """Return the surest spans of each context, one for every four units, which bounds the pairs to be scored."""
    spans = torch.cat([batch.left.new_zeros(0, 2), *(part for part, _ in proposed)])
    score = torch.cat([batch.left.new_zeros(0, dtype=torch.float32), *(part for _, part in proposed)])
    order = score.argsort(descending=True, stable=True)
    context = batch.context[spans[order, 0]]
    order, context = order[context.argsort(stable=True)], context.sort().values
    counts = torch.bincount(context, minlength=len(batch.lengths))
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[context]
    return spans[order[rank < 4 + batch.lengths[context] // 4]]


def _cover(covered: Tensor, sure: Tensor, start: int) -> None:
    """Raise ``covered`` (N,) to the largest probability (n, W) of a span, beginning at ``start`` or later, over it."""
    reaching = sure.flip(1).cummax(1).values.flip(1)  # of a span of at least this length
    for offset in range(sure.shape[1]):
        part = covered[start + offset : start + offset + len(sure)]
        torch.maximum(part, reaching[: len(part), offset], out=part)
