"""Sentences of scientific prose."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data.readers import read_documents
from papermage_processors.splitting import sentence_spans


def split(text: str) -> list[str]:
    return [text[start:stop] for start, stop in sentence_spans(text)]


@pytest.mark.parametrize(
    "text",
    [
        "As shown by Smith et al. (2010). | It holds.",
        "Smith et al. The result holds.".replace("al. ", "al. | "),
        "See Fig. 3 and Figs. 4A and S2. | Eq. 2 (cf. Ref. 7) follows.",
        "It fell to 3.5 mM at 37.5 C. | The rest is in Table 2. | No. 5 is not.",
        "J. R. R. Smith, A. B. Jones and E. coli K-12 were there. | We thank them.",
        "E. coli, S. cerevisiae, e.g. yeast, i.e. fungi, vs. plants. | They grew.",
        "The p-value was low (p < 0.05; see Methods. No change). | Then p53 fell. | mRNA rose.",
        "Was it so? | No! | \"Yes.\" | (It was.) | Then it ended.",
        "Results\n\nIt is so. | α-tubulin is not.".replace("\n\n", "\n\n | "),
        "Dr. Brown and Prof. White work at Acme Inc. in the U.S. and elsewhere. | They do.",
        "A line\nbreak does not end it. | This\ndoes.",
        "One page\fanother page".replace("\f", "\f | "),
        "Tokens are apart . | So is this one .",
        "这是一句。 | 这是另一句。",
        "Citations follow it.[12] So it goes on.",
    ],
)  # fmt: skip
def test_a_sentence_ends_where_a_reader_ends_it(text):
    wanted = [part.strip() for part in text.split("|")]
    assert split(text.replace(" | ", " ").replace("| ", "")) == wanted


ODD = st.one_of(st.sampled_from(".?! \n\f\"'()[]aZ1,\u2026\u3002"), st.characters(exclude_categories=("Cs",)))


@given(st.text(ODD))
def test_sentences_hold_all_of_the_text_but_white_space_in_order(text):
    spans = list(sentence_spans(text))
    assert all(text[start:stop].strip() == text[start:stop] != "" for start, stop in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert "".join("".join(split(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "Contents " + "." * 100_000 + "5 x",
        "By " + "A. Smith, " * 30_000,
        "a" + " " * 100_000 + "(A. B.",
        "x" * 9999 + " A. B",
    ],
)
def test_long_lists_of_names_and_rows_of_points_are_looked_through_once(text):
    """Looked at anew from each place, such texts took minutes and hours."""
    assert "".join("".join(split(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(("file", "flat"), [("craft/dev.jsonl", False), ("ncbi_disease/dev.jsonl", True)])
def test_sentences_end_where_people_ended_them(file, flat, corpora):
    right = found = wanted = 0
    for document in read_documents(corpora / file):
        gold = {*document.sentences.span_arrays().stop.tolist()}
        text = document.symbols.replace("\n", " ") if flat else document.symbols  # there, a line is a sentence
        ours = {stop for _, stop in sentence_spans(text)}
        gold.discard(max(gold))  # the end of the text is no find
        ours.discard(max(ours))
        right += len(gold & ours)
        found += len(ours)
        wanted += len(gold)
    assert right / found > 0.99
    assert right / wanted > 0.99
