"""The units' own metadata as features. Which keys count, and which of their values, the training data say."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.plugin import Context

__all__ = ["AUTO", "Column", "MetadataCounts", "columns_of", "metadata_rows", "metadata_values", "size_of"]

logger = logging.getLogger(__name__)

AUTO = "auto"
_COUNTED = 4096  # values of a key that are told apart while they are counted
_LONGEST = 100  # characters of a value that may have a row of its own
_SAMPLE = 1 << 16  # numbers of a key that its buckets are chosen by
_MOST_VALUES = 64  # values of a key that have a row of their own
_FEW_NUMBERS = 32  # a key with more different numbers than this is read as a number
_BUCKETS = 16
_LEAST = 5  # units that have a value with a row of its own
_ENOUGH = 0.02  # share of the units that have a key, for the key to count
_KNOWN = 0.9  # share of a key's units that have a value with a row of its own; below, it is an identifier or a text
_ALWAYS = 0.99  # share of the units that have a key, for its absence to be worth a warning

_MISSING, _OTHER, _FIRST = 0, 1, 2


@attrs.frozen
class Column:
    """What is known of a key: the values that have a row of their own, or the bounds between buckets of numbers."""

    key: str
    values: tuple[str | bool | int | float, ...] = ()
    bounds: tuple[float, ...] = ()
    always: bool = False
    """Whether nearly every training unit had the key."""

    @property
    def size(self) -> int:
        """Rows: one for no value, one for a value that training did not see, and those of values or buckets."""
        return _FIRST + (len(self.bounds) + 1 if self.bounds else len(self.values))

    def rows(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """Return the row of each value, from 0."""
        if self.bounds:
            numbers = _numbers(values)
            buckets = np.searchsorted(np.array(self.bounds), numbers, side="right")
            return np.where(np.isnan(numbers), _MISSING, buckets + _FIRST)
        row_of: dict[Any, int] = {value: row for row, value in enumerate(self.values, _FIRST)}
        row_of[None] = _MISSING
        try:
            rows = [row_of.get(value, _OTHER) for value in values]
        except TypeError:  # lists and mappings
            rows = [_MISSING if isinstance(value, (list, dict)) else row_of.get(value, _OTHER) for value in values]
        return np.array(rows, np.int64)

    def dump(self) -> str:
        """Return the column as a string, which `columns_of` reads."""
        return json.dumps(attrs.asdict(self))


def columns_of(dumped: Iterable[str]) -> tuple[Column, ...]:
    """Return the columns that were dumped. Raises ValueError for what is none."""
    return tuple(_column(text) for text in dumped)


def _column(text: str) -> Column:
    found = json.loads(text)
    if not isinstance(found, dict) or set(found) != {"key", "values", "bounds", "always"}:
        raise ValueError(f"{text[:60]!r} does not describe a key of metadata")
    values, bounds = tuple(found["values"]), tuple(map(float, found["bounds"]))
    if not isinstance(found["key"], str) or not all(map(_is_plain, values)):
        raise ValueError(f"{text[:60]!r} does not describe a key of metadata")
    return Column(found["key"], values, bounds, bool(found["always"]))


def size_of(columns: Sequence[Column]) -> int:
    """Return how many rows the columns have together."""
    return sum(column.size for column in columns)


def metadata_values(column: Column, contexts: Sequence[Context]) -> list[Any]:
    """Return the value that each unit of the contexts has for the key of a column, None where it has none."""
    values: list[Any] = []
    for context in contexts:
        values += context.metadata.get(column.key) or [None] * len(context)
    return values


def metadata_rows(columns: Sequence[Column], values: Sequence[Sequence[Any]]) -> NDArray[np.uint16]:
    """Return the rows of n units, one column a key, each with rows of its own; given values by key. Shape (n, keys)."""
    made = []
    first = 0
    for column, of_column in zip(columns, values, strict=True):
        made.append(column.rows(of_column) + first)
        first += column.size
    return np.stack(made, 1).astype(np.uint16)


class MetadataCounts:
    """Counts the metadata of training units, a context at a time, in bounded memory."""

    def __init__(self) -> None:
        self._units = 0
        self._keys: dict[str, _Counts] = {}

    def add(self, context: Context) -> None:
        """Count the units of a context."""
        self._units += len(context)
        for key, values in context.metadata.items():
            self._keys.setdefault(key, _Counts()).add(values)

    def chosen(self, names: Sequence[str], *, without: Sequence[str] = ()) -> tuple[Column, ...]:
        """Return the columns of these keys; for ``auto``, of those that enough units have and that can be learnt from.

        ``auto`` takes none of ``without``.

        Warns of a named key that no unit has.
        """
        if tuple(names) == (AUTO,):
            return tuple(
                column
                for key, counts in sorted(self._keys.items())
                if key not in without
                and (column := counts.column(key, self._units)) is not None
                and counts.is_worth_it(column, self._units)
            )
        chosen = {name: self._keys[name].column(name, self._units) for name in names if name in self._keys}
        if lacking := [name for name in names if chosen.get(name) is None]:
            logger.warning(
                "encoder.metadata names keys that too few training units have to learn from, and goes without: %s",
                ", ".join(lacking),
            )
        return tuple(column for column in chosen.values() if column is not None)


class _Counts:
    """The values of one key."""

    def __init__(self) -> None:
        self._values: Counter[Any] = Counter()
        self._present = 0
        self._numeric = 0
        self._rises, self._pairs = True, 0  # whether each number of a context is greater than the one before
        self._sample = np.zeros(0)
        self._step, self._skip = 1, 0

    def add(self, values: Sequence[Any]) -> None:
        found = [value for value in values if _is_plain(value)]
        numbers = _numbers(found)
        numbers = numbers[~np.isnan(numbers)]
        self._present += len(found)
        self._numeric += len(numbers)
        self._rises = self._rises and len(numbers) == len(found) and bool((np.diff(numbers) > 0).all())
        self._pairs += max(len(numbers) - 1, 0)
        self._sample = np.concatenate([self._sample, numbers[self._skip :: self._step]])
        self._skip = (self._skip - len(numbers)) % self._step
        while len(self._sample) > _SAMPLE:
            self._sample, self._step = self._sample[::2], 2 * self._step
        room = len(self._values) < _COUNTED
        for value, count in Counter(found).items():
            if isinstance(value, str) and len(value) > _LONGEST:
                continue
            if room or value in self._values:
                self._values[value] += count

    def column(self, key: str, units: int) -> Column | None:
        """Return what the key gives, None where nothing."""
        always = self._present >= _ALWAYS * units
        if self._numeric == self._present and len(self._values) > _FEW_NUMBERS:
            parts = np.quantile(self._sample, np.arange(1, _BUCKETS) / _BUCKETS)
            bounds = tuple(np.unique(parts[parts > self._sample.min()]).tolist())
            return Column(key, bounds=bounds, always=always) if bounds else None
        values = [value for value, count in self._values.most_common(_MOST_VALUES) if count >= _LEAST]
        return Column(key, values=tuple(values), always=always) if values else None

    def is_worth_it(self, column: Column, units: int) -> bool:
        """Whether enough units have the key, its values vary and recur, and it is no number of the unit."""
        if self._present < _ENOUGH * units or (self._rises and self._pairs):
            return False
        if column.bounds:
            return True
        known = sum(self._values[value] for value in column.values)
        return known >= _KNOWN * self._present and (len(column.values) > 1 or not column.always)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return numbers as such, and NaN for what is none."""
    if not set(map(type, values)) <= {float}:
        values = [float(value) if type(value) in (int, float) and abs(value) < 1e300 else np.nan for value in values]
    numbers = np.fromiter(values, np.float64, len(values))
    return np.where(np.isfinite(numbers), numbers, np.nan)
