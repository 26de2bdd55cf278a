"""Heads with several losses, and with features of contexts: the kit calls them as the core does."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from papermage_core.plugin.spec import ContextNeeds
from papermage_core.testing import run_suite
from tests.testing.helpers import HeadConfig, SoundHead, fault, suite_of


@attrs.frozen(kw_only=True)
class NeedyConfig(HeadConfig):
    @property
    def needs(self):
        return ContextNeeds(boxes=True, metadata=("size",))


class NamesItsLosses(SoundHead):
    def loss(self, vectors, mask, targets):
        loss = super().loss(vectors, mask, targets)
        return {"loss": loss, "half": loss / 2}


class LooksAtPages(SoundHead):
    """Scores with the boxes and the sizes of units beside their vectors."""

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.place = nn.Linear(5, len(scheme.tags))

    def features(self, context):
        sizes = np.array(context.metadata["size"], np.float32).reshape(-1, 1)
        return {"place": np.hstack([context.boxes, sizes / 12])}

    def scores(self, vectors, mask, features):
        return (self.score(vectors) + self.place(features["place"])).float()

    def loss(self, vectors, mask, targets, features):
        known = mask & (targets >= 0)
        scores = self.scores(vectors, mask, features)
        return nn.functional.cross_entropy(scores[known], targets[known], reduction="sum")

    def decode(self, vectors, mask, features):
        scores = self.scores(vectors, mask, features)
        own = SoundHead.decode
        beside = type("Scored", (), {"scheme": self.scheme, "scores": staticmethod(lambda *_: scores)})
        return own(beside, vectors, mask)


class NamesNoLoss(NamesItsLosses):
    def loss(self, vectors, mask, targets):
        return {"half": super().loss(vectors, mask, targets)["half"]}


class NamesALossOfUnits(NamesItsLosses):
    def loss(self, vectors, mask, targets):
        return {**super().loss(vectors, mask, targets), "units": torch.zeros(3)}


class LooksAtThePadding(LooksAtPages):
    def scores(self, vectors, mask, features):
        return super().scores(vectors, mask, features) + vectors.mean((1, 2), keepdim=True) * torch.arange(5)


CHECKS = [
    "the loss of a batch is the sum of its contexts",
    "padding changes no prediction",
    "unknown targets are learnt as nothing",
    "gradients reach every parameter",
    "what is learnt is predicted",
    "tensors move with the head",
    "only the seeded generator is drawn from",
    "nothing is kept of a batch",
    "the batch is left as it is",
    "bfloat16 vectors are taken",
    pytest.param("another process makes the same of the same", marks=pytest.mark.slow),
]


def needy(head):
    return type("Suite", (suite_of(head),), {"config_class": NeedyConfig})


@pytest.mark.parametrize("check", CHECKS)
def test_sound_heads_pass(check):
    for suite in (suite_of(NamesItsLosses), needy(LooksAtPages)):
        (found,) = run_suite(suite, only=check)
        assert found.passed, found.error


def test_faulty_ones_are_caught():
    first = "the loss is a finite scalar with a gradient"
    assert "name the one to optimise 'loss'" in fault(suite_of(NamesNoLoss), first)
    assert "the loss 'units' has shape (3,)" in fault(suite_of(NamesALossOfUnits), first)
    assert "apply the mask" in fault(needy(LooksAtThePadding), "padding changes no prediction")
