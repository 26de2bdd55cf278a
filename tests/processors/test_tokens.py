"""Tokens are what a character-by-character reading of the rules gives, and they are where they say."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_processors.tokens import TokensConfig

STYLES = ("punctuation", "words", "grobid")
SAMPLES = "ab1 .,-'()_%\0\n\t\u00a0\u2028\u0301\u200b\u200d\u00ad\u2019\u4e2d\u0660\U0001f9ec\U0001f3fd"
TRICKY = st.text(st.one_of(st.sampled_from(SAMPLES), st.characters(exclude_categories=("Cs",))))


def cut(text: str, style: str) -> list[str]:
    (document,) = TokensConfig(style=style).build().process([Document(text)])
    spans = document.tokens.span_arrays()
    return [text[start:stop] for start, stop in zip(spans.start.tolist(), spans.stop.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("text", "punctuation", "words", "grobid"),
    [
        ("IL-2 rose 3.5%.", "IL - 2 rose 3 . 5 % .", "IL-2 rose 3.5 % .", "IL - 2 rose 3 . 5% ."),
        ("isn\u2019t, o'c 'x'", "isn \u2019 t , o ' c ' x '", "isn\u2019t , o'c ' x '", "isn \u2019 t , o ' c ' x '"),
        ("e.g. 1,000 a..b", "e . g . 1 , 000 a . . b", "e.g. 1,000 a . . b", "e . g . 1 , 000 a . . b"),
        ("(Smith, 2010)", "( Smith , 2010 )", "( Smith , 2010 )", "( Smith , 2010 )"),
        ("α-β ≥5\u00b0C x=1", "α - β ≥ 5 \u00b0 C x = 1", "α-β ≥ 5 \u00b0 C x = 1", "α - β ≥5\u00b0C x=1"),
        ("-x- a,b 1,a", "- x - a , b 1 , a", "- x - a , b 1 , a", "- x - a , b 1 , a"),
        ("e\u0301te\u0301 co\u00adop", *["e\u0301te\u0301 co\u00adop"] * 3),
        ("中文 a中", "中 文 a 中", "中 文 a 中", "中文 a中"),
        ("\U0001f9ecx", "\U0001f9ec x", "\U0001f9ec x", "\U0001f9ecx"),
        ("\U0001f44d\U0001f3fd", *["\U0001f44d\U0001f3fd"] * 3),
    ],
)
def test_each_style_cuts_where_it_says(text, punctuation, words, grobid):
    assert cut(text, "punctuation") == punctuation.split(" ")
    assert cut(text, "words") == words.split(" ")
    assert cut(text, "grobid") == grobid.split(" ")


def blank(char: str) -> bool:
    return (
        char.isspace()
        or unicodedata.category(char) == "Cc"
        or char in "\u200b\ufeff\u200e\u200f\u061c"
        or ("\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" or "\ufff9" <= char <= "\ufffb")
    )


def slowly(text: str) -> list[str]:
    """The style ``punctuation``, one character after the other."""
    tokens: list[str] = []
    before = "blank"
    for char in text:
        mark = unicodedata.category(char) in ("Mn", "Me", "Mc", "Cf") or "\U0001f3fb" <= char <= "\U0001f3ff"
        chinese = "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\U00020000" <= char <= "\U0003ffff"
        if blank(char):
            before = "blank"
        elif mark and before != "blank":
            tokens[-1] += char
        elif not mark and (char.isalnum() or char == "_") and not chinese:
            if before == "word":
                tokens[-1] += char
            else:
                tokens.append(char)
            before = "word"
        else:
            tokens.append(char)
            before = "sign"
    return tokens


@given(TRICKY.filter(bool))
def test_punctuation_is_what_one_character_after_the_other_gives(text):
    assert cut(text, "punctuation") == slowly(text)


@pytest.mark.parametrize("style", STYLES)
@given(text=TRICKY.filter(bool))
def test_tokens_hold_all_that_is_seen_in_order_and_nothing_else(style, text):
    assert "".join(cut(text, style)) == "".join(char for char in text if not blank(char))


@given(TRICKY.filter(bool))
def test_the_words_are_made_of_whole_tokens_of_the_finer_style(text):
    def ends(style):
        (document,) = TokensConfig(style=style).build().process([Document(text)])
        spans = document.tokens.span_arrays()
        return {*spans.start.tolist()}, {*spans.stop.tolist()}

    (starts, stops), (fine_starts, fine_stops) = ends("words"), ends("punctuation")
    assert starts <= fine_starts
    assert stops <= fine_stops
