"""JSON in and out: nothing is lost, nothing broken comes through, and papermage reads what is written."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import pickle
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core import Box, Document, Entity, Metadata, Span
from papermage_core.document import DocumentFile
from papermage_core.errors import DataError

keys = st.text("abcdefxyz_", min_size=1, max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
shares = st.floats(0, 0.5)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """JSON of a sound document, without tokens that overlap, in the form that papermage writes."""
    symbols = draw(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() or "\n" in text))
    places = st.tuples(st.integers(0, len(symbols)), st.integers(0, len(symbols))).map(sorted).map(list)
    boxes = st.tuples(shares, shares, shares, shares, st.integers(0, 2)).map(list)

    @st.composite
    def entities(draw: st.DrawFn) -> dict[str, Any]:
        entity: dict[str, Any] = {}
        if spans := draw(st.lists(places, max_size=2)):
            entity["spans"] = spans
        if found := draw(st.lists(boxes, min_size=0 if spans else 1, max_size=2)):
            entity["boxes"] = found
        if metadata := draw(st.dictionaries(keys, values, max_size=2)):
            entity["metadata"] = metadata
        return entity | draw(st.dictionaries(keys.map("x_{}".format), values, max_size=1))

    layers = draw(st.dictionaries(keys.map("layer_{}".format), st.lists(entities(), max_size=4), max_size=3))
    cuts = sorted(draw(st.lists(st.integers(0, len(symbols)), max_size=8)))
    layers["tokens"] = [{"spans": [[a, b]]} for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    extras = draw(st.dictionaries(keys.map("z_{}".format), values, max_size=2))
    metadata = draw(st.dictionaries(keys, values, max_size=3))
    return {"symbols": symbols, "metadata": metadata, "entities": layers, "relations": {}} | extras


@settings(max_examples=50, deadline=None)
@given(documents())
def test_every_way_in_and_out_gives_the_same_json(plain: dict[str, Any]) -> None:
    for indent in (None, 1):
        doc = Document.from_bytes(json.dumps(plain, indent=indent))
        assert json.loads(doc.to_bytes()) == plain
        assert b"\n" not in doc.to_bytes()
        assert doc.to_json() == plain
        assert json.loads(doc.to_bytes()) == plain  # every entity was looked at
    assert Document.from_json(plain).to_json() == plain
    assert json.loads(Document.from_json(plain).to_bytes()) == plain


@settings(max_examples=50, deadline=None)
@given(documents(), st.data())
def test_looking_at_some_entities_changes_nothing(plain: dict[str, Any], data: st.DataObject) -> None:
    doc = Document.from_bytes(json.dumps(plain, ensure_ascii=False))
    for name in plain["entities"]:
        layer = doc.get_layer(name)
        if len(layer):
            entity = layer[data.draw(st.integers(-len(layer), len(layer) - 1))]
            assert entity.to_json() == plain["entities"][name][entity.id]
    assert json.loads(doc.to_bytes()) == plain


def read(source: bytes | str | dict[str, Any], lenient: bool = True) -> tuple[Document | None, str]:
    """Return the document, or the message that refuses it in at most three lines."""
    make = Document.from_json if isinstance(source, dict) else Document.from_bytes
    try:
        return make(source, lenient=lenient), ""  # type: ignore[arg-type]
    except DataError as exc:
        fault = exc
    if not 0 < len(str(fault)) < 500 or str(fault).count("\n") > 2:
        raise AssertionError(f"not a message: {fault}")
    return None, fault.message


def mutated(plain: Any, chance: random.Random) -> Any:
    """Return a copy with one value somewhere replaced by something of another kind, taken out, or doubled."""
    plain = copy.deepcopy(plain)
    places: list[tuple[Any, Any]] = []

    def walk(found: Any) -> None:
        items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
        for key, value in items:
            places.append((found, key))
            walk(value)

    walk(plain)
    holder, key = chance.choice(places)
    kind = chance.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 2 and isinstance(holder[key], (int, float)):
        holder[key] = chance.choice([-1, 1, 1000]) * (holder[key] + chance.choice([0, 1, 0.5]))
    else:
        odd = [None, True, -1, 0.5, 10**9, 10**30, 1e308, "x", [], {}, [[]], [[1]], [[1, 2, 3]], [["0", "1"]]]
        holder[key] = chance.choice(odd)
    return plain


def broken(text: str, chance: random.Random, values: Sequence[bytes] = ()) -> bytes:
    """Return bytes of a text with one byte changed, or cut off, or with one of ``values`` in place of a number."""
    data = bytearray(text.encode())
    at = chance.randrange(len(data))
    if values and (numbers := list(re.finditer(rb"(?<=[ \[])\d+(?=[],}])", data))):
        number = chance.choice(numbers)
        return bytes(data[: number.start()] + chance.choice(values) + data[number.end() :])
    if chance.random() < 0.3:
        return bytes(data[:at])
    data[at] = chance.choice([0, 10, 34, 44, 58, 91, 92, 93, 123, 125, 255, chance.randrange(256)])
    return bytes(data)


def check_odd(odd: Any) -> None:
    """Assert that JSON is refused with one reason, whichever way it comes in, or is read as it stands."""
    for lenient in (True, False):
        refused: list[str] = []
        for source in (json.dumps(odd), odd):
            doc, fault = read(source, lenient)
            if doc is None:
                refused.append(fault)
                continue
            again = doc.to_json()
            assert Document.from_json(again).to_json() == again
            for name, entities in odd["entities"].items():
                for mine, theirs in zip(again["entities"][name], entities, strict=True):
                    assert mine == {k: v for k, v in theirs.items() if v or k not in ("spans", "boxes", "metadata")}
        if len(refused) == 1 and doc is not None:  # a dict may hold a number that JSON lacks; writing it is refused
            assert "JSON has no NaN or Infinity" in refused[0]
            with pytest.raises(DataError, match="JSON has no such number"):
                doc.to_bytes()
            continue
        assert len(refused) in (0, 2)
        assert len(set(refused)) <= 1


def check_broken(data: bytes) -> None:
    """Assert that bytes are refused with a reason, or are other sound JSON, which is read, looked at and written."""
    for lenient in (True, False):
        doc, _ = read(data, lenient)
        if doc is None:
            continue
        other = json.loads(data)
        try:
            doc.to_json()
        except DataError as exc:  # what is decoded when it is asked for
            assert re.search(r"layer '.*', entity \d+: `\w+` has a number that is not finite", str(exc))  # noqa: PT017
            continue
        assert doc.symbols == (other["symbols"] or None)
        assert list(doc.to_json()["entities"]) == list(other["entities"])
        assert Document.from_bytes(doc.to_bytes()).to_json() == doc.to_json()
        for name in doc.layer_names:
            layer = doc.get_layer(name)
            assert layer.texts() == [entity.text for entity in layer]


@settings(max_examples=200, deadline=None)
@given(documents(), st.integers(0, 2**32))
def test_what_is_mutated_is_refused_with_a_reason_or_read_as_it_stands(plain: dict[str, Any], seed: int) -> None:
    check_odd(mutated(plain, random.Random(seed)))


@settings(max_examples=200, deadline=None)
@given(documents(), st.integers(0, 2**32))
def test_broken_bytes_are_refused_with_a_reason_or_are_other_sound_json(plain: dict[str, Any], seed: int) -> None:
    check_broken(broken(json.dumps(plain, ensure_ascii=False), random.Random(seed)))


def test_real_documents_mutated_are_refused_with_a_reason_or_read(corpora: Path) -> None:
    seen = 0
    for path in [*files_of(corpora), *sorted((corpora / "hostile").glob("*.jsonl"))]:
        for line in documents_of(path, 4):
            try:
                plain = json.loads(line)
                plain["entities"] = {name: layer[:12] for name, layer in plain["entities"].items()}
                too_long = len(plain["symbols"]) > 20_000
            except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
                continue  # hostile already
            if too_long:
                continue
            sound = read(json.dumps(plain))[0] is not None
            for seed in range(5):
                chance = random.Random(f"{path.name} {seed}")
                odd = mutated(plain, chance)
                if sound:  # else there are two things to say of it
                    check_odd(odd)
                check_broken(broken(json.dumps(plain, ensure_ascii=False), chance))
                check_broken(
                    broken(json.dumps(mutated(odd, chance)), chance, [b"1e999", b"NaN", b'"\\ud800"', b"[" * 5000])
                )
                seen += 3
    assert seen > 500


BASE = '{"symbols": "a b c", "metadata": {"doc_id": "d"}, "entities": {"tokens": [%s], "pages": [%s]}}'
PAGE = '{"spans": [[0, 5]], "boxes": [[0, 0, 1, 1, 0]]}'


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ('{"spans": [[0, 6]]}', r"layer 'tokens', entity 0: span \[0, 6\] ends past the text: the text has 5"),
        ('{"spans": [[0, 1]]}, {"spans": [[2, 1]]}', "entity 1: span .2, 1. ends before it begins"),
        ('{"spans": [[-1, 1]]}', "begins before the text"),
        ('{"spans": [[0.5, 1]]}', "no whole number"),
        ('{"spans": [[0, 1000000000000000000000000000000]]}', "ends past the text"),
        ('{"spans": [[0, 1, 2]]}', r"should be \[start, end\], got a list"),
        ('{"spans": [0, 1]}', "one of `spans` should be"),
        ('{"spans": null}', "`spans` should be a list, got null"),
        ('{"spans": [[0, true]]}', "should hold numbers, got a boolean"),
        ('{"spans": [["0", "1"]]}', "should hold numbers, got a string '0'"),
        ('{"spans": [[0, 1]], "metadata": null}', "`metadata` should be an object, got null"),
        ('{"spans": [[0, 1]], "metadata": [1]}', "`metadata` should be an object, got a list"),
        ('{"metadata": {}}', "neither"),
        ('{"spans": [], "boxes": []}', "neither"),
        ("17", "an entity should be an object, got a number 17"),
        ('{"spans": [[0, 2]]}, {"spans": [[1, 3]]}', r"token 1 at \[1, 3\] overlaps token 0 at \[0, 2\]"),
        ('{"spans": [[0, 1]], "spans": [[2, 3]]}', "key 'spans' stands twice"),
        ('{"boxes": [[0, 0, 1, 1, 1]]}', "on a page that is not there"),
        ('{"boxes": [[0, 0, 1, 1, 0.5]]}', "a page that is no page number"),
        ('{"boxes": [[0, 0, 1, 1, -1]]}', "a page that is no page number"),
        ('{"boxes": [[0, 0, 1, 1, 1e30]]}', "a page that is no page number"),
        ('{"boxes": [[0, 0, -1, 1, 0]]}', "negative width or height"),
        ('{"boxes": [[0, 0, 1e999, 1, 0]]}', "layer 'tokens', entity 0: `boxes` has a number that is not finite"),
        ('{"spans": [[0, 1]]}, {"spans": [[2, -Infinity]]}', "layer 'tokens', entity 1: `spans` has a number"),
        ('{"boxes": [[0, 0, 612, 792, 0]]}', "not points or pixels"),
        ('{"boxes": [[0, 0, NaN, 1, 0]]}', "layer 'tokens', entity 0: .* JSON has no NaN"),
        ('{"boxes": [[0, 0, 1, 1]]}', "one of `boxes` should be"),
    ],
)
def test_each_fault_is_named_with_its_place(token: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Document.from_bytes(BASE % (token, PAGE))
    if "not JSON" not in message and "NaN" not in message and "twice" not in message:
        assert (caught.value.document, caught.value.layer) == ("d", "tokens")
        assert caught.value.expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "stops in the middle"),
        ("[]", "expected a document .an object., got a list"),
        ('{"symbols": "a"}', "has no `entities`"),
        ('{"entities": {}}', "has no `symbols`"),
        ('{"symbol": "a", "entities": {}}', "Did you mean 'symbol'"),
        ('{"symbols": 5, "entities": {}}', "should be a string, got a number 5"),
        ('{"symbols": "", "entities": {}}', "empty"),
        ('{"symbols": "a", "entities": []}', "`entities` should be an object"),
        ('{"symbols": "a", "entities": {"tokens": {}}}', "a layer should be a list"),
        ('{"symbols": "a", "entities": {"symbols": []}}', "cannot be named 'symbols'"),
        ('{"symbols": "a", "entities": {"x": [], "x": []}}', "layer 'x' stands twice"),
        ('{"symbols": "a", "symbols": "b", "entities": {}}', "key 'symbols' stands twice"),
        ('{"symbols": "a", "entities": {"x": []}, "entities": {}}', "key 'entities' stands twice"),
        ('{"symbols": "a", "metadata": 1, "entities": {}}', "`metadata` should be an object"),
        (
            '{"symbols": "\\ud800", "entities": {}}',
            r"not JSON: half of a pair of surrogates stands alone",
        ),
        ('{"symbols": "é", "entities": [}', r"not JSON: expecting value, column 31, near .*ities\": \[}"),
        ('{"symbols": "a",\n\n "entities": tru}', r"not JSON: expecting value, column 14 of its line 3, near .*tru}"),
        ('{"symbols": "a\x00"}', "not JSON: invalid control character, column 15"),
        ('{"symbols": "a", "metadata": {"a": [NaN]}, "entities": {}}', "`metadata` has a number that is not finite"),
        ('{"symbols": "a", "odd": [1e999], "entities": {}}', "`odd` has a number that is not finite"),
        ('{"symbols": "a", "entities": {"x": [', "stops in the middle, column 37, near .*entities"),
        ('{"symbols": "a", "entities": {"x": [{"spans": [[0, 1%s]]}]}}' % ("0" * 400), "layer 'x'.*: cannot be read: "),
        ("{'symbols': 'a'}", "Python literal"),
        ('{"symbols": "a", "entities": {}, "metadata": {"a": ' + "[" * 10**5 + "]" * 10**5 + "}}", "nested too deep"),
        ('{"symbols": "a", "entities": {}} {}', "not JSON"),
    ],
)
def test_each_fault_of_a_document_is_named(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Document.from_bytes(text)


def test_messages_stay_short_whatever_names_a_document_has() -> None:
    long = "x" * 100_000
    entity = {"spans": [[0, 9]]}
    for odd in (
        {"symbols": "a", "metadata": {"doc_id": long}, "entities": {long: [entity]}},
        {"symbols": "a", long: {}, **{str(i): i for i in range(1000)}},
        {"symbols": long, "metadata": {long + " ": 1}, "entities": {"x": [{"spans": [[1, long]]}]}},
        {"symbols": "a", "entities": {"x": [{long: 1, "metadata": {long: 1}}]}},
    ):
        for lenient in (True, False):
            for source in (odd, json.dumps(odd)):
                assert read(source, lenient)[0] is None
    doc = Document("a")
    doc.annotate_layer(long, [])
    with pytest.raises(DataError) as caught:
        doc.get_layer("nothing")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("key", ["metadata", "odd"])
def test_a_number_out_of_range_beside_a_place_is_named_when_it_is_asked_for(key: str) -> None:
    tokens = '{"spans": [[0, 1]]}, {"spans": [[2, 3]], "odd": {"text": -1e999}}'.replace("odd", key)
    doc = Document.from_bytes(BASE % (tokens, PAGE))
    for ask in (lambda: doc.tokens[1].metadata, lambda: doc.tokens.texts(), doc.to_json):
        with pytest.raises(DataError, match=f"document 'd', layer 'tokens', entity 1: `{key}` has a number that"):
            ask()


def test_strings_of_no_utf8_are_named_by_byte_wherever_they_are() -> None:
    data = json.dumps({"symbols": "abc", "entities": {"x": [{"spans": [[0, 1]], "metadata": {"a": "?"}}]}}).encode()
    at = data.index(b"?")
    for before, column in ((b"", at + 1), ("éé".encode(), at + 3)):
        broken = data.replace(b"?", before + b"\xff")
        byte = at + len(before) + 1
        with pytest.raises(DataError, match=rf"byte {byte} is not UTF-8 \(0xff: .*; column {column}, near"):
            Document.from_bytes(broken)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "a PNG image"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (gzip.compress(b'{"symbols": "a"}', mtime=0), "gzip data: give the file a name that ends in .gz"),
        (b"PK\x03\x04\x14\x00", "a ZIP archive"),
        (b"PAR1\x15\x04\x15", "a Parquet file"),
        (pickle.dumps({"symbols": "a"}), "a Python pickle"),
        ('{"symbols": "a"}'.encode("utf-16"), "UTF-16 text: convert it to UTF-8"),
        (b'<?xml version="1.0"?>\n<TEI>', "XML or HTML"),
    ],
)
def test_a_file_of_another_kind_is_recognised_by_its_first_bytes(head: bytes, kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^is {kind}"):
        Document.from_bytes(head)
    (tmp_path / "odd.jsonl").write_bytes(head)
    with pytest.raises(DataError, match=f"odd.jsonl, line 1: is {kind}"):
        DocumentFile(tmp_path / "odd.jsonl")[0]


def test_reading_strictly_refuses_what_reading_leniently_lists() -> None:
    late = BASE % ('{"spans": [[0, 1]]}, {"spans": [[2, 2]]}', '{"spans": [[0, 9]]}')
    doc = Document.from_bytes(late)
    (repair,) = doc.repairs
    assert (repair.kind, repair.layer, repair.entity, repair.value) == ("span_past_end", "pages", 0, [0, 9])
    assert doc.pages.span_arrays().stop.tolist() == [5]
    assert doc.pages[0].to_json() == {"spans": [[0, 9]]}  # written back as it was read
    with pytest.raises(DataError, match="ends past the text"):
        Document.from_bytes(late.replace("[2, 2]", "[2, 3]"), lenient=False)
    exact, inexact = (late.replace("[0, 9]", f"[0, {end}]") for end in (2**53 - 1, 2**53 + 2))
    assert Document.from_bytes(exact).pages[0].to_json() == {"spans": [[0, 2**53 - 1]]}
    with pytest.raises(DataError, match=r"layer 'pages', entity 0: .* ends past the text"):  # not to be written as read
        Document.from_bytes(inexact)
    with pytest.raises(DataError, match="is empty"):
        Document.from_bytes(BASE % ('{"spans": [[2, 2]]}', PAGE), lenient=False)
    odd_key = BASE.replace('"doc_id"', '"doc id"') % ("", PAGE)
    assert [repair.value for repair in Document.from_bytes(odd_key).repairs] == ["doc id"]
    with pytest.raises(DataError, match="no identifier"):
        Document.from_bytes(odd_key, lenient=False)


def test_long_layers_are_read_in_pieces_alike() -> None:
    words = 12_000
    entities: list[dict[str, Any]] = [
        {"spans": [[2 * i, 2 * i + 1]], "metadata": {"spans": [{"spans": [i, i + 1]}]}} for i in range(words)
    ]
    entities[8_000]["spans"] = [[16_000, 16_001], [16_001, 16_002]]
    for extra in ({}, {"unknown": [1]}):
        entities[-1] |= extra
        plain = {"symbols": "a " * words, "metadata": {}, "entities": {"x": entities}, "relations": {}}
        doc = Document.from_bytes(json.dumps(plain))
        arrays = doc.get_layer("x").span_arrays()
        assert len(arrays) == words + 1
        assert arrays.entity[8_000:8_003].tolist() == [8_000, 8_000, 8_001]
        assert arrays.start[-1] == 2 * (words - 1)
        assert doc.to_json() == plain


def documents_of(path: Path, most: int) -> list[bytes]:
    """Return the first documents of a file, which is read no further."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        if ".jsonl" not in path.name:
            return [file.read()]
        return list(itertools.islice((line.rstrip(b"\n") for line in file if line.strip()), most))


def files_of(corpora: Path) -> list[Path]:
    others = ("hostile", "formats")  # broken documents; files of other formats
    return [p for p in sorted(corpora.glob("*/*.json*")) if p.parent.name not in others and "train" not in p.name] + [
        corpora / "papermage_docs" / "predictor_training_docs.jsonl",
        corpora / "papermage_docs" / "predictor_training_docs_tiny.jsonl",
    ]


@pytest.mark.slow
def test_every_corpus_survives_the_round_trip(corpora: Path) -> None:
    for path in files_of(corpora):
        for line in documents_of(path, 4):
            plain = json.loads(line)
            doc = Document.from_bytes(line)
            assert json.loads(doc.to_bytes()) == plain, path
            assert doc.to_json() == plain, path
            assert doc.tokens.texts() == [token.text for token in doc.tokens]


def test_papermage_loads_what_is_written_and_agrees(corpora: Path) -> None:
    magelib = pytest.importorskip("papermage.magelib")
    for path in files_of(corpora):
        if path.parent.name == "craft":  # nested entities, which papermage refuses
            continue
        for line in documents_of(path, 3):
            doc = Document.from_bytes(line)
            theirs = magelib.Document.from_json(json.loads(doc.to_bytes()))
            assert theirs.to_json() == doc.to_json()
            assert [t.text for t in theirs.tokens[:500]] == doc.tokens.texts()[:500]


def test_any_document_of_a_large_file_is_read_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    lines = [json.dumps({"symbols": f"document {i}", "entities": {}}) for i in range(50)]
    path.write_text("\n\n".join(lines))
    documents = DocumentFile(path)
    assert len(documents) == 50
    assert documents[17].symbols == "document 17"
    assert documents.line(17) == 35
    assert [doc.symbols for doc in documents[-2:]] == ["document 48", "document 49"]
    with pytest.raises(IndexError):
        documents[50]
    path.write_text('{"symbols": "a", "entities": {}}\n{"symbols": 5, "entities": {}}\n')
    with pytest.raises(DataError, match=r"many.jsonl, line 2: `symbols` should be"):
        DocumentFile(path)[1]
    with pytest.raises(DataError, match="No such file"):
        DocumentFile(tmp_path / "none.jsonl")


def test_what_python_holds_and_json_does_not_is_taken_or_named() -> None:
    numbers = {
        "symbols": "abc",
        "entities": {"x": [{"spans": ((np.int64(0), 1),), "metadata": {"p": np.float64(0.5)}}]},
    }
    doc = Document.from_json(numbers)
    assert doc.get_layer("x")[0].to_json() == {"spans": [[0, 1]], "metadata": {"p": 0.5}}
    assert b'"p":0.5' in doc.to_bytes()
    for odd, message in (
        ({"symbols": "a", "entities": {5: []}}, "name of a layer"),
        ({"symbols": "a", "entities": {"x": [{"boxes": [[0, 0, float("nan"), 1, 0]]}]}}, "not finite"),
        ([1], "expected a document"),
    ):
        with pytest.raises(DataError, match=message):
            Document.from_json(odd)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="surrogates"):
        Document("\ud800").to_bytes()
    nested = '{"symbols":"a","entities":{},"metadata":{"m":' + "[" * 600 + "]" * 600 + "}}"
    deep = Document.from_bytes(nested)
    with pytest.raises(DataError, match="nested too deep"):
        deep.to_json()
    assert json.loads(deep.to_bytes())["metadata"]


def nested(levels: int) -> dict[str, Any]:
    outer: dict[str, Any] = {}
    inner = outer
    for _ in range(levels):
        inner["a"] = {}
        inner = inner["a"]
    return outer


def in_itself() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = [found]
    return found


UNWRITABLE = [
    pytest.param({"a": "\ud800"}, "surrogates", id="surrogate"),
    pytest.param({"a": {"\udfff": 1}}, "surrogates", id="surrogate-in-a-nested-key"),
    pytest.param(nested(20_000), "nested too deep", id="deep"),
    pytest.param(in_itself(), "nested too deep", id="in-itself"),
    pytest.param({"a": object()}, "cannot write a object as JSON", id="object"),
    pytest.param({"a": [1j]}, "cannot write a complex as JSON", id="complex"),
    pytest.param({"a": {(1, 2): 3}}, "cannot write a tuple as JSON", id="tuple-as-key"),
    pytest.param({"a": {None: 3}}, "cannot write a NoneType as JSON", id="none-as-key"),
    pytest.param({"a": [float("inf")]}, "inf cannot be written: JSON has no such number", id="infinity"),
    pytest.param({"a": np.float64("nan")}, "nan cannot be written: JSON has no such number", id="nan"),
]


@pytest.mark.parametrize(("values", "message"), UNWRITABLE)
def test_what_json_does_not_have_is_refused_with_its_place_when_it_is_written(
    values: dict[str, Any], message: str
) -> None:
    metadata = Metadata()
    metadata.a = values["a"]
    entities = [Entity(spans=[Span(0, 1)], metadata=Metadata(a=None)), Entity(spans=[Span(1, 2)], metadata=metadata)]
    odd = Document("ab", metadata=Metadata(doc_id="d"))
    odd.annotate_layer("letters", entities)
    with pytest.raises(DataError, match=f"document 'd', layer 'letters', entity 1: .*{message}"):
        odd.to_bytes()
    for of_document in ("metadata", "extras"):
        whole = Document("ab", metadata=metadata if of_document == "metadata" else None)
        if of_document == "extras":
            whole.extras["odd"] = values
        with pytest.raises(DataError, match=message):
            whole.to_bytes()


def test_metadata_nested_too_deep_to_be_copied_is_a_data_error_on_every_way_out() -> None:
    metadata = Metadata(a=nested(20_000))
    entity = Entity(spans=[Span(0, 1)], metadata=metadata)
    doc = Document("a", metadata=Metadata(doc_id="d"))
    doc.annotate_layer("letters", [entity])
    for write in (metadata.to_json, entity.to_json, doc.get_layer("letters").to_json, lambda: copy.deepcopy(metadata)):
        with pytest.raises(DataError, match="nested too deep to be copied"):
            write()
    with pytest.raises(DataError, match="document 'd', layer 'letters', entity 0: its metadata is nested too deep"):
        doc.to_json()
    with pytest.raises(DataError, match="document 'd': its metadata is nested too deep"):
        Document("a", metadata=Metadata(doc_id="d", a=nested(20_000))).to_json()
    assert len(repr(metadata)) < 10_000


@pytest.mark.parametrize("key", [5, None, b"a", ("a",), "\ud800", "a b", ""])
def test_a_key_that_metadata_cannot_have_is_a_data_error_on_every_way_in(key: Any) -> None:
    entity = {"spans": [[0, 1]], "metadata": {key: 1}}
    ways = [
        lambda: Metadata().set(key, 1),
        lambda: Metadata().__setitem__(key, 1),
        lambda: Metadata.from_json({key: 1}),
        lambda: Entity.from_json(entity),
    ]
    if key not in ("a b", ""):
        ways.append(lambda: Document.from_json({"symbols": "a", "entities": {"x": [entity]}}))
    if not isinstance(key, str):
        ways.append(lambda: Document.from_json({"symbols": "a", "metadata": {key: 1}, "entities": {}}))
    for way in ways:
        with pytest.raises(DataError) as caught:
            way()
        str(caught.value).encode()
        assert re.search("None|null" if key is None else re.escape(repr(key)), str(caught.value))
    with pytest.raises(DataError, match="metadata should be a dict, got list"):
        Metadata.from_json([1])  # type: ignore[arg-type]
    assert Metadata(**{"self": 1, "key": 2}).to_json() == {"self": 1, "key": 2}


def test_a_box_without_end_is_named_when_it_is_read_and_when_it_is_written() -> None:
    endless = Document("a b")
    boxes = [[Box(0, 0, 1, 1, 0)], [Box(0, 0, float("inf"), 1, 0)]]
    endless.annotate_layer("tokens", [Entity(spans=[Span(i, i + 1)], boxes=box) for i, box in enumerate(boxes)])
    with pytest.raises(DataError, match=r"layer 'tokens', entity 1: inf cannot be written"):
        endless.to_bytes()
    with pytest.raises(DataError, match=r"layer 'tokens', entity 1: box .*not finite"):
        Document.from_json(endless.to_json())


def test_a_page_of_no_number_is_refused_where_pages_or_nothing_says_which_there_are() -> None:
    box = '{"spans": [[0, 5]], "boxes": [[0, 0, 1, 1, 1e30]]}'
    with pytest.raises(DataError, match=r"layer 'pages', entity 0: .* a page that is no page number"):
        Document.from_bytes(BASE % ("", box))
    with pytest.raises(DataError, match=r"layer 'rows', entity 0: .* a page that is no page number"):
        Document.from_bytes('{"symbols": "a b c", "entities": {"rows": [' + box + "]}}")


@given(
    st.lists(
        st.sampled_from(
            [b'{"symbols": "a", "entities": {}}', b"", b" " * 100, b"\t\r", b' {"symbols": "b", "entities": {}}']
        )
    ),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.booleans(),
    st.integers(1, 90),
)
def test_documents_of_a_file_are_those_of_its_lines_that_hold_something(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], mark: bytes, ends: bool, block: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "docs.jsonl"
    path.write_bytes(mark + b"\n".join(lines) + (b"\n" if ends else b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("papermage_core.document.file._BLOCK", block)
        documents = DocumentFile(path)
    held = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    assert [documents.line(i) for i in range(len(documents))] == [i for i, _ in held]
    assert [doc.symbols for doc in documents] == [json.loads(line)["symbols"] for _, line in held]


@pytest.mark.parametrize("box", ["[1e308, 0, 1e308, 1, 0]", "[0, 1.7e308, 1, 1.7e308, 0]"])
def test_a_box_whose_numbers_overflow_lies_outside_the_page(box: str) -> None:
    line = '{"symbols": "a", "entities": {"tokens": [{"spans": [[0, 1]], "boxes": [' + box + "]}]}}"
    with pytest.raises(DataError, match=r"layer 'tokens', entity 0: box .* lies outside the page"):
        Document.from_bytes(line)
