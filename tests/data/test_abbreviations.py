"""Which abbreviations a text defines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data.abbreviations import long_forms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the heat shock transcription factor ( HSF ) binds", {"HSF": "heat shock transcription factor"}),
        ("the heat shock factor (HSF) binds", {"HSF": "heat shock factor"}),
        ("heat shock factor [ HSF ; see below ]", {"HSF": "heat shock factor"}),
        ("heat shock factor ( HSF , 3 )", {"HSF": "heat shock factor"}),
        ("HSF ( heat shock factor ) binds", {"HSF": "heat shock factor"}),
        ("HSF (heat shock factor) binds", {"HSF": "heat shock factor"}),
        ("IL-2 ( interleukin-2 )", {"IL-2": "interleukin-2"}),
        ("tolerance induction ( TI ) and tumor index ( TI )", {"TI": "tolerance induction"}),
        ("gene expression in Chinese hamster ovary cells ( CHO )", {"CHO": "Chinese hamster ovary cells"}),
        # none of these is a definition
        ("as we saw ( Figure 3 )", {}),
        ("( HSF )", {}),
        ("it rained . HSF ( HSF )", {}),
        ("shock . factor ( HSF )", {}),
        ("many words ( of them )", {}),
        ("shock factor HSF", {}),
        ("heat shock factor ( HSF", {}),
        ("( )", {}),
        ("AB ( (AB a big b) )", {}),
        ("", {}),
    ],
)
def test_definitions_are_found_by_letters_in_order(text, found):
    assert {short: " ".join(long) for short, long in long_forms(text.split()).items()} == found


def test_a_long_form_is_not_looked_for_too_far_back():
    far = "heat in the very far and most distant shock of a factor ( HSF )"
    assert long_forms(far.split()) == {}


def is_cut_from(word: str, unit: str) -> bool:
    return word in (unit, unit.lstrip("(["), unit.rstrip(")];,"), unit.strip("([)];,"))


@given(st.lists(st.sampled_from(["(", ")", "(AB)", "[", ",", ".", "Ab", "AB", "a", "big", "İ", "", "b", "ABC", "-"])))
def test_whatever_the_words_a_long_form_has_the_letters_and_is_of_the_text(words):
    for short, long in long_forms(words).items():
        letters = iter("".join(long).lower())
        assert all(letter in letters for letter in short.lower() if letter.isalnum())
        filled = [word for word in words if word]
        windows = (filled[at : at + len(long)] for at in range(len(filled) - len(long) + 1))
        assert any(all(map(is_cut_from, long, window)) for window in windows)
        assert len("".join(long)) > len(short)
