"""Warnings that are given once, however many processes prepare the data."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable
from typing import Any

__all__ = ["WarnOnce"]


class WarnOnce:
    """Logs a warning the first time it is called, here or in a process forked from this one."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._done = mmap.mmap(-1, 1)  # anonymous memory is shared with forked processes

    def __call__(self, message: str, *values: object) -> None:
        """Log ``message % values``, unless something was logged before."""
        if not self.done:
            self._done[0] = 1
            self._logger.warning(message, *values)

    @property
    def done(self) -> bool:
        """Whether the warning was given."""
        return self._done[0] != 0

    def __reduce__(self) -> tuple[Callable[..., WarnOnce], tuple[Any, ...]]:
        return WarnOnce, (self._logger,)
