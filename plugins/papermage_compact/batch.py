"""From windows to the arrays of a batch, in which each word type stands once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papermage_compact.hashing import runs_of
from papermage_compact.words import GROUPS, Ragged
from papermage_core.plugin import Window

__all__ = ["collate"]


def collate(windows: Sequence[Window]) -> dict[str, NDArray[Any]]:
    """Return the arrays that the network takes: of T word types, and of N units, all windows in a row.

    ``type`` (N,) is the word type of each unit; ``before`` and ``after`` (N,) count units of its window around it;
    ``same`` (N,) is its word among those of its window, of which there are ``same_count``; ``position`` (N,) is
    where its vector belongs when windows are padded to the longest.
    """
    each = [dict(window.features) for window in windows]  # each window once: some are made when they are asked for
    joined = {name: np.concatenate([features[name] for features in each]) for name in each[0]}
    lengths = np.array([w.stop - w.start for w in windows], np.int64)
    _, first, back = np.unique(joined["key"], return_index=True, return_inverse=True)
    _, before = runs_of(lengths)
    after = np.repeat(lengths, lengths) - 1 - before
    batch = {
        "type": back.reshape(-1),
        "unit": joined["unit"].astype(np.int64),
        "before": before,
        "after": after,
        "length": lengths,
        "position": np.repeat(np.arange(len(windows)) * int(lengths.max()), lengths) + before,
    }
    window = np.repeat(np.arange(len(windows)), lengths)
    _, same, batch["same_count"] = np.unique(
        window * len(first) + batch["type"], return_inverse=True, return_counts=True
    )
    batch["same"] = same.reshape(-1)
    rows = joined["word"][first].astype(np.int64)
    column = 0
    for group, size in GROUPS.items():
        batch[group] = rows[:, column : column + size]
        column += size
    for name in ("ngram", "piece"):
        bag = Ragged.of(joined[name], joined[f"{name}_count"].astype(np.int64)).take(first)
        batch[name] = bag.values.astype(np.int64)
        batch[f"{name}_offset"] = np.concatenate([bag.starts, [len(bag.values)]])
    if "long" in joined:
        batch |= _long_forms(joined["long"].astype(np.int64), joined["long_count"].astype(np.int64))
    if "line" in joined:
        batch |= _lines(joined["line"], lengths, before)
    for name in ("layout", "placed", "metadata", "gazetteer"):
        if name in joined:
            batch[name] = joined[name].astype(np.int64)
    if "layout_values" in joined:
        batch["layout_values"] = joined["layout_values"].astype(np.float32)
    return batch


def _long_forms(rows: NDArray[np.int64], counts: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return rows of the words of long forms, (M, size) for each group; ``long_owner`` (M,) is the form of each.

    ``long_unit`` (L,) is the unit that each form is of, ``long_stop`` (L,) where its words end.
    """
    unit = np.flatnonzero(counts)
    batch: dict[str, NDArray[Any]] = {
        "long_unit": unit,
        "long_stop": np.cumsum(counts[unit]),
        "long_owner": np.repeat(np.arange(len(unit)), counts[unit]),
    }
    column = 0
    for group, size in GROUPS.items():
        batch[f"long_{group}"] = rows[:, column : column + size]
        column += size
    return batch


def _lines(line: NDArray[Any], lengths: NDArray[np.int64], before: NDArray[np.int64]) -> dict[str, Any]:
    """Return ``line`` (N,), the line of each unit, and how many lines of its window are around each line (L,)."""
    starts = np.ones(len(line), bool)
    starts[1:] = line[1:] != line[:-1]
    starts[before == 0] = True
    window = np.repeat(np.arange(len(lengths)), lengths)
    lines = np.bincount(window[starts], minlength=len(lengths))
    _, lines_before = runs_of(lines)
    return {
        "line": np.cumsum(starts) - 1,
        "lines_before": lines_before,
        "lines_after": np.repeat(lines, lines) - 1 - lines_before,
    }
