from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.errors import DataError
from papermage_core.files import check_keys

TEXTS = st.text(st.sampled_from('ab"\\{}[]:,é\n'), max_size=4)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_json_whose_keys_stand_once_passes(value: Any, indent: int | None, ascii_only: bool) -> None:
    check_keys(json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode())


@given(VALUES, VALUES, TEXTS, st.lists(TEXTS | st.integers(0, 2), max_size=3))
def test_a_key_that_stands_twice_is_told_with_the_way_to_it(
    first: Any, second: Any, key: str, path: list[str | int]
) -> None:
    name = json.dumps(key)
    text = f"{{{name}: {json.dumps(first)}, {name}: {json.dumps(second)}}}"
    for step in reversed(path):
        text = f"[{'null, ' * step}{text}]" if isinstance(step, int) else f"{{{json.dumps(step)}: {text}}}"
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    with pytest.raises(DataError) as told:
        check_keys(text.encode())
    assert f"key {key!r} stands twice in {steps or 'the object'};" in str(told.value)
    assert told.value.value == key


@pytest.mark.parametrize("deep", [b"[" * 100_000 + b"%s" + b"]" * 100_000, b"[" + b"9" * 5000 + b", %s]"])
def test_json_that_python_refuses_is_looked_at_too(deep: bytes) -> None:
    check_keys(deep % b'{"a": 1, "b": 1}')
    with pytest.raises(DataError, match="'a' stands twice"):
        check_keys(deep % b'{"a": 1, "a": 1}')


def test_the_place_is_that_of_the_second() -> None:
    with pytest.raises(DataError, match=r"column 3 of its line 3, near '  \"a\": 2}'"):
        check_keys(b'{\n  "a": 1,\n  "a": 2}')
