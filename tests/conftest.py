"""Fixtures of all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora that ``PAPERMAGE_CORPORA`` names."""
    folder = os.environ.get("PAPERMAGE_CORPORA")
    if not folder:
        pytest.skip("set PAPERMAGE_CORPORA to the folder of real corpora to run this test")
    return Path(folder)
