"""An error of data is complete when it is raised; whoever knows more of its place raises another."""

from __future__ import annotations

import pickle

import pytest

from papermage_core.cli._shell import run
from papermage_core.document.errors import LayerNameError, MissingKeyError
from papermage_core.errors import ConfigError, DataError

PLACE = {"path": "a.jsonl", "line": 3, "document": "W05-13", "layer": "tokens", "entity": 17}


def test_an_error_with_its_place_added_is_another_of_the_same_class() -> None:
    bare = LayerNameError("the name is taken", layer="tokens", value=5, expected="another name")
    placed = bare.replace(path="a.jsonl", line=3)

    assert type(placed) is LayerNameError
    assert str(placed) == "a.jsonl, line 3, layer 'tokens': the name is taken"
    assert (placed.value, placed.expected) == (5, "another name")
    assert str(bare) == "layer 'tokens': the name is taken"


def test_an_error_with_its_place_added_keeps_where_it_was_raised_and_why() -> None:
    with pytest.raises(DataError) as caught:
        raise DataError("is not JSON") from ValueError("line 1")
    placed = caught.value.replace(line=3)

    assert placed.__traceback__ is caught.value.__traceback__
    assert str(placed.__cause__) == "line 1"


@pytest.mark.parametrize("cls", [DataError, MissingKeyError])
def test_an_error_comes_back_from_a_worker_as_it_was_sent(cls: type[DataError]) -> None:
    error = cls("is not JSON", **PLACE)
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls
    assert str(copy) == "a.jsonl, line 3, document 'W05-13', layer 'tokens', entity 17: is not JSON"


def test_advice_on_several_errors_is_not_one_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise ConfigError("a is 1", "b is 2", advice="start anew")

    assert run(body, prog="papermage-train") == 2
    assert capsys.readouterr().err.splitlines()[:4] == [
        "papermage-train: 2 errors in the configuration", "  - a is 1", "  - b is 2", "start anew",
    ]  # fmt: skip
    assert str(ConfigError("a is 1", advice="start anew")) == "a is 1; start anew"
