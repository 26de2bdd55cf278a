"""What is added to the error of a document that could be passed over."""

from papermage_core.cli._options import skippable
from papermage_core.errors import DataError


def test_what_to_do_is_said_once() -> None:
    error = skippable(DataError("is encrypted", path="a.pdf", advice="type reader.password=..."))
    assert str(error) == "a.pdf: is encrypted; type reader.password=...; on_error=skip leaves it out"
    assert error.what == "is encrypted"
    assert str(skippable(DataError("is empty."))) == "is empty; on_error=skip leaves it out"
