"""The reader and the writer ``parquet``: corpora as Parquet files, one document a row, nothing lost.

Columns: ``doc_id``, ``symbols``, ``metadata`` (JSON), ``layers`` (a map of layer names to JSON) and ``others`` (JSON of
all other keys). Needs pyarrow: ``pip install 'papermage_core[parquet]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, ClassVar

import attrs
import msgspec

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.records import chosen, read_records

__all__ = [
    "ParquetReader",
    "ParquetReaderConfig",
    "ParquetWriter",
    "ParquetWriterConfig",
    "papermage_document_reader",
    "papermage_document_writer",
]

_ROWS = 64
_OWN = ("symbols", "metadata", "entities")


@attrs.frozen(kw_only=True)
class ParquetReaderConfig(DocumentReaderConfig):
    """Options of the reader ``parquet``."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    requirement: ClassVar[str] = "papermage_core[parquet]"

    lenient: bool = option(True, help="let pages that end after the text, boxes over the edge and empty spans pass")

    def build(self) -> ParquetReader:
        """Return a new reader."""
        return ParquetReader(lenient=self.lenient)


class ParquetReader:
    """Reads the files that `ParquetWriter` writes, some rows at a time. A document's line is its row, from 1."""

    def __init__(self, *, lenient: bool = True) -> None:
        self.lenient = lenient

    def read(
        self,
        path: Path,
        on_error: Callable[[DataError], None] | None = None,
        first: int = 0,
        every: int = 1,
        start: tuple[int, None] = (1, None),
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Row groups, and rows, that are passed over are not decoded."""
        return read_records(_rows(path, first, every, start[0] - 1), self._document, path, on_error, first, every)

    def places(self, path: Path) -> Iterator[tuple[int, None]]:
        """Yield the number of each row, from 1."""
        import pyarrow.parquet as pq

        with _readable(), pq.ParquetFile(path) as file:
            yield from ((row + 1, None) for row in range(file.metadata.num_rows))

    def _document(self, row: Callable[[], dict[str, Any]]) -> Document:
        try:
            return Document.from_bytes(_json_of(row()), lenient=self.lenient)
        except msgspec.DecodeError as exc:
            raise DataError(f"is not JSON: {exc}") from exc


@attrs.frozen(kw_only=True)
class ParquetWriterConfig(DocumentWriterConfig):
    """Options of the writer ``parquet``."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    compressed: ClassVar[bool] = False
    requirement: ClassVar[str] = "papermage_core[parquet]"

    def build(self) -> ParquetWriter:
        """Return a new writer."""
        return ParquetWriter()


class ParquetWriter:
    """Writes one document a row, with its images, in small row groups: readers skip what they do not want."""

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the documents; nothing is lost."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [
                ("doc_id", pa.string()),
                ("symbols", pa.large_string()),
                ("metadata", pa.string()),
                ("layers", pa.map_(pa.string(), pa.large_string())),
                ("others", pa.large_string()),
            ]
        )
        rows = map(_row, documents)
        with pq.ParquetWriter(_Counted(target), schema, compression="zstd") as writer:
            while some := list(islice(rows, _ROWS)):
                writer.write_table(pa.Table.from_pylist(some, schema))
        return {}


class _Counted:
    """What pyarrow wants of a file: it asks for the position even where the file, a pipe, cannot tell."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0

    def write(self, data: Any) -> int:
        self._at += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        self._file.flush()


def _row(doc: Document) -> dict[str, Any]:
    keys = _decode_raw(doc.to_bytes(with_images=bool(doc.images)))
    layers = _decode_raw(keys["entities"])
    return {
        "doc_id": doc.id,
        "symbols": doc.symbols,
        "metadata": _text(keys["metadata"]),
        "layers": [(name, _text(layer)) for name, layer in layers.items()],
        "others": _encode({key: value for key, value in keys.items() if key not in _OWN}).decode(),
    }


def _json_of(row: dict[str, Any]) -> bytes:
    if empty := [column for column in ("metadata", "layers", "others") if row[column] is None]:
        raise DataError(f"the row has nothing in column {', '.join(empty)}", expected="JSON")
    entities = {name: msgspec.Raw(layer.encode()) for name, layer in row["layers"]}
    own = {"symbols": row["symbols"], "metadata": msgspec.Raw(row["metadata"].encode()), "entities": entities}
    return _encode(own | _decode_raw(row["others"]))


def _rows(path: Path, first: int, every: int, begin: int) -> Iterator[tuple[int, None, Callable[[], dict[str, Any]]]]:
    """Yield the number of each row, from 1, and what returns it; row groups without a chosen row are not read.

    The rows before number ``begin``, from 0, are left out, and not counted.
    """
    import pyarrow.parquet as pq

    wanted = ["symbols", "metadata", "layers", "others"]
    number = 0
    with _readable(), pq.ParquetFile(path) as file:
        if missing := sorted(set(wanted) - set(file.schema_arrow.names)):
            found = ", ".join(file.schema_arrow.names)
            raise DataError(f"has no column {', '.join(missing)}, only {found}", expected="its columns")
        for group in range(file.num_row_groups):
            rows = range(max(number, begin), number + file.metadata.row_group(group).num_rows)
            if not any(chosen(row - begin, first, every) for row in rows):
                yield from ((row + 1, None, dict) for row in rows)
                number = max(number, rows.stop)
                continue
            for batch in file.iter_batches(_ROWS, row_groups=[group], columns=wanted):
                for row in range(len(batch)):
                    number += 1
                    if number > begin:
                        yield number, None, partial(_row_of, batch, row)
    if not number:
        raise DataError("this file holds no document", expected="one document a row")


@contextmanager
def _readable() -> Iterator[None]:
    """Raise DataError for what pyarrow cannot read."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as exc:
        raise DataError(f"cannot be read as Parquet: {exc}", expected="a Parquet file") from exc


def _row_of(batch: Any, row: int) -> dict[str, Any]:
    found: dict[str, Any] = batch.slice(row, 1).to_pylist()[0]
    return found


def _text(raw: msgspec.Raw) -> str:
    return bytes(memoryview(raw)).decode()


_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return ParquetReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return ParquetWriterConfig
