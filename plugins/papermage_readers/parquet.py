"""The reader ``parquet``, and `write_parquet`: corpora as Parquet files, one document a row, nothing lost.

Columns: ``doc_id``, ``symbols``, ``metadata`` (JSON), ``layers`` (a map of layer names to JSON) and ``others`` (JSON of
all other keys). Needs pyarrow: ``pip install 'papermage_core[parquet]'``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import attrs
import msgspec

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, hookimpl
from papermage_readers.jsonl import JsonlReader, JsonlReaderConfig

__all__ = ["ParquetReader", "ParquetReaderConfig", "papermage_document_reader", "write_parquet"]

_ROWS = 64
_OWN = ("symbols", "metadata", "entities")


@attrs.frozen(kw_only=True)
class ParquetReaderConfig(JsonlReaderConfig):
    """Options of the reader ``parquet``: those of ``jsonl``."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def build(self) -> ParquetReader:
        """Return a new reader."""
        return ParquetReader(lenient=self.lenient, on_error=self.on_error)


class ParquetReader(JsonlReader):
    """Reads the files that `write_parquet` writes, some rows at a time. A document's line is its row, from 1."""

    suffixes = ParquetReaderConfig.suffixes

    def read_located(self, path: Path) -> Iterator[tuple[int, Document]]:
        """Yield pairs of row, counted from 1, and document."""
        number = 0
        for number, row in enumerate(_rows(path), 1):
            try:
                document = Document.from_bytes(_json_of(row), lenient=self.lenient)
            except (DataError, msgspec.DecodeError) as exc:
                fault = exc if isinstance(exc, DataError) else DataError(f"is not JSON: {exc}")
                fault.path, fault.line = path, number
                self._fault(fault)
            else:
                yield number, document
        if not number:
            self._fault(DataError("this file holds no document", path=path, expected="one document a row"))


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


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise DataError("reading Parquet needs pyarrow: pip install 'papermage_core[parquet]'", path=path) from exc
    wanted = ["symbols", "metadata", "layers", "others"]
    try:
        with pq.ParquetFile(path) as file:
            if missing := sorted(set(wanted) - set(file.schema_arrow.names)):
                found = ", ".join(file.schema_arrow.names)
                raise DataError(f"has no column {', '.join(missing)}, only {found}", path=path, expected="its columns")
            for batch in file.iter_batches(_ROWS, columns=wanted):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as exc:
        raise DataError(f"cannot be read as Parquet: {exc}", path=path, expected="a Parquet file") from exc


def _text(raw: msgspec.Raw) -> str:
    return bytes(memoryview(raw)).decode()


_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return ParquetReaderConfig
