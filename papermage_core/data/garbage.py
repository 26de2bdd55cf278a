"""Python's garbage collection, disabled for a while, and memory that nobody uses, given back."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

__all__ = ["FreeMemory", "collecting", "collection_disabled", "release_free_memory"]

T = TypeVar("T")
_BETWEEN_COLLECTIONS = 4_000_000
"""What `collecting` lets pass, in what it weighs in."""
_UNITS_BETWEEN_RELEASES = 50_000


@contextmanager
def collection_disabled() -> Iterator[None]:
    """Disable garbage collection: it would look through all objects again and again while many are made and kept."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def collecting(items: Iterable[T], weigh: Callable[[T], int]) -> Iterator[T]:
    """Yield the items, and collect garbage whenever they weigh enough, where collection is not disabled.

    A document and its layers refer to each other, and are few objects with much memory: by itself, Python, which
    counts objects, would hold thousands of them that nobody needs any more.
    """
    weight = 0
    for item in items:
        weight += weigh(item)
        yield item
        if weight > _BETWEEN_COLLECTIONS and gc.isenabled():
            del item
            gc.collect()
            weight = 0


def release_free_memory() -> None:
    """Give free memory back to the system where the C library is glibc, which else keeps it; changes nothing else.

    Tensors of many sizes leave gaps between what is in use, so a long evaluation would hold ever more of it. A call
    takes some milliseconds; see malloc_trim(3).
    """
    _malloc_trim()(0)


class FreeMemory:
    """Is given back whenever enough units went through a model: after a few batches of pages, or many of sentences."""

    def __init__(self) -> None:
        self._units = 0

    def after(self, units: int) -> None:
        """Count the units of a batch, its padding with them."""
        self._units += units
        if self._units > _UNITS_BETWEEN_RELEASES:
            release_free_memory()
            self._units = 0


@cache
def _malloc_trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return lambda pad: None
