"""The long layers of a document's JSON, found without parsing it.

What looks like a long list of objects is cut out, and a mark is put in its place. If the rest is then JSON in which
each mark stands where a layer stands, and what was cut out is a JSON list, the whole is JSON, and the lists are its
layers: a JSON reader that comes to the mark's place finds a value there, whatever that value is.
"""

from __future__ import annotations

import attrs
import numpy as np

__all__ = ["Cuts", "cut_layers"]

_LONG = 1 << 12
_BLOCK = 1 << 17
_MANY = 256


@attrs.frozen
class Cuts:
    """A document's JSON without its long layers."""

    rest: bytes
    """The JSON, with the mark of each cut in its place."""
    places: dict[bytes, tuple[int, int]]
    """Where each list began and ended, by mark."""


def cut_layers(data: bytes) -> Cuts | None:
    """Return a document's JSON without what look like its long layers; None if there is none, or if it looks odd.

    >>> cut_layers(b'{"entities": {"tokens": [{"spans": [[0, 5]]}]}}') is None
    True
    """
    ends = _ends(data)
    if len(ends) > _MANY:
        return None
    parts, lists, kept, looked = [], [], 0, 0
    for end in ends:
        start = data.find(b'[{"', looked, end)
        looked = end
        if start >= 0 and end - start >= _LONG:
            parts.append(data[kept:start])
            lists.append((start, end))
            kept = end
    parts.append(data[kept:])
    mark = b"[%d." % len(data)  # with a decimal, a number that stands in no document by chance, and is looked for
    if not lists or any(mark in part for part in parts):
        return None
    marks = [b"%b%d]" % (mark, i) for i in range(1, len(parts))]
    rest = b"".join(piece for pair in zip(parts, [*marks, b""], strict=True) for piece in pair)
    return Cuts(rest, dict(zip(marks, lists, strict=True)))


def _ends(data: bytes) -> list[int]:
    """Return where a brace and a bracket close next to each other, after the bracket."""
    found = []
    values = np.frombuffer(data, np.uint8)
    for at in range(0, len(values), _BLOCK):
        block = values[at : at + _BLOCK + 1]
        closes = np.flatnonzero((block[1:] == ord("]")) & (block[:-1] == ord("}")))
        found += (closes + (at + 2)).tolist()
        if len(found) > _MANY:
            break
    return found
