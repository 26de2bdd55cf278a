"""Long layers cut out of a document's JSON: the same document as without cuts, whatever the text looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.document import Document
from papermage_core.document.json import cuts
from papermage_core.document.json.cuts import cut_layers
from papermage_core.errors import DataError

TRAPS = ['[{"', "}]", '}], "', '[{\\"', "[", "]", "{", '"', "\\", '"entities": {"tokens": [{"', "[17.1]", "é", " "]
text = st.lists(st.sampled_from([*TRAPS, "word", "x"]), min_size=1, max_size=8).map("".join)
values = st.recursive(
    text | st.integers(0, 9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=2)
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    symbols = draw(text)
    entity = st.fixed_dictionaries(
        {"spans": st.just([[0, 1]])},
        optional={"metadata": st.dictionaries(text, values, max_size=2), "extra": values},
    )
    layers = draw(st.dictionaries(text | st.sampled_from(["rows", "bibs"]), st.lists(entity, max_size=4), max_size=4))
    layers.pop("tokens", None)
    found = {"symbols": symbols, "metadata": draw(st.dictionaries(st.sampled_from("ab"), values)), "entities": layers}
    if draw(st.booleans()):
        found["odd"] = draw(values)
    return {key: found[key] for key in draw(st.permutations(list(found)))}


@pytest.fixture(autouse=True, scope="module")
def _cut_short_layers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "_LONG", 16)
        patch.setattr(cuts, "_BLOCK", 7)
        yield


@given(documents(), st.sampled_from([None, 1]), st.booleans())
def test_a_cut_document_is_the_document(plain: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(plain, indent=indent, ensure_ascii=ascii_only).encode()
    doc = Document.from_bytes(data)
    expected = {"metadata": {}, **plain}
    expected["entities"] = {k: [{"metadata": {}, **e} for e in layer] for k, layer in plain["entities"].items()}
    found = doc.to_json()
    for layer in found["entities"].values():
        for entity in layer:
            entity.setdefault("metadata", {})
    assert {key: found[key] for key in expected} == expected
    assert Document.from_bytes(doc.to_bytes()).to_json() == doc.to_json()


@given(documents(), st.data())
def test_broken_json_is_refused_as_without_cuts(plain: dict[str, Any], data: st.DataObject) -> None:
    whole = bytearray(json.dumps(plain).encode())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at : at + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from([b"", b'"', b"]", b"[", b"{", b"}", b","])
    )
    try:
        plain = json.loads(whole)
    except ValueError:
        with pytest.raises(DataError):
            Document.from_bytes(bytes(whole))


def test_long_layers_are_cut_and_short_ones_stay():
    layer = json.dumps([{"spans": [[0, 1]]}, {"spans": [[1, 2]]}]).encode()
    data = b'{"symbols": "ab", "entities": {"rows": %b, "none": []}}' % layer
    found = cut_layers(data)
    assert found is not None
    ((mark, (start, stop)),) = found.places.items()
    assert data[start:stop] == layer
    assert found.rest == data.replace(layer, mark)


def test_a_mark_that_stands_in_the_document_already_is_not_used():
    layer = json.dumps([{"spans": [[0, 1]]}, {"spans": [[1, 2]]}]).encode()
    data = b'{"symbols": "ab", "metadata": {"a": [%03d.1]}, "entities": {"rows": %b}}' % (0, layer)
    taken = data.replace(b"000", b"%03d" % len(data))
    assert cut_layers(data) is not None
    assert cut_layers(taken) is None


@pytest.mark.parametrize("where", ["metadata", "odd"])
def test_long_lists_that_are_no_layers_are_kept(where: str):
    people = [{"name": "Ada", "papers": [1, 2, 3]}] * 3
    plain = {"symbols": "ab", "entities": {"rows": [{"spans": [[0, 2]]}] * 3}, where: {"people": people}}
    doc = Document.from_bytes(json.dumps(plain).encode())
    assert doc.to_json()[where] == {"people": people}
    assert len(doc.get_layer("rows")) == 3


def test_what_is_no_blank_in_json_is_refused_between_entities_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("papermage_core.document.json.pieces._PIECE", 64)
    data = json.dumps({"symbols": "a" * 40, "entities": {"rows": [{"spans": [[i, i + 1]]} for i in range(40)]}})
    joints = [i for i in range(len(data)) if data.startswith(', {"spans"', i)]
    for blank in "\x0b\x0c\x1c\x85":
        for begin in joints[:20]:
            broken = data[: begin + 1] + blank + data[begin + 2 :]
            with pytest.raises(DataError):
                Document.from_bytes(broken.encode("latin-1") if blank != "\x85" else broken.encode())


def test_an_escaped_bracket_hides_no_key_that_stands_twice():
    data = rb'{"symbols": "\u005b\u005bab", "entities": {"rows": [{"spans":[[1,2]],"spans":[[0,1]]}]}}'
    with pytest.raises(DataError, match="'spans' stands twice"):
        Document.from_bytes(data)
