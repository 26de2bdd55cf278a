"""Parquet in and out: nothing is lost, and faults have their row."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest

from papermage_core import Document
from papermage_core.data import iter_documents, write_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite

pytest.importorskip("pyarrow")

from papermage_formats.parquet import ParquetReaderConfig


def plain(i: int) -> dict[str, Any]:
    entity = {"spans": [[0, 1]], "metadata": {"n": i}, "unknown": [1.5]}
    metadata = {"doc_id": str(i), "ünï": None}
    return {"symbols": f"é{i}", "metadata": metadata, "entities": {"x": [entity], "none": []}, "relations": {}, "k": i}


def file_of(*documents: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.parquet"
        write_documents((Document.from_bytes(json.dumps(d)) for d in documents), path)
        return path.read_bytes()


class TestParquet(DocumentReaderSuite):
    component = "parquet"
    options = ({}, {"lenient": False})
    samples: ClassVar = {"two.parquet": file_of(plain(1), plain(2))}
    broken: ClassVar = {"cut.parquet": file_of(plain(1))[:-20], "text.parquet": "{}", "empty.parquet": file_of()}


def test_documents_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    assert write_documents((Document.from_bytes(json.dumps(plain(i))) for i in range(150)), path).documents == 150
    found = list(iter_documents(tmp_path))
    assert [d.document.to_json() for d in found] == [plain(i) for i in range(150)]
    assert found[149].line == 150
    assert [p.name for p in tmp_path.iterdir()] == ["many.parquet"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("kept")

    def failing() -> Any:
        yield Document("a")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_documents(failing(), path, overwrite=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.parquet", "kept")]
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(ParquetReaderConfig().build().read(path))


def test_broken_rows_and_other_tables_are_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"symbols": "a", "metadata": "{}", "layers": [("x", '[{"spans": [[0, 9]]}]')], "others": "{}"}
    layers = pa.map_(pa.string(), pa.string())
    schema = pa.schema(
        [("symbols", pa.string()), ("metadata", pa.string()), ("layers", layers), ("others", pa.string())]
    )
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.Table.from_pylist([row, row | {"metadata": "{"}, row | {"layers": []}, row | {"others": None}], schema), path
    )
    reader, errors = ParquetReaderConfig().build(), []
    assert len(list(reader.read(path, errors.append))) == 1
    assert [error.line for error in errors] == [1, 2, 4]
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(DataError, match="has no column"):
        list(reader.read(path))
