"""Python's garbage collection, disabled for a while."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collection_disabled"]


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
