"""Rows of tables of a token a line, whichever of the usual ways they are written in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import repeat

import attrs

from papermage_core.errors import DataError
from papermage_formats.conll_columns import CONLL_2012, are_surely_tags
from papermage_formats.tags import is_tag

__all__ = ["NO_COMMENTS", "Rows", "is_unusual", "read_rows", "split_columns"]

NO_COMMENTS = ("-DOCSTART-", "# end document", "#end document", "# global.columns")
"""Beginnings of lines that say something of the file."""
_ROW_OF_2012 = re.compile(
    r"(?:[^\s]+[ \t]+)(?:\d+[ \t]+){2}(?:\S+[ \t]+){2}\S*\*\S*[ \t]+(?:\S+[ \t]+){4}\(?\S*[*)]\S*[ \t]+\S.*"
)
_SPACED_CONLLU = re.compile(r"\d[\d.-]*(?: +\S+){8}[ \t]+\S+")
_SAMPLE = 20


@attrs.frozen
class Rows:
    """Lines of a document, each with the columns of a token, or none."""

    rows: Sequence[str]
    lines: Sequence[int]
    """The line in the file of each row."""
    separator: str
    """A tab, or a space where any number of spaces and tabs stands between columns."""
    width: int
    """How many columns most rows have."""
    stated: tuple[str, ...] = ()
    """The names of the columns, where the kind of the file says them."""

    def split(self, row: str) -> list[str]:
        """Return the columns of a row."""
        return row.split("\t") if self.separator == "\t" else re.split(r"[ \t]+", row)


def read_rows(text: str, line: int) -> Rows:
    """Return the rows of a text that begins at a line: of plain tables, OntoNotes, or sentences of ``token|tag``."""
    rows = text.split("\n")
    lines, sample = range(line, line + len(rows)), _sample(rows)
    if sample and (bars := _bars(sample[0])):
        pieces = [(piece, number) for row, number in zip(rows, lines, strict=True) for piece in _unpiped(row, bars)]
        return _read([row for row, _ in pieces], [number for _, number in pieces])
    if sample and all(map(_ROW_OF_2012.fullmatch, sample)) and not are_surely_tags([row.split()[-1] for row in sample]):
        return _read([_row_of_2012(row) for row in rows], lines, CONLL_2012)
    return _read(rows, lines)


def _read(rows: list[str], lines: Sequence[int], stated: tuple[str, ...] = ()) -> Rows:
    sample = _sample(rows)
    tabs = any("\t" in row for row in sample) and not all(map(_SPACED_CONLLU.fullmatch, sample))
    found = Rows(rows, lines, "\t" if tabs else " ", 0, stated)
    usual = Counter(len(found.split(row.rstrip(" "))) for row in sample).most_common(1)
    return attrs.evolve(found, width=usual[0][0] if usual else 0)


def _sample(rows: Sequence[str]) -> list[str]:
    """Return the first rows that are tokens."""
    plain = [row for row in rows if row.strip(" \t") and not row.startswith(("#", "-DOCSTART-"))][:_SAMPLE]
    return plain or [row for row in rows if row.startswith("#") and is_tag(row.rpartition("\t")[2])][:_SAMPLE]


def is_unusual(row: str) -> bool:
    """Whether the first row of a table shows that its columns are not simply set apart by a tab or a space."""
    return bool(_bars(row) or _ROW_OF_2012.fullmatch(row))


def split_columns(rows: list[str], lines: Sequence[int], separator: str) -> list[list[str]]:
    """Return the columns of rows that have as many each. Raises DataError for the first that differs."""
    if separator == " ":
        rows = [_respaced(row) if "  " in row or "\t" in row or " " in (row[0], row[-1]) else row for row in rows]
    counts = list(map(str.count, rows, repeat(separator)))
    if len(set(counts)) > 1:
        respaced = list(map(_respaced, rows))
        spaces = list(map(str.count, respaced, repeat(" ")))
        if len(set(spaces)) > 1:
            usual = Counter(counts).most_common(1)[0][0]
            odd = next(i for i, count in enumerate(counts) if count != usual)
            raise DataError(
                f"has {counts[odd] + 1} column{'s' * (counts[odd] > 0)}, other lines have {usual + 1}",
                line=lines[odd],
                value=rows[odd],
                expected=f"{usual + 1} columns",
            )
        rows, separator, counts = respaced, " ", spaces
    flat = separator.join(rows).split(separator)
    width = counts[0] + 1
    return [flat[i::width] for i in range(width)]


def _respaced(row: str) -> str:
    return re.sub("[ \t]+", " ", row.strip(" \t"))


def _row_of_2012(row: str) -> str:
    """Return a line of OntoNotes with the arguments, of which sentences have various numbers, in one column."""
    if not row.strip() or row.startswith("#"):
        return row
    cells = row.split()
    return "\t".join([*cells[:11], " ".join(cells[11:-1]) or "_", *cells[-1:]])


def _bars(row: str) -> int:
    """Return how many bars each piece of a line has, if it is a sentence such as ``the|DT|O cat|NN|B-X``."""
    counts = {piece.count("|") for piece in row.split(" ") if piece.strip("|")}
    return counts.pop() if len(counts) == 1 and "\t" not in row and counts <= {1, 2} and row.count(" ") else 0


def _unpiped(row: str, bars: int) -> list[str]:
    return [*("\t".join(piece.rsplit("|", bars)) for piece in row.split()), ""]
