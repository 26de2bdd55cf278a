"""The reader and the writer ``pubtator``: titles and abstracts with the offsets of their entities."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, ClassVar

import attrs

from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.counting import Said, Unlike, counting_of
from papermage_formats.labelled import (
    ENCODING,
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    check_place,
    decode_text,
    labelled_entities,
    lines_of,
    losses,
    make_document,
    text_of,
)
from papermage_formats.noted import noted, relations_of
from papermage_formats.records import RecordReader, read_records, told_after

__all__ = ["PubtatorReader", "PubtatorReaderConfig", "PubtatorWriter", "PubtatorWriterConfig"]

_PASSAGE = re.compile(r"([^|\t]+)\|([a-z])\|(.*)", re.DOTALL)
_OF_PASSAGE = re.compile(rb"[^|\t]+\|([a-z])\|")
_BEGINNING = re.compile(rb"\s*[^|\t\n]+\|[ta]\|")
_NUMBER = re.compile(r"[-+]?[\d.,]*\d([\d.,]*|e[-+]?\d+)|[-+.]*|nan|none|null|n/?a|[-+]?inf(inity)?", re.IGNORECASE)
"""What stands where an offset should be, and is no type of a relation."""
_KINDS = {"t": "title", "a": "abstract"}
_Rows = list[tuple[int, str]]


@attrs.frozen(kw_only=True)
class PubtatorReaderConfig(DocumentReaderConfig):
    """Options of the reader ``pubtator``."""

    suffixes: ClassVar[tuple[str, ...]] = (".pubtator",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    compressed: ClassVar[bool] = True

    encoding: str = option("", help=ENCODING)
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the file begins with a title."""
        return bool(_BEGINNING.match(head.removeprefix(b"\xef\xbb\xbf")))

    def build(self) -> PubtatorReader:
        """Return a new reader."""
        return PubtatorReader(self)


class PubtatorReader(RecordReader[PubtatorReaderConfig]):
    """Reads documents of a title and an abstract, a line end between them. Layers: ``passages`` and the entities.

    The title comes first, as offsets count, whatever the file begins with. An entity's concept is its metadata
    ``identifier``; further columns are ``more``. Rows without offsets are ``relations`` of the document's metadata.
    Columns may also have the order of the variant with ``T1`` in front. In what offsets are counted, the texts of the
    rows say (see `counting_of`).
    """

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Raises DataError with path and line."""
        unlike = Unlike(path)
        blocks = self._records(path)
        documents = read_records(blocks, lambda lines: self._document(lines, unlike), path, on_error, first, every)
        return told_after(documents, unlike.tell)

    def _records(self, path: Path) -> Iterator[tuple[int, int, list[tuple[int, int, bytes]]]]:
        return _blocks(path, self.config.encoding)

    def _document(self, lines: list[tuple[int, int, bytes]], unlike: Unlike | None = None) -> Document:
        rows = [(line, decode_text(data, line=line, byte=byte or 1).rstrip("\r\n")) for line, byte, data in lines]
        passages = [(found[2], found[3]) for _, row in rows if (found := _PASSAGE.fullmatch(row))]
        if not passages:
            raise DataError("has no title and no abstract", line=rows[0][0], value=rows[0][1], expected="ID|t|title")
        passages.sort(key=lambda passage: passage[0] != "t")
        name = re.split(r"[|\t]", rows[0][1])[0].strip()
        texts = [text for _, text in passages]
        symbols = "\n".join(texts).rstrip("\n")
        annotated: list[tuple[int, Said, Labelled]] = []
        related: list[tuple[int, list[str]]] = []
        for line, row in rows:
            if _PASSAGE.fullmatch(row):
                continue
            columns = [column.strip() for column in row.split("\t")]
            if columns[0] != name or len(columns) < 3:
                raise DataError(
                    f"cannot be read: {row!r}", line=line, document=name, value=row, expected=f"{name}, a tab, columns"
                )
            placed = _entity(columns, line, name)
            if placed is None:
                related.append((line, columns))
            else:
                annotated.append((line, *placed))
        labels = {entity.label for _, _, entity in annotated}
        relations = [_relation(columns, symbols, labels, line, name) for line, columns in related]
        document = make_document(symbols, {"doc_id": name} | ({"relations": relations} if relations else {}))
        starts = [0, *accumulate(len(text) + 1 for text in texts)]
        full = [i for i, text in enumerate(texts) if text]
        document.annotate_layer(
            "passages",
            Layer.from_arrays(
                SpanArrays.one_each([starts[i] for i in full], [starts[i] + len(texts[i]) for i in full]),
                metadata=[{"type": _KINDS.get(passages[i][0], passages[i][0])} for i in full],
            ),
        )
        counting = counting_of(symbols, [said for _, said, _ in annotated])
        entities = []
        for line, said, entity in annotated:
            try:
                segments = counting.places(said)
            except DataError as exc:
                raise exc.replace(message=f"{entity.label}: {exc.message}", line=line) from exc
            check_place(entity.label, segments, len(symbols), line=line)
            if unlike is not None:
                unlike.look(symbols, said, segments, f"{entity.label} of {name}")
            entities.append(entity._replace(segments=segments))
        add_labelled(document, entities, self.config.label_layer)
        return document


def _entity(columns: list[str], line: int, name: str) -> tuple[Said, Labelled] | None:
    """Return where a row says that an entity is, and the entity; None for a row without offsets."""
    if re.fullmatch(r"T\d+", columns[1]):
        if len(columns) < 5:
            raise DataError(
                f"the row has {len(columns)} columns", line=line, document=name, expected="ID, T1, type, start, end"
            )
        own, label, start, stop, *more = columns[1:]
        text = more[0] if more else ""
        metadata: dict[str, Any] = {"id": own} | ({"identifier": more[1]} if len(more) > 1 else {})
    elif re.fullmatch(r"-?\d+", columns[1]):
        if len(columns) < 5:
            raise DataError(
                f"the row has {len(columns)} columns", line=line, document=name, expected="ID, start, end, text, type"
            )
        start, stop, text, label, *more = columns[1:]
        metadata = ({"identifier": more[0]} if more else {}) | ({"more": more[1:]} if more[1:] else {})
    else:
        return None
    try:
        segments = [(int(start), int(stop))]
        return Said(segments, text), Labelled(label, segments, metadata)
    except ValueError as exc:
        raise DataError(f"{start} to {stop} is no place", line=line, document=name, expected="two numbers") from exc


def _relation(columns: list[str], symbols: str, labels: Collection[str], line: int, name: str) -> dict[str, Any]:
    """Return the relation of a row without offsets. Raises DataError for an entity whose offsets are no numbers."""
    first, second = columns[1:3]
    if _NUMBER.fullmatch(first) or _has_text(columns, symbols, labels):
        raise DataError(
            f"{first!r} to {second!r} is no place",
            line=line,
            document=name,
            expected="two whole numbers; or, for a relation, its type and identifiers",
        )
    return {"label": first, "arguments": [["", column] for column in columns[2:]]}


def _has_text(columns: list[str], symbols: str, labels: Collection[str]) -> bool:
    """Whether a row has, where an entity has it, a text of the document, which an identifier may be by chance."""
    if len(columns) < 5 or not columns[3]:
        return False
    _, _, second, text, label, *_ = columns
    if re.fullmatch(r"\d{1,9}", second) and symbols.endswith(text, 0, int(second)):
        return True
    # a relation seldom comes so far: documents may have thousands, and the text is looked through for each
    return (label in labels or (len(columns) > 5 and " " in text)) and text in symbols


def _blocks(path: Path, encoding: str) -> Iterator[tuple[int, int, list[tuple[int, int, bytes]]]]:
    """Yield the lines of each document."""
    block: list[tuple[int, int, bytes]] = []
    name, kinds, has_rows = b"", b"", False
    for line, byte, data in lines_of(path, encoding):
        own = re.split(rb"[|\t]", data.rstrip(b"\r\n"))[0].strip()
        found = _OF_PASSAGE.match(data)
        kind = found[1] if found else b""
        if block and (own != name or (kind and _begins(kind, kinds, has_rows=has_rows))):
            yield *block[0][:2], block
            block, kinds, has_rows = [], b"", False
        name, kinds, has_rows = own, kinds + kind, has_rows or not kind
        block.append((line, byte, data))
    if not block:
        raise DataError("this file holds no document", expected="ID|t|title")
    yield *block[0][:2], block


def _begins(kind: bytes, kinds: bytes, *, has_rows: bool) -> bool:
    """Whether a passage begins another document of the same name: ``kinds`` are those of the passages before it."""
    if kind in kinds:
        return kind == b"t" or has_rows or kinds.startswith(b"a")
    return kind == b"t" and has_rows


@attrs.frozen(kw_only=True)
class PubtatorWriterConfig(DocumentWriterConfig):
    """Options of the writer ``pubtator``."""

    suffixes: ClassVar[tuple[str, ...]] = (".pubtator",)

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> PubtatorWriter:
        """Return a new writer."""
        return PubtatorWriter(self)


class PubtatorWriter:
    """Writes the first line of a text as title, the others as abstract. Discontinuous entities are left out."""

    def __init__(self, config: PubtatorWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes], first: int | None = None) -> dict[str, int]:
        """Write the documents; return what the format does not hold."""
        lost: Counter[str] = Counter()
        for number, document in enumerate(documents, (first or 0) + 1):
            target.write(self._rows(document, document.id or str(number), lost).encode())
        return losses(lost)

    def _rows(self, document: Document, wanted: str, lost: Counter[str]) -> str:
        symbols = text_of(document)
        name = re.sub(r"[|\s]", "_", wanted)
        lost["document ids"] += name != wanted
        title, _, abstract = symbols.partition("\n")
        flat = re.sub(r"[\r\n]", " ", abstract)
        kept = re.sub(r"\r", " ", title) + ("\n" + flat if flat else "")
        lost["line ends"] += sum(a != b for a, b in zip(symbols, kept, strict=False)) + len(symbols) - len(kept)
        rows = [f"{name}|t|" + title.replace("\r", " "), f"{name}|a|{flat}"]
        for entity in labelled_entities(document, self.config.layers, lost, kept=("passages",)):
            if len(entity.segments) > 1:
                lost["discontinuous entities"] += 1
                continue
            start, stop = entity.segments[0]
            text = re.sub(r"[\t\r\n]", " ", symbols[start:stop])
            metadata = entity.metadata
            columns = [name, str(start), str(stop), text, _field(entity.label)]
            columns += [_field(metadata["identifier"])] if "identifier" in metadata else []
            more = noted(metadata, "more", list[Any], lost, "metadata of entities") or ()
            lost["metadata of entities"] += bool(set(metadata) - {"identifier", "more"})
            more = more if "identifier" in metadata else ()
            rows.append("\t".join([*columns, *map(_field, more)]))
        for relation in relations_of(document, lost):
            fields = [_field(of) for _, of in relation["arguments"]]
            lost["roles of relations"] += any(role for role, _ in relation["arguments"])
            lost["metadata of relations"] += bool(set(relation) - {"label", "arguments"})
            label = _field(relation.get("label") or "relation")
            lost["types of relations"] += (written := _type(label)) != label
            rows.append("\t".join([name, written, *fields]))
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "relations"})
        return "".join(f"{row}\n" for row in rows) + "\n"


def _field(value: Any) -> str:
    return re.sub(r"[\t\r\n]", " ", str(value)).strip()


def _type(label: str) -> str:
    """Return the type of a relation, with a mark before what would be read as an offset, or an entity's name."""
    return f"_{label}" if _NUMBER.fullmatch(label) or re.fullmatch(r"T\d+", label) else label


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return PubtatorReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return PubtatorWriterConfig
