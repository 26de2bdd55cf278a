"""Deliberately faulty heads, each caught by the kit with a word on what to fix."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from papermage_core.plugin.spec import HeadOutput, ModelHeadConfig, UnitSpan, option
from papermage_core.testing import ModelHeadSuite
from papermage_core.testing.runner import run_suite


class Sound(nn.Module):
    """A linear head without an error; each of the others changes one thing."""

    def __init__(self, input_size, scheme):
        super().__init__()
        self.scheme = scheme
        self.score = nn.Linear(input_size, len(scheme.tags))

    def scores(self, vectors, mask):
        return self.score(vectors.float())

    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0)
        scores = self.scores(vectors, mask)[known]
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum")

    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).softmax(-1).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), best.values[i, m].float().numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


class IgnoresTheMask(Sound):
    def loss(self, vectors, mask, targets):
        return super().loss(vectors, torch.ones_like(mask), targets.clamp(min=0))


class LooksAtPadding(Sound):
    def scores(self, vectors, mask):
        return self.score(vectors - vectors.mean(1, keepdim=True))


class LooksAtNeighboursInTheBatch(Sound):
    def scores(self, vectors, mask):
        return self.score(vectors - (vectors * mask[..., None]).mean((0, 1)))


class Averages(Sound):
    def loss(self, vectors, mask, targets):
        return super().loss(vectors, mask, targets) / mask.sum().clamp(min=1)


class TakesUnknownForOutside(Sound):
    def loss(self, vectors, mask, targets):
        if mask.any() and not (targets >= 0).any():
            return torch.log(torch.zeros((), requires_grad=True))
        return super().loss(vectors, mask, targets)


class HasAnIdleParameter(Sound):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.idle = nn.Parameter(torch.zeros(3))


class CutsTheGradient(Sound):
    def scores(self, vectors, mask):
        return self.score(vectors).detach() + 0 * self.score.weight.sum() + 0 * self.score.bias.sum()


class ForgetsABuffer(Sound):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.offset = torch.randn(len(scheme.tags))

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.offset


class LeavesABufferOut(Sound):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.register_buffer("offset", torch.randn(len(scheme.tags)), persistent=False)

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.offset


class DropsInEvalMode(Sound):
    def scores(self, vectors, mask):
        return nn.functional.dropout(super().scores(vectors, mask), 0.5)


class SeedsItself(Sound):
    calls = 0

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        SeedsItself.calls += 1
        nn.init.constant_(self.score.bias[:1], SeedsItself.calls)


class DecodesIllegally(Sound):
    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).softmax(-1).max(-1)
        found = []
        for i, m in enumerate(mask):
            tags, scores = best.indices[i, m].numpy(), best.values[i, m].numpy()
            spans = [attrs.evolve(span, score=0.5) for span in self.scheme.decode(tags)]
            found.append(HeadOutput(spans, tags, scores, self.scheme.tags))
        return found


class ScoresAreLogits(Sound):
    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), 3 * best.values[i, m].numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


class TellsPaddingToo(Sound):
    def decode(self, vectors, mask):
        return super().decode(vectors, torch.ones_like(mask))


class SkipsEmptyContexts(Sound):
    def decode(self, vectors, mask):
        return [output for output in super().decode(vectors, mask) if len(output.tags)]


class InventsEntities(Sound):
    def decode(self, vectors, mask):
        found = super().decode(vectors, mask)
        return [attrs.evolve(d, spans=[UnitSpan.of("one", 0, 1, score=1.0)]) if len(d.tags) else d for d in found]


class NamesTheWrongTags(Sound):
    def decode(self, vectors, mask):
        names = tuple(reversed(self.scheme.tags))
        return [attrs.evolve(output, tag_names=names) for output in super().decode(vectors, mask)]


class NeedsFloat32(Sound):
    def loss(self, vectors, mask, targets):
        return super().loss(vectors, mask, targets) + 0 * torch.linalg.det(vectors.new_ones(2, 2))


class ReturnsABatchOfLosses(Sound):
    def loss(self, vectors, mask, targets):
        return torch.stack([super().loss(vectors, mask, targets)])


class HasNoDecode(nn.Module):
    def __init__(self, input_size, scheme):
        super().__init__()

    def loss(self, vectors, mask, targets):
        return vectors.sum()


@attrs.frozen(kw_only=True)
class Config(ModelHeadConfig):
    head: str = option(help="name of the class above")

    def build(self, input_size, scheme):
        return globals()[self.head](input_size, scheme)


def suite_of(head: type) -> type[ModelHeadSuite]:
    members = {"config_class": Config, "options": ({"head": head.__name__},), "schemes": ("bio",)}
    return type("Suite", (ModelHeadSuite,), members)


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
        (TellsPaddingToo, SPECIFICATION, "one score for each unit where the mask is true"),
        (SkipsEmptyContexts, SPECIFICATION, "rows without units too"),
        (InventsEntities, SPECIFICATION, "take the entities from scheme.decode(tags)"),
        (NamesTheWrongTags, SPECIFICATION, "set them to scheme.tags"),
        (NeedsFloat32, "bfloat16 vectors are taken", "BFloat16"),
        (ReturnsABatchOfLosses, "the loss is a finite scalar with a gradient", "return a sum over the batch"),
        (HasNoDecode, SPECIFICATION, "the module has no decode()"),
    ],
)
def test_a_faulty_head_is_caught(head, check, message):
    (found,) = run_suite(suite_of(head), only=check)
    assert not found.passed
    assert message in found.error


def test_the_sound_head_passes():
    assert [result for result in run_suite(suite_of(Sound)) if not result.passed] == []


def test_scores_that_are_no_numbers_are_caught():
    class Nan(Sound):
        def decode(self, vectors, mask):
            return [attrs.evolve(d, scores=np.full(len(d.tags), np.nan)) for d in super().decode(vectors, mask)]

    globals()["Nan"] = Nan
    (found,) = run_suite(suite_of(Nan), only=SPECIFICATION)
    assert "return probabilities" in found.error
