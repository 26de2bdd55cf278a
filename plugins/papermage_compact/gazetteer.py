"""A gazetteer learnt from the training data: how they label a word, and a word with its neighbours.

What a unit's word, the word after the one before it, and the word before the one after it are labelled as elsewhere in
the training data become features of the unit. Training units are told what *other* documents say: the counts of their
own are left out, else the network would learn to copy what it is to find.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_compact.hashing import U64, code_points, hash_runs, mix, runs_of
from papermage_compact.words import clip, digits_to_zero
from papermage_core.plugin import Context, UnitSpan

__all__ = ["Gazetteer", "GazetteerCounts"]

PATTERNS = 3
"""The word; the one before and the word; the word and the one after."""
_FOLDS = 256  # parts of the training documents; those of a unit's part are left out
_MOST_TAGS = 201  # outside, and two for each of so many labels; labels beyond share the last two
_MOST = 1 << 21  # counts that are kept
_STEP = 1 << 16  # units that are looked up at once
_SURE = (0.7, 0.95)  # shares of the commonest tag that answers are told apart by
_OFTEN = (2, 5)  # and how often the key was seen
_GRADES = (len(_SURE) + 1) * (len(_OFTEN) + 1)
_EDGE = np.uint64(0x5851F42D4C957F2D)  # stands before the first and after the last unit of a context
_SALT = np.array([0x14057B7EF767814F, 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85], np.uint64)
_TIMES = np.uint64(0x9E3779B97F4A7C15)


@attrs.frozen(eq=False)
class Gazetteer:
    """Counts of tags by key and part of the training documents. n keys, m counts, c contexts."""

    keys: U64
    """Ascending. Shape (n,)."""
    starts: NDArray[np.int64]
    """Where the counts of each key begin, and m. Shape (n + 1,)."""
    fold: NDArray[np.uint8]
    tag: NDArray[np.uint8]
    count: NDArray[np.uint32]
    """Part, tag (0 outside, then two a label: its first unit, another) and number of units. Shapes (m,)."""
    contexts: U64
    """Hashes of the training contexts, ascending. Shape (c,)."""
    context_fold: NDArray[np.uint8]
    """The part that each was in. Shape (c,)."""
    n_tags: int

    @property
    def size(self) -> int:
        """Rows of the table that `rows` points into."""
        return PATTERNS * self._rows

    @property
    def _rows(self) -> int:
        return 1 + self.n_tags * _GRADES

    @cached_property
    def _answers(self) -> NDArray[np.uint16]:
        """The row of each key when nothing is left out. Shape (n,)."""
        owner = np.repeat(np.arange(len(self.keys)), np.diff(self.starts))
        return self._summed(owner, np.arange(len(self.tag)), len(self.keys))

    def rows(self, lowered: U64, lengths: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Return the rows of each unit, one a pattern, for contexts of ``lengths`` one after the other. Shape (N, 3).

        ``lowered`` are the hashes of their words, as `WordFeatures.lowered` has them.
        """
        left_out = np.repeat(self._folds(lowered, lengths), lengths)
        found = np.empty((len(lowered), PATTERNS), np.uint16)
        neighbours = _Neighbours(lowered, lengths)
        for start in range(0, len(lowered), _STEP):
            stop = min(start + _STEP, len(lowered))
            keys = neighbours.keys(start, stop)
            for pattern in range(PATTERNS):
                found[start:stop, pattern] = self._look_up(keys[pattern], left_out[start:stop]) + pattern * self._rows
        return found

    def _folds(self, lowered: U64, lengths: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the part of the training documents that each context is in, -1 for one that is in none."""
        if not len(self.contexts):
            return np.full(len(lengths), -1, np.int16)
        hashes = _hashes_of_contexts(lowered, lengths)
        place = np.minimum(np.searchsorted(self.contexts, hashes), len(self.contexts) - 1)
        return np.where(self.contexts[place] == hashes, self.context_fold[place].astype(np.int16), np.int16(-1))

    def _look_up(self, keys: U64, left_out: NDArray[np.int16]) -> NDArray[np.uint16]:
        if not len(self.keys):
            return np.zeros(len(keys), np.uint16)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = self.keys[place] == keys
        found = np.where(known, self._answers[place], np.uint16(0))
        own = np.flatnonzero(known & (left_out >= 0))
        if len(own):
            pairs, back = np.unique(place[own] * _FOLDS + left_out[own], return_inverse=True)
            key, fold = np.divmod(pairs, _FOLDS)
            sizes = self.starts[key + 1] - self.starts[key]
            _, within = runs_of(sizes)
            entry = np.repeat(self.starts[key], sizes) + within
            owner = np.repeat(np.arange(len(pairs)), sizes)
            others = self.fold[entry] != fold[owner]
            found[own] = self._summed(owner[others], entry[others], len(pairs))[back.reshape(-1)]
        return found

    def _summed(self, owner: NDArray[np.int64], entry: NDArray[np.int64], n: int) -> NDArray[np.uint16]:
        """Return what counts say for each of n owners; ``owner`` is ascending. Shape (n,)."""
        rows = np.zeros(n, np.uint16)
        if not len(owner):
            return rows
        code = owner * self.n_tags + self.tag[entry]
        codes, back = np.unique(code, return_inverse=True)
        sums = np.bincount(back.reshape(-1), self.count[entry])
        holder, tag = np.divmod(codes, self.n_tags)
        total = np.bincount(holder, sums, n)
        order = np.lexsort((tag, -sums, holder))
        best = order[np.flatnonzero(np.diff(holder[order], prepend=-1))]
        at = holder[best]
        sure = np.searchsorted(_SURE, sums[best] / total[at], "right")
        often = np.searchsorted(_OFTEN, total[at], "right")
        rows[at] = 1 + tag[best] * _GRADES + sure * (len(_OFTEN) + 1) + often
        return rows

    def dump(self) -> bytes:
        """Return the gazetteer as bytes, which `load` reads."""
        file = io.BytesIO()
        for array in (*self._arrays(), np.array([self.n_tags])):
            np.save(file, array, allow_pickle=False)
        return file.getvalue()

    @classmethod
    def load(cls, content: bytes) -> Gazetteer:
        """Return the gazetteer that was dumped. Raises ValueError for what is none."""
        file = io.BytesIO(content)
        try:
            keys, starts, fold, tag, count, contexts, context_fold, n_tags = (
                np.load(file, allow_pickle=False) for _ in range(8)
            )
            found = cls(keys, starts, fold, tag, count, contexts, context_fold, int(n_tags[0]))
            found._check()
        except (EOFError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"the gazetteer of the checkpoint is damaged: {error}") from error
        return found

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.keys, self.starts, self.fold, self.tag, self.count, self.contexts, self.context_fold

    def _check(self) -> None:
        dtypes = [np.uint64, np.int64, np.uint8, np.uint8, np.uint32, np.uint64, np.uint8]
        fits = [array.ndim == 1 and array.dtype == dtype for array, dtype in zip(self._arrays(), dtypes, strict=True)]
        n, m = len(self.keys), len(self.fold)
        sizes = len(self.starts) == n + 1 and len(self.tag) == len(self.count) == m
        if not (all(fits) and sizes and len(self.contexts) == len(self.context_fold)):
            raise ValueError("its arrays do not fit each other")
        if self.starts[0] != 0 or self.starts[-1] != m or (np.diff(self.starts) < 1).any():
            raise ValueError("its counts have no keys")
        if not 1 <= self.n_tags <= _MOST_TAGS or (m and int(self.tag.max()) >= self.n_tags):
            raise ValueError("its tags are unknown")
        for ascending in (self.keys, self.contexts):
            if (ascending[1:] <= ascending[:-1]).any():
                raise ValueError("its keys are not in order")


class GazetteerCounts:
    """Counts how training units are labelled, a context at a time, in bounded memory."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}
        self._waiting: list[tuple[Sequence[str], NDArray[np.uint8], int]] = []
        self._units = 0
        self._contexts: list[U64] = []
        self._context_folds: list[NDArray[np.uint8]] = []
        self._keys = np.zeros(0, np.uint64)
        self._codes = np.zeros(0, np.uint32)  # part and tag
        self._counts = np.zeros(0, np.int64)

    def add(self, context: Context) -> None:
        """Count the units of a context whose gold is known."""
        if context.gold is None or not len(context):
            return
        self._waiting.append((context.words, self._tags(context.gold, len(context)), context.document % _FOLDS))
        self._units += len(context)
        if self._units >= _STEP:
            self._take_in()

    def _tags(self, gold: Sequence[UnitSpan], n: int) -> NDArray[np.uint8]:
        """Return a tag for each unit; where entities overlap, that of the longer."""
        tags = np.zeros(n, np.uint8)
        for span in sorted(gold, key=lambda span: span.stop - span.start):
            label = min(self._labels.setdefault(span.label, len(self._labels)), _MOST_TAGS // 2 - 1)
            for start, stop in span.segments:
                tags[start:stop] = 2 + 2 * label
            tags[span.start] = 1 + 2 * label
        return tags

    def _take_in(self) -> None:
        words = [word for each, _, _ in self._waiting for word in each]
        lengths = np.array([len(tags) for _, tags, _ in self._waiting], np.int64)
        folds = np.array([fold for _, _, fold in self._waiting], np.uint8)
        codes, sizes = code_points([clip(word).lower() for word in words])
        lowered = hash_runs(digits_to_zero(codes), sizes)
        self._contexts.append(_hashes_of_contexts(lowered, lengths))
        self._context_folds.append(folds)
        keys = _Neighbours(lowered, lengths).keys(0, len(words)).reshape(-1)
        tags = np.concatenate([tags for _, tags, _ in self._waiting])
        code = np.repeat(folds, lengths).astype(np.uint32) * np.uint32(_FOLDS) + tags
        self._merge(keys, np.tile(code, PATTERNS))
        self._waiting, self._units = [], 0

    def _merge(self, keys: U64, codes: NDArray[np.uint32]) -> None:
        keys, codes = np.concatenate([self._keys, keys]), np.concatenate([self._codes, codes])
        counts = np.concatenate([self._counts, np.ones(len(keys) - len(self._counts), np.int64)])
        order = np.lexsort((codes, keys))
        keys, codes = keys[order], codes[order]
        new = np.ones(len(keys), np.bool_)
        new[1:] = (keys[1:] != keys[:-1]) | (codes[1:] != codes[:-1])
        self._keys, self._codes = keys[new], codes[new]
        self._counts = np.add.reduceat(counts[order], np.flatnonzero(new))
        if len(self._keys) > 2 * _MOST:
            self._forget_rare()

    def _forget_rare(self) -> None:
        """Leave out the keys that were seen least, until few enough counts are left."""
        keys, number, sizes = np.unique(self._keys, return_inverse=True, return_counts=True)
        totals = np.bincount(number.reshape(-1), self._counts)
        order = np.lexsort((keys, -totals))
        kept = np.zeros(len(keys), np.bool_)
        kept[order[np.cumsum(sizes[order]) <= _MOST]] = True
        left = kept[number.reshape(-1)]
        self._keys, self._codes, self._counts = self._keys[left], self._codes[left], self._counts[left]

    def gazetteer(self) -> Gazetteer:
        """Return what was counted."""
        if self._waiting:
            self._take_in()
        if len(self._keys) > _MOST:
            self._forget_rare()
        keys, starts = np.unique(self._keys, return_index=True)
        contexts, first = np.unique(np.concatenate([np.zeros(0, np.uint64), *self._contexts]), return_index=True)
        folds = np.concatenate([np.zeros(0, np.uint8), *self._context_folds])
        fold, tag = np.divmod(self._codes, np.uint32(_FOLDS))
        return Gazetteer(
            keys,
            np.append(starts, len(self._keys)).astype(np.int64),
            fold.astype(np.uint8),
            tag.astype(np.uint8),
            self._counts.astype(np.uint32),
            contexts,
            folds[first],
            1 + 2 * min(len(self._labels), _MOST_TAGS // 2),
        )


class _Neighbours:
    """The words of units, each with those beside it in its context."""

    def __init__(self, lowered: U64, lengths: NDArray[np.int64]) -> None:
        edge = np.array([_EDGE])
        self._words = np.concatenate([edge, lowered, edge])
        stops = np.cumsum(lengths)[lengths > 0]
        self._first = np.zeros(len(lowered), np.bool_)
        self._last = np.zeros(len(lowered), np.bool_)
        self._first[stops - lengths[lengths > 0]] = self._last[stops - 1] = True

    def keys(self, start: int, stop: int) -> U64:
        """Return the key of each pattern for units ``start`` to ``stop``. Shape (3, stop - start)."""
        here = self._words[start + 1 : stop + 1]
        before = np.where(self._first[start:stop], _EDGE, self._words[start:stop])
        after = np.where(self._last[start:stop], _EDGE, self._words[start + 2 : stop + 2])
        return mix(np.stack([here, before * _TIMES + here, here * _TIMES + after]) ^ _SALT[:, None])


def _hashes_of_contexts(lowered: U64, lengths: NDArray[np.int64]) -> U64:
    """Return a hash of the words of each context, in order."""
    starts, place = runs_of(lengths)
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mix(lowered + place.astype(np.uint64)), dtype=np.uint64)])
    return mix(total[starts + lengths] - total[starts] + lengths.astype(np.uint64))
