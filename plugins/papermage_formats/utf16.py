"""Offsets in UTF-16 units, in which Java and JavaScript count."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["utf16_places"]


def utf16_places(symbols: str) -> Any:
    """Return the character at each UTF-16 unit and at the end, -1 within one of two units. Shape (units + 1,), int64.

    >>> utf16_places("a\\U0001f600b").tolist()
    [0, 1, -1, 2, 3]
    """
    if symbols.isascii():
        return np.arange(len(symbols) + 1)
    codes = np.frombuffer(symbols.encode("utf-32-le", "surrogatepass"), np.uint32)
    before = np.concatenate(([0], np.cumsum(1 + (codes > 0xFFFF))))
    place = np.full(int(before[-1]) + 1, -1, np.int64)
    place[before] = np.arange(len(before))
    return place
