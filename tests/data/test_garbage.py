from __future__ import annotations

import gc

import pytest

from papermage_core.data.garbage import collection_disabled


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
