"""Contexts and targets → pieces, with what each task is to learn from each of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from papermage_core.data.cache import FeatureCache
from papermage_core.data.corpus import Corpus
from papermage_core.data.windows import Piece, cut, whole
from papermage_core.plugin.spec import Context, ContextEncoder

__all__ = ["make_pieces", "training_pieces", "whole_targets"]

_WORTH_KEEPING = 2.0
"""Seconds above which windows are kept: what is made faster is made again as fast as it is read."""
_AT_ONCE = 512
"""Contexts handed to the encoder in one call: enough for tokenizers to be fast, few enough to bound memory."""


def make_pieces(
    encoder: ContextEncoder, contexts: Sequence[Context], stride: int, cache: FeatureCache | None = None
) -> list[Piece]:
    """Return one piece a context: the whole of it, in the encoder's windows.

    With a ``cache``, windows that took long to make are kept for the next time.
    """
    key = cache.key(encoder, contexts, stride) if cache is not None else ""
    windows = cache.load(key) if cache is not None else None
    if windows is None:
        start = time.perf_counter()
        windows = []
        for first in range(0, len(contexts), _AT_ONCE):
            windows += encoder.windows(contexts[first : first + _AT_ONCE], stride=stride)
        if cache is not None and time.perf_counter() - start > _WORTH_KEEPING:
            cache.store(key, windows)
    return [
        whole(index, found, len(context)) for index, (found, context) in enumerate(zip(windows, contexts, strict=True))
    ]


def whole_targets(corpus: Corpus) -> list[list[Any]]:
    """Return task → context → target, with unknown tags where nobody labelled; None there for spans."""
    return [
        [
            _unknown(corpus, task, context) if target is None else target
            for context, target in enumerate(corpus.targets[task])
        ]
        for task in range(len(corpus.targets))
    ]


def _unknown(corpus: Corpus, task: int, context: int) -> Any:
    is_tags = any(isinstance(target, np.ndarray) for target in corpus.targets[task])
    return np.full(len(corpus.units[context]), -1, np.int64) if is_tags else None


def training_pieces(corpus: Corpus, pieces: Sequence[Piece], max_cost: int) -> tuple[list[Piece], list[list[Any]]]:
    """Return pieces of at most about ``max_cost`` each, and task → piece → target."""
    out: list[Piece] = []
    targets: list[list[Any]] = [[] for _ in corpus.targets]
    full = whole_targets(corpus)
    for piece in pieces:
        if piece.stop == piece.start:
            continue
        gold = [span for spans in corpus.spans for span in spans[piece.context] or ()]
        for part in cut(piece, gold, max_cost):
            out.append(part)
            for task, of_context in zip(targets, full, strict=True):
                task.append(_part_of(of_context[piece.context], part))
    return out, targets


def _part_of(target: Any, piece: Piece) -> Any:
    if target is None:
        return None
    if isinstance(target, np.ndarray):
        return target[piece.start : piece.stop]
    inside = [span for span in target if piece.start <= span.start and span.stop <= piece.stop]
    return [span.shifted(-piece.start) for span in inside] if piece.start else inside
