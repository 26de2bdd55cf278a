"""What processes send each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from papermage_core.data.blocks import Block
from papermage_core.data.parallel import forked, sendable
from papermage_core.errors import DataError, PapermageError
from papermage_core.prediction.workers import _outcome


class TwoPartsError(Exception):
    """Pickles, and cannot be made anew from its message."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
def test_an_error_that_cannot_be_made_anew_keeps_its_name_and_message(tmp_path: Path) -> None:
    def work(number: int) -> None:
        raise TwoPartsError("no glyph", f"page {number}")

    with pytest.raises(PapermageError, match="TwoPartsError: no glyph in page 0"):
        forked(1, work)

    class Worker:
        def run(self, *given: Any) -> None:
            work(1)

    error = _outcome(cast("Any", Worker()), Block(0, 0, (), 0.0), tmp_path / "a").error
    assert str(error).startswith("TwoPartsError: no glyph in page 1")


def test_other_errors_are_sent_as_they_are() -> None:
    for error in (DataError("x", line=3), KeyError("a"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "y")):
        assert sendable(error) is error
    unpickled = ValueError(lambda: None)
    assert str(sendable(unpickled)).startswith("ValueError: <function")
