"""What becomes of that which plugins print and log.

A library leaves it alone: its caller's standard output and loggers are not its own. A command, whose standard output
may be read by a program, sets `keeping` to what catches what is printed while a plugin is loaded or checked, and
`showing` to what shows the messages that it logs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar

__all__ = ["Keeper", "keeping", "showing"]

Keeper = Callable[[], AbstractContextManager[Callable[[], str]]]
"""Makes a context in which nothing reaches the standard output, and which gives what returns the text kept from it."""


@contextlib.contextmanager
def _keep_nothing() -> Iterator[Callable[[], str]]:
    yield str


keeping: ContextVar[Keeper] = ContextVar("keeping", default=_keep_nothing)
"""How what plugins print is caught."""


def _leave(logger: str) -> None:
    pass


showing: ContextVar[Callable[[str], None]] = ContextVar("showing", default=_leave)
"""Called with the logger of each plugin that is loaded: the name of its package, or of the module of a file."""
