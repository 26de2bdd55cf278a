"""Heads with one fault each that only shows on long input, in training, or with other labels: each is caught."""

from __future__ import annotations

import functools
from typing import ClassVar

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from papermage_core.plugin.spec import HeadOutput, UnitSpan
from papermage_core.testing.head_suite import check_output
from papermage_core.testing.probes import scheme_of
from tests.testing.helpers import SoundHead, failed, fault, suite_of


class DetachesInTraining(SoundHead):
    def scores(self, vectors, mask):
        return super().scores(vectors.detach() if self.training else vectors, mask)


class LearnsUnknownAsOutside(SoundHead):
    def loss(self, vectors, mask, targets):
        return nn.functional.cross_entropy(
            self.scores(vectors, mask)[mask], targets[mask].clamp(min=0), reduction="sum"
        )


class LearnsUnknownAsTheLastTag(SoundHead):
    """As an index from the end."""

    def loss(self, vectors, mask, targets):
        scores = self.scores(vectors, mask).log_softmax(-1)
        return -torch.stack([row[tag] for row, tag in zip(scores[mask], targets[mask].tolist(), strict=True)]).sum()


class NormalisesInTraining(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.norm = nn.BatchNorm1d(input_size)

    def scores(self, vectors, mask):
        return super().scores(self.norm(vectors.transpose(1, 2)).transpose(1, 2), mask)


class AveragesInTraining(SoundHead):
    def loss(self, vectors, mask, targets):
        loss = super().loss(vectors, mask, targets)
        return loss / mask.sum().clamp(min=1) if self.training else loss


class MixesTheBatchUnderDropout(SoundHead):
    def scores(self, vectors, mask):
        if self.training:
            vectors = vectors * (torch.rand(vectors.shape) > 0.3)
            vectors = vectors - (vectors * mask[..., None]).sum((0, 1)) / mask.sum().clamp(min=1)
        return super().scores(vectors, mask)


class NeverFindsTheLastOfManyLabels(SoundHead):
    def decode(self, vectors, mask):
        scores = self.scores(vectors, mask)
        if len(self.scheme.labels) > 3:
            scores[..., [tag.endswith(self.scheme.labels[-1]) for tag in self.scheme.tags]] = -1e4
        best = scores.softmax(-1).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), best.values[i, m].float().numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


class FixesAThreshold(SoundHead):
    floor = None

    def scores(self, vectors, mask):
        scores = super().scores(vectors, mask)
        if self.floor is None and mask.any():
            self.floor = float(scores[mask].std())
        return scores / (self.floor or 1.0)


class CountsItsCalls(SoundHead):
    calls = 0

    def decode(self, vectors, mask):
        self.calls += 1
        return super().decode(vectors * (1 + 0.3 * (self.calls > 1)), mask)


class TracksAMeanInTraining(SoundHead):
    mean = 0.0

    def scores(self, vectors, mask):
        if self.training and mask.any():
            self.mean = float(vectors.detach()[mask].mean()) + 0.2
        return super().scores(vectors - self.mean, mask)


class MultipliesProbabilities(SoundHead):
    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0)
        right = self.scores(vectors, mask).softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
        return -torch.stack([row[k].prod().log() for row, k in zip(right, known, strict=True)]).sum()


class TakesProbabilitiesForLogits(SoundHead):
    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0)
        scores = self.scores(vectors, mask).softmax(-1)
        return nn.functional.cross_entropy(scores[known], targets[known], reduction="sum")


class Exponentiates(SoundHead):
    def decode(self, vectors, mask):
        powers = self.scores(vectors, mask).exp()
        best = (powers / powers.sum(-1, keepdim=True)).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), best.values[i, m].numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


class HasPlacesForSixtyFour(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.places = nn.Parameter(torch.zeros(64, input_size))

    def scores(self, vectors, mask):
        return super().scores(vectors + self.places[: vectors.shape[1]], mask)


class KnowsTwoLabels(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.score = nn.Linear(input_size, 9)

    def scores(self, vectors, mask):
        return super().scores(vectors, mask)[..., : len(self.scheme.tags)]


class HoldsThirtyTwoContexts(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.register_buffer("ones", torch.ones(32, 1, 1))

    def scores(self, vectors, mask):
        return super().scores(vectors * self.ones[: vectors.shape[0]], mask)


class PenalisesWithAPlainTensor(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.forbidden = torch.zeros(len(scheme.tags))

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.forbidden


class GivesFloat64(SoundHead):
    def decode(self, vectors, mask):
        return [attrs.evolve(d, scores=d.scores.astype(float)) for d in super().decode(vectors, mask)]


class MasksWithMinusABillion(SoundHead):
    def scores(self, vectors, mask):
        return self.score(vectors).masked_fill(~mask[..., None], -1e9).float()


class DrawsFromNumpy(SoundHead):
    def scores(self, vectors, mask):
        scores = super().scores(vectors, mask)
        return scores + float(np.random.rand()) * scores if self.training else scores


class DrawsFromItsOwn(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.generator = torch.Generator().manual_seed(0)

    def scores(self, vectors, mask):
        scores = super().scores(vectors, mask)
        return scores + torch.rand(scores.shape, generator=self.generator) if self.training else scores


class SeedsTheRun(SoundHead):
    def loss(self, vectors, mask, targets):
        torch.manual_seed(1)
        return super().loss(vectors, mask, targets)


class KeepsLosses(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.losses = []

    def loss(self, vectors, mask, targets):
        self.losses.append(super().loss(vectors, mask, targets))
        return self.losses[-1]


class KeepsOutputs(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.said = []

    def decode(self, vectors, mask):
        self.said += super().decode(vectors, mask)
        return self.said[len(self.said) - len(mask) :]


class MasksInPlace(SoundHead):
    def loss(self, vectors, mask, targets):
        targets[targets == 2] = 1
        return super().loss(vectors, mask, targets)


class StartsFromHashes(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        with torch.no_grad():
            self.score.bias.copy_(torch.tensor([hash(tag) % 7 - 3.0 for tag in scheme.tags]))


class OrdersFeaturesByASet(SoundHead):
    """The weights are those of one order of the features, which another process does not have."""

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        order = [int(name) for name in {str(number) for number in range(input_size)}]
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def scores(self, vectors, mask):
        return super().scores(vectors[..., self.order], mask)


class Prints(SoundHead):
    def decode(self, vectors, mask):
        print("decode")
        return super().decode(vectors, mask)


class NamesByTheNewest(SoundHead):
    """Decodes with the scheme of whichever head was built last."""

    newest = None

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        type(self).newest = scheme

    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).softmax(-1).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), best.values[i, m].numpy(), type(self).newest)
            for i, m in enumerate(mask)
        ]


class SharesWeights(SoundHead):
    """Among all heads that have as many."""

    made: ClassVar[dict[int, nn.Parameter]] = {}

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.bias = self.made.setdefault(len(scheme.tags), nn.Parameter(torch.zeros(len(scheme.tags))))

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.bias


@functools.lru_cache
def built_once(input_size, tags):
    return SoundHead(input_size, scheme_of("bio", tags))


class Once:
    """Builds a head once for each list of labels."""

    def __new__(cls, input_size, scheme):
        return built_once(input_size, tuple(scheme.labels))


class AllowsEveryTransition(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        scheme.transition_allowed = np.ones_like(scheme.transition_allowed)


class DecodesIntoOneArray(SoundHead):
    buffer = np.zeros((8, 64), np.float32)

    def decode(self, vectors, mask):
        outputs = super().decode(vectors, mask)
        if len(outputs) > len(self.buffer):
            return outputs
        for row, output in zip(self.buffer, outputs, strict=False):
            row[: len(output.scores)] = output.scores
        return [attrs.evolve(o, scores=row[: len(o.scores)]) for row, o in zip(self.buffer, outputs, strict=False)]


class SwitchesDropoutOff(SoundHead):
    def decode(self, vectors, mask):
        self.eval()
        return super().decode(vectors, mask)


class TiesItsWeights(SoundHead):
    """This one is sound."""

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.again = nn.Linear(input_size, len(scheme.tags))
        self.again.weight = self.score.weight

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.again(vectors).float()


UNKNOWN = "unknown targets are learnt as nothing"
TRAIN = "in train mode padding and neighbours change nothing either"
STATE = "decoding keeps no state"
LONG = "long contexts have a finite loss"
LABELS = "one label and a dozen are taken"
MOVE = "tensors move with the head"
CHANCE = "only the seeded generator is drawn from"
KEPT = "nothing is kept of a batch"
LEARNT = "what is learnt is predicted"

CASES = [
    (DetachesInTraining, "gradients reach the vectors", "no detach(), no .data, no torch.no_grad()"),
    (LearnsUnknownAsOutside, UNKNOWN, "take units with targets >= 0 only"),
    (LearnsUnknownAsTheLastTag, UNKNOWN, "take units with targets >= 0 only"),
    (NormalisesInTraining, TRAIN, "no BatchNorm"),
    (AveragesInTraining, TRAIN, "no mean over the batch"),
    (MixesTheBatchUnderDropout, TRAIN, "share nothing between the contexts of a batch"),
    (FixesAThreshold, STATE, "keep nothing between calls that changes a later one: no threshold"),
    (CountsItsCalls, STATE, "no threshold, counter"),
    (TracksAMeanInTraining, STATE, "statistic of data"),
    (MultipliesProbabilities, LONG, "no product of many"),
    (Exponentiates, LONG, "compute with logarithms"),
    (HasPlacesForSixtyFour, LONG, "a context of 400 units failed"),
    (TakesProbabilitiesForLogits, LEARNT, "give the loss logits, not probabilities"),
    (
        NeverFindsTheLastOfManyLabels,
        "each of a dozen labels is predicted",
        "never found though learnt by heart: alpha",
    ),
    (KnowsTwoLabels, LABELS, "take sizes from len(scheme.tags)"),
    (HoldsThirtyTwoContexts, "dozens of contexts are taken", "let no size but the vectors' own stand in the code"),
    (PenalisesWithAPlainTensor, MOVE, "forbidden is neither a parameter nor a buffer"),
    (GivesFloat64, "predictions keep to the specification", "scores as float32"),
    (MasksWithMinusABillion, "bfloat16 vectors are taken", "mask with torch.finfo(x.dtype).min"),
    (DrawsFromNumpy, CHANCE, "no np.random"),
    (DrawsFromItsOwn, CHANCE, "no Generator of its own"),
    (SeedsTheRun, CHANCE, "call no manual_seed"),
    (KeepsLosses, KEPT, "keep no tensor or loss on the head"),
    (KeepsOutputs, KEPT, "is still in memory"),
    (MasksInPlace, "the batch is left as it is", "targets were changed in place"),
    (StartsFromHashes, "another process makes the same of the same", "use no hash() of strings"),
    (OrdersFeaturesByASet, "a trained model is the same in another process", "no hash() of strings, no order of a set"),
    (NamesByTheNewest, "two heads share nothing", "in no class, module or cache"),
    (SharesWeights, "two heads share nothing", "the weights bias of the first are others"),
    (Once, "two heads share nothing", "build() returned the head that it had built before"),
    (AllowsEveryTransition, "the scheme is left as it is", "transition_allowed of the scheme were changed"),
    (DecodesIntoOneArray, "decoding keeps no state", "return new arrays in each call"),
    (SwitchesDropoutOff, "the mode is left as it is", "decode() took SwitchesDropoutOff, score out of train mode"),
    (Prints, "nothing is printed", "log with logging.getLogger"),
]


@pytest.mark.parametrize(("head", "check", "message"), CASES, ids=[case[0].__name__ for case in CASES])
def test_a_faulty_head_is_caught(head, check, message):
    assert message in fault(suite_of(head), check)


@pytest.mark.parametrize("head", [SoundHead, TiesItsWeights])
def test_the_sound_heads_pass(head):
    assert failed(suite_of(head)) == []


def test_an_entity_that_comes_twice_is_caught():
    scheme = scheme_of("span")
    twice = [UnitSpan.of("one", 0, 2, 0.5)] * 2
    output = HeadOutput(twice, np.zeros(3, np.int64), np.ones(3, np.float32), ("O",))
    with pytest.raises(AssertionError, match="give every entity once"):
        check_output(output, 3, scheme)
