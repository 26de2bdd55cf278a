"""How both encoders cut long contexts into windows."""

from __future__ import annotations

__all__ = ["cut"]


def cut(units: int, longest: int, stride: int) -> list[tuple[int, int]]:
    """Return windows of at most ``longest`` units, half-open, each beginning ``stride`` units before the last one ends.

    >>> cut(5, 3, 1)
    [(0, 3), (2, 5)]
    """
    windows: list[tuple[int, int]] = []
    start = stop = 0
    while stop < units:
        start = max(start + 1, stop - stride) if windows else 0
        stop = min(units, start + longest)
        windows.append((start, stop))
    return windows
