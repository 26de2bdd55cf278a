"""Schemes of many labels: what may stand before what, without a table of all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from papermage_core.plugin import LabelScheme, UnitSpan
from papermage_schemes.bio import BioScheme
from papermage_schemes.bioes import BilouScheme, BioesScheme
from papermage_schemes.io import IoScheme
from papermage_schemes.iob1 import Iob1Scheme
from papermage_schemes.tagging import Pattern, TagScheme

MANY = [f"label {i}" for i in range(10_000)]


class ChangesLabel(BioScheme):
    """``I-X`` only after an entity of another label: patterns that no built-in scheme has."""

    follows = (Pattern("OBI", "OB"), Pattern("BI", "I", "different"), Pattern("B", "I", "same"))


KINDS: list[type[TagScheme]] = [BioScheme, IoScheme, Iob1Scheme, BioesScheme, BilouScheme, ChangesLabel]


def pairs_of(scheme: LabelScheme) -> set[tuple[int, int]]:
    number, sets = scheme.predecessors()
    return {(int(before), tag) for tag, index in enumerate(number) for before in sets[index]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_labels", [1, 2, 4])
def test_predecessors_are_the_pairs_that_the_patterns_allow(kind: type[TagScheme], n_labels: int) -> None:
    scheme = kind(MANY[:n_labels])
    allowed = {
        (i, j)
        for i, before in enumerate(scheme.tags)
        for j, here in enumerate(scheme.tags)
        for pattern in kind.follows
        if before[0] in pattern.first and here[0] in pattern.then
        if pattern.label == "any" or (pattern.label == "same") == (before[2:] == here[2:])
    }
    assert pairs_of(scheme) == allowed
    assert {(int(i), int(j)) for i, j in np.argwhere(scheme.transition_allowed)} == allowed
    assert pairs_of(scheme) == allowed  # now by way of the table
    for i, j in np.ndindex(scheme.transition_allowed.shape):
        tags = np.array([i, j])
        fits = scheme.start_allowed[i] and scheme.end_allowed[j] and (i, j) in allowed
        assert kind(MANY[:n_labels]).allows(tags) == scheme.allows(tags) == fits


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_a_subclass_changes_counts(kind: type[TagScheme]) -> None:
    scheme = kind(["X"])
    scheme.transition_allowed[0, 1] = False
    assert (0, 1) not in pairs_of(scheme)
    assert not scheme.allows(np.array([0, 1]))


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_ten_thousand_labels_need_no_table_of_all_pairs(kind: type[TagScheme]) -> None:
    scheme = kind(MANY)
    places = [(1, 4, "label 7"), (4, 5, "label 9999"), (6, 8, "label 0")]
    spans = [UnitSpan.of(label, start, stop) for start, stop, label in places]
    tags = scheme.encode(spans, 9)
    assert scheme.decode(tags) == spans
    assert scheme.allows(tags)
    assert scheme.has_legal_sequences()
    assert sum(map(len, scheme.predecessors()[1])) < 5 * len(scheme.tags)
    assert "transition_allowed" not in vars(scheme)


def test_a_scheme_that_stops_has_no_legal_sequences() -> None:
    scheme = BioScheme(["X"])
    assert scheme.has_legal_sequences()
    scheme.transition_allowed[:, 0] = scheme.transition_allowed[:, 1] = False  # after two units only I-X is left
    assert scheme.has_legal_sequences()
    scheme.end_allowed[2] = False
    assert not scheme.has_legal_sequences()
