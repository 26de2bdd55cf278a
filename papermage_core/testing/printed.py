"""What reaches the standard output, by Python's stream or past it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

__all__ = ["printed"]


@contextlib.contextmanager
def printed() -> Iterator[Callable[[], str]]:
    """Keep off the standard output what is printed; what is given returns it, once the block is left."""
    kept = io.TextIOWrapper(io.BytesIO(), "utf-8", "replace", write_through=True)
    written = bytearray()
    if sys.stdout is not None:
        sys.stdout.flush()
    with tempfile.TemporaryFile() as file, contextlib.redirect_stdout(kept):
        try:
            stdout = os.dup(1)
        except OSError:  # closed by who started us
            stdout = -1
        else:
            os.dup2(file.fileno(), 1)
        try:
            yield lambda: (kept.buffer.getvalue() + written).decode("utf-8", "replace")
        finally:
            if stdout >= 0:
                os.dup2(stdout, 1)
                os.close(stdout)
                file.seek(0)
                written += file.read()
