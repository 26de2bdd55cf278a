"""What the kit sees of a process, whoever else looks after its garbage."""

from __future__ import annotations

import gc

import pytest

from papermage_core.testing import process_state
from papermage_core.testing.process_state import all_objects, new_objects_only


def held(wanted: object) -> bool:
    return any(each is wanted for each in gc.get_objects())


def test_new_objects_are_told_from_those_that_were_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_state, "_frozen", False)
    before = [object()]
    with all_objects(), new_objects_only():
        after = [object()]
        assert (held(before), held(after)) == (False, True)


def test_all_objects_are_seen_where_some_are_frozen_and_those_are_frozen_again() -> None:
    known = [object()]
    with all_objects():
        assert held(known)
        gc.freeze()
        assert not held(known)
        with all_objects():
            assert held(known)
        assert not held(known)
        gc.unfreeze()
        with all_objects():
            assert held(known)
        assert held(known)
