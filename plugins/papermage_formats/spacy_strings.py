"""The numbers that stand for strings in spaCy's files."""

from __future__ import annotations

from collections.abc import Iterable

from papermage_formats.spacy_symbols import SYMBOLS

__all__ = ["Strings", "hash_string"]

_KNOWN = {symbol: number for number, symbol in enumerate(SYMBOLS)}
_ALL = (1 << 64) - 1
_FACTOR = 0xC6A4A7935BD1E995


class Strings:
    """Strings ↔ numbers; those that were asked for are kept, to be written beside the numbers."""

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        self._strings = dict(enumerate(SYMBOLS))
        for string in strings:
            self._strings[self.number(string)] = string

    def number(self, string: str) -> int:
        """Return the number of a string."""
        found = self._numbers.get(string)
        if found is None:
            found = self._numbers[string] = hash_string(string)
        return found

    def string(self, number: int) -> str | None:
        """Return the string of a number, None for one that is not known."""
        return self._strings.get(number)

    def all(self) -> list[str]:
        """Return the strings that have a number, sorted."""
        return sorted(self._numbers)


def hash_string(string: str) -> int:
    """Return the number of a string: that of spaCy's table, else MurmurHash64A of its UTF-8 with seed 1.

    >>> hash_string("ORG"), hash_string("coffee")
    (383, 3197928453018144401)
    """
    if string in _KNOWN:
        return _KNOWN[string]
    data = string.encode("utf-8", "surrogatepass")
    size = len(data)
    value = (1 ^ (size * _FACTOR)) & _ALL
    whole = size & ~7
    for at in range(0, whole, 8):
        part = (int.from_bytes(data[at : at + 8], "little") * _FACTOR) & _ALL
        value = ((value ^ (((part ^ (part >> 47)) * _FACTOR) & _ALL)) * _FACTOR) & _ALL
    if size > whole:
        value = ((value ^ int.from_bytes(data[whole:], "little")) * _FACTOR) & _ALL
    value = ((value ^ (value >> 47)) * _FACTOR) & _ALL
    return value ^ (value >> 47)
