"""A loss that is no number stops the run, wherever it arises, and says where, in which documents, and what to try."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from papermage_core.cli.train import main as train
from papermage_core.testing import make_documents, write_jsonl

PLUGIN = """
import os
import attrs
import torch
from papermage_core.plugin import hookimpl
from papermage_core.testing import TinyEncoder, TinyEncoderConfig
from papermage_heads.linear.plugin import LinearHeadConfig

papermage_names = {"context_encoder": ["odd"], "model_head": ["odd"]}
MOMENT = os.environ.get("MOMENT", "")


class Encoder(TinyEncoder):
    seen = 0

    def forward(self, features):
        found = super().forward(features)
        self.seen += self.training
        if MOMENT == "vectors" and self.training and self.seen == 3:
            found = found * float("nan")
        return found


class Odd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


@attrs.frozen(kw_only=True)
class EncoderConfig(TinyEncoderConfig):
    def build(self, folder=None):
        return Encoder(self)


@attrs.frozen(kw_only=True)
class HeadConfig(LinearHeadConfig):
    def build(self, input_size, scheme):
        head = super().build(input_size, scheme)
        loss, steps = head.loss, []

        def odd_loss(vectors, mask, targets):
            steps.append(head.training)
            if MOMENT == "gradients" and len(steps) == 2:
                vectors = Odd.apply(vectors)
            found = loss(vectors, mask, targets)
            if MOMENT == "first" or (MOMENT == "later" and len(steps) > 2):
                return found * float("inf" if MOMENT == "first" else "nan")
            if MOMENT == "validation" and not head.training:
                return found * float("nan")
            return found

        head.loss = odd_loss
        return head


@hookimpl
def papermage_context_encoder(): return EncoderConfig


@hookimpl
def papermage_model_head(): return HeadConfig
"""

MOMENTS = {
    "first": ("step 0, in epoch 0: the loss is inf", "its vectors are numbers, and the loss of the model head 'odd'"),
    "later": ("step 2, in epoch 0: the loss is nan", "the loss of the model head 'odd' of file"),
    "vectors": ("step 2, in epoch 0: the loss is nan", "documents made-up-"),
    "gradients": ("step 1, in epoch 0: the loss is a number, and its gradients are none", "documents made-up-"),
    "validation": ("the loss of validation documents is nan", "the loss of the model head 'odd' of file"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_run_stops_and_says_where_and_what_to_try(moment, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("MOMENT", moment)
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / f"odd_{moment}.py"
    file.write_text(PLUGIN)
    data = write_jsonl(make_documents(12), tmp_path / "train.jsonl")
    components = ["encoder=odd", "head=odd", f"plugins_path={file}", "batch_size=8"]
    settings = [f"default_root_dir={tmp_path / 'run'}", "max_epochs=2", "enable_progress_bar=no", "accelerator=cpu"]
    assert train(["-q", f"data_path={data}", "label_field=Disease", *components, *settings]) == 1
    error = capsys.readouterr().err
    for part in MOMENTS[moment]:
        assert part in error
    assert "(documents made-up-" in error
    assert "Try a lower learning_rate" in error
    assert not os.path.lexists(tmp_path / "run" / "results" / "results.json")


def test_weights_that_are_none_are_told_from_an_odd_batch(tmp_path):
    import numpy as np
    import torch

    from papermage_core.data.batches import collate
    from papermage_core.data.examples import Example
    from papermage_core.model.entity_model import EntityModel
    from papermage_core.plugin.manager import Plugins
    from papermage_core.testing import TinyEncoderConfig, sample_contexts

    scheme = Plugins().config_class("label_scheme", "bio")().build(["X"])
    encoder = TinyEncoderConfig(size=4).build()
    model = EntityModel(encoder, [Plugins().config_class("model_head", "linear")().build(4, scheme)])
    (context,) = sample_contexts(units=[5])
    (windows,) = encoder.windows([context], stride=2)
    example = Example(0, 0, 0, 0, 5, tuple(windows), np.zeros(5, np.int64), (np.zeros(5, np.int64),))
    batch = collate([0], [example], encoder.collate)
    assert model.not_finite(batch) == ""
    with torch.no_grad():
        model.encoder.mix.weight.fill_(float("nan"))
    assert "weights are no numbers, such as encoder.mix.weight" in model.not_finite(batch)
