"""Loops compiled by numba, where the extra ``fast`` is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["compiled"]


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return a function of numpy arrays compiled; None where numba is missing, or told not to compile.

    The function is one that ``numba.njit`` takes; it holds no lock of Python's while it runs, and divides by zero as
    numpy does, so that loops work on several values at once. What numba makes of it is kept beside its file, or in the
    user's cache folder: it compiles once an installation. Have a way without:

        loop = compiled(_loop)
        if loop is not None:
            loop(values, sums)
        else:
            np.cumsum(values, out=sums)
    """
    try:
        import numba
    except ImportError:
        return None
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined,unused-ignore]  # made when numba is imported
        return None
    made: Any
    try:
        made = numba.njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # no folder that can be written to
        made = numba.njit(function, nogil=True, error_model="numpy")
    return made  # type: ignore[no-any-return]
