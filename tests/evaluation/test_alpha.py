"""Krippendorff's alpha, against the examples that he works out by hand and the definition over pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from papermage_core.evaluation import Alpha, krippendorff_alpha

BINARY = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
NOMINAL = ["aabbdcccedda", "babbbccceddd"]
FOUR = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]


def numbers(rows: list[str]) -> list[list[int]]:
    return [[-1 if sign == "." else ord(sign) - ord("0") for sign in row] for row in rows]


@pytest.mark.parametrize(("values", "expected"), [(BINARY, 0.095), (numbers(NOMINAL), 0.692), (numbers(FOUR), 0.743)])
def test_examples_of_the_literature(values: list[list[int]], expected: float) -> None:
    """Krippendorff 2011, Computing Krippendorff's Alpha-Reliability: its examples A, B and C (nominal)."""
    found = krippendorff_alpha(values)
    assert found is not None
    assert round(found, 3) == expected


def by_pairs(values: np.ndarray) -> float | None:
    """Alpha by its definition: the mean difference within units over that of all pairable values."""
    units = [[v for v in column if v >= 0] for column in values.T.tolist()]
    units = [unit for unit in units if len(unit) > 1]
    everything = [v for unit in units for v in unit]
    n = len(everything)
    within = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    all_pairs = sum(a != b for a, b in itertools.permutations(everything, 2))
    return 1 - (within / n) / (all_pairs / (n * (n - 1))) if all_pairs else None


@given(arrays(np.int64, st.tuples(st.integers(2, 4), st.integers(1, 8)), elements=st.integers(-1, 3)))
def test_it_is_what_its_definition_says(values: np.ndarray) -> None:
    assert krippendorff_alpha(values) == pytest.approx(by_pairs(values))


@given(arrays(np.int64, (3, 9), elements=st.integers(-1, 2)), st.integers(0, 9))
def test_documents_are_counted_one_after_the_other(values: np.ndarray, cut: int) -> None:
    found = Alpha()
    for part in (values[:, :cut], values[:, cut:]):
        found.add(part)
    assert found.value == pytest.approx(krippendorff_alpha(values))
