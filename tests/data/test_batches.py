from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data.batches import BatchLimits, LengthSampler, collate
from papermage_core.data.examples import Example, Examples, owners
from papermage_core.errors import ConfigError
from papermage_core.plugin.spec import Window


def example_of(index: int, n: int, size: int = 5, step: int = 3, targets: tuple[Any, ...] = ()) -> Example:
    starts = [0] if n else []
    while starts and starts[-1] + size < n:
        starts.append(starts[-1] + step)
    stops = [min(s + size, n) for s in starts]
    windows = [
        Window(s, e, {"values": np.arange(s, e) + 1000 * index}, e - s) for s, e in zip(starts, stops, strict=True)
    ]
    return Example(index, 0, 0, 0, n, tuple(windows), owners(windows, n), targets)


def sampler_of(examples: list[Example], size: int | None = None, cost: int = 100, **more: Any) -> LengthSampler:
    limits = BatchLimits(size, cost, more.pop("units", None))
    return LengthSampler(Examples.of(examples), limits, **more)


def collate_values(windows):
    longest = max(w.stop - w.start for w in windows)
    values = torch.full((len(windows), longest), -1)
    for row, window in enumerate(windows):
        values[row, : window.stop - window.start] = torch.from_numpy(window.features["values"])
    return {"values": values}


lengths = st.lists(st.integers(0, 17), min_size=1, max_size=6)
long = st.lists(st.integers(0, 400), min_size=1, max_size=6)


@given(
    st.one_of(lengths, long), st.one_of(st.none(), st.integers(1, 30), st.integers(200, 800)), st.sampled_from([5, 200])
)
def test_gather_finds_each_unit_in_the_outputs_of_the_encoder(
    sizes: list[int], max_cost: int | None, size: int
) -> None:
    examples = [example_of(i, n, size, size * 3 // 5) for i, n in enumerate(sizes)]
    batch = collate(range(len(examples)), examples, collate_values, max_cost=max_cost)
    if not batch.features:
        assert batch.gather.numel() == 0 or not batch.mask.any()
        return
    rows = torch.cat([run["values"].flatten() for run in batch.features])
    found = rows[batch.gather]
    for row, (i, n) in enumerate(enumerate(sizes)):
        assert found[row, :n].tolist() == [1000 * i + unit for unit in range(n)]
        assert batch.mask[row].tolist() == [unit < n for unit in range(max(sizes))]
    if batch.direct:
        assert batch.features[0]["values"].shape == batch.gather.shape


@given(lengths, st.integers(1, 40))
def test_runs_of_the_encoder_stay_below_the_cost(sizes: list[int], max_cost: int) -> None:
    examples = [example_of(i, n) for i, n in enumerate(sizes)]
    for run in collate(range(len(examples)), examples, collate_values, max_cost=max_cost).features:
        assert len(run["values"]) == 1 or run["values"].numel() <= max_cost


@given(
    st.lists(st.integers(0, 40), max_size=40),
    st.one_of(st.none(), st.integers(1, 8)),
    st.integers(5, 60),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_every_example_is_in_one_batch_of_one_process(
    sizes: list[int], batch_size: int | None, batch_cost: int, shuffle: bool, world_size: int, epoch: int
) -> None:
    examples = [example_of(i, n) for i, n in enumerate(sizes)]
    seen: list[int] = []
    counts = set()
    for rank in range(world_size):
        if not shuffle and len(examples) < world_size > 1:
            return
        sampler = sampler_of(
            examples,
            batch_size,
            batch_cost,
            shuffle=shuffle,
            seed=7,
            epoch=lambda: epoch,
            rank=rank,
            world_size=world_size,
        )
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert all(batches)
        counts.add(len(batches))
        seen += [i for batch in batches for i in batch]
    assert set(seen) == set(range(len(examples)))
    if shuffle:
        assert len(counts) == 1, "in training every process takes as many steps"
    if not shuffle or world_size == 1:
        assert len(seen) == len(examples)


def test_epochs_are_shuffled_differently_but_the_same_for_the_same_seed() -> None:
    examples = [example_of(i, 3 + i % 7) for i in range(60)]

    def order(seed: int, epoch: int) -> list[list[int]]:
        return list(sampler_of(examples, 4, shuffle=True, seed=seed, epoch=lambda: epoch))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert len(order(1, 0)) == len(order(1, 1))


def test_unshuffled_batches_hold_examples_of_like_length_within_the_cost() -> None:
    examples = [example_of(i, n, size=100) for i, n in enumerate([1, 50, 2, 49, 3, 48])]
    batches = list(sampler_of(examples, shuffle=False))
    assert batches == [[0, 2, 4], [5, 3], [1]]


def test_targets_are_padded_with_unknown() -> None:
    examples = [
        example_of(0, 2, targets=(np.array([1, 2]), [])),
        example_of(1, 3, targets=(np.array([0, 1, 0]), [])),
    ]
    batch = collate([0, 1], examples, collate_values)
    assert batch.targets[0].tolist() == [[1, 2, -1], [0, 1, 0]]
    assert batch.targets[1] == [[], []]


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [([512, 160], [1, 1]), ([512, 400], [2]), ([20, 4], [2]), ([512, 510, 150, 140, 150], [2, 3]), ([90] * 9, [9])],
)
def test_windows_of_unlike_lengths_run_apart_where_that_saves_padding(sizes: list[int], runs: list[int]) -> None:
    examples = [example_of(i, n, size=n) for i, n in enumerate(sizes)]
    batch = collate(range(len(examples)), examples, collate_values)
    assert sorted(len(run["values"]) for run in batch.features) == runs


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(1, 60), st.booleans())
def test_batches_stay_below_the_units_allowed(sizes: list[int], units: int, shuffle: bool) -> None:
    examples = [example_of(i, n, size=50) for i, n in enumerate(sizes)]
    for batch in sampler_of(examples, None, 10**6, units=units, shuffle=shuffle, seed=1):
        assert len(batch) == 1 or len(batch) * max(sizes[i] for i in batch) <= units or shuffle
    bounds = [len(batch) for batch in sampler_of(examples, None, 10**6, units=units, shuffle=False)]
    assert sum(bounds) == len(sizes)


def test_examples_chosen_several_times_stand_in_an_epoch_as_often() -> None:
    examples = [example_of(i, 3) for i in range(4)]
    chosen = np.array([0, 1, 1, 3, 3, 3])
    batches = list(sampler_of(examples, 2, shuffle=True, chosen=chosen))
    assert sorted(i for batch in batches for i in batch) == chosen.tolist()


def test_a_few_examples_are_shared_among_all_processes() -> None:
    examples = [example_of(i, 2) for i in range(5)]
    shares = [list(sampler_of(examples, 8, shuffle=False, rank=rank, world_size=3)) for rank in range(3)]
    assert all(shares)
    assert sorted(i for share in shares for batch in share for i in batch) == [0, 1, 2, 3, 4]
    with pytest.raises(ConfigError, match="2 contexts, fewer than the 3 processes"):
        sampler_of(examples[:2], 8, shuffle=False, rank=0, world_size=3)


@pytest.mark.parametrize("n", [96, 100, 84])  # whole steps; a batch too few for the last; a batch cut short
def test_processes_get_batches_of_like_length_in_each_step(n: int) -> None:
    examples = [example_of(i, 1 + i, size=n) for i in range(n)]
    shares = [list(sampler_of(examples, 4, shuffle=True, seed=3, rank=rank, world_size=3)) for rank in range(3)]
    steps = list(zip(*shares, strict=True))
    spreads = sorted(max(batch[-1] for batch in step) - min(batch[-1] for batch in step) for step in steps)
    assert spreads[-2] < n / 2, "all but the step at the seam have neighbours"
    assert {i for step in steps for batch in step for i in batch} == set(range(n))
    sums = [sum(i for batch in step for i in batch) for step in steps]
    assert sums != sorted(sums), "the steps are shuffled"
