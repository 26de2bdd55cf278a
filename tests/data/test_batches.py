from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data.batches import LengthSampler, collate
from papermage_core.data.windows import Piece, whole
from papermage_core.plugin.spec import Window


def piece_of(index: int, n: int, size: int = 5, step: int = 3) -> Piece:
    starts = [0] if n else []
    while starts and starts[-1] + size < n:
        starts.append(starts[-1] + step)
    stops = [min(s + size, n) for s in starts]
    windows = [
        Window(s, e, {"values": np.arange(s, e) + 1000 * index}, e - s) for s, e in zip(starts, stops, strict=True)
    ]
    return whole(index, windows, n)


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
    pieces = [piece_of(i, n, size, size * 3 // 5) for i, n in enumerate(sizes)]
    batch = collate(range(len(pieces)), pieces, collate_values, max_cost=max_cost)
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
    pieces = [piece_of(i, n) for i, n in enumerate(sizes)]
    for run in collate(range(len(pieces)), pieces, collate_values, max_cost=max_cost).features:
        assert len(run["values"]) == 1 or run["values"].numel() <= max_cost


@given(
    st.lists(st.integers(0, 40), max_size=40),
    st.one_of(st.none(), st.integers(1, 8)),
    st.integers(5, 60),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_every_piece_is_in_one_batch_of_one_process(
    sizes: list[int], batch_size: int | None, batch_cost: int, shuffle: bool, world_size: int, epoch: int
) -> None:
    pieces = [piece_of(i, n) for i, n in enumerate(sizes)]
    seen: list[int] = []
    counts = set()
    for rank in range(world_size):
        sampler = LengthSampler(
            pieces,
            batch_size=batch_size,
            batch_cost=batch_cost,
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
    assert set(seen) == set(range(len(pieces)))
    if shuffle:
        assert len(counts) == 1, "in training every process takes as many steps"
    if not shuffle or world_size == 1:
        assert len(seen) == len(pieces)


def test_epochs_are_shuffled_differently_but_the_same_for_the_same_seed() -> None:
    pieces = [piece_of(i, 3 + i % 7) for i in range(60)]

    def order(seed: int, epoch: int) -> list[list[int]]:
        return list(LengthSampler(pieces, batch_size=4, batch_cost=100, shuffle=True, seed=seed, epoch=lambda: epoch))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert len(order(1, 0)) == len(order(1, 1))


def test_unshuffled_batches_hold_pieces_of_like_length_within_the_cost() -> None:
    pieces = [piece_of(i, n, size=100) for i, n in enumerate([1, 50, 2, 49, 3, 48])]
    batches = list(LengthSampler(pieces, batch_size=None, batch_cost=100, shuffle=False))
    assert batches == [[0, 2, 4], [5, 3], [1]]


def test_targets_are_padded_with_unknown() -> None:
    pieces = [piece_of(0, 2), piece_of(1, 3)]
    batch = collate([0, 1], pieces, collate_values, [[np.array([1, 2]), np.array([0, 1, 0])], [[], []]])
    assert batch.targets[0].tolist() == [[1, 2, -1], [0, 1, 0]]
    assert batch.targets[1] == [[], []]


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [([512, 160], [1, 1]), ([512, 400], [2]), ([20, 4], [2]), ([512, 510, 150, 140, 150], [2, 3]), ([90] * 9, [9])],
)
def test_windows_of_unlike_lengths_run_apart_where_that_saves_padding(sizes: list[int], runs: list[int]) -> None:
    pieces = [piece_of(i, n, size=n) for i, n in enumerate(sizes)]
    batch = collate(range(len(pieces)), pieces, collate_values)
    assert sorted(len(run["values"]) for run in batch.features) == runs
