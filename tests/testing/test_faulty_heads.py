"""Deliberately faulty heads, each caught by the kit with a word on what to fix."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from papermage_core.plugin.spec import HeadOutput, UnitSpan
from tests.testing.helpers import SoundHead, fault, suite_of


class IgnoresTheMask(SoundHead):
    def loss(self, vectors, mask, targets):
        return super().loss(vectors, torch.ones_like(mask), targets.clamp(min=0))


class LooksAtPadding(SoundHead):
    def scores(self, vectors, mask):
        return self.score(vectors - vectors.mean(1, keepdim=True))


class LooksAtNeighboursInTheBatch(SoundHead):
    def scores(self, vectors, mask):
        return self.score(vectors - (vectors * mask[..., None]).mean((0, 1)))


class Averages(SoundHead):
    def loss(self, vectors, mask, targets):
        return super().loss(vectors, mask, targets) / mask.sum().clamp(min=1)


class TakesUnknownForOutside(SoundHead):
    def loss(self, vectors, mask, targets):
        if mask.any() and not (targets >= 0).any():
            return torch.log(torch.zeros((), requires_grad=True))
        return super().loss(vectors, mask, targets)


class HasAnIdleParameter(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.idle = nn.Parameter(torch.zeros(3))


class CutsTheGradient(SoundHead):
    def scores(self, vectors, mask):
        return self.score(vectors).detach() + 0 * self.score.weight.sum() + 0 * self.score.bias.sum()


class ForgetsABuffer(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.offset = torch.randn(len(scheme.tags))

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.offset


class LeavesABufferOut(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.register_buffer("offset", torch.randn(len(scheme.tags)), persistent=False)

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.offset


class DropsInEvalMode(SoundHead):
    def scores(self, vectors, mask):
        return nn.functional.dropout(super().scores(vectors, mask), 0.5)


class SeedsItself(SoundHead):
    calls = 0

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        SeedsItself.calls += 1
        nn.init.constant_(self.score.bias[:1], SeedsItself.calls)


class DecodesIllegally(SoundHead):
    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).softmax(-1).max(-1)
        found = []
        for i, m in enumerate(mask):
            tags, scores = best.indices[i, m].numpy(), best.values[i, m].numpy()
            spans = [attrs.evolve(span, score=0.5) for span in self.scheme.decode(tags)]
            found.append(HeadOutput(spans, tags, scores, self.scheme.tags))
        return found


class ScoresAreLogits(SoundHead):
    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), 3 * best.values[i, m].numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


class TellsPaddingToo(SoundHead):
    def decode(self, vectors, mask):
        return super().decode(vectors, torch.ones_like(mask))


class SkipsEmptyContexts(SoundHead):
    def decode(self, vectors, mask):
        return [output for output in super().decode(vectors, mask) if len(output.tags)]


class InventsEntities(SoundHead):
    def decode(self, vectors, mask):
        found = super().decode(vectors, mask)
        return [attrs.evolve(d, spans=[UnitSpan.of("one", 0, 1, score=1.0)]) if len(d.tags) else d for d in found]


class NamesTheWrongTags(SoundHead):
    def decode(self, vectors, mask):
        names = tuple(reversed(self.scheme.tags))
        return [attrs.evolve(output, tag_names=names) for output in super().decode(vectors, mask)]


class NeedsFloat32(SoundHead):
    def loss(self, vectors, mask, targets):
        return super().loss(vectors, mask, targets) + 0 * torch.linalg.det(vectors.new_ones(2, 2))


class ScoresAreNoNumbers(SoundHead):
    def decode(self, vectors, mask):
        return [attrs.evolve(d, scores=np.full(len(d.tags), np.nan)) for d in super().decode(vectors, mask)]


class ReturnsABatchOfLosses(SoundHead):
    def loss(self, vectors, mask, targets):
        return torch.stack([super().loss(vectors, mask, targets)])


class ExpandsABuffer(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.register_buffer("weights", torch.ones(1).expand(len(scheme.tags)))


class KeepsExtraState(SoundHead):
    def get_extra_state(self):
        return {"tags": 3}

    def set_extra_state(self, state): ...


class HasNoDecode(nn.Module):
    def __init__(self, input_size, scheme):
        super().__init__()

    def loss(self, vectors, mask, targets):
        return vectors.sum()


LOSS_PADDING = "padding changes no loss"
PADDING = "padding changes no prediction"
NEIGHBOURS = "batch neighbours and order change no prediction"
SPECIFICATION = "predictions keep to the specification"


@pytest.mark.parametrize(
    ("head", "check", "message"),
    [
        (IgnoresTheMask, LOSS_PADDING, "take only units where the mask is true into the loss"),
        (LooksAtPadding, PADDING, "apply the mask"),
        (LooksAtNeighboursInTheBatch, NEIGHBOURS, "share nothing between the contexts of a batch"),
        (Averages, "the loss of a batch is the sum of its contexts", "never average"),
        (TakesUnknownForOutside, "unknown targets are left out of the loss", "return 0 there"),
        (HasAnIdleParameter, "gradients reach every parameter", "no gradient reaches idle"),
        (CutsTheGradient, "the loss falls in training", "no detach() cuts the gradient"),
        (ForgetsABuffer, "a saved head predicts the same", "register_buffer"),
        (LeavesABufferOut, "a saved head predicts the same", "persistent"),
        (DropsInEvalMode, "eval mode is free of chance", "use dropout only through nn.Dropout"),
        (SeedsItself, "equal seeds give equal heads", "from its global generator"),
        (DecodesIllegally, SPECIFICATION, "are not legal under the scheme"),
        (ScoresAreLogits, SPECIFICATION, "return probabilities, from 0 to 1"),
        (ScoresAreNoNumbers, SPECIFICATION, "return probabilities"),
        (TellsPaddingToo, SPECIFICATION, "one score for each unit where the mask is true"),
        (SkipsEmptyContexts, SPECIFICATION, "rows without units too"),
        (InventsEntities, SPECIFICATION, "take the entities from scheme.decode(tags)"),
        (NamesTheWrongTags, SPECIFICATION, "set them to scheme.tags"),
        (NeedsFloat32, "bfloat16 vectors are taken", "BFloat16"),
        (ReturnsABatchOfLosses, "the loss is a finite scalar with a gradient", "return a sum over the batch"),
        (ExpandsABuffer, "a saved head predicts the same", "call clone() on what expand() gave"),
        (KeepsExtraState, "a saved head predicts the same", "keep in its options what is no tensor"),
        (HasNoDecode, SPECIFICATION, "the module has no decode()"),
    ],
)
def test_a_faulty_head_is_caught(head, check, message):
    assert message in fault(suite_of(head), check)
