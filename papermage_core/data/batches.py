"""Examples → batches of like lengths, the same whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from papermage_core.data.examples import Example, Examples
from papermage_core.errors import ConfigError
from papermage_core.plugin.blame import calling
from papermage_core.plugin.spec import ContextEncoderConfig, Window

__all__ = ["Batch", "BatchLimits", "ExampleBatches", "LengthSampler", "ListedBatches", "collate", "plan", "runs_of"]

_WORTH_A_RUN = 128
"""Padded cost that a run of its own must save: a run has some cost of its own."""

Collate = Callable[[Sequence[Window]], dict[str, Tensor]]


@attrs.frozen
class BatchLimits:
    """How much goes in a batch at most; an example beyond a limit is a batch of its own."""

    size: int | None
    """Windows; None: no such limit but `cost`."""
    cost: int
    """`Window.cost` of all windows, each padded to the greatest. Without a `size` only."""
    units: int | None = None
    """Units of all windows, each padded to the longest; None: no such limit."""

    @classmethod
    def of(
        cls,
        encoder: ContextEncoderConfig,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
    ) -> BatchLimits:
        """Return the limits that are given, or the encoder's own for training."""
        return cls(batch_size, encoder.training_batch_cost, batch_tokens)

    @classmethod
    def without_gradient(
        cls,
        encoder: ContextEncoderConfig,
        batch_size: int | None,
        device: torch.device | str,
        batch_tokens: int | None = None,
    ) -> BatchLimits:
        """Return the limits for evaluation and prediction, which keep nothing for a backward pass."""
        times = 2 if torch.device(device).type == "cpu" else 16
        return cls(batch_size, times * encoder.default_batch_cost, batch_tokens)


@attrs.frozen(eq=False)
class Batch:
    """B examples, U units in the longest of them, with the windows that answer for them."""

    index: tuple[int, ...]
    """Which examples these are, in the sequence they came from. Length B."""
    features: tuple[dict[str, Tensor], ...]
    """What the encoder takes: one dict for each run of it. Windows of a long context go in several runs."""
    gather: Tensor
    """Each unit's row in the runs' outputs, flattened to (windows · units, D) and joined. int64, shape (B, U)."""
    mask: Tensor
    """True for real units, padding at the end. Bool, shape (B, U)."""
    shapes: tuple[tuple[int, int], ...] = ()
    """The number of windows in each run, and the units of the longest of them."""
    direct: bool = False
    """Whether every example is one window, in order: the encoder's output is then what `gather` would give."""
    targets: tuple[Any, ...] = ()
    """What each head is to learn: an int64 tensor (B, U), -1 for unknown and padding, or a list of B lists of spans."""
    head_features: tuple[dict[str, Tensor], ...] = ()
    """What each head sees past the encoder, zero at padding, shapes (B, U, ...); empty where no head does."""

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
            head_features=tuple({name: move(value) for name, value in each.items()} for each in self.head_features),
        )


def collate(
    index: Sequence[int], examples: Sequence[Example], collate_windows: Collate, max_cost: int | None = None
) -> Batch:
    """Return the batch of these examples, whose places in a sequence are ``index``.

    Windows of unlike lengths go to the encoder in several runs, as do those whose padded cost is above ``max_cost``.
    """
    windows = [window for example in examples for window in example.windows]
    runs = runs_of(windows, max_cost)
    rows = np.empty(len(windows), np.int64)  # row of the window's first unit in the joined outputs
    offset = 0
    shapes = []
    for run in runs:
        longest = max((windows[i].stop - windows[i].start for i in run), default=0)
        shapes.append((len(run), longest))
        for place, i in enumerate(run):
            rows[i] = offset + place * longest
        offset += len(run) * longest
    n_units = max(map(len, examples), default=0)
    gather = np.zeros((len(examples), n_units), np.int64)
    mask = np.zeros((len(examples), n_units), np.bool_)
    first = 0
    for row, example in enumerate(examples):
        n = len(example)
        starts = np.array([w.start for w in example.windows], np.int64)
        if n:
            owner, units = example.owner, np.arange(example.start, example.stop)
            gather[row, :n] = rows[first + owner] + units - starts[owner]
        mask[row, :n] = True
        first += len(example.windows)
    tasks = zip(*(example.targets for example in examples), strict=True)
    of_heads = zip(*(example.features for example in examples), strict=True)
    return Batch(
        index=tuple(index),
        features=tuple(_collated(collate_windows, [windows[i] for i in run]) for run in runs),
        gather=torch.from_numpy(gather),
        mask=torch.from_numpy(mask),
        shapes=tuple(shapes),
        direct=len(runs) == 1 and all(_is_one_window(example) for example in examples),
        targets=tuple(_pad(targets, n_units) for targets in tasks),
        head_features=tuple(_pad_features(features, n_units) for features in of_heads),
    )


def _pad_features(features: Sequence[Mapping[str, NDArray[Any]]], n_units: int) -> dict[str, Tensor]:
    padded = {}
    for name, first in features[0].items():
        rows = np.zeros((len(features), n_units, *first.shape[1:]), first.dtype)
        for row, each in zip(rows, features, strict=True):
            row[: len(each[name])] = each[name]
        padded[name] = torch.from_numpy(rows)
    return padded


def _collated(collate_windows: Collate, windows: Sequence[Window]) -> dict[str, Tensor]:
    with calling(getattr(collate_windows, "__self__", None), "collate"):
        return collate_windows(windows)


def _is_one_window(example: Example) -> bool:
    only = example.windows[0] if len(example.windows) == 1 else None
    return only is not None and (only.start, only.stop) == (example.start, example.stop)


def runs_of(windows: Sequence[Window], max_cost: int | None) -> list[list[int]]:
    """Return the windows of each run of the encoder, the longest first, so that little is padding alone."""
    if len(windows) < 2:
        return [list(range(len(windows)))] if windows else []
    costs = np.array([window.cost for window in windows])
    order = np.argsort(-costs, kind="stable")
    runs = [run for part in _without_padding(costs[order]) for run in _within(costs[order], part, max_cost)]
    return [sorted(order[start:stop].tolist()) for start, stop in runs]


def _without_padding(costs: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return ranges of falling costs, cut where that saves at least a quarter of the padded cost, and enough."""
    whole = int(costs[0]) * len(costs)
    at = np.arange(1, len(costs))
    padded = costs[0] * at + costs[1:] * (len(costs) - at)
    if not len(at) or padded.min() > min(0.75 * whole, whole - _WORTH_A_RUN):
        return [(0, len(costs))]
    cut = int(at[padded.argmin()])
    return _without_padding(costs[:cut]) + [(cut + a, cut + b) for a, b in _without_padding(costs[cut:])]


def _within(costs: NDArray[np.int64], part: tuple[int, int], max_cost: int | None) -> Iterator[tuple[int, int]]:
    """Yield a range in as many as it takes for each to have a padded cost of at most ``max_cost``."""
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


def plan(examples: Examples, order: NDArray[np.int64], limits: BatchLimits) -> NDArray[np.int64]:
    """Return where batches begin in ``order``, and last its length: as many examples each as the limits allow."""
    windows = np.maximum(examples.windows, 1)
    widths, lengths = examples.cost // windows, -(-examples.units // windows)
    bounds = [0]
    count = longest = widest = 0
    for place, (n, width, length) in enumerate(
        zip(*(values[order].tolist() for values in (examples.windows, widths, lengths)), strict=True)
    ):
        longest, widest, after = max(longest, length), max(widest, width), count + n
        full = after > limits.size if limits.size is not None else after * widest > limits.cost
        if place > bounds[-1] and (full or (limits.units is not None and after * longest > limits.units)):
            bounds.append(place)
            longest, widest, after = length, width, n
        count = after
    return np.array(bounds if not len(order) else [*bounds, len(order)], np.int64)


class LengthSampler(Sampler[list[int]]):
    """Yields the indexes of each batch: examples of like cost together, shuffled anew each epoch by (seed, epoch).

    ``epoch`` tells the epoch when the first batch of a pass is taken; 0 by default. ``chosen`` are the indexes to
    yield, all of the examples by default; some may stand in it several times. The number of batches is the same in
    every epoch. With several processes each takes every ``world_size``-th batch. In training those of one step are
    neighbours in length, so that no process waits for a longer batch than its own, and where a batch is missing for
    the last step one is taken twice, another in each epoch.
    """

    def __init__(
        self,
        examples: Examples,
        limits: BatchLimits,
        *,
        shuffle: bool,
        seed: int = 0,
        epoch: Callable[[], int] = int,
        rank: int = 0,
        world_size: int = 1,
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        self._chosen = np.arange(len(examples)) if chosen is None else chosen
        self._costs = examples.cost[self._chosen].astype(np.float64)
        self._by_cost = np.argsort(self._costs, kind="stable")
        self._bounds = plan(examples, self._chosen[self._by_cost], limits)
        self._shuffle, self._seed, self._epoch = shuffle, seed, epoch
        self._rank, self._world_size = rank, world_size
        self.skip = 0
        """How many batches the next pass leaves out at its start."""
        if not shuffle and world_size > 1 and len(self._bounds) - 1 < world_size:
            if len(self._chosen) < world_size:
                raise ConfigError(
                    f"the validation data hold {len(self._chosen)} contexts, fewer than the {world_size} processes; "
                    "expected at least one for each: set fewer devices, or give more validation data"
                )
            self._bounds = np.linspace(0, len(self._chosen), world_size + 1).astype(np.int64)

    def __len__(self) -> int:
        n = len(self._bounds) - 1
        if self._shuffle:
            return -(-n // self._world_size)
        return len(range(self._rank, n, self._world_size))

    def __iter__(self) -> Iterator[list[int]]:
        order, batches = self._by_cost, np.arange(len(self._bounds) - 1)
        if self._shuffle and len(batches):
            chance = np.random.default_rng((self._seed, self._epoch()))
            noise = 1 + 0.2 * chance.random(len(self._costs))
            order = chance.permutation(len(self._costs))
            order = order[np.argsort((self._costs * noise)[order], kind="stable")]
            steps = chance.permutation(len(self))[:, None] * self._world_size + np.arange(self._world_size)
            first = chance.integers(len(batches)) if steps.size > len(batches) else 0
            batches = (steps.reshape(-1) + first) % len(batches)
        chosen, own = self._chosen[order], batches[self._rank :: self._world_size]
        skip, self.skip = self.skip, 0
        for number in own[skip:].tolist():
            yield chosen[self._bounds[number] : self._bounds[number + 1]].tolist()


class ExampleBatches(Dataset[Batch]):
    """Indexed by the list of a batch's examples; gives the batch."""

    def __init__(self, examples: Examples, collate_windows: Collate, max_cost: int | None = None) -> None:
        self._examples, self._collate, self._max_cost = examples, collate_windows, max_cost

    def __getitem__(self, index: list[int]) -> Batch:
        return collate(index, [self._examples[i] for i in index], self._collate, self._max_cost)


class ListedBatches(Dataset[Batch]):
    """The batches of a list, by number."""

    def __init__(self, batches: ExampleBatches, indexes: Sequence[list[int]]) -> None:
        self._batches, self._indexes = batches, indexes

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, number: int) -> Batch:
        return self._batches[self._indexes[number]]
