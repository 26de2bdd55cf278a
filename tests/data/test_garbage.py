from __future__ import annotations

import gc
import weakref

import pytest

from papermage_core.data import garbage
from papermage_core.data.garbage import FreeMemory, collecting, collection_disabled, release_free_memory


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_left_as_it_was(on: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        with collection_disabled():
            assert not gc.isenabled()
        assert gc.isenabled() is on
        with pytest.raises(ZeroDivisionError), collection_disabled():
            1 / 0  # noqa: B018
        assert gc.isenabled() is on
    finally:
        (gc.enable if was else gc.disable)()


class Cycle:
    def __init__(self) -> None:
        self.me = self


def test_cycles_that_weigh_much_go_however_few_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_BETWEEN_COLLECTIONS", 30)
    alive: list[weakref.ref[Cycle]] = []
    most = 0
    for item in collecting((Cycle() for _ in range(16)), lambda item: 10):
        alive.append(weakref.ref(item))
        most = max(most, sum(ref() is not None for ref in alive))

    assert most <= 5


def test_where_collection_is_disabled_nothing_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_BETWEEN_COLLECTIONS", 1)
    with collection_disabled():
        alive = [weakref.ref(item) for item in collecting((Cycle() for _ in range(20)), lambda item: 10)]
        assert all(ref() is not None for ref in alive)


def test_free_memory_is_released_without_a_word() -> None:
    release_free_memory()
    release_free_memory()


def test_free_memory_is_released_after_enough_units(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    released: list[int] = []
    monkeypatch.setattr(garbage, "_UNITS_BETWEEN_RELEASES", 100)
    monkeypatch.setattr(garbage, "release_free_memory", lambda: released.append(len(batches)))
    free_memory = FreeMemory()
    for units in [30] * 10:
        batches.append(units)
        free_memory.after(units)
    assert released == [4, 8]
