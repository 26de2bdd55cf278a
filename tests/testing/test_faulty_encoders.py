"""Deliberately faulty encoders, each caught by the kit with a word on what to fix."""

from __future__ import annotations

import pickle
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from papermage_core.plugin.spec import Window
from papermage_core.testing import ContextEncoderSuite, TinyEncoder, TinyEncoderConfig, run_suite
from tests.testing.helpers import SoundEncoder, failed, fault, suite_of


class Sound(SoundEncoder):
    def __init__(self, config, folder):
        TinyEncoder.__init__(self, TinyEncoderConfig(size=4, rows=50, window=8))


class AttendsToPadding(Sound):
    def forward(self, features):
        vectors = super().forward(features)
        return vectors - vectors.mean(1, keepdim=True)


class NormalisesOverTheBatch(Sound):
    def forward(self, features):
        vectors = super().forward(features)
        return vectors - vectors.mean((0, 1))


class DropsInEvalMode(Sound):
    def forward(self, features):
        return nn.functional.dropout(super().forward(features), 0.5)


class HasAnIdleLayer(Sound):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.pooler = nn.Linear(2, 2)


class ForgetsABuffer(Sound):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.offset = torch.randn(4)

    def forward(self, features):
        return super().forward(features) + self.offset


class ForgetsItsVocabulary(Sound):
    """Numbers words as they come, and does not save the numbers."""

    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.seen = {}

    def _windows(self, context, stride):
        rows = np.array([1 + self.seen.setdefault(w, len(self.seen)) % 50 for w in context.words], np.int32)
        return [Window(0, len(rows), {"rows": rows}, cost=len(rows))] if len(rows) else []

    def save(self, folder):
        self.seen = dict.fromkeys(sorted(self.seen, reverse=True), 3)


class SavesAPickle(Sound):
    def save(self, folder: Path):
        (folder / "vocabulary").write_bytes(pickle.dumps(["a"]))


class LeavesTheEndOut(Sound):
    def _windows(self, context, stride):
        return super()._windows(context, stride)[:1]


class DoesNotOverlap(Sound):
    def _windows(self, context, stride):
        return super()._windows(context, 0)


class SkipsWordlessUnits(Sound):
    def _windows(self, context, stride):
        keep = [i for i, word in enumerate(context.words) if word.strip()]
        return [attrs.evolve(w, stop=min(w.stop, len(keep))) for w in super()._windows(context, stride)]


class FailsWithoutUnits(Sound):
    def _windows(self, context, stride):
        return super()._windows(context, stride) or [Window(0, 0, {"rows": np.zeros(0, np.int32)}, cost=1)]


class GivesNanForWordless(Sound):
    def windows(self, contexts, *, stride):
        self.empty = [word == "" for context in contexts for word in context.words]
        return super().windows(contexts, stride=stride)

    def forward(self, features):
        vectors = super().forward(features)
        return vectors * float("nan") if any(self.empty) else vectors


class ReturnsWordpieces(Sound):
    def forward(self, features):
        return super().forward(features).repeat_interleave(2, dim=1)


class KeepsTextInFeatures(Sound):
    def _windows(self, context, stride):
        words = np.array(context.words)
        return [
            attrs.evolve(w, features={**w.features, "words": words[w.start : w.stop]})
            for w in super()._windows(context, stride)
        ]


class ChangesItsTypes(Sound):
    def _windows(self, context, stride):
        kind = np.int64 if len(context) > 5 else np.int32
        return [
            attrs.evolve(w, features={"rows": w.features["rows"].astype(kind)})
            for w in super()._windows(context, stride)
        ]


class CostsNothing(Sound):
    def _windows(self, context, stride):
        return [attrs.evolve(w, cost=0) for w in super()._windows(context, stride)]


class CannotBePickled(Sound):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.tokenize = lambda word: word


class ForgetsAGroup(Sound):
    def parameter_groups(self, learning_rate, weight_decay):
        return [{"params": list(self.mix.parameters()), "lr": learning_rate}]


class BuildsByChance(Sound):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        nn.init.constant_(self.mix.bias, float(np.random.default_rng().random()))


PADDING = "padding and batch neighbours change nothing"
SAVED = "a saved encoder encodes the same"
COVER = "windows cover every unit in order"
FORM = "windows hold numbers of the same names and types"


@pytest.mark.parametrize(
    ("encoder", "check", "message"),
    [
        (AttendsToPadding, PADDING, "mask the padding wherever units meet"),
        (NormalisesOverTheBatch, PADDING, "share nothing between the windows of a batch"),
        (DropsInEvalMode, "eval mode is free of chance", "use dropout only through nn.Dropout"),
        (HasAnIdleLayer, "gradients reach every parameter", "no gradient reaches pooler.weight, pooler.bias"),
        (ForgetsABuffer, SAVED, "register what forward needs as a parameter or buffer"),
        (ForgetsItsVocabulary, SAVED, "windows differ after save and load"),
        (ForgetsItsVocabulary, "windows of contexts do not depend on each other", "keep no state between contexts"),
        (SavesAPickle, "no pickle is saved", "save wrote vocabulary"),
        (LeavesTheEndOut, COVER, "cover every unit"),
        (SkipsWordlessUnits, COVER, "leave no unit out"),
        (FailsWithoutUnits, COVER, "return an empty list for it"),
        (DoesNotOverlap, "windows overlap by the stride", "two neighbouring windows share 0 units"),
        (GivesNanForWordless, "every unit gets a finite vector", "units without a word"),
        (ReturnsWordpieces, "every unit gets a finite vector", "return (windows, units of the longest window"),
        (KeepsTextInFeatures, FORM, "make every feature a numpy array of numbers"),
        (ChangesItsTypes, FORM, "keep names, dtypes and inner shapes the same"),
        (CostsNothing, FORM, "set cost to the window's length"),
        (CannotBePickled, "the encoder can be pickled", "pickling failed"),
        (ForgetsAGroup, "parameter groups hold every parameter once", "put each parameter into one group"),
        (BuildsByChance, "equal seeds give equal encoders", "draw initial weights with torch only"),
    ],
)
def test_a_faulty_encoder_is_caught(encoder, check, message):
    assert message in fault(suite_of(encoder), check)


class Pretraining(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.guess = nn.Linear(encoder.output_size, 1)

    def loss(self, features):
        return self.guess(self.encoder(features)).square().mean()

    def save_pretrained(self, folder):
        (folder / "weights.json").write_text("{}", encoding="utf-8")


class GivesALossAUnit(Pretraining):
    def loss(self, features):
        return self.guess(self.encoder(features)).square()


class TrainsNoEncoder(Pretraining):
    def loss(self, features):
        return self.guess(self.encoder(features).detach()).square().mean()


class DrawsElsewhere(Pretraining):
    def loss(self, features):
        return super().loss(features) * float(np.random.default_rng().random())


class WritesNothing(Pretraining):
    def save_pretrained(self, folder):
        pass


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Pretraining, ""),
        (GivesALossAUnit, "return a tensor of one finite number, shape ()"),
        (TrainsNoEncoder, "no gradient of the loss of pretraining reaches the encoder"),
        (DrawsElsewhere, "under one seed the loss of pretraining differs"),
        (WritesNothing, "save_pretrained wrote no file"),
    ],
)
def test_a_faulty_pretraining_is_caught(task, message):
    @attrs.frozen(kw_only=True)
    class Config(TinyEncoderConfig):
        def pretraining(self, encoder):
            return task(encoder)

    suite = type("Suite", (ContextEncoderSuite,), {"config_class": Config})
    (found,) = run_suite(suite, only="pretraining trains the encoder")
    assert message in found.error
    assert bool(message) != found.passed


def test_the_sound_encoder_passes():
    assert failed(suite_of(Sound)) == []
