"""Loops compiled by numba, where it is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from papermage_core.compiling import compiled


def running_sum(values, sums):
    total = 0.0
    for i in range(len(values)):
        total += values[i]
        sums[i] = total


@pytest.fixture(autouse=True)
def _forget():
    compiled.cache_clear()
    yield
    compiled.cache_clear()


def test_a_compiled_loop_does_what_python_does() -> None:
    pytest.importorskip("numba", reason="compiling needs the extra `fast`")
    values, sums = np.arange(5.0), np.zeros(5)
    loop = compiled(running_sum)
    assert loop is not None
    loop(values, sums)
    assert sums.tolist() == values.cumsum().tolist()
    assert compiled(running_sum) is loop


def test_without_numba_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert compiled(running_sum) is None


def test_numba_may_be_told_not_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert compiled(running_sum) is None


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same() -> None:
    """Code that has no file has no folder beside it either."""
    pytest.importorskip("numba")
    names: dict[str, object] = {}
    exec("def double(values):\n    for i in range(len(values)):\n        values[i] *= 2", names)
    loop, values = compiled(names["double"]), np.ones(3)
    assert loop is not None
    loop(values)
    assert values.tolist() == [2, 2, 2]
