"""Filters of warnings that packages set as they are imported: who imports them cannot help it."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from unittest.mock import patch

__all__ = ["filters_of_imports"]


@contextlib.contextmanager
def filters_of_imports(own: str) -> Iterator[list[str]]:
    """Yield the filters, as text, that modules not ``own`` add while they are imported; scipy and sympy do."""
    found: list[str] = []

    def watched(add: Callable[..., None]) -> Callable[..., None]:
        def added(*arguments: Any, **more: Any) -> None:
            before = list(warnings.filters)
            add(*arguments, **more)
            if _is_import_of_others(own):
                found.extend(str(new) for new in warnings.filters if new not in before)

        return added

    with (
        patch.object(warnings, "filterwarnings", watched(warnings.filterwarnings)),
        patch.object(warnings, "simplefilter", watched(warnings.simplefilter)),
    ):
        yield found


def _is_import_of_others(own: str) -> bool:
    """Whether a module that is not ``own`` is being imported, by whom ever, and has called nothing own."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and not (own and frame.f_code.co_filename.startswith(own)):
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
