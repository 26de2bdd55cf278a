"""From contexts to windows of plain numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papermage_compact.layout import layout_of
from papermage_compact.lines import lines_of
from papermage_compact.metadata import Column, metadata_rows
from papermage_compact.table import WordTable
from papermage_compact.units import unit_rows
from papermage_core.plugin import Context, Window
from papermage_transformers.once import WarnOnce

__all__ = ["Windower", "bounds"]

logger = logging.getLogger(__name__)

_MOST = 1 << 20  # units whose features are made in one go


def bounds(length: int, longest: int, overlap: int) -> list[tuple[int, int]]:
    """Return windows of at most ``longest`` units that cover ``length`` of them, overlapping by at least ``overlap``.

    >>> bounds(10, 6, 2)
    [(0, 6), (4, 10)]
    >>> bounds(0, 6, 2)
    []
    """
    if length <= longest:
        return [(0, length)] if length else []
    step = longest - overlap
    count = -(-(length - overlap) // step)
    starts = [round(i * (length - longest) / (count - 1)) for i in range(count)]
    return [(start, start + longest) for start in starts]


class Windower:
    """Makes windows; touches no weights."""

    def __init__(
        self, table: WordTable, longest: int, *, with_layout: bool, with_lines: bool, metadata: tuple[Column, ...]
    ) -> None:
        self._table = table
        self._longest = longest
        self._with_layout, self._with_lines, self._metadata = with_layout, with_lines, metadata
        self._warn_of_stride, self._warn_of_boxes = WarnOnce(logger), WarnOnce(logger)
        self._warn_of_metadata = WarnOnce(logger)

    def windows(self, contexts: Sequence[Context], stride: int) -> list[list[Window]]:
        """Return the windows of each context, overlapping by ``stride`` units where there are several."""
        self._warn(contexts, stride)
        return list(chain.from_iterable(self._windows(part, stride) for part in _portions(contexts)))

    def _warn(self, contexts: Sequence[Context], stride: int) -> None:
        """Say, once for each encoder, what of the data or of ``stride`` the windows cannot do justice to."""
        if stride > self._longest // 2:
            self._warn_of_stride(
                "stride=%d is too much for windows of %d units (encoder.max_length): neighbouring windows share %d",
                stride,
                self._longest,
                self._longest // 2,
            )
        if self._with_layout and not self._warn_of_boxes.done:
            bare = next((c for c in contexts if len(c) and (c.boxes is None or np.isnan(c.boxes[:, 0]).all())), None)
            if bare is not None:
                self._warn_of_boxes(
                    "The units of some contexts have no boxes, which the encoder reads with the text "
                    "(encoder.layout=on). First: %r",
                    " ".join(bare.words[:8]),
                )

        expected = [column.key for column in self._metadata if column.always]
        if expected and not self._warn_of_metadata.done:
            for context in contexts:
                lacking = [key for key in expected if len(context) and key not in context.metadata]
                if lacking:
                    self._warn_of_metadata(
                        "The units of some contexts have no metadata %s, which the encoder reads with the text "
                        "(encoder.metadata). First: %r",
                        ", ".join(lacking),
                        " ".join(context.words[:8]),
                    )
                    break

    def _windows(self, contexts: Sequence[Context], stride: int) -> Iterator[list[Window]]:
        lengths = np.array([len(context) for context in contexts], np.int64)
        features = self._features(contexts, lengths)
        counts = [name for name in features if name.endswith("_count")]
        ends = {name: np.concatenate([[0], np.cumsum(features[name], dtype=np.int64)]) for name in counts}
        overlap = min(stride, self._longest // 2)
        offset = 0
        for length in lengths.tolist():
            windows = []
            for start, stop in bounds(length, self._longest, overlap):
                a, b = offset + start, offset + stop
                cut = {name: array[a:b] for name, array in features.items() if f"{name}_count" not in ends}
                for name, end in ends.items():
                    values = name.removesuffix("_count")
                    cut[values] = features[values][end[a] : end[b]]
                windows.append(Window(start, stop, cut, stop - start))
            offset += length
            yield windows

    def _features(self, contexts: Sequence[Context], lengths: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """Return one array a feature for all units of all contexts."""
        words = self._table.features([word for context in contexts for word in context.words])
        space_before = np.concatenate([np.zeros(0, bool), *(context.space_before for context in contexts)])
        features: dict[str, NDArray[Any]] = {
            "key": words.keys,
            "word": words.rows,
            "unit": unit_rows(words, space_before, lengths),
            "ngram": words.ngrams.values,
            "ngram_count": words.ngrams.lengths.astype(np.uint16),
            "piece": words.pieces.values,
            "piece_count": words.pieces.lengths.astype(np.uint16),
        }
        if self._with_layout:
            layout = layout_of(contexts, lengths)
            features |= {"layout": layout.rows, "layout_values": layout.values, "line": layout.lines}
        if self._with_lines:
            lines = lines_of(contexts, lengths)
            features |= {"placed": lines.rows, "line": lines.lines}
        if self._metadata:
            features["metadata"] = metadata_rows(self._metadata, contexts)
        return features


def _portions(contexts: Sequence[Context]) -> Iterator[Sequence[Context]]:
    """Yield stretches of the contexts that are small enough to hold the features of."""
    first, units = 0, 0
    for i, context in enumerate(contexts):
        if units + len(context) > _MOST and i > first:
            yield contexts[first:i]
            first, units = i, 0
        units += len(context)
    yield contexts[first:]
