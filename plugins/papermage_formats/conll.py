"""The reader and the writer ``conll``: tables of a token a line, with tags, in all their dialects."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import attrs
import numpy as np

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.conll_blocks import Block, iter_blocks
from papermage_formats.conll_columns import are_divided_by_commas, has_header
from papermage_formats.conll_rows import NO_COMMENTS
from papermage_formats.conll_table import Table
from papermage_formats.conll_writer import ConllWriter
from papermage_formats.labelled import ENCODING, LABEL_LAYER, LAYERS, decode_text, make_document
from papermage_formats.records import read_records, told_after
from papermage_formats.tags import is_tag, tagged_stretches, unbracketed
from papermage_formats.tokenized import annotate_spans, annotate_stretches
from papermage_formats.unlike_tags import UnlikeTags

__all__ = ["ConllReader", "ConllReaderConfig", "ConllWriter", "ConllWriterConfig"]

T = TypeVar("T")
_SAMPLE = 1 << 14
"""Bytes of a file that tell which columns it has."""
_ID = re.compile(
    r"#\s*(?:newdoc\s+id|newdoc_id|doc_id)\s*=\s*(.+)|-DOCSTART-\s+\((.+)\)|#\s*begin document\s+\(?([^\s;)]+)\)?"
    r"(?:;\s*part\s+0*(\d*))?.*"
)
"""What states the id of a document."""
_AFTER_TAGS = re.compile(r"(\t(?:O|[BIESULM]-\S+)) +$", re.MULTILINE)
"""Spaces at the end of a line, after a tag: they are no part of it."""


@attrs.frozen(kw_only=True)
class ConllReaderConfig(DocumentReaderConfig):
    """Options of the reader ``conll``."""

    suffixes: ClassVar[tuple[str, ...]] = (
        ".conll",
        ".conllu",
        ".conllup",
        ".conll2003",
        ".bio",
        ".iob",
        ".iob2",
        ".bioes",
        ".header",
        ".segmentation",
        ".referencesegmenter",
        ".fulltext",
        ".figure",
        ".table",
    )
    shared_suffixes: ClassVar[tuple[str, ...]] = (".tsv", ".train", ".dev", ".test", ".crf")
    compressed: ClassVar[bool] = True

    columns: tuple[str, ...] = option(
        (), help="names of the columns, such as token,pos,chunk,tag, or conllu; default: guessed; _ passes one over"
    )
    header: bool = option(False, help="the first line names the columns and holds no token")
    document: Literal["border", "sentence"] = option(
        "border", help="what is a document: what -DOCSTART- and its like divide, or each sentence"
    )
    encoding: str = option("", help=ENCODING)
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the last column holds tags."""
        text = head.decode("utf-8", "replace").removeprefix("\ufeff")
        rows = [row.split() for row in text.splitlines()[:-1][:50] if row.strip()]
        tags = [row[-1] for row in rows if not row[0].startswith(("#", "-DOCSTART-"))][has_header(text) :]
        return not head.startswith(b"#FORMAT") and bool(tags) and all(map(is_tag, tags)) and max(map(len, rows)) > 1

    def build(self) -> ConllReader:
        """Return a new reader."""
        return ConllReader(self)


def _emptied(found: list[T]) -> Iterator[T]:
    """Yield what is in a list, which is empty then: large documents are not held."""
    found.reverse()
    while found:
        yield found.pop()


def _line(number: int) -> str:
    return f"line {number}" if number > 1 else "line 1 (reader.header=true if it names the columns)"


@attrs.frozen
class _Columns:
    """What is known of a file's columns before a document of it is read."""

    stated: tuple[str, ...] = ()
    """Their names, by a comment, a header line or the kind of the file."""
    usual: tuple[str, ...] = ()
    """Else what they seem to be."""


class ConllReader:
    """Reads a token a line; empty lines end sentences.

    The text is put together: a space between tokens, a line end between sentences, unless the file says what was there
    (columns start and end, ``SpaceAfter=No``, ``# text = …``). Layers: ``tokens``, with other columns as metadata,
    ``sentences``, with comments as metadata, and what the tags say.
    """

    def __init__(self, config: ConllReaderConfig) -> None:
        self.config = config

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Raises DataError with path and line."""
        unlike = UnlikeTags(path)
        documents = read_records(
            self._blocks(path), lambda each: self._document(*each, unlike), path, on_error, first, every
        )
        return told_after(documents, unlike.tell)

    def _blocks(self, path: Path) -> Iterator[tuple[int, int, tuple[Block, _Columns]]]:
        """Yield documents as they are read, with what the beginning of the file tells of its columns."""
        blocks = iter_blocks(path, self.config.encoding, by_sentence=self.config.document == "sentence")
        begin, size, failed = list[tuple[int, int, Block]](), 0, None
        try:
            while size < _SAMPLE and (each := next(blocks, None)):
                begin.append(each)
                size += len(each[2].data)
        except Exception as exc:  # raised again once what was read is given
            failed = exc
        columns = self._columns([block for _, _, block in begin]) if len(begin) > 1 else _Columns()
        for line, byte, block in chain(_emptied(begin), () if failed else blocks):
            yield line, byte, (block, columns)
        if failed:
            raise failed

    def _columns(self, blocks: list[Block]) -> _Columns:
        data = b"".join(block.data for block in blocks)[:_SAMPLE]
        data = data[: data.rfind(b"\n") + 1]
        try:
            table = self._table(Block(data, 1, 0, ""))
            return _Columns(table.stated, () if self.config.columns or table.stated else tuple(table.names(())))
        except DataError:  # that of a document tells more
            return _Columns()

    def _table(self, block: Block) -> Table:
        text = decode_text(block.data, line=block.line, byte=block.byte)
        if text.startswith("#FORMAT=WebAnno"):
            raise DataError("is WebAnno TSV, which reader=webanno reads", expected="a token and its tags a line")
        text = text.replace("\r\n", "\n").removesuffix("\r")
        if " \n" in text or text.endswith(" "):
            text = _AFTER_TAGS.sub(r"\1", text)
        if block.byte == 0 and are_divided_by_commas(text):
            raise DataError(
                "its columns are divided by commas: reader=token_table reads tables with a header",
                line=block.line,
                expected="tabs or spaces between them",
            )
        header = block.byte == 0 and (self.config.header or (not self.config.columns and has_header(text)))
        return (None if header else Table.of_plain(text, block)) or Table.of(text, block, header)

    def _document(self, block: Block, columns: _Columns, unlike: UnlikeTags) -> Document:
        table = self._table(block)
        names = table.names(self.config.columns or table.stated or columns.stated, columns.usual)
        table = table.with_surface_tokens(names)
        doc_id, comments = block.doc_id, [list[str]() for _ in table.starts]
        for sentence, row in table.comments:
            if found := _ID.match(row):
                *names_of, part = found.groups()
                doc_id = next(filter(None, names_of)).strip() + (f"-{part}" if part else "")
            elif not row.startswith(NO_COMMENTS):
                comments[min(sentence, len(comments) - 1)].append(row.removeprefix("#").strip())
        symbols, start = table.text(names, comments)
        by = {"annotator": block.annotator} if block.annotator else {}
        document = make_document(symbols, {"doc_id": doc_id} | by)
        stop = start + np.fromiter(map(len, table.column(names, "token")), np.int64, len(start))
        annotate_spans(document, "tokens", start, stop, table.metadata(names))
        lasts = np.array([*table.starts[1:], len(start)]) - 1
        metadata = [{"comments": found} if found else {} for found in comments] if any(comments) else None
        annotate_spans(document, "sentences", start[table.starts], stop[lasts], metadata)
        stretches = []
        for tags in (column for name, column in zip(names, table.columns, strict=True) if name == "tag"):
            own = unbracketed(tags)
            unlike.look(own, lambda i: _line(table.line_of(i)))
            stretches += tagged_stretches(own, table.starts)
        annotate_stretches(document, stretches, start, stop, self.config.label_layer if "tag" in names else "")
        return document


@attrs.frozen(kw_only=True)
class ConllWriterConfig(DocumentWriterConfig):
    """Options of the writer ``conll``."""

    suffixes: ClassVar[tuple[str, ...]] = (".conll", ".conll2003", ".bio", ".iob", ".iob2", ".bioes")
    shared_suffixes: ClassVar[tuple[str, ...]] = (".tsv",)

    columns: tuple[str, ...] = option(
        ("token", "tag"), help="the columns: token, tag, start, end, id, or keys of the metadata of tokens, such as pos"
    )
    scheme: Literal["bio", "iob1", "bioes", "bilou", "io", "plain", "grobid"] = option(
        "bio", help="how tags are written"
    )
    comments: bool = option(True, help="write comments and, where tokens are not divided by a space each, # text = …")
    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> ConllWriter:
        """Return a new writer."""
        return ConllWriter(self.columns, self.scheme, comments=self.comments, layers=self.layers)


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return ConllReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return ConllWriterConfig
