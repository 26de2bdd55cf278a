"""Pieces of contexts → batches of like lengths, the same whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from papermage_core.data.windows import Piece
from papermage_core.plugin.spec import Window

__all__ = ["Batch", "LengthSampler", "ListedBatches", "PieceBatches", "collate", "plan"]

_WORTH_A_RUN = 128
"""Padded cost that a run of its own must save: a run has some cost of its own."""

Collate = Callable[[Sequence[Window]], dict[str, Tensor]]


@attrs.frozen(eq=False)
class Batch:
    """B pieces, U units in the longest of them, with the windows that answer for them."""

    index: tuple[int, ...]
    """Which pieces these are, in the list they came from."""
    features: tuple[dict[str, Tensor], ...]
    """What the encoder takes: one dict for each run of it. Windows of a long context go in several runs."""
    gather: Tensor
    """Each unit's row in the runs' outputs, flattened to (windows · units, D) and joined. Shape (B, U)."""
    mask: Tensor
    """True for real units. Shape (B, U)."""
    direct: bool = False
    """Whether every piece is one window, in order: the encoder's output is then what `gather` would give."""
    targets: tuple[Any, ...] = ()
    """What each head is to learn: an int64 tensor (B, U), or a list of B lists of spans."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on ``device``."""

        def move(value: Any) -> Any:
            return value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value

        return attrs.evolve(
            self,
            features=tuple({name: move(value) for name, value in run.items()} for run in self.features),
            gather=move(self.gather),
            mask=move(self.mask),
            targets=tuple(move(target) for target in self.targets),
        )


def collate(
    index: Sequence[int],
    pieces: Sequence[Piece],
    collate_windows: Collate,
    targets: Sequence[Sequence[Any]] = (),
    max_cost: int | None = None,
) -> Batch:
    """Return the batch of these pieces; ``targets`` are, for each task, those of each piece.

    Windows of unlike lengths go to the encoder in several runs, as do those whose padded cost is above ``max_cost``.
    """
    windows = [window for piece in pieces for window in piece.windows]
    runs = _runs(windows, max_cost)
    rows = np.empty(len(windows), np.int64)  # row of the window's first unit in the joined outputs
    offset = 0
    for run in runs:
        longest = max((windows[i].stop - windows[i].start for i in run), default=0)
        for place, i in enumerate(run):
            rows[i] = offset + place * longest
        offset += len(run) * longest
    n_units = max((piece.stop - piece.start for piece in pieces), default=0)
    gather = np.zeros((len(pieces), n_units), np.int64)
    mask = np.zeros((len(pieces), n_units), np.bool_)
    first = 0
    for row, piece in enumerate(pieces):
        n = piece.stop - piece.start
        starts = np.array([w.start for w in piece.windows], np.int64)
        if n:
            gather[row, :n] = rows[first + piece.owner] + np.arange(piece.start, piece.stop) - starts[piece.owner]
        mask[row, :n] = True
        first += len(piece.windows)
    return Batch(
        index=tuple(index),
        features=tuple(collate_windows([windows[i] for i in run]) for run in runs),
        gather=torch.from_numpy(gather),
        mask=torch.from_numpy(mask),
        direct=len(runs) == 1 and all(_is_one_window(piece) for piece in pieces),
        targets=tuple(_pad(task, n_units) for task in targets),
    )


def _is_one_window(piece: Piece) -> bool:
    only = piece.windows[0] if len(piece.windows) == 1 else None
    return only is not None and (only.start, only.stop) == (piece.start, piece.stop)


def _runs(windows: Sequence[Window], max_cost: int | None) -> list[list[int]]:
    """Return the windows of each run, the longest first, so that little is computed for padding alone."""
    if len(windows) < 2:
        return [list(range(len(windows)))] if windows else []
    costs = np.array([window.cost for window in windows])
    order = np.argsort(-costs, kind="stable")
    runs = [run for part in _without_padding(costs[order]) for run in _within(costs[order], part, max_cost)]
    return [sorted(order[start:stop].tolist()) for start, stop in runs]


def _without_padding(costs: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return stretches of falling costs, cut where that saves at least a quarter of the padded cost, and enough."""
    whole = int(costs[0]) * len(costs)
    at = np.arange(1, len(costs))
    padded = costs[0] * at + costs[1:] * (len(costs) - at)
    if not len(at) or padded.min() > min(0.75 * whole, whole - _WORTH_A_RUN):
        return [(0, len(costs))]
    cut = int(at[padded.argmin()])
    return _without_padding(costs[:cut]) + [(cut + a, cut + b) for a, b in _without_padding(costs[cut:])]


def _within(costs: NDArray[np.int64], part: tuple[int, int], max_cost: int | None) -> Iterator[tuple[int, int]]:
    """Yield a stretch in as many as it takes for each to have a padded cost of at most ``max_cost``."""
    start, stop = part
    while start < stop:
        most = stop - start if max_cost is None else max(1, max_cost // max(1, int(costs[start])))
        yield start, min(start + most, stop)
        start += most


def _pad(targets: Sequence[Any], n_units: int) -> Any:
    if not all(isinstance(target, np.ndarray) for target in targets):
        return list(targets)
    padded = np.full((len(targets), n_units), -1, np.int64)
    for row, target in enumerate(targets):
        padded[row, : len(target)] = target
    return torch.from_numpy(padded)


def plan(costs: Sequence[int], batch_size: int | None, batch_cost: int, n_windows: Sequence[int]) -> list[int]:
    """Return the sizes of batches that hold pieces sorted by cost, longest last, within the limits.

    With ``batch_size`` a batch has that many windows at most, else its windows padded to the longest cost at most
    ``batch_cost``; a piece beyond the limit is a batch of its own.
    """
    sizes: list[int] = []
    order = np.argsort(costs, kind="stable")
    count, windows, longest = 0, 0, 0
    for i in order.tolist():
        width = costs[i] // max(1, n_windows[i])
        if batch_size is not None:
            full = windows + n_windows[i] > batch_size
        else:
            full = (windows + n_windows[i]) * max(longest, width) > batch_cost
        if count and full:
            sizes.append(count)
            count, windows, longest = 0, 0, 0
        count, windows, longest = count + 1, windows + n_windows[i], max(longest, width)
    if count:
        sizes.append(count)
    return sizes


class LengthSampler(Sampler[list[int]]):
    """Yields the indexes of each batch: pieces of like cost together, shuffled anew each epoch by (seed, epoch).

    ``epoch`` tells the epoch when the first batch of a pass is taken; 0 by default.
    The number of batches is the same in every epoch. With several processes each takes every ``world_size``-th batch;
    in training the list is filled up from its start so that all take as many steps.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        *,
        batch_size: int | None,
        batch_cost: int,
        shuffle: bool,
        seed: int = 0,
        epoch: Callable[[], int] = int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._costs = np.array([piece.cost for piece in pieces], np.float64)
        n_windows = [len(piece.windows) for piece in pieces]
        self._sizes = plan([piece.cost for piece in pieces], batch_size, batch_cost, n_windows)
        self._shuffle, self._seed, self._epoch = shuffle, seed, epoch
        self._rank, self._world_size = rank, world_size

    def __len__(self) -> int:
        n = len(self._sizes)
        if self._shuffle:
            return -(-n // self._world_size)
        return len(range(self._rank, n, self._world_size))

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches()
        if self._shuffle and batches:
            missing = len(self) * self._world_size - len(batches)
            batches += islice(cycle(batches.copy()), missing)
        yield from batches[self._rank :: self._world_size]

    def _batches(self) -> list[list[int]]:
        if not self._shuffle:
            return self._split(np.argsort(self._costs, kind="stable"))
        chance = np.random.default_rng((self._seed, self._epoch()))
        noise = 1 + 0.2 * chance.random(len(self._costs))
        order = chance.permutation(len(self._costs))
        order = order[np.argsort((self._costs * noise)[order], kind="stable")]
        batches = self._split(order)
        return [batches[i] for i in chance.permutation(len(batches)).tolist()]

    def _split(self, order: np.ndarray[Any, np.dtype[np.int64]]) -> list[list[int]]:
        return [part.tolist() for part in np.split(order, np.cumsum(self._sizes)[:-1])] if self._sizes else []


class PieceBatches(Dataset[Batch]):
    """Indexed by the list of a batch's pieces; gives the batch."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        collate_windows: Collate,
        targets: Sequence[Sequence[Any]],
        max_cost: int | None = None,
    ) -> None:
        self._pieces = pieces
        self._collate = collate_windows
        self._targets = targets
        self._max_cost = max_cost

    def __getitem__(self, index: list[int]) -> Batch:
        pieces = [self._pieces[i] for i in index]
        targets = [[task[i] for i in index] for task in self._targets]
        return collate(index, pieces, self._collate, targets, self._max_cost)


class ListedBatches(Dataset[Batch]):
    """The batches of a list, by number."""

    def __init__(self, batches: PieceBatches, indexes: Sequence[list[int]]) -> None:
        self._batches, self._indexes = batches, indexes

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, number: int) -> Batch:
        return self._batches[self._indexes[number]]
