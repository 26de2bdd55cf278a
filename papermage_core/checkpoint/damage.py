"""What may go wrong with what a folder holds, told as a CheckpointError."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from papermage_core.errors import CheckpointError, PluginError

__all__ = ["damage", "finite", "located_in"]


@contextmanager
def damage(path: Path, what: str = "is damaged", advice: str = "") -> Iterator[None]:
    """Turn all that may go wrong with what a folder holds into a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except BaseException as error:
        if isinstance(error, PluginError):
            if not error.is_of_built_in or error.__cause__ is None:
                raise
            error = error.__cause__  # a built-in component can do no better with what is damaged
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of libraries in Rust
            raise
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        if not isinstance(error, (OSError, ValueError)):
            reason = f"{type(error).__name__}: {reason}"
        what = "cannot be read" if isinstance(error, OSError) and not advice else what
        reason = " ".join(reason.split())[:500]
        advice = advice.removeprefix(".") if reason.endswith((".", "?")) else advice
        raise CheckpointError(f"{path} {what}: {reason}{advice}") from error


@contextmanager
def located_in(path: Path) -> Iterator[None]:
    """Name the file or folder in what is said of a value that cannot be one of it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def finite(text: str) -> float:
    """Return the number that a JSON text says. Raises ValueError for infinity and NaN."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"expected finite numbers, got {text[:20]}")
    return value
