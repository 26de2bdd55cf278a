"""Text → where its tokens begin and end: whole texts at a time, as arrays of code points."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STYLES", "Style", "bounds", "token_spans"]

Style = Literal["words", "punctuation", "grobid"]
STYLES: tuple[Style, ...] = ("words", "punctuation", "grobid")

_SPACE, _LETTER, _DIGIT, _MARK, _SINGLE, _DOT, _COMMA, _HYPHEN, _APOSTROPHE, _UNKNOWN = range(10)
"""Kinds of character: `_MARK` goes with the one before it, `_SINGLE` and those after it are tokens of their own."""

_JOINING = {".": _DOT, ",": _COMMA, "-": _HYPHEN, "\u2010": _HYPHEN, "\u2011": _HYPHEN}
_JOINING |= {"'": _APOSTROPHE, "\u2019": _APOSTROPHE}
_GROBID = frozenset("(（[ •*,:;?.!/)）-−–‐«»„\"“”‘’'`$#@]♦♥♣♠。、，・")
"""The delimiters of GROBID's ``TextUtilities``, white space aside."""
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK = _BIDI | frozenset("\u200b\ufeff\ufff9\ufffa\ufffb")
"""What is not seen, and is no white space to Python."""


def token_spans(text: str, style: Style) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the tokens of a text begin, and where they end. Shapes (tokens,).

    ``punctuation``: letters, digits and their marks make a token, every other character is one of its own; so is each
    Chinese one. ``words``: the same, but a hyphen, an apostrophe or a decimal point in the middle of a word does not
    cut it. ``grobid``: as GROBID cuts, at white space and at its delimiters, which are tokens.

    >>> def cut(text, style):
    ...     return [text[a:b] for a, b in zip(*token_spans(text, style))]
    >>> cut("IL-2 (3.5%) isn't", "punctuation")
    ['IL', '-', '2', '(', '3', '.', '5', '%', ')', 'isn', "'", 't']
    >>> cut("IL-2 (3.5%) isn't", "words")
    ['IL-2', '(', '3.5', '%', ')', "isn't"]
    >>> cut("IL-2 (3.5%) isn't", "grobid")
    ['IL', '-', '2', '(', '3', '.', '5%', ')', 'isn', "'", 't']
    """
    return bounds(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32), style)


def bounds(codes: NDArray[np.uint32], style: Style) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what `token_spans` returns, for a text given by its code points."""
    kinds = _kinds(style)(codes)
    n = len(kinds)
    before = np.zeros(n, np.uint8)
    marks = kinds == _MARK
    if marks.any():
        kinds = kinds[np.maximum.accumulate(np.where(marks, 0, np.arange(n)))]  # a mark is what it stands on
        bare = marks & ((kinds == _SPACE) | (kinds == _MARK))
        kinds[bare] = _SINGLE  # or it stands on nothing, and is a token with the marks after it
        marks[1:] &= ~bare[1:] | bare[:-1]
        marks[0] = False
    if style == "words":
        kinds = _joined(kinds)
    kinds = np.minimum(kinds, _SINGLE)
    kinds[kinds == _DIGIT] = _LETTER
    before[1:] = kinds[:-1]
    first = (kinds != before) | (kinds == _SINGLE)
    first &= (kinds != _SPACE) & ~marks
    last = kinds != _SPACE
    last[:-1] &= first[1:] | (kinds[1:] == _SPACE)
    return np.flatnonzero(first), np.flatnonzero(last) + 1


def _joined(kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the kinds with what stands in the middle of a word as part of it."""
    padded = np.zeros(len(kinds) + 4, np.uint8)
    padded[3:-1] = kinds
    at = np.flatnonzero(padded >= _DOT)
    before, here = padded[at - 1], padded[at]
    joins = _IN_WORDS[before, here, padded[at + 1]] | _LAST_POINTS[padded[at - 3], padded[at - 2], before, here]
    padded[at[joins]] = _LETTER
    return padded[3:-1]


def _in_words() -> NDArray[np.bool_]:
    """Return whether a sign of a kind joins the kinds before and after it to one word. Shape (10, 10, 10)."""
    joins = np.zeros((10, 10, 10), bool)
    both = [_LETTER, _DIGIT]
    joins[np.ix_(both, [_HYPHEN], both)] = True
    joins[_LETTER, [_APOSTROPHE, _DOT], _LETTER] = True
    joins[_DIGIT, [_DOT, _COMMA], _DIGIT] = True
    return joins


_IN_WORDS = _in_words()
_LAST_POINTS = np.zeros((10, 10, 10, 10), bool)
_LAST_POINTS[_LETTER, _DOT, _LETTER, _DOT] = True
"""Whether four kinds in a row end in the last point of "e.g." or "U.S."."""


@cache
def _kinds(style: Style) -> Callable[[NDArray[np.uint32]], NDArray[np.uint8]]:
    """Return what gives the kinds of code points. The table of all is filled as characters are met."""
    table = np.full(0x110000, _UNKNOWN, np.uint8)
    kind_of = _kind_of_grobid if style == "grobid" else _kind_of
    table[:0x250] = [kind_of(chr(code)) for code in range(0x250)]

    def kinds(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = table[codes]
        if (found == _UNKNOWN).any():
            for code in np.unique(codes[found == _UNKNOWN]).tolist():
                table[code] = kind_of(chr(code))
            found = table[codes]
        return found

    return kinds


def _kind_of(char: str) -> int:
    category = unicodedata.category(char)
    if char.isspace() or category == "Cc" or char in _BLANK:
        return _SPACE
    if category in ("Mn", "Me", "Mc", "Cf") or "\U0001f3fb" <= char <= "\U0001f3ff":
        return _MARK
    if char in _JOINING:
        return _JOINING[char]
    if char.isdecimal():
        return _DIGIT
    ideograph = "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\U00020000" <= char <= "\U0003ffff"
    return _LETTER if (char.isalnum() and not ideograph) or char == "_" else _SINGLE


def _kind_of_grobid(char: str) -> int:
    kind = _kind_of(char)
    if kind in (_SPACE, _MARK):
        return kind
    return _SINGLE if char in _GROBID else _LETTER
