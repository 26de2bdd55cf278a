"""Features of a word by itself: hashed identity, affixes, shapes, kind, and character n-grams."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_compact.hashing import U64, buckets, code_points, hash_runs, hash_windows, mix, runs_of

__all__ = [
    "GROUPS",
    "NGRAM_SIZES",
    "Pieces",
    "Ragged",
    "WordFeatures",
    "affix",
    "clip",
    "digits_to_zero",
    "kind",
    "no_pieces",
    "shapes",
    "table_rows",
    "word_features",
]

GROUPS = {"word": 3, "prefix": 4, "suffix": 4, "shape": 4}
"""Group of features → how many of them a word has; each has rows of its own within the group's table."""

NGRAM_SIZES = (3, 4, 5)

_KEPT = 40  # characters at either end of a word that are looked at
_START, _END = "\x02", "\x03"
_DEPTH = {"(": 1, "[": 1, "{": 1, "⟨": 1, ")": -1, "]": -1, "}": -1, "⟩": -1}
_SPECIES = {"Lu": "X", "Lt": "X", "Ll": "x", "Lo": "l", "Lm": "l", "Nd": "d", "Nl": "r", "No": "d"}
_SPECIES |= {"Sm": "+", "Sc": "$"}  # any other character stands for itself


def clip(word: str) -> str:
    """Return the word, or both ends of one that is too long for its middle to say anything."""
    return word if len(word) <= 2 * _KEPT else f"{word[:_KEPT]}\x00{word[-_KEPT:]}"


@attrs.frozen(eq=False)
class Ragged:
    """Rows of unlike lengths, in one array."""

    values: NDArray[np.uint32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.uint32], lengths: NDArray[np.int64]) -> Ragged:
        """Return rows of these lengths that stand one after the other in ``values``."""
        return cls(values, runs_of(lengths)[0], lengths)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Return the rows asked for, one after the other in that order."""
        lengths = self.lengths[rows]
        starts, place = runs_of(lengths)
        return Ragged(self.values[np.repeat(self.starts[rows], lengths) + place], starts, lengths)


@attrs.frozen(eq=False)
class WordFeatures:
    """Features of n words."""

    keys: U64
    """A hash of the word as it is written, by which words are told apart. Shape (n,)."""
    lowered: U64
    """A hash of the word in lower case with digits as zeros. Shape (n,)."""
    rows: NDArray[np.uint16]
    """Rows in the tables of `GROUPS`, group by group. Shape (n, 15)."""
    depth: NDArray[np.int8]
    """1 for an opening bracket, -1 for a closing one, else 0. Shape (n,)."""
    ngrams: Ragged
    """Rows of the character n-grams of each word, in lower case."""
    pieces: Ragged
    """Rows in the table of given vectors; empty without one."""

    def take(self, rows: NDArray[np.int64]) -> WordFeatures:
        """Return the features of the words asked for, in that order."""
        return WordFeatures(
            keys=self.keys[rows],
            lowered=self.lowered[rows],
            rows=self.rows[rows],
            depth=self.depth[rows],
            ngrams=self.ngrams.take(rows),
            pieces=self.pieces.take(rows),
        )


Pieces = Callable[[Sequence[str]], tuple[NDArray[np.uint32], NDArray[np.int64]]]
"""Words → rows in a table of vectors, and how many of them each word has."""


def no_pieces(words: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return no rows for any word."""
    return np.zeros(0, np.uint32), np.zeros(len(words), np.int64)


def word_features(
    words: Sequence[str], sizes: Mapping[str, int], ngram_rows: int, pieces: Pieces = no_pieces
) -> WordFeatures:
    """Return the features of words; ``sizes`` are the rows of each group's table."""
    words = [clip(word) for word in words]
    exact = hash_runs(*code_points(words))
    lower = [word.lower() for word in words]
    codes, lengths = code_points(lower)
    codes = digits_to_zero(codes)
    normal = hash_runs(codes, lengths)
    parts = {
        "word": [normal, normal, exact],
        "prefix": [affix(codes, lengths, size, at_end=False) for size in (1, 2, 3, 4)],
        "suffix": [affix(codes, lengths, size, at_end=True) for size in (1, 2, 3, 4)],
        "shape": shapes(words),
    }
    return WordFeatures(
        keys=exact,
        lowered=normal,
        rows=table_rows(parts, sizes),
        depth=np.fromiter((_DEPTH.get(word, 0) for word in words), np.int8, len(words)),
        ngrams=_ngrams(lower, ngram_rows),
        pieces=Ragged.of(*pieces(words)),
    )


def table_rows(parts: Mapping[str, Sequence[U64]], sizes: Mapping[str, int]) -> NDArray[np.uint16]:
    """Return the rows of hashes in the tables of their groups, group by group. Shape (n, hashes)."""
    rows = [
        buckets(hashes, share, seed) + share * place
        for group, hashes_of in parts.items()
        for share in [sizes[group] // len(hashes_of)]
        for place, (hashes, seed) in enumerate(zip(hashes_of, range(1, len(hashes_of) + 1), strict=True))
    ]
    return np.stack(rows, 1).astype(np.uint16)


def affix(codes: NDArray[np.uint32], lengths: NDArray[np.int64], size: int, *, at_end: bool) -> U64:
    """Return hashes of the first or last ``size`` code points of each word; a shorter word is all affix."""
    kept = np.minimum(lengths, size)
    starts, _ = runs_of(lengths)
    first = starts + lengths - kept if at_end else starts
    _, place = runs_of(kept)
    return hash_runs(codes[np.repeat(first, kept) + place], kept)


def _ngrams(lower: Sequence[str], rows: int) -> Ragged:
    codes, lengths = code_points([f"{_START}{word}{_END}" for word in lower])
    _, place = runs_of(lengths)
    left = np.repeat(lengths, lengths) - place  # code points from here to the end of the word
    owner = np.repeat(np.arange(len(lengths)), lengths)
    values, owners = [], []
    for size in NGRAM_SIZES:
        fits = left[: max(len(codes) - size + 1, 0)] >= size
        values.append(buckets(hash_windows(codes, size)[fits], rows, size))
        owners.append(owner[: len(fits)][fits])
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=len(lengths)).astype(np.int64)
    return Ragged.of(np.concatenate(values)[order].astype(np.uint32), counts)


def shapes(words: Sequence[str]) -> list[U64]:
    """Return hashes of the long shape, the short shape, the kind, and the length with the case.

    ``Ca2+-ATPases`` is ``Xxd+-XXXXxx`` with runs cut to four, and ``Xxd+-Xx`` with runs cut to one.
    """
    codes, lengths = code_points(words)
    species = _SPECIES_OF(codes)
    _, place = runs_of(lengths)
    long = _drop_repeats(species, lengths, place, 4)
    short = _drop_repeats(species, lengths, place, 1)
    kinds = hash_runs(*code_points([kind(word) for word in words]))
    case = hash_runs(*long)
    size = np.minimum(lengths, 12).astype(np.uint64)
    return [case, hash_runs(*short), kinds, mix(hash_runs(*short) ^ mix(size))]


def _drop_repeats(
    species: NDArray[np.uint32], lengths: NDArray[np.int64], place: NDArray[np.int64], most: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the runs with at most ``most`` equal elements in a row."""
    same = np.ones(len(species), bool)
    for back in range(1, most + 1):
        shifted = np.zeros(len(species), np.uint32)
        shifted[back:] = species[:-back]
        same &= (shifted == species) & (place >= back)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return species[~same], np.bincount(owner[~same], minlength=len(lengths)).astype(np.int64)


def kind(word: str) -> str:
    """Return the name of a kind of token that a shape does not show: a year, a page range, a roman numeral …

    >>> kind("1998"), kind("XIV"), kind("pp"), kind("A")
    ('year', 'roman', 'x2', 'X1')
    """
    if not word:
        return "empty"
    if word.isdigit():
        if len(word) == 4 and word[:2] in ("15", "16", "17", "18", "19", "20"):
            return "year"
        return f"d{min(len(word), 6)}"
    if word.isalpha():
        if word.isupper() and len(word) > 1 and not set(word) - set("IVXLCDM"):
            return "roman"
        case = "X" if word.isupper() else "x" if word.islower() else "Xx" if word.istitle() else "xX"
        return f"{case}{min(len(word), 3)}"
    if not any(map(str.isalnum, word)):
        return f"p{word[0]}" if len(set(word)) == 1 else "pp"
    return "".join(
        sign
        for sign, holds in (
            ("d", any(map(str.isdigit, word))),
            ("X", any(map(str.isupper, word))),
            ("x", any(map(str.islower, word))),
            ("-", "-" in word),
            (".", "." in word),
            ("/", "/" in word),
            ("@", "@" in word or "://" in word),
        )
        if holds
    )


class _MapCodes:
    """A function of a code point, applied to arrays of them; each code point is worked out once."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self._of = lru_cache(maxsize=None)(lambda code: ord(function(chr(code))))

    def __call__(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        known, back = np.unique(codes, return_inverse=True)
        mapped: Iterable[int] = map(self._of, known.tolist())
        return np.fromiter(mapped, np.uint32, len(known))[back.reshape(-1)]


def _species(char: str) -> str:
    return _SPECIES.get(unicodedata.category(char), char)


_SPECIES_OF = _MapCodes(_species)
digits_to_zero = _MapCodes(lambda char: "0" if char.isdigit() else char)
