"""Schemes of tags: reading and writing, against seqeval."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core.document import Document
from papermage_core.errors import ConfigError
from papermage_core.plugin import UnitSpan
from papermage_schemes.bio import BioScheme, BioSchemeConfig
from papermage_schemes.bioes import BilouScheme, BioesScheme
from papermage_schemes.io import IoScheme
from papermage_schemes.iob1 import Iob1Scheme
from papermage_schemes.span import SpanScheme
from papermage_schemes.tagging import TagScheme

LABELS = ["X", "Y"]
STRICT = {BioScheme: "IOB2", IoScheme: "", Iob1Scheme: "IOB1", BioesScheme: "IOBES", BilouScheme: "BILOU"}
"""The schemes by their names in seqeval, which has none for one of them."""
LETTERS = str.maketrans("LU", "ES")  # seqeval's lenient mode knows the letters of IOBES only

sequences = st.lists(st.integers(0, 8), max_size=12)
kinds = st.sampled_from(list(STRICT))


def places(spans: list[UnitSpan]) -> list[tuple[str, int, int]]:
    return [(span.label, span.start, span.stop) for span in spans]


@given(kinds, sequences)
@settings(max_examples=500, deadline=None)
def test_the_lenient_reading_is_seqevals_default(kind: type[TagScheme], sequence: list[int]) -> None:
    peer = pytest.importorskip("seqeval.metrics.sequence_labeling")
    scheme = kind(LABELS)
    tags = np.array(sequence, np.int64) % len(scheme.tags)
    names = [scheme.tags[tag].translate(LETTERS) for tag in tags]
    expected = [(label, start, last + 1) for label, start, last in peer.get_entities(names)]
    assert places(scheme.decode(tags)) == expected


@given(st.sampled_from([kind for kind, peer in STRICT.items() if peer]), sequences)
@settings(max_examples=500, deadline=None)
def test_the_strict_reading_is_seqevals(kind: type[TagScheme], sequence: list[int]) -> None:
    peer = pytest.importorskip("seqeval.scheme")
    scheme = kind(LABELS, "strict")
    tags = np.array(sequence, np.int64) % len(scheme.tags)
    names = [scheme.tags[tag] for tag in tags]
    expected = peer.Tokens(names, getattr(peer, STRICT[kind])).entities
    assert places(scheme.decode(tags)) == [(entity.tag, entity.start, entity.end) for entity in expected]


@given(kinds, st.sampled_from(["lenient", "strict"]), st.lists(st.integers(0, 8), min_size=1, max_size=9))
@settings(max_examples=300, deadline=None)
def test_well_formed_sequences_are_read_alike(kind: type[TagScheme], reading: str, sequence: list[int]) -> None:
    lenient, other = kind(LABELS), kind(LABELS, reading)  # type: ignore[arg-type]
    tags = np.array(sequence, np.int64) % len(lenient.tags)
    if lenient.allows(tags):
        assert other.decode(tags) == lenient.decode(tags)


@pytest.mark.parametrize(
    ("kind", "reading", "names", "entities"),
    [
        (BioScheme, "lenient", "O I-X I-Y B-Y", [("X", 1, 2), ("Y", 2, 3), ("Y", 3, 4)]),
        (BioScheme, "strict", "O I-X I-Y B-Y", [("Y", 3, 4)]),
        (BioesScheme, "lenient", "B-X O E-X S-X", [("X", 0, 1), ("X", 2, 3), ("X", 3, 4)]),
        (BioesScheme, "strict", "B-X O E-X S-X", [("X", 3, 4)]),
        (IoScheme, "lenient", "I-X I-X I-Y O", [("X", 0, 2), ("Y", 2, 3)]),
        (Iob1Scheme, "lenient", "I-X I-X B-X O", [("X", 0, 2), ("X", 2, 3)]),
    ],
)
def test_what_the_docs_say_of_readings(
    kind: type[TagScheme], reading: str, names: str, entities: list[tuple[str, int, int]]
) -> None:
    scheme = kind(LABELS, reading)  # type: ignore[arg-type]
    assert places(scheme.decode(np.array([scheme.tags.index(name) for name in names.split()]))) == entities


def test_the_strict_reading_of_io_is_the_lenient_one() -> None:
    tags = np.random.default_rng(0).integers(0, 3, 500)
    assert IoScheme(LABELS, "strict").decode(tags) == IoScheme(LABELS).decode(tags)


@pytest.mark.parametrize("kind", STRICT)
def test_unknown_tags_are_read_as_outside(kind: type[TagScheme]) -> None:
    scheme = kind(LABELS)
    tags = scheme.encode([UnitSpan.of("X", 1, 4)], 6)
    unknown, outside = tags.copy(), tags.copy()
    unknown[[0, 2]], outside[[0, 2]] = -1, 0
    assert scheme.decode(unknown) == scheme.decode(outside)


@pytest.mark.parametrize("kind", STRICT)
def test_legal_is_what_strict_reads_and_can_write(kind: type[TagScheme]) -> None:
    """Every legal sequence is what its entities are written as, and no other sequence is."""
    scheme = kind(["X"], "strict")
    size = len(scheme.tags)
    for number in range(size**4):
        tags = np.array([number // size**i % size for i in range(4)])
        assert scheme.allows(tags) == np.array_equal(scheme.encode(scheme.decode(tags), 4), tags)


@pytest.mark.parametrize("kind", STRICT)
def test_a_discontinuous_entity_is_refused(kind: type[TagScheme]) -> None:
    with pytest.raises(ValueError, match="label_scheme=span"):
        kind(LABELS).encode([UnitSpan("X", ((0, 1), (2, 3)))], 4)


@pytest.mark.parametrize("kind", [*STRICT, SpanScheme])
@pytest.mark.parametrize(("labels", "message"), [(["X", ""], "empty"), (["X", "Y", "X"], "2 times"), ([], "no labels")])
def test_labels_that_make_no_scheme_are_refused(kind: type[TagScheme], labels: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(labels)


def test_o_is_no_label_of_a_scheme_of_tags() -> None:
    with pytest.raises(ConfigError, match="'O'"):
        BioSchemeConfig().build(["X", "O"])
    assert SpanScheme(["O"]).labels == ("O",)


def test_a_span_scheme_keeps_each_entity_once_with_its_segments() -> None:
    apart, whole = UnitSpan("X", ((0, 1), (2, 3))), UnitSpan.of("X", 0, 3)
    scheme = SpanScheme(LABELS)
    assert scheme.decode(scheme.encode([whole, apart, whole], 3)) == [apart, whole]


def test_real_entities_come_back(corpora: Path) -> None:
    read = 0
    with (corpora / "ncbi_disease" / "dev.jsonl").open() as lines:
        for line in lines:
            document = Document.from_json(json.loads(line))
            starts = {token.spans[0].start: i for i, token in enumerate(document.tokens)}
            ends = {token.spans[0].end: i + 1 for i, token in enumerate(document.tokens)}
            spans = [
                UnitSpan.of("Disease", starts[entity.spans[0].start], ends[entity.spans[0].end])
                for entity in document.get_layer("Disease")
            ]
            for kind in (BioScheme, Iob1Scheme, BioesScheme, BilouScheme):
                scheme = kind(["Disease"])
                assert scheme.decode(scheme.encode(spans, len(document.tokens))) == sorted(spans, key=lambda s: s.start)
            read += len(spans)
    assert read == 787


def test_neither_schemes_nor_options_of_heads_import_torch() -> None:
    modules = "papermage_schemes.bio, papermage_schemes.span, papermage_heads.crf.plugin, papermage_heads.span.plugin"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
