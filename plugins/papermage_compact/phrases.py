"""Features of units of several words, such as rows and blocks: their first and last words, and a bag of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from papermage_compact.hashing import U64, buckets, code_points, hash_runs
from papermage_compact.words import (
    Pieces,
    Ragged,
    WordFeatures,
    affix,
    clip,
    digits_to_zero,
    kind,
    no_pieces,
    shapes,
    table_rows,
)

__all__ = ["phrase_features"]

_MOST = 64  # words of a unit that are looked at
_BAG = 1  # seed of the words in the table of n-grams, whose own seeds are their sizes


def phrase_features(
    phrases: Sequence[str], sizes: Mapping[str, int], ngram_rows: int, pieces: Pieces = no_pieces
) -> WordFeatures:
    """Return the features of units of several words, in the arrays of `word_features`.

    Instead of its identity a unit has those of its first two words and its last; instead of its shape, those of the
    first and last word, and how many words, capitals, digits and punctuation marks it has; instead of n-grams, its
    words.
    """
    clipped = [clip(phrase) for phrase in phrases]
    codes, lengths = code_points([phrase.lower() for phrase in clipped])
    codes = digits_to_zero(codes)
    split = [phrase.split()[:_MOST] or [""] for phrase in phrases]
    first, last = [clip(words[0]) for words in split], [clip(words[-1]) for words in split]
    second = [clip(words[1]) if len(words) > 1 else "" for words in split]
    parts = {
        "word": [_identity(words) for words in (first, second, last)],
        "prefix": [affix(codes, lengths, size, at_end=False) for size in (1, 2, 3, 4)],
        "suffix": [affix(codes, lengths, size, at_end=True) for size in (1, 2, 3, 4)],
        "shape": [
            shapes(first)[0],
            shapes(last)[1],
            hash_runs(*code_points([f"{kind(a)} {kind(b)}" for a, b in zip(first, second, strict=True)])),
            hash_runs(*code_points(list(map(_profile, split)))),
        ],
    }
    bag = buckets(_identity([clip(word) for word in chain.from_iterable(split)]), ngram_rows, _BAG)
    return WordFeatures(
        keys=hash_runs(*code_points(clipped)),
        lowered=hash_runs(codes, lengths),
        rows=table_rows(parts, sizes),
        depth=np.zeros(len(phrases), np.int8),
        ngrams=Ragged.of(bag.astype(np.uint32), np.fromiter(map(len, split), np.int64, len(split))),
        pieces=Ragged.of(*pieces(clipped)),
    )


def _identity(words: Sequence[str]) -> U64:
    codes, lengths = code_points([word.lower() for word in words])
    return hash_runs(digits_to_zero(codes), lengths)


def _profile(words: Sequence[str]) -> str:
    """Return how many words there are, and the shares of them that begin with a capital, a digit, or are marks.

    >>> _profile(["Smith", ",", "J", ".", "(", "2019", ")"])
    '5 2 1 3'
    """
    starts = [word[:1] for word in words]
    groups = (str.isupper, str.isdigit, lambda sign: not sign.isalnum())
    shares = [-(-4 * sum(map(holds, starts)) // len(starts)) for holds in groups]
    return " ".join(map(str, [min(len(words), 4) if len(words) < 5 else len(words).bit_length() + 2, *shares]))
