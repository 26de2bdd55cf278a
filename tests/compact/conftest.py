"""Vectors made up here; no download."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def vectors_file(tmp_path_factory):
    """A GloVe-like file: forty words, six numbers each."""
    random = np.random.default_rng(1)
    words = ["carbon", "protein", "Protein", "12", "(", "o", "di", "gen", "-", *(f"word{i}" for i in range(31))]
    lines = [" ".join([word, *(f"{x:.4f}" for x in random.normal(size=6))]) for word in words]
    path = tmp_path_factory.mktemp("vectors") / "glove.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
