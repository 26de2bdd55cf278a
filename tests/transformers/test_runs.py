"""Runs of sequences of like lengths: the cheapest there are, and the same results as from all sequences at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from papermage_transformers import runs as runs_module
from papermage_transformers.runs import in_runs, runs


def cost(lengths, sizes):
    """Wordpieces with padding, and what the runs take besides."""
    bounds = np.cumsum([0, *sizes])
    falling = sorted(lengths, reverse=True)
    return sum(falling[a] * (b - a) + runs_module._RUN for a, b in itertools.pairwise(bounds))


@pytest.mark.parametrize("seed", range(20))
def test_no_other_runs_take_less(seed):
    chance = np.random.default_rng(seed)
    lengths = chance.integers(1, 120, chance.integers(1, 9))
    n = len(lengths)
    cuts = itertools.chain.from_iterable(itertools.combinations(range(1, n), k) for k in range(n))
    found = runs(lengths)
    assert sum(found) == n
    assert cost(lengths, found) == min(cost(lengths, np.diff([0, *at, n])) for at in cuts)


def test_sequences_of_one_length_run_at_once():
    assert runs(np.full(300, 7)) == [300]


class Backwards(nn.Module):
    """Goes backwards from the padding, which it so must not see, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Embedding(50, 4)
        self.shapes = []

    def forward(self, input_ids, attention_mask, bbox):
        self.shapes.append(tuple(input_ids.shape))
        assert bbox.shape == (*input_ids.shape, 4)
        seen = self.weights(input_ids) * attention_mask[..., None] * bbox
        return seen.flip(1).cumsum(1).flip(1)


def test_runs_give_what_all_at_once_gives():
    model, chance = Backwards(), torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 60, (40,), generator=chance)
    mask = (torch.arange(60) < lengths[:, None]).long()
    inputs = {
        "input_ids": torch.randint(0, 50, (40, 60), generator=chance),
        "attention_mask": mask,
        "bbox": torch.rand(40, 60, 4, generator=chance),
    }
    found = in_runs(model, inputs)
    assert len(model.shapes) > 1
    assert sum(n * width for n, width in model.shapes) < 0.8 * 40 * 60
    torch.testing.assert_close(found, model(**inputs) * mask[..., None])


def test_an_encoder_gives_units_what_they_get_alone(family, encoder, make_context, texts):
    made = encoder(family)
    windows = [w for ws in made.windows([*map(make_context, texts), *[make_context("of")] * 8], stride=0) for w in ws]
    calls = []
    made.model.register_forward_pre_hook(lambda *call: calls.append(call[2]["input_ids"].shape), with_kwargs=True)
    assert made(made.collate(windows)).requires_grad
    lengths = len({window.cost for window in windows})
    assert len(calls) == (lengths if family in {"convbert", "fnet"} else 1)  # with a gradient, all at once
    calls.clear()
    with torch.no_grad():
        together = made(made.collate(windows))
        assert len(calls) > 1
        for vectors, window in zip(together, windows, strict=True):
            alone = made(made.collate([window]))[0]
            torch.testing.assert_close(vectors[: len(alone)], alone, atol=2e-5, rtol=1e-4)
