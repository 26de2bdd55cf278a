"""Heads called as the core calls them: with features where they have them, for the loss that is optimised."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from papermage_core.plugin.spec import Context, ContextNeeds, HeadOutput
from papermage_core.testing.checks import require
from papermage_core.testing.samples import HeadBatch, lacking, sample_contexts

__all__ = ["decode_of", "features_of", "knows_needs", "loss_of", "losses_of"]

_NEEDS: weakref.WeakKeyDictionary[Any, ContextNeeds] = weakref.WeakKeyDictionary()


def knows_needs(head: Any, needs: ContextNeeds) -> Any:
    """Return the head, which from now on is shown contexts with what it needs of them."""
    _NEEDS[head] = needs
    return head


def losses_of(
    head: Any, batch: HeadBatch, *, vectors: torch.Tensor | None = None, targets: Any = None
) -> dict[str, torch.Tensor]:
    """Return the losses of a batch by their names: a single one is ``"loss"``."""
    vectors = batch.vectors if vectors is None else vectors
    found = head.loss(vectors, batch.mask, batch.targets if targets is None else targets, **features_of(head, batch))
    losses = dict(found) if isinstance(found, Mapping) else {"loss": found}
    require("loss" in losses, f"the losses are {', '.join(map(str, losses))}", "name the one to optimise 'loss'")
    for name, loss in losses.items():
        what = "the loss" if name == "loss" else f"the loss {name!r}"
        require(isinstance(loss, torch.Tensor), f"{what} is {loss!r:.200}", "return a tensor")
        require(loss.shape == (), f"{what} has shape {tuple(loss.shape)}", "return a sum over the batch")
    return losses


def loss_of(head: Any, batch: HeadBatch, *, vectors: torch.Tensor | None = None, targets: Any = None) -> Any:
    """Return the loss of a batch that is optimised."""
    return losses_of(head, batch, vectors=vectors, targets=targets)["loss"]


def decode_of(head: Any, batch: HeadBatch, *, vectors: torch.Tensor | None = None) -> list[HeadOutput]:
    """Return what the head predicts for a batch, without gradients."""
    with torch.no_grad():
        return list(head.decode(batch.vectors if vectors is None else vectors, batch.mask, **features_of(head, batch)))


def features_of(head: Any, batch: HeadBatch) -> dict[str, Any]:
    """Return the argument ``features`` for a head that looks at contexts: of each row, by its length, and padded."""
    if not callable(getattr(head, "features", None)):
        return {}
    needs = _NEEDS.get(head) or ContextNeeds()
    rows = [head.features(_context(needs, n, batch.lacking)) for n in batch.lengths]
    padded = {}
    for name in rows[0] if rows else ():
        shape = (len(rows), batch.mask.shape[1], *np.shape(rows[0][name])[1:])
        padded[name] = torch.zeros(shape, dtype=torch.from_numpy(rows[0][name][:0]).dtype)
        for row, n, each in zip(padded[name], batch.lengths, rows, strict=True):
            row[:n] = torch.from_numpy(np.asarray(each[name]))
    return {"features": padded} if padded else {}


@functools.lru_cache(maxsize=64)
def _context(needs: ContextNeeds, n: int, without: bool) -> Context:
    (context,) = sample_contexts(needs, units=[n])
    return lacking(context) if without else context
