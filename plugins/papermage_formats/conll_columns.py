"""Columns of tables of a token a line: the names they have, and what they seem to be where nobody says."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Sequence

from papermage_formats.tags import is_tag

__all__ = [
    "CONLLU",
    "CONLL_2012",
    "EMPTY",
    "SPECIAL",
    "are_divided_by_commas",
    "are_surely_tags",
    "guessed_names",
    "has_header",
    "known_columns",
]

CONLLU = ("id", "token", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLL_2012 = (
    "_", "_", "id", "token", "pos", "parse", "lemma", "frameset", "sense", "speaker", "tag", "arguments", "coreference"
)  # fmt: skip
"""Columns of OntoNotes; arguments are as many as a sentence has predicates."""
_NAMES = {
    **dict.fromkeys(("form", "word", "words", "text", "tokens"), "token"),
    **dict.fromkeys(("ner", "tags", "label", "labels", "ner_tag", "ner_tags", "entity"), "tag"),
}
_OF_HEADERS = frozenset({*_NAMES, "token", "tag", "pos", "chunk", "lemma", "id", "start", "end"})
SPECIAL = frozenset({"id", "token", "tag", "start", "end", "space", "_"})
"""Columns that are no metadata of tokens."""
EMPTY = ("_", "")
"""What stands for no value."""


def known_columns(names: Iterable[str]) -> list[str]:
    """Return the names of columns with those that mean the same as one of ours replaced by it."""
    return [_NAMES.get(name.lower(), name) for name in names]


def has_header(text: str) -> bool:
    """Whether the first line with columns names them, one of them tokens and one tags."""
    row = next((row for row in text.split("\n", 20) if row.strip() and not row.startswith(("#", "-DOCSTART-"))), "")
    names = [name.lower() for name in row.split()]
    return {*_OF_HEADERS} >= {*names} and {"token", "tag"} <= {*known_columns(names)}


def are_divided_by_commas(text: str) -> bool:
    """Whether lines are those of a table with commas, or semicolons, and tags at their ends.

    >>> are_divided_by_commas("Word,Tag\\na,B-X\\n"), are_divided_by_commas("Word Tag\\n1,5 B-X\\n")
    (True, False)
    """
    begin = [row for row in text.split("\n", 50)[:50] if row.strip() and not row.startswith(("#", "-DOCSTART-"))]
    if len(begin) < 2 or any("\t" in row for row in begin):
        return False
    for delimiter in ",;":
        try:
            rows = list(csv.reader(begin, delimiter=delimiter))
        except csv.Error:  # of a field that is too long
            return False
        if len(rows[0]) > 1 and {*map(len, rows)} == {len(rows[0])} and all(is_tag(row[-1]) for row in rows[1:]):
            return True
    return False


def guessed_names(columns: Sequence[Sequence[str]], starts: Collection[int]) -> list[str]:
    """Return what columns seem to be. ``starts`` are the first tokens of sentences."""
    width = len(columns)
    while width > 1 and not any(columns[width - 1]):
        width -= 1
    return [*_guessed(columns[:width], starts), *["_"] * (len(columns) - width)]


def _guessed(columns: Sequence[Sequence[str]], starts: Collection[int]) -> list[str]:
    width = len(columns)
    numbered = width > 2 and _are_numbers(columns[0], starts)
    if numbered and width == len(CONLLU):
        return list(CONLLU)
    if width == 2 and are_surely_tags(columns[0]) and not _are_tags(columns[1]):
        return ["tag", "token"]
    before = ["id", "token"] if numbered else ["token"]
    if width > 4 and not numbered and all(map(str.isdecimal, columns[1])) and _are_numbers(columns[2], starts):
        before = ["_", "_", "id", "token"]  # document and part, as in OntoNotes
    rest = columns[len(before) :]
    after = ["space"] if len(rest) > 1 and set(rest[-1]) <= {"+", "-"} else []
    rest = rest[: len(rest) - len(after)]
    if rest and _are_tags(rest[-1]):
        after, rest = ["tag", *after], rest[:-1]
    return [*before, *_guessed_between(rest, tagged="tag" in after, numbered=numbered), *after]


def _guessed_between(columns: Sequence[Sequence[str]], *, tagged: bool, numbered: bool) -> list[str]:
    """Return what columns seem to be between tokens and tags, if there are tags."""
    if tagged and numbered and len(columns) == 1 and all(map(is_tag, columns[0])):
        return ["tag"]  # outer and inner entities
    if len(columns) == 2 and all(all(map(str.isdecimal, column)) for column in columns):
        return ["start", "end"]
    if tagged and len(columns) <= 2:
        return ["pos", "chunk"][: len(columns)]
    return [f"f{i + 1}" for i in range(len(columns))]


def _are_numbers(column: Sequence[str], starts: Iterable[int]) -> bool:
    """Whether a column counts the tokens of each sentence."""
    return all(re.fullmatch(r"[01]([-.]\d+)?", column[start]) for start in starts) and all(
        number[:1].isdigit() for number in column
    )


def _are_tags(column: Iterable[str]) -> bool:
    """Whether a column holds tags, or labels among which there is O."""
    values = set(column)
    return all(map(is_tag, values)) or ("O" in values and len(values) < 100)


def are_surely_tags(column: Sequence[str]) -> bool:
    """Whether a column holds tags, and nothing else can be meant: words that all look like tags are none."""
    values = set(column)
    return all(map(is_tag, values)) and (any("-" in value for value in values) or (len(column) > 1 and values == {"O"}))
