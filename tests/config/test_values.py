"""Values are read by the declared type, never guessed."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.config.values import InvalidValueError, Text, read
from papermage_core.plugin.option_types import expected, opaque


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


@pytest.mark.parametrize(
    ("value", "wanted", "found"),
    [
        ("on", str, "on"),
        ("5e-5", str, "5e-5"),
        ("5e-5", float, 5e-5),
        ("1", float, 1.0),
        (".inf", float, float("inf")),
        ("-1", int, -1),
        ("on", bool, True),
        ("No", bool, False),
        ("0", bool, False),
        ("1,2", tuple[str, ...], ("1", "2")),
        ("1, 2", tuple[int, ...], (1, 2)),
        ('["a,b", "c"]', tuple[str, ...], ("a,b", "c")),
        ("[ab].jsonl", tuple[Path, ...], (Path("[ab].jsonl"),)),
        ("[" * 99_999 + "]" * 99_999, tuple[str, ...], ("[" * 99_999 + "]" * 99_999,)),
        ("", tuple[str, ...], ()),
        (["a,b"], tuple[str, ...], ("a,b",)),
        (Path("a,b"), tuple[Path, ...], (Path("a,b"),)),
        ("a/b", Path, Path("a/b")),
        ("~/b", Path, Path.home() / "b"),
        ("~nobody-of-this-name/b", Path, Path("~nobody-of-this-name/b")),
        (Text("none"), str, "none"),
        (Text("none"), str | None, None),
        ("none", str | None, "none"),
        ("none", float | None, None),
        (Text("none"), Path | None, None),
        ("", int | None, None),
        ("", str | None, ""),
        ("null", int | None, None),
        ("1", int | bool, 1),
        ("true", int | bool, True),
        (True, int | bool, True),
        ("1", int | float, 1),
        ("1.0", int | float, 1.0),
        ("0.5", int | float | str | None, 0.5),
        ("00:12:00:00", int | float | str | timedelta | None, "00:12:00:00"),
        ("auto", list[int] | str | int, "auto"),
        ("0,1", list[int] | str | int, [0, 1]),
        ("2", list[int] | str | int, 2),
        ("32", Literal[64, 32] | Literal["32", "bf16"], 32),
        ("bf16", Literal[64, 32] | Literal["32", "bf16"], "bf16"),
        ("warn", bool | Literal["warn"] | None, "warn"),
        ("red", Colour, Colour.RED),
        ("DARK_BLUE", Colour, Colour.DARK_BLUE),
        (Colour.RED, Colour, Colour.RED),
        (timedelta(hours=1), str | timedelta | dict[str, int], timedelta(hours=1)),
        ({"hours": "2"}, str | timedelta | dict[str, int], {"hours": 2}),
        (np.float32(0.5), float, 0.5),
        (np.int64(3), int, 3),
        ("a,1", tuple[str, int], ("a", 1)),
    ],
)
def test_a_value_means_what_its_type_says(value: Any, wanted: Any, found: Any) -> None:
    result = read(value, wanted)

    assert result == found
    assert type(result) is type(found)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("x", int),
        ("1.0", int),
        (1.0, int),
        (True, int),
        (True, float),
        ("nan", float),
        ("1e400", float),
        (float("nan"), float),
        ("1_000", float),
        (np.zeros(2), float),
        (np.zeros(2, int), int),
        ("maybe", bool),
        (1, bool),
        (5, str),
        ("", Path),
        ("a\0b", Path),
        ("c", Literal["a", "b"]),
        ("green", Colour),
        ("a,b,c", tuple[str, int]),
        ("1,x", tuple[int, ...]),
        (3, tuple[int, ...]),
        ({"a": 1}, tuple[str, ...]),
        (b"ab", tuple[int, ...]),
        ("none", int),
        ("csv", bool | Iterable[opaque("Logger")] | opaque("Logger") | None),  # type: ignore[misc]
        (3, opaque("Callback")),
        ("a", dict[str, int]),
    ],
)
def test_a_value_of_another_type_is_refused(value: Any, wanted: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        read(value, wanted)

    assert str(caught.value) == expected(wanted)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (int | None, "a whole number or 'none'"),
        (int | float | None, "a number or 'none'"),
        (bool | Path, "yes or no or a path"),
        (tuple[Path, ...], "a comma-separated list of paths"),
        (Literal[16] | Literal["bf16"] | None, "16, 'bf16' or 'none'"),
        (opaque("Callback"), "a Callback made in Python"),
        (Colour, "'red' or 'dark-blue'"),
    ],
)
def test_what_is_expected_is_said_in_words(wanted: Any, words: str) -> None:
    assert expected(wanted) == words


def test_an_object_made_in_python_is_taken_as_it_is() -> None:
    thing = object()

    assert read(thing, opaque("Callback") | None) is thing
    assert read([thing], list[opaque("Callback")] | opaque("Callback")) == [thing]  # type: ignore[misc]


@given(st.floats(allow_nan=False))
def test_a_written_float_reads_back_equal(number: float) -> None:
    assert read(repr(number), float) == number


@given(st.integers(-(10**50), 10**50))
def test_a_written_integer_reads_back_equal(number: int) -> None:
    assert read(str(number), int) == number


@given(st.text())
def test_a_text_stays_as_it_is(text: str) -> None:
    assert read(text, str) == text


@given(st.lists(st.text(min_size=1)))
def test_a_json_list_holds_any_texts(texts: list[str]) -> None:
    import json

    assert read(json.dumps(texts), tuple[str, ...]) == tuple(texts)
