"""Contexts of very many units: the windows run some at a time, and of each is kept what the heads need alone.

A context is decoded as a whole however long it is, but of each of its units no more is held than its scores, where a
head begins with scores of each unit by itself (see `papermage_core.plugin.spec.ModelHead`), or else its vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from papermage_core.data.batches import runs_of
from papermage_core.data.examples import Example
from papermage_core.model.entity_model import EntityModel, outputs_of
from papermage_core.model.onnx import halves
from papermage_core.plugin.blame import calling
from papermage_core.plugin.spec import HeadOutput

__all__ = ["LONG", "decode_long"]

LONG = 1 << 16
"""Units above which a context is read so: enough that it is rare, few enough that batches fit in memory."""


def decode_long(
    model: EntityModel, example: Example, max_cost: int, device: torch.device | str, least: float | None = None
) -> list[HeadOutput]:
    """Return what each head says of one example, in eval mode and without gradient.

    ``max_cost`` is that of the windows that run together. For ``least`` see `EntityModel.candidates`.
    """
    scorers, heads = halves(list(model.heads))  # type: ignore[arg-type]
    kept: list[Tensor | None] = [None] * len(heads)
    for run, shape, units, rows in _runs(model, example, max_cost, device):
        vectors = model.encode(run, shape).flatten(0, 1)[rows]
        for number, scorer in enumerate(scorers):
            taken = model.taken(vectors, number)
            scores = taken if scorer is None else scorer(taken)
            if (whole := kept[number]) is None:
                kept[number] = whole = scores.new_empty(1, len(example), scores.shape[1])
            whole[0, units] = scores
    mask = torch.ones(1, len(example), dtype=torch.bool, device=device)
    seen: list[dict[str, Any]] = [{} for _ in heads]
    for arguments, features in zip(seen, example.features):  # noqa: B905  # there are none where no head has them
        if features:
            arguments["features"] = {name: torch.from_numpy(rows)[None].to(device) for name, rows in features.items()}
    found = []
    for number, (head, whole) in enumerate(zip(heads, kept, strict=True)):
        assert whole is not None
        kept[number] = None
        with calling(model.heads[number], "decode"):
            found += outputs_of(head, whole, mask, seen[number], least, model.head_labels[number])
    return found


def _runs(
    model: EntityModel, example: Example, max_cost: int, device: torch.device | str
) -> Iterator[tuple[dict[str, Tensor], tuple[int, int], Tensor, Tensor]]:
    """Yield the tensors of a run; its number of windows, and the units of the longest; the units that it answers for.

    Last come the rows of these units in what comes out.
    """
    by_owner = np.argsort(example.owner, kind="stable")
    bounds = np.searchsorted(example.owner[by_owner], np.arange(len(example.windows) + 1)).tolist()
    for run in runs_of(example.windows, max_cost):
        windows = [example.windows[i] for i in run]
        longest = max(window.stop - window.start for window in windows)
        units = [by_owner[bounds[i] : bounds[i + 1]] for i in run]
        places = [
            answered + example.start - window.start + place * longest
            for place, (answered, window) in enumerate(zip(units, windows, strict=True))
        ]
        with calling(model.encoder, "collate"):
            features = model.encoder.collate(windows)
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}
        own, rows = (torch.from_numpy(np.concatenate(each)).to(device) for each in (units, places))
        yield moved, (len(windows), longest), own, rows
