"""What faulty components change of the process that tests them is put back."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _process_is_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a component with a fault does to the process while it is loaded or called here."""
    root = logging.getLogger()
    level, handlers, limit = root.level, list(root.handlers), sys.getrecursionlimit()
    monkeypatch.setattr(np, "asarray", np.asarray)
    with mock.patch.dict(os.environ):
        yield
    sys.setrecursionlimit(limit)
    root.setLevel(level)
    root.handlers[:] = handlers
