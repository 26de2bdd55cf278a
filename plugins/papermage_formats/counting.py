"""In what a file counts its offsets: told by the texts that it gives beside them.

JavaScript counts UTF-16 units, some programs count bytes, and where a text was read with its line ends changed,
``\\r\\n`` counts as one character. Offsets are taken so that most entities of a document have the text given for them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import numpy as np

from papermage_core.errors import DataError, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Counting", "Said", "Unlike", "counting_of"]

_log = logging.getLogger(__name__)
_ELLIPSIS = re.compile(r"\[?(?:\.\.\.|\u2026)\]?")
_Segments = Sequence[tuple[int, int]]


class Said(NamedTuple):
    """Where a file says that an entity is."""

    segments: _Segments
    """Half-open, in whatever the file counts."""
    text: str | None
    """The text that it gives; None where it gives none."""
    origin: int = 0
    """The character of the document from which offsets are counted."""


@attrs.frozen(eq=False)
class Counting:
    """How offsets become characters."""

    unit: str = "characters"
    before: NDArray[np.int64] | None = None
    """What is counted before each character, and last before the end; None for characters. Shape (characters + 1,)."""

    def places(self, said: Said) -> list[tuple[int, int]]:
        """Return the segments in characters of the document. Raises DataError for an offset within a character."""
        found = [(self._place(start, said.origin), self._place(stop, said.origin)) for start, stop in said.segments]
        for given, (start, stop) in zip(said.segments, found, strict=True):
            if start is None or stop is None:
                raise DataError(
                    f"{given[0]} to {given[1]} is no place in the text, of which {self.unit} are counted here",
                    value=list(given),
                    expected="offsets of characters of the text",
                )
        return found  # type: ignore[return-value]

    def _place(self, offset: int, origin: int) -> int | None:
        if self.before is None:
            return origin + offset
        if not origin and 0 <= offset < self.before[0]:  # the byte order mark, which belongs to no text
            return 0
        at = offset + int(self.before[origin]) if origin else offset
        place = int(np.searchsorted(self.before, at))
        return place if place < len(self.before) and self.before[place] == at else None

    def fits(self, said: Said, symbols: str) -> bool:
        """Whether there is the text that the file says."""
        places = [(self._place(start, said.origin), self._place(stop, said.origin)) for start, stop in said.segments]
        pieces = [symbols[max(start, 0) : stop] for start, stop in places if start is not None and stop is not None]
        return len(pieces) == len(places) and _alike(pieces, said.text or "")


def counting_of(symbols: str, said: Sequence[Said], *, marked: bool = False) -> Counting:
    """Return how the offsets of a document are counted: in characters, unless more texts stand at them otherwise.

    ``marked`` says that the file of the text begins with a byte order mark, which may be counted too.
    """
    known = [each for each in said if each.text and each.text.strip()]
    best, most = Counting(), 0
    for counting in _countings(symbols, marked) if known else ():
        fitting = sum(counting.fits(each, symbols) for each in known)
        if fitting > most:
            best, most = counting, fitting
        if most == len(known):
            break
    return best


def _countings(symbols: str, marked: bool) -> Iterator[Counting]:
    """Yield the ways to count that differ for this text, code points first."""
    yield Counting()
    if symbols.isascii() and not marked and "\r\n" not in symbols:
        return
    codes = np.frombuffer(symbols.encode("utf-32-le", "surrogatepass"), np.uint32)
    units = {
        "characters": np.ones(len(codes), np.int64),
        "UTF-16 units": 1 + (codes > 0xFFFF),
        "bytes": 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF),
    }
    halves = np.zeros(len(codes), bool)
    halves[:-1] = (codes[:-1] == ord("\r")) & (codes[1:] == ord("\n"))
    seen = {bytes(np.arange(len(codes) + 1))}
    for (unit, widths), joined, mark in product(units.items(), (False, True), (False, True)[: 1 + marked]):
        before = np.zeros(len(codes) + 1, np.int64)
        np.cumsum(np.where(halves & joined, 0, widths), out=before[1:])
        before += (3 if unit == "bytes" else 1) * mark
        if (key := bytes(before)) not in seen:
            seen.add(key)
            yield Counting(unit, before)


def _alike(pieces: Sequence[str], said: str) -> bool:
    """Whether segments have the text that a file gives; of several, it may say that something stands between them."""
    there = " ".join(pieces)
    if there == said:
        return True
    ones = (_plain(there), _plain(said))
    return ones[0] == ones[1] or (len(pieces) > 1 and _ELLIPSIS.sub("", ones[0]) == _ELLIPSIS.sub("", ones[1]))


def _plain(text: str) -> str:
    """Return a text without what files change of it: white space, mark, Label Studio's line ends, ``\\n``."""
    return "".join(text.removeprefix("\ufeff").replace("\\n", "\n").replace("\\r", "\r").split())


class Unlike:
    """Counts entities of a file that have another text there than at their offsets, which are what counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._first: tuple[Any, ...] = ()

    def look(self, symbols: str, said: Said, places: _Segments, name: str) -> None:
        """Look at an entity, and the segments where it is put."""
        there = [symbols[start:stop] for start, stop in places]
        if said.text and said.text.strip() and not _alike(there, said.text):
            self._count += 1
            self._first = self._first or (name, said.text, " ".join(there))

    def tell(self) -> None:
        """Warn once, if there were any."""
        if self._count:
            _log.warning(
                "%s: %s another text in the file than at the offsets, which are taken: %s is %.60r, and there is %.60r",
                *(self._path, counted(self._count, "entities", "have"), *self._first),
            )
