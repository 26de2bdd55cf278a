"""A model cannot be made that is much larger than its weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from papermage_core.model.bounds import Bounds, BoundsError

HUGE = 1 << 40  # no machine of a test has room for so many numbers


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Embedding(HUGE, 1),
        lambda: torch.zeros(HUGE),
        lambda: torch.full((1 << 20, 1 << 20), 1.0),
        lambda: torch.arange(HUGE),
        lambda: torch.empty(1).new_zeros(HUGE),
    ],
)
def test_what_is_too_large_is_refused_before_the_memory_is_taken(make: Callable[[], object]) -> None:
    with pytest.raises(BoundsError, match="larger than its weights"), Bounds(tensors=1, size=1000):
        make()


def test_what_is_made_bit_by_bit_is_refused_too() -> None:
    def fill() -> None:
        for _ in range(5):
            torch.empty(64 << 20, dtype=torch.uint8, device="cpu")

    with pytest.raises(BoundsError), Bounds(tensors=1, size=0):
        fill()


def test_endless_calls_are_refused() -> None:
    def turn() -> None:
        number = torch.zeros(())
        while True:
            number = number + 1

    with pytest.raises(BoundsError), Bounds(tensors=1, size=1000):
        turn()


def test_a_model_as_large_as_its_weights_is_made_as_without() -> None:
    def make() -> Tensor:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(300, 300), nn.Embedding(1000, 30))[1].weight

    with Bounds(tensors=3, size=4 * (300 * 300 + 300 + 30_000)):
        found = make()
    assert found.equal(make())


def test_what_takes_no_memory_counts_for_nothing() -> None:
    with Bounds(tensors=1, size=1000):
        assert torch.empty(HUGE, device="meta").numel() == HUGE
