"""Source code as a tree, for tests that read ours."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

__all__ = ["parsed"]


def parsed(path: Path) -> ast.Module:
    """Return the tree of a file of Python.

    Python 3.11 up to 3.11.7 counts the depth of all trees in one place (https://github.com/python/cpython/issues/106905).
    Garbage that was collected meanwhile, with a finalizer that fails, has its traceback formatted by pytest, which
    parses the line: ``SystemError: AST constructor recursion depth mismatch``.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_bytes())
    finally:
        if was_enabled:
            gc.enable()
