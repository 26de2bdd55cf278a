"""Rows and blocks from boxes or text; words over line breaks."""

from __future__ import annotations

import numpy as np
import pytest

from papermage_core import Box, Document, Entity, Span
from papermage_core.data.readers import read_documents
from papermage_processors.blocks import BlocksConfig
from papermage_processors.rows import RowsConfig
from papermage_processors.tokens import TokensConfig
from papermage_processors.words import WordsConfig


def made(config, document: Document) -> list[Entity]:
    list(config.build().process([document]))
    return list(document.get_layer(config.makes[0]))


def page(*words: tuple[str, float, float] | tuple[str, float, float, float] | tuple[str, float, float, float, int]):
    """A document of words at left, top, of a height, on a page."""
    document = Document(" ".join(word[0] for word in words))
    tokens, at = [], 0
    for text, left, top, *more in words:
        height, number = (*more, *(0.01, 0)[len(more) :])
        box = Box(left, top, 0.01 * len(text), height, number)
        tokens.append(Entity(spans=[Span(at, at + len(text))], boxes=[box]))
        at += len(text) + 1
    document.annotate_layer("tokens", tokens)
    return document


def test_rows_are_of_words_beside_each_other():
    document = page(
        ("one", 0.1, 0.1), ("two", 0.14, 0.1), ("x", 0.18, 0.1), ("2", 0.19, 0.097, 0.006), ("y", 0.2, 0.1),
        ("three", 0.1, 0.112), ("four", 0.16, 0.112), ("column", 0.6, 0.112), ("next", 0.1, 0.112, 0.01, 1),
    )  # fmt: skip
    rows = made(RowsConfig(), document)
    assert [row.text for row in rows] == ["one two x 2 y", "three four", "column", "next"]
    assert rows[0].boxes[0].xy_coordinates == pytest.approx([0.1, 0.097, 0.21, 0.11])
    assert [row.boxes[0].page for row in rows] == [0, 0, 0, 1]


def test_blocks_are_of_rows_close_below_each_other():
    document = page(
        ("Title", 0.1, 0.05, 0.03), ("first", 0.1, 0.1), ("second", 0.1, 0.112), ("third", 0.1, 0.124),
        ("apart", 0.1, 0.16), ("column", 0.6, 0.1), ("below", 0.6, 0.112), ("next", 0.6, 0.124, 0.01, 1),
    )  # fmt: skip
    assert [block.text for block in made(BlocksConfig(), document)] == [
        "Title", "first second third", "apart", "column below", "next",
    ]  # fmt: skip


def test_what_is_written_with_wide_lines_is_one_block():
    document = page(*((f"line{n}", 0.1, 0.1 + 0.022 * n) for n in range(8)), ("apart", 0.1, 0.35))
    assert [len(block.text.split()) for block in made(BlocksConfig(), document)] == [8, 1]


def test_without_boxes_rows_are_lines_and_blocks_paragraphs():
    text = "A title \n\n  First line\nsecond line.\n \nThe end"
    assert [e.text for e in made(RowsConfig(), Document(text))] == ["A title", "First line", "second line.", "The end"]
    spans = [e.spans[0] for e in made(BlocksConfig(), Document(text))]
    assert [text[s.start : s.end] for s in spans] == ["A title", "First line\nsecond line.", "The end"]


def test_long_blanks_are_looked_through_once():
    """Looked at anew from each place, they took minutes."""
    document = Document("a\n" + " " * 100_000 + "\n\n b \n" + " " * 100_000)
    assert [row.text for row in made(RowsConfig(), document)] == ["a", "b"]
    assert [block.text for block in made(BlocksConfig(), document)] == ["a", "b"]


def test_rows_of_real_pages_are_those_of_its_file(corpora):
    (document,) = read_documents(corpora / "papermage_docs" / "2304.02623v1.json")
    gold = {*document.rows.span_arrays().stop.tolist()}
    document.remove_layer("rows")
    ours = {*(entity.spans[0].end for entity in made(RowsConfig(), document))}
    assert len(gold & ours) / len(gold) > 0.9


@pytest.mark.parametrize(
    ("text", "words", "spans"),
    [
        ("a substan-\ntially new", ["a", "substantially", "new"], [1, 2, 1]),
        ("the IL-\n2 gene of TNF-\nalpha", ["the", "IL", "-", "2", "gene", "of", "TNF-alpha"], [1, 1, 1, 1, 1, 1, 2]),
        ("self-\nmade or self-made", ["self-made", "or", "self-made"], [2, 1, 1]),
        ("co-\noperate, cooperate", ["cooperate", ",", "cooperate"], [2, 1, 1]),
        ("so\u00ad\nft hyphens", ["soft", "hyphens"], [2, 1]),
        ("in-\n  ter-\nnal", ["internal"], [3]),
        ("end -\nstart and 5-\n", ["end", "-", "start", "and", "5", "-"], [1] * 6),
    ],
)
def test_words_go_on_after_a_line_break(text, words, spans):
    found = made(WordsConfig(), Document(text))
    assert [word.text for word in found] == words
    assert [len(word.spans) for word in found] == spans
    assert all("\n" not in text[s.start : s.end] for word in found for s in word.spans)


def test_words_have_a_box_for_each_of_their_parts():
    document = page(("substan-", 0.8, 0.1), ("tially", 0.1, 0.12), ("new", 0.2, 0.12))
    document.symbols = document.symbols.replace("- ", "-\n")
    new, old = made(WordsConfig(), document)[::-1]
    assert [box.xy_coordinates for box in old.boxes] == [
        pytest.approx([0.8, 0.1, 0.88, 0.11]), pytest.approx([0.1, 0.12, 0.16, 0.13])
    ]  # fmt: skip
    assert len(new.boxes) == 1


def test_a_chain_of_processors_makes_its_layers_of_a_text_alone():
    document = Document("Cystic fibro-\nsis is rare.\nIt is known.")
    documents = TokensConfig(style="words").build().process([document])
    for config in (RowsConfig(), BlocksConfig(), WordsConfig()):
        documents = config.build().process(documents)
    (found,) = documents
    assert found is document
    assert [len(found.get_layer(name)) for name in ("tokens", "rows", "blocks", "words")] == [11, 3, 1, 9]
    assert np.all(found.tokens.span_arrays().stop <= len(found.symbols))
