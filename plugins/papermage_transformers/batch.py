"""Windows → the tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from papermage_core.plugin import Window
from papermage_transformers.layout import BoxStyle

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Collator"]


@attrs.frozen(eq=False, kw_only=True)
class Collator:
    """Puts windows into sequences of wordpieces, and says where in them the units are.

    A window is one sequence, but for a unit too long for one: that goes on in as many as it takes, so there are S ≥ W
    sequences for W windows. *Positions* are indices into the S × T wordpieces of the batch, flattened.

    ================  ============  ================================================================
    ``input_ids``     int64 (S, T)  wordpieces with the special ones, padded at the end
    ``attention_mask``  int64 (S, T)  1 for wordpieces, 0 for padding
    ``first``         int64 (W, U)  position of each unit's first wordpiece, 0 where there is no unit
    ``last``          int64 (W, U)  position of its last
    ``counts``        int64 (W, U)  number of its wordpieces, at least 1
    ``rest``          int64 (R,)    positions of the wordpieces that are not their unit's first
    ``rest_units``    int64 (R,)    their units, indices into the W × U units of the batch
    ``bbox``          (S, T, 4)     with layout models: int64, or float32 shares of the page
    ================  ============  ================================================================
    """

    capacity: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    padding: int
    box_style: BoxStyle | None = None

    def __call__(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the batch of ``windows``, of which there must be one at least."""
        sizes = np.array([len(w.features["ids"]) for w in windows], np.int64)  # wordpieces of each window
        n_units = np.array([len(w.features["lengths"]) for w in windows], np.int64)
        n_sequences = np.maximum(-(-sizes // self.capacity), 1)
        within = _within(sizes)
        sequence = np.repeat(np.cumsum(n_sequences) - n_sequences, sizes) + within // self.capacity
        filled = np.bincount(sequence, minlength=int(n_sequences.sum()))  # wordpieces of text in each sequence
        head, tail = len(self.prefix), len(self.suffix)
        shape = len(filled), int(filled.max()) + head + tail
        positions = sequence * shape[1] + within % self.capacity + head

        ids = np.full(shape, self.padding, np.int64)
        ids[:, :head] = self.prefix
        ids.reshape(-1)[positions] = np.concatenate([w.features["ids"] for w in windows])
        ends = (np.arange(len(filled))[:, None], head + filled[:, None] + np.arange(tail))
        ids[ends] = self.suffix
        mask = np.arange(shape[1]) < head + filled[:, None] + tail
        batch = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}

        units = np.repeat(np.arange(len(windows)) * int(n_units.max()), n_units) + _within(n_units)
        batch |= self._pooled(windows, positions, units, (len(windows), int(n_units.max())))
        if self.box_style:
            batch["bbox"] = self._boxes(windows, positions, shape, ends)
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _pooled(
        self, windows: Sequence[Window], positions: NDArray[np.int64], units: NDArray[np.int64], shape: tuple[int, int]
    ) -> dict[str, NDArray[Any]]:
        lengths = np.concatenate([w.features["lengths"] for w in windows]).astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        is_text = np.ones(len(positions), np.bool_)  # but for the indicators
        if "indicators" in windows[0].features:
            indicators = np.concatenate([w.features["indicators"] for w in windows])
            is_text[starts[indicators]] = False
            starts, lengths = starts + indicators, lengths - indicators
        is_text[starts] = False
        owner = np.repeat(units, np.diff(starts, append=len(positions)))  # an indicator counts to the unit before
        owner = np.concatenate([np.zeros(len(positions) - len(owner), np.int64), owner])
        first, last, counts = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.ones(shape, np.int64)
        first.reshape(-1)[units] = positions[starts]
        last.reshape(-1)[units] = positions[starts + lengths - 1]
        counts.reshape(-1)[units] = lengths
        return {
            "first": first,
            "last": last,
            "counts": counts,
            "rest": positions[is_text],
            "rest_units": owner[is_text],
        }

    def _boxes(
        self,
        windows: Sequence[Window],
        positions: NDArray[np.int64],
        shape: tuple[int, int],
        ends: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> NDArray[Any]:
        assert self.box_style is not None
        floating = np.issubdtype(np.dtype(self.box_style.dtype), np.floating)
        boxes = np.zeros((*shape, 4), np.float32 if floating else np.int64)
        lengths = np.concatenate([w.features["lengths"] for w in windows])
        boxes.reshape(-1, 4)[positions] = np.repeat(
            np.concatenate([w.features["boxes"] for w in windows]), lengths, axis=0
        )
        boxes[:, : len(self.prefix)] = self.box_style.prefix
        boxes[ends] = self.box_style.suffix
        return boxes


def _within(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, 1, … sizes[0] - 1, 0, 1, … sizes[1] - 1, and so on."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
