"""Lists of spans as arrays: what is known of the entities of a whole corpus."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.plugin.spec import UnitSpan

__all__ = ["SpanTable"]


@attrs.define(eq=False)
class SpanTable:
    """A list of lists of spans, some 30 bytes a span.

    >>> table = SpanTable()
    >>> table.append([UnitSpan("x", ((0, 2),)), UnitSpan("y", ((1, 2), (4, 5)))])
    >>> table[0][1].segments
    ((1, 2), (4, 5))
    """

    labels: dict[str, int] = attrs.field(factory=dict)
    """Label → its number."""
    _names: list[str] = attrs.field(factory=list)
    _rows: array[int] = attrs.field(factory=lambda: array("q", [0]))
    """Where each list begins among the spans, and last where they end."""
    _label: array[int] = attrs.field(factory=lambda: array("i"))
    _score: array[float] = attrs.field(factory=lambda: array("d"))
    _first: array[int] = attrs.field(factory=lambda: array("q", [0]))
    """Where each span begins among the segments, and last where they end."""
    _start: array[int] = attrs.field(factory=lambda: array("i"))
    _stop: array[int] = attrs.field(factory=lambda: array("i"))

    def __len__(self) -> int:
        return len(self._rows) - 1

    def append(self, spans: Iterable[UnitSpan]) -> None:
        """Add a list of spans."""
        for span in spans:
            number = self.labels.get(span.label)
            if number is None:
                number = self.labels[span.label] = len(self._names)
                self._names.append(span.label)
            self._label.append(number)
            self._score.append(float("nan") if span.score is None else span.score)
            for start, stop in span.segments:
                self._start.append(start)
                self._stop.append(stop)
            self._first.append(len(self._start))
        self._rows.append(len(self._label))

    def __getitem__(self, row: int) -> list[UnitSpan]:
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        return [self._span(i) for i in range(self._rows[row], self._rows[row + 1])]

    def _span(self, i: int) -> UnitSpan:
        a, b = self._first[i], self._first[i + 1]
        score = self._score[i]
        segments = tuple(zip(self._start[a:b], self._stop[a:b], strict=True))
        return UnitSpan(self._names[self._label[i]], segments, score if score == score else None)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all but the labels' names as arrays, by name."""
        return {name: np.array(getattr(self, f"_{name}")) for name in _COLUMNS}

    @property
    def names(self) -> Sequence[str]:
        """The labels, by number."""
        return self._names

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> SpanTable:
        """Return the table that ``to_arrays`` gave."""
        columns: dict[str, Any] = {
            name: array(kind, arrays[name].astype(kind).tobytes()) for name, kind in _COLUMNS.items()
        }
        return cls({name: i for i, name in enumerate(names)}, list(names), **columns)

    @classmethod
    def joined(cls, tables: Sequence[SpanTable], order: NDArray[np.int64]) -> SpanTable:
        """Return one table of the lists of several, one after the other, in another order."""
        owner = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        row = np.concatenate([np.arange(len(table)) for table in tables]) if tables else order
        whole = cls()
        for i in order.tolist():
            whole.append(tables[owner[i]][row[i]])
        return whole


_COLUMNS = {"rows": "q", "label": "i", "score": "d", "first": "q", "start": "i", "stop": "i"}
