"""Tables of a token a line: their columns, sentences and comments, and the text that they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain, repeat, zip_longest
from typing import Any

import attrs
import numpy as np

from papermage_core.errors import DataError
from papermage_formats.conll_blocks import Block
from papermage_formats.conll_columns import CONLLU, EMPTY, SPECIAL, guessed_names, known_columns
from papermage_formats.conll_rows import is_unusual, read_rows, split_columns
from papermage_formats.labelled import decode_text, gap
from papermage_formats.tags import is_tag

__all__ = ["Table"]

_UNUSUAL = ("\n ", "\n\t", "\n-DOCSTART-", "\n# global.columns")
"""Beginnings of lines that are neither empty nor comments nor tokens."""


@attrs.frozen
class Table:
    """Columns of a document's tokens."""

    columns: list[list[str]]
    line_of: Callable[[int], int]
    """The line of a token."""
    starts: list[int]
    """The first token of each sentence."""
    comments: list[tuple[int, str]]
    """The sentence that each comes before, or in, and its line."""
    stated: tuple[str, ...]
    """The names of the columns, if a comment, a header line or the kind of the file states them."""
    extras: dict[int, dict[str, Any]] = attrs.field(factory=dict)
    """Words and empty nodes of tokens of CoNLL-U."""

    @classmethod
    def of_plain(cls, text: str, block: Block) -> Table | None:
        """Return the table in a text of tokens, with comments only before sentences; None where it is not as plain."""
        comments = []
        if text.startswith("-DOCSTART-"):
            row, _, text = text.partition("\n")
            comments.append((0, row))
        text = "\n" + text.strip("\n")
        if len(text) == 1 or any(beginning in text for beginning in _UNUSUAL):
            return None
        sentences = list(filter(None, text[1:].split("\n\n")))
        if "\n#" in text:
            before = comments
            sentences, comments = _without_comments(sentences)
            comments = before + comments
        rows = "\n".join(sentences)
        row = rows[: rows.find("\n")] if "\n" in rows else rows
        separator = "\t" if "\t" in row else " "
        if not rows or "\n\n" in rows or rows[0] == "\n" or "\n#" in rows or (separator == " " and "\t" in rows):
            return None
        width = row.count(separator) + 1
        if is_unusual(row) or any(_is_token(each.split(separator), width) for _, each in comments):
            return None
        signs = np.frombuffer(rows.encode() + b"\n", np.uint8)
        # of the signs below a tab only NUL could be there
        marks = signs[signs <= ord("\n")] if separator == "\t" else signs[(signs == ord("\n")) | (signs == ord(" "))]
        if len(marks) % width:
            return None
        lines = marks.reshape(-1, width)
        if (lines[:, :-1] != ord(separator)).any() or (lines[:, -1] != ord("\n")).any():
            return None
        flat = rows.replace("\n", separator).split(separator)
        if separator == " " and "" in flat:
            return None
        columns = [flat[i::width] for i in range(width)]
        starts = np.cumsum([0, *(sentence.count("\n") + 1 for sentence in sentences[:-1])]).tolist()

        @cache
        def numbers() -> list[int]:
            given = decode_text(block.data, byte=block.byte).replace("\r\n", "\n").split("\n")
            return [i for i, row in enumerate(given, block.line) if row and not row.startswith(("-DOCSTART-", "#"))]

        return cls(columns, lambda token: numbers()[token], starts, comments, ())

    @classmethod
    def of(cls, text: str, block: Block, header: bool) -> Table:
        """Return the table in the text of a document. Raises DataError."""
        found = read_rows(text, block.line)
        stated = found.stated
        kept, lines, starts, comments = list[str](), list[int](), list[int](), list[tuple[int, str]]()
        begins = True
        for i, row in enumerate(found.rows):
            if not row or row[0] in "#- \t":
                if not row.strip(" \t"):
                    begins = True
                    continue
                if row.startswith("-DOCSTART-") or (row[0] == "#" and not _is_token(found.split(row), found.width)):
                    comments.append((len(starts) - (not begins), row))
                    if row.startswith("# global.columns"):
                        stated = tuple(row.partition("=")[2].lower().split())
                    continue
            if header:
                header, stated = False, tuple(name.lower() for name in found.split(row.strip()))
                continue
            if begins:
                starts.append(len(kept))
                begins = False
            kept.append(row)
            lines.append(found.lines[i])
        if not kept:
            raise DataError("there is no token", line=block.line, expected="a token a line")
        return cls(split_columns(kept, lines, found.separator), lines.__getitem__, starts, comments, stated)

    def names(self, given: Sequence[str], usual: Sequence[str] = ()) -> list[str]:
        """Return the names of the columns: those given, or what they seem to be. Raises DataError.

        ``usual`` are what more of the file seems to have: they count where they are as many, and there are tags.
        """
        if tuple(given) == ("conllu",):
            given = CONLLU
        if not given and "tag" in usual and len(usual) == len(self.columns):
            return list(usual)
        names = known_columns(given) or guessed_names(self.columns, self.starts)
        if len(names) != len(self.columns) or "token" not in names:
            raise DataError(
                f"has {len(self.columns)} columns; named were {len(names)}: {', '.join(names)}",
                line=self.line_of(0),
                expected="a name for each column, one of them token",
            )
        return names

    def column(self, names: Sequence[str], name: str) -> list[str]:
        """Return a column by name."""
        return self.columns[names.index(name)]

    def with_surface_tokens(self, names: Sequence[str]) -> Table:
        """Return the table with a row for what is written: words of a contraction and empty nodes are beside it."""
        numbers = self.column(names, "id") if "id" in names else []
        if not any("-" in number or "." in number for number in numbers):
            return self
        keep, extras, last = list[int](), dict[int, dict[str, Any]](), 0
        firsts = set(self.starts)
        columns = [list(column) for column in self.columns]
        for i, number in enumerate(numbers):
            last = 0 if i in firsts else last
            row = [column[i] for column in self.columns]
            if "." in number and keep:
                extras.setdefault(len(keep) - 1, {}).setdefault("empty_nodes", []).append(row)
            elif number.isdigit() and int(number) <= last:
                extras[len(keep) - 1].setdefault("words", []).append(row)
                for column, value, name in zip(columns, row, names, strict=True):
                    if name == "tag" and column[keep[-1]] in EMPTY:
                        column[keep[-1]] = value
            elif "." not in number:
                keep.append(i)
                if "-" in number:
                    last = int(number.partition("-")[2])
                    extras[len(keep) - 1] = {}
        starts = np.searchsorted(keep, self.starts).tolist()
        columns = [[column[i] for i in keep] for column in columns]
        return attrs.evolve(
            self, columns=columns, line_of=lambda i: self.line_of(keep[i]), starts=sorted(set(starts)), extras=extras
        )

    def text(self, names: Sequence[str], comments: list[list[str]]) -> tuple[str, Any]:
        """Return the text and where in it each token begins. Raises DataError."""
        tokens = self.column(names, "token")
        if "" in tokens:
            raise DataError("the token is empty", line=self.line_of(tokens.index("")), expected="a token a line")
        if "start" in names:
            return self._placed(tokens, self.column(names, "start"))
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        after = np.ones_like(lengths)  # what follows each token: a space, or after sentences a line end
        glued = set[int]()
        if "space" in names or "misc" in names:
            column = self.column(names, "space" if "space" in names else "misc")
            glued = {i for i, value in enumerate(column) if value == "-" or "SpaceAfter=No" in value.split("|")}
            after[list(glued)] = 0
        pieces = list[str]()
        for found, first, end in zip(comments, self.starts, [*self.starts[1:], len(tokens)], strict=True):
            words = tokens[first:end]
            for comment in found:
                text = comment[6:].strip() if comment.startswith("text =") else ""
                if text and (gaps := _between(text, words)) is not None:
                    after[first : end - 1] = gaps
                    pieces.append(text)
                    found.remove(comment)
                    break
            else:
                inner = (("" if i in glued else " ") for i in range(first, end - 1)) if glued else ()
                pieces.append(
                    "".join(chain.from_iterable(zip_longest(words, inner, fillvalue=""))) if glued else " ".join(words)
                )
            pieces.append("\n" if after[end - 1] else "")
        lengths += after
        return "".join(pieces[:-1]), np.cumsum(lengths) - lengths

    def _placed(self, tokens: list[str], starts: list[str]) -> tuple[str, Any]:
        pieces, at, firsts = list[str](), 0, set(self.starts)
        for i, (token, written) in enumerate(zip(tokens, starts, strict=True)):
            start = int(written) if re.fullmatch(r"\d{1,15}", written) else -1
            if start < at:
                raise DataError(
                    f"{token!r} begins at {written}, the token before it ends at {at}",
                    line=self.line_of(i),
                    value=written,
                )
            after = i in firsts and start > at > 0
            try:
                pieces += ["\n" if after else "", gap(start - at - after), token]
            except DataError as exc:
                raise exc.replace(line=self.line_of(i)) from exc
            at = start + len(token)
        return "".join(pieces), np.fromiter(map(int, starts), np.int64, len(starts))

    def metadata(self, names: Sequence[str]) -> list[dict[str, Any]] | dict[str, Sequence[Any]]:
        """Return what is known of each token."""
        own = [i for i, name in enumerate(names) if name not in SPECIAL and not set(self.columns[i]) <= set(EMPTY)]
        columns: dict[str, Sequence[Any]] = {names[i]: self.columns[i] for i in own}
        for key, column in columns.items():
            if "_" in column or "" in column:
                columns[key] = [None if value in EMPTY else value for value in column]
        if not self.extras:
            return columns
        values = zip(*columns.values(), strict=True) if columns else repeat((), len(self.columns[0]))
        found = [{key: v for key, v in zip(columns, row, strict=True) if v is not None} for row in values]
        for i, more in self.extras.items():
            found[i] |= more
        return found


def _without_comments(sentences: Iterable[str]) -> tuple[list[str], list[tuple[int, str]]]:
    """Return sentences without the comments before them, and these, each with the number of its sentence."""
    kept, comments = list[str](), list[tuple[int, str]]()
    for sentence in sentences:
        while sentence.startswith("#"):
            comment, _, sentence = sentence.partition("\n")
            comments.append((len(kept), comment))
        if sentence:
            kept.append(sentence)
    return kept, comments


def _is_token(row: list[str], width: int) -> bool:
    """Whether a line that begins with # is a token, not a comment: it has as many columns, and a tag or features."""
    return len(row) == width and (is_tag(row[-1]) or width > len(CONLLU))


def _between(text: str, tokens: list[str]) -> list[int] | None:
    """Return how long the white space between tokens is in a text that consists of them; None if it does not."""
    if text == " ".join(tokens):
        return [1] * (len(tokens) - 1)
    at, gaps = 0, list[int]()
    for token in tokens:
        start = text.find(token, at)
        if start < 0 or text[at:start].strip():
            return None
        gaps.append(start - at)
        at = start + len(token)
    return None if gaps[0] or text[at:].strip() else gaps[1:]
