"""A long JSON list in pieces, so that what is decoded of a piece is used and freed while the cache holds it.

The list is not parsed for this. Its first element opens with a brace and a quoted key, such as ``{"spans"``. In JSON
this cannot stand in a string, where the quote would be escaped; so wherever it follows a comma, an object begins. That
object may lie deeper in the list; then both pieces are no JSON, which their decoder tells.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["pieces_of"]

_PIECE = 1 << 18
_BLANKS = b" \t\r\n"


def pieces_of(data: bytes, start: int, stop: int) -> Iterator[bytes]:
    """Yield JSON lists that together hold the elements of the list ``data[start:stop]``, if they all are JSON.

    >>> list(pieces_of(b'[{"a": 1}, {"a": 2}]', 0, 20))
    [b'[{"a": 1}, {"a": 2}]']
    """
    opening = _opening(data[start : start + 128])
    if stop - start < 2 * _PIECE or not opening:
        yield data[start:stop]
        return
    view = memoryview(data)
    start += 1
    while (at := data.find(opening, start + _PIECE, stop)) > 0:
        before = data[max(start, at - 64) : at].rstrip(_BLANKS)
        if not before.endswith(b","):
            break
        comma = at - 1 if before == data[at - len(before) : at] else data.rindex(b",", start, at)
        yield b"".join((b"[", view[start:comma], b"]"))
        start = at
    yield b"".join((b"[", view[start:stop]))


def _opening(head: bytes) -> bytes:
    """Return the brace and the key that the first element begins with, nothing if it is no object."""
    head = head[1:].lstrip(_BLANKS)
    end = head.find(b'"', 2)
    return head[: end + 1] if head.startswith(b'{"') and end > 0 else b""
