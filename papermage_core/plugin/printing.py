"""What becomes of that which plugins print while they are loaded or checked.

A library leaves it alone: its caller's standard output is not its own. A command, whose standard output may be read by
a program, sets `keeping` to what catches it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar

__all__ = ["Keeper", "keeping"]

Keeper = Callable[[], AbstractContextManager[Callable[[], str]]]
"""Makes a context in which nothing reaches the standard output, and which gives what returns the text kept from it."""


@contextlib.contextmanager
def _keep_nothing() -> Iterator[Callable[[], str]]:
    yield str


keeping: ContextVar[Keeper] = ContextVar("keeping", default=_keep_nothing)
"""How what plugins print is caught."""
