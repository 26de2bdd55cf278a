"""The reader ``token_table``: CSV and other tables of a token a row, as pandas and spreadsheets write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from papermage_core.document import ROW_COLUMNS, Document
from papermage_core.errors import DataError, nearest
from papermage_core.plugin import DocumentReaderConfig, LocatedDocument, hookimpl, option
from papermage_formats.conll_columns import has_header
from papermage_formats.labelled import ENCODING, LABEL_LAYER, decode_text, make_document, opened_as_utf8, stem_of
from papermage_formats.records import read_records, told_after
from papermage_formats.tags import is_tag, tagged_stretches, unbracketed
from papermage_formats.tokenized import annotate_spans, annotate_stretches
from papermage_formats.unlike_tags import UnlikeTags

__all__ = ["TokenTableReader", "TokenTableReaderConfig"]

_NAMES = {
    "token": ("token", "tokens", "word", "words", "form"),
    "tag": ("tag", "tags", "ner", "ner_tag", "ner_tags", "label", "labels", "entity"),
    "sentence": ("sentence #", "sentence", "sentence_id", "sentence_idx", "sent_id", "sentence id", "sentence_number"),
    "document": ("document", "document_id", "doc_id", "doc"),
}
"""What the columns that count are called, in small letters."""
_DELIMITERS = ",\t;|"
_NO_KEY = re.compile(r"\W+")
_Row = tuple[int, list[str]]
"""Line and cells."""


@attrs.frozen(kw_only=True)
class TokenTableReaderConfig(DocumentReaderConfig):
    """Options of the reader ``token_table``."""

    shared_suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    compressed: ClassVar[bool] = True

    token: str = option("", help="the column of tokens; default: token, tokens, word, words or form")
    tag: str = option("", help="the column of tags; default: tag, tags, ner, ner_tag, label, labels or entity")
    sentence: str = option("", help="the column that tells sentences; default: Sentence #, sentence_id and their like")
    document_column: str = option("", help="the column that tells documents; default: document, document_id or doc_id")
    document: Literal["border", "sentence"] = option(
        "border", help="what is a document: the rows of one document_column, or the file without one; or each sentence"
    )
    delimiter: str = option("", help="what stands between cells; default: that of the first line")
    quotes: bool = option(True, help="cells may stand in quotation marks, as csv writes them; false: marks are tokens")
    encoding: str = option("", help=ENCODING)
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the first line names columns of tokens and tags, and tags are there; not what ``conll`` reads."""
        text = head.decode("utf-8", "replace").removeprefix("\ufeff")
        rows = text.splitlines(keepends=True)
        first, delimiter = _header(rows[0] if rows else "", cls())
        own = {key: i for key, i in _columns(first).items() if i is not None}
        if not {"token", "tag"} <= own.keys() or (delimiter == "\t" and has_header(text)):
            return False
        try:
            found = [row for row in csv.reader(rows[1:50], delimiter=delimiter) if any(row)][:-1]
        except csv.Error:
            return False
        return all(len(row) == len(first) and is_tag(row[own["tag"]].strip()) for row in found)

    def build(self) -> TokenTableReader:
        """Return a new reader."""
        return TokenTableReader(self)


@attrs.frozen
class _Table:
    """What the first row says of the columns: which they are, and the names of all, as keys of metadata."""

    names: list[str]
    token: int
    tag: int | None
    sentence: int | None
    document: int | None


class TokenTableReader:
    """Reads a token a row. A sentence goes on while its column says the same or nothing, and ends at an empty row.

    The text is the tokens with a space between them and a line end between sentences. Layers: ``tokens``, with other
    columns as metadata, ``sentences``, with what their column says as ``id``, and what the tags say.
    """

    def __init__(self, config: TokenTableReaderConfig) -> None:
        self.config = config

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Raises DataError with path and line."""
        unlike = UnlikeTags(path)
        documents = read_records(
            self._records(path), lambda given: self._document(*given, unlike), path, on_error, first, every
        )
        return told_after(documents, unlike.tell)

    def _records(self, path: Path) -> Iterator[tuple[int, None, tuple[str, _Table, list[list[_Row]]]]]:
        """Yield the sentences of each document, with its name, as they are read."""
        stem, number = stem_of(path), 0
        with opened_as_utf8(path, self.config.encoding) as file:
            rows = self._rows(file)
            table = self._table(next(rows, (1, []))[1])
            said: dict[int, str] = {}
            sentences: list[list[_Row]] = []
            begins = True
            for line, row in rows:
                if not any(cell.strip() for cell in row):
                    begins = True
                    continue
                changed = {
                    i: row[i].strip()
                    for i in (table.document, table.sentence)
                    if i is not None and i < len(row) and row[i].strip() not in ("", said.get(i))
                }
                borders = changed.keys() & {table.document} if self.config.document == "border" else changed or begins
                if sentences and borders:
                    number += 1
                    yield sentences[0][0][0], None, (self._name(stem, number, said, table), table, sentences)
                    sentences = []
                said |= changed
                if changed or begins or not sentences:
                    sentences.append([])
                sentences[-1].append((line, row))
                begins = False
            if not sentences and not number:
                raise DataError("there is no token", expected="a header, and a token a row")
            if sentences:
                name = self._name(stem, number + 1, said, table)
                yield sentences[0][0][0], None, (name, table, sentences)

    def _name(self, stem: str, number: int, said: dict[int, str], table: _Table) -> str:
        if table.document is not None and self.config.document == "border":
            return said.get(table.document) or stem
        return stem if self.config.document == "border" else f"{stem}-{number}"

    def _rows(self, file: Any) -> Iterator[_Row]:
        """Yield each row with the line that it begins in. Raises DataError."""
        lines = _lines(file)
        first = next(lines, "")
        delimiter = self.config.delimiter or _header(first, self.config)[1]
        try:
            rows = csv.reader(
                chain([first], lines),
                delimiter=delimiter,
                quoting=csv.QUOTE_MINIMAL if self.config.quotes else csv.QUOTE_NONE,
                strict=True,
            )
        except TypeError as exc:
            raise DataError(f"{delimiter!r} is no delimiter", expected="one character, such as ,") from exc
        line = 1
        while True:
            try:
                row = next(rows, None)
            except csv.Error as exc:
                hint = "; reader.quotes=false takes quotation marks for tokens" if self.config.quotes else ""
                raise DataError(f"is no row of a table: {exc}{hint}", line=line, expected="cells of CSV") from exc
            if row is None:
                return
            yield line, row
            line = rows.line_num + 1

    def _table(self, first: Sequence[str]) -> _Table:
        """Return what the first row says. Raises DataError."""
        names = [cell.strip() for cell in first]
        if not any(names):
            raise DataError("the first line is empty", line=1, expected="a header, and a token a row")
        if tuple(names) == tuple(ROW_COLUMNS):
            raise DataError(
                "is a table of entities, as writer=csv writes it, and has no texts to read: write documents as .jsonl",
                line=1,
                expected="a table of a token a row",
            )
        given = {"token": self.config.token, "tag": self.config.tag, "sentence": self.config.sentence}
        given["document"] = self.config.document_column
        found = _columns(names)
        for key, name in given.items():
            if name and name not in names:
                raise DataError(
                    f"there is no column {name!r}; there are: {_listed(names)}.{nearest(name, names)}",
                    line=1,
                    value=name,
                )
            found[key] = names.index(name) if name else found[key]
            same = [each for each in names if each.lower() in _NAMES[key]]
            if not name and len(same) > 1:
                option_ = "document_column" if key == "document" else key
                raise DataError(f"which column is it: {_listed(same)}? type reader.{option_}=NAME", line=1, value=same)
        if found["token"] is None:
            raise DataError(
                f"the first line names no column of tokens, but: {_listed(names)}; type reader.token=NAME",
                line=1,
                expected="a header with a column such as token or word",
            )
        if twice := next((name for name in names if name and names.count(name) > 1), ""):
            raise DataError(f"two columns are called {twice!r}", line=1, value=twice)
        return _Table([_NO_KEY.sub("_", name.lower()).strip("_") for name in names], **found)  # type: ignore[arg-type]

    def _document(self, name: str, table: _Table, sentences: list[list[_Row]], unlike: UnlikeTags) -> Document:
        rows = [row for sentence in sentences for row in sentence]
        lines = [line for line, _ in rows]
        width = len(table.names)
        for line, row in rows:
            if len(row) != width:
                raise DataError(f"has {len(row)} cells, and the first line {width}", line=line, value=row)
            if not row[table.token].strip():
                raise DataError("the token is empty", line=line, value=row, expected="a token a row")
        columns = [[cell.strip() for cell in column] for column in zip(*(row for _, row in rows), strict=True)]
        tokens, tags = columns[table.token], [] if table.tag is None else columns[table.tag]
        _check_cells(tokens, tags, lines[0])
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        start = np.cumsum(lengths + 1) - lengths - 1
        ends = np.cumsum([len(sentence) for sentence in sentences])
        starts = [0, *ends[:-1].tolist()]
        spans = zip(starts, ends.tolist(), strict=True)
        document = make_document("\n".join(" ".join(tokens[a:b]) for a, b in spans), {"doc_id": name})
        others = set(range(width)) - {table.token, table.tag, table.sentence, table.document}
        known = {
            table.names[i]: [value or None for value in columns[i]]
            for i in sorted(others)
            if table.names[i] and any(columns[i])
        }
        annotate_spans(document, "tokens", start, start + lengths, known)
        ids = None if table.sentence is None else [columns[table.sentence][at] or None for at in starts]
        annotate_spans(document, "sentences", start[starts], (start + lengths)[ends - 1], {"id": ids} if ids else None)
        if tags:
            own = unbracketed(tags)
            unlike.look(own, lambda i: f"line {lines[i]}")
            stretches = tagged_stretches(own, starts)
            annotate_stretches(document, stretches, start, start + lengths, self.config.label_layer)
        return document


def _check_cells(tokens: Sequence[str], tags: Sequence[str], line: int) -> None:
    """Raise DataError for cells that hold lists, and for tags that are numbers."""
    if tags and all(cell[0] == "[" and cell[-1:] == "]" and len(cell) > 2 for cell in (tokens[0], tags[0] or "-")):
        raise DataError(
            "the cells hold lists, of which CSV has none: write the table as JSON or Parquet, for reader=hf_table",
            line=line,
            value=tokens[0],
            expected="a token a row",
        )
    if tags and all(map(str.isdecimal, tags)):
        raise DataError(
            "the tags are numbers, and nothing says what they mean: write their names", line=line, value=tags[0]
        )


def _columns(names: Sequence[str]) -> dict[str, int | None]:
    """Return which columns have the names that count; the first of several."""
    small = [name.strip().lower() for name in names]
    return {key: next((i for i, name in enumerate(small) if name in own), None) for key, own in _NAMES.items()}


def _header(line: str, config: TokenTableReaderConfig) -> tuple[list[str], str]:
    """Return the names in a first line, and what divides them: what makes known ones of them, or the most."""
    given = config.delimiter or _DELIMITERS

    def cells(delimiter: str) -> list[str]:
        try:
            return next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])
        except (csv.Error, TypeError):
            return []

    found = [(cells(delimiter), delimiter) for delimiter in (given if len(given) > 1 else [given])]
    return max(found, key=lambda each: (_columns(each[0])["token"] is not None, len(each[0])))


def _lines(file: Any) -> Iterator[str]:
    byte = 0
    for number, line in enumerate(file, 1):
        yield decode_text(line, line=number, byte=byte)
        byte += len(line)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, islice(names, 20))) or "none"


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return TokenTableReaderConfig
