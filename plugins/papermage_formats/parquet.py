"""The reader ``parquet``, and `write_parquet`: corpora as Parquet files, one document a row, nothing lost.

Columns: ``doc_id``, ``symbols``, ``metadata`` (JSON), ``layers`` (a map of layer names to JSON) and ``others`` (JSON of
all other keys). Needs pyarrow: ``pip install 'papermage_core[parquet]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import attrs
import msgspec

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, LocatedDocument, hookimpl, option
from papermage_formats.records import chosen, read_records

__all__ = ["ParquetReader", "ParquetReaderConfig", "papermage_document_reader", "write_parquet"]

_ROWS = 64
_OWN = ("symbols", "metadata", "entities")


@attrs.frozen(kw_only=True)
class ParquetReaderConfig(DocumentReaderConfig):
    """Options of the reader ``parquet``."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    lenient: bool = option(True, help="let pages that end after the text, boxes over the edge and empty spans pass")

    def build(self) -> ParquetReader:
        """Return a new reader."""
        return ParquetReader(lenient=self.lenient)


class ParquetReader:
    """Reads the files that `write_parquet` writes, some rows at a time. A document's line is its row, from 1."""

    suffixes = ParquetReaderConfig.suffixes

    def __init__(self, *, lenient: bool = True) -> None:
        self.lenient = lenient

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Row groups, and rows, that are passed over are not decoded."""
        return read_records(_rows(path, first, every), self._document, path, on_error, first, every)

    def _document(self, row: Callable[[], dict[str, Any]]) -> Document:
        try:
            return Document.from_bytes(_json_of(row()), lenient=self.lenient)
        except msgspec.DecodeError as exc:
            raise DataError(f"is not JSON: {exc}") from exc


def write_parquet(documents: Iterable[Document], path: str | Path) -> int:
    """Write documents, with their images, to a Parquet file, whole or not at all; return how many there were."""
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
    path, written = Path(path), 0
    unfinished = path.with_name(f"{path.name}.part")
    remaining = iter(documents)
    try:
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            while rows := [_row(doc) for doc in islice(remaining, _ROWS)]:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                written += len(rows)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return written


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


def _rows(path: Path, first: int, every: int) -> Iterator[tuple[int, None, Callable[[], dict[str, Any]]]]:
    """Yield the number of each row, from 1, and what returns it; row groups without a chosen row are not read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise DataError("reading Parquet needs pyarrow: pip install 'papermage_core[parquet]'") from exc
    wanted = ["symbols", "metadata", "layers", "others"]
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            if missing := sorted(set(wanted) - set(file.schema_arrow.names)):
                found = ", ".join(file.schema_arrow.names)
                raise DataError(f"has no column {', '.join(missing)}, only {found}", expected="its columns")
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if not any(chosen(row, first, every) for row in range(number, number + size)):
                    yield from ((row + 1, None, dict) for row in range(number, number + size))
                    number += size
                    continue
                for batch in file.iter_batches(_ROWS, row_groups=[group], columns=wanted):
                    for row in range(len(batch)):
                        number += 1
                        yield number, None, partial(_row_of, batch, row)
    except (pa.ArrowException, OSError) as exc:
        raise DataError(f"cannot be read as Parquet: {exc}", expected="a Parquet file") from exc
    if not number:
        raise DataError("this file holds no document", expected="one document a row")


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
