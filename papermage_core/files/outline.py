"""How JSON begins: its keys, without what is long between them."""

from __future__ import annotations

import re

__all__ = ["json_outline"]

_SIGN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)|[\[\]{},]', re.DOTALL)
_TEXT, _ITEMS = 64, 3
"""Bytes of a text, and items of a list, that are kept."""


def json_outline(data: bytes, size: int) -> bytes:
    """Return the first ``size`` bytes of JSON whose texts are cut short, and of whose lists the first items are kept.

    >>> json_outline(b'{"text": "%b", "label": [0, 1, 2, 3, 4], "id": 1}' % (b"word " * 99), 200)
    b'{"text": "word word word word word word word word word word word word word", "label": [0, 1, 2], "id": 1}'
    """
    found = bytearray()
    depth = passing = 0
    items = [0]
    at = 0
    for sign in _SIGN.finditer(data):
        first = data[sign.start()]
        if not passing:
            found += data[at : sign.start()]
        at = sign.end()
        if first in b"[{":
            depth += 1
            items.append(1 if first == ord("[") else 0)
        elif first in b"]}":
            if depth:
                depth -= 1
                items.pop()
            passing = passing if depth >= passing else 0
        elif first == ord(",") and not passing and items[-1]:
            items[-1] += 1
            passing = depth if items[-1] > _ITEMS else 0
        if not passing:
            found += _shortened(sign[0])
            if len(found) >= size:
                break
    return bytes(found[:size])


def _shortened(text: bytes) -> bytes:
    """Return a text, or a sign, with no more than its beginning; not cut within an escape."""
    if len(text) <= _TEXT + 2:
        return text
    kept = text[: _TEXT + 1]
    escape = kept.rfind(b"\\", _TEXT - 5)
    return (kept if escape < 0 else kept[:escape].rstrip(b"\\")) + b'"'
