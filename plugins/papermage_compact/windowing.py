"""From contexts to windows of plain numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papermage_compact.gazetteer import Gazetteer
from papermage_compact.layout import LayoutFacts
from papermage_compact.lines import lines_of
from papermage_compact.metadata import Column, metadata_rows, metadata_values
from papermage_compact.table import WordTable
from papermage_compact.units import UnitFacts
from papermage_core.plugin import Context, Window
from papermage_transformers.once import WarnOnce

__all__ = ["Windower", "bounds"]

logger = logging.getLogger(__name__)

_MOST = 1 << 16  # units whose features are held; those of a longer context are made a window at a time
_LONG = 6  # words of a long form that are looked at, from its end
_STEP = 1 << 13  # units whose words are looked up in one go where there are more


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
        self,
        table: WordTable,
        longest: int,
        *,
        with_layout: bool,
        with_lines: bool,
        with_abbreviations: bool,
        metadata: tuple[Column, ...],
        gazetteer: Gazetteer | None,
    ) -> None:
        self._table = table
        self._longest = longest
        self._with_layout, self._with_lines, self._metadata = with_layout, with_lines, metadata
        self._with_abbreviations = with_abbreviations
        self._gazetteer = gazetteer
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
        features = _Features(
            self._table,
            contexts,
            lengths,
            self._with_layout,
            self._with_lines,
            self._with_abbreviations,
            self._metadata,
            self._gazetteer,
        )
        overlap = min(stride, self._longest // 2)
        cut = features.later if int(lengths.sum()) > _MOST else _cutter(features.of(0, int(lengths.sum())))
        offset = 0
        for length in lengths.tolist():
            yield [
                Window(start, stop, cut(offset + start, offset + stop), stop - start)
                for start, stop in bounds(length, self._longest, overlap)
            ]
            offset += length


def _cutter(features: Mapping[str, NDArray[Any]]) -> Callable[[int, int], Mapping[str, NDArray[Any]]]:
    """Return what cuts the features of some units out of those of all."""
    counts = [name for name in features if name.endswith("_count")]
    ends = {name: np.concatenate([[0], np.cumsum(features[name], dtype=np.int64)]) for name in counts}

    def cut(start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        found = {name: array[start:stop] for name, array in features.items() if f"{name}_count" not in ends}
        for name, end in ends.items():
            values = name.removesuffix("_count")
            found[values] = features[values][end[start] : end[stop]]
        return found

    return cut


class _Features:
    """The features of all units of contexts, made for some of them at a time: so all of them need not be held."""

    def __init__(
        self,
        table: WordTable,
        contexts: Sequence[Context],
        lengths: NDArray[np.int64],
        with_layout: bool,
        with_lines: bool,
        with_abbreviations: bool,
        metadata: Sequence[Column],
        gazetteer: Gazetteer | None,
    ) -> None:
        self._table, self._metadata = table, metadata
        self._words = contexts[0].words if len(contexts) == 1 else [word for each in contexts for word in each.words]
        count = len(self._words)
        self._known = table.features(self._words) if count <= _MOST else None
        if self._known is None:
            lowered, depth = np.empty(count, np.uint64), np.empty(count, np.int8)
            for start in range(0, count, _STEP):
                some = table.features(self._words[start : start + _STEP])
                lowered[start : start + _STEP], depth[start : start + _STEP] = some.lowered, some.depth
        else:
            lowered, depth = self._known.lowered, self._known.depth
        space_before = np.concatenate([np.zeros(0, bool), *(context.space_before for context in contexts)])
        self._units = UnitFacts.of(lowered, depth, space_before, lengths)
        self._layout = LayoutFacts.of(contexts, lengths) if with_layout else None
        self._lines = lines_of(contexts, lengths) if with_lines else None
        self._long = _long_forms(contexts) if with_abbreviations else None
        self._values = [metadata_values(column, contexts) for column in metadata]
        self._answers = gazetteer.rows(lowered, lengths) if gazetteer is not None else None
        self._last: tuple[int, int, Mapping[str, NDArray[Any]]] | None = None

    def of(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return the features of units ``start`` to ``stop``: names → arrays."""
        whole = self._known if (start, stop) == (0, len(self._words)) else None
        words = whole or self._table.features(self._words[start:stop])
        features: dict[str, NDArray[Any]] = {
            "key": words.keys,
            "word": words.rows,
            "unit": self._units.rows(start, stop),
            "ngram": words.ngrams.values,
            "ngram_count": words.ngrams.lengths.astype(np.uint16),
            "piece": words.pieces.values,
            "piece_count": words.pieces.lengths.astype(np.uint16),
        }
        if self._layout is not None:
            layout = self._layout.take(start, stop)
            features |= {"layout": layout.rows, "layout_values": layout.values, "line": layout.lines}
        if self._lines is not None:
            features |= {"placed": self._lines.rows[start:stop], "line": self._lines.lines[start:stop]}
        if self._long is not None:
            long = self._long[start:stop]
            features["long"] = self._table.features([word for each in long for word in each]).rows
            features["long_count"] = np.fromiter(map(len, long), np.uint16, stop - start)
        if self._metadata:
            features["metadata"] = metadata_rows(self._metadata, [values[start:stop] for values in self._values])
        if self._answers is not None:
            features["gazetteer"] = self._answers[start:stop]
        return features

    def later(self, start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        """Return the features of units, which are made when they are asked for, and anew if others were meanwhile."""
        return _Later(self, start, stop)

    def last(self, start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        """Return what `of` does; asked for the same again, the same arrays."""
        if self._last is None or self._last[:2] != (start, stop):
            self._last = start, stop, self.of(start, stop)
        return self._last[2]


def _long_forms(contexts: Sequence[Context]) -> list[Sequence[str]]:
    """Return the last words of what each unit stands for; none for those that are no abbreviations."""
    return [context.long_forms.get(word, ())[-_LONG:] for context in contexts for word in context.words]


class _Later(Mapping[str, NDArray[Any]]):
    """Features of a window; elsewhere, the arrays."""

    def __init__(self, features: _Features, start: int, stop: int) -> None:
        self._features, self._start, self._stop = features, start, stop

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._features.last(self._start, self._stop)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._features.last(self._start, self._stop))

    def __len__(self) -> int:
        return len(self._features.last(self._start, self._stop))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _portions(contexts: Sequence[Context]) -> Iterator[Sequence[Context]]:
    """Yield stretches of the contexts that are small enough to hold the features of."""
    first, units = 0, 0
    for i, context in enumerate(contexts):
        if units + len(context) > _MOST and i > first:
            yield contexts[first:i]
            first, units = i, 0
        units += len(context)
    yield contexts[first:]
