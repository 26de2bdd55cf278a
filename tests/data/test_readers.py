"""Paths in, documents out, by readers that are not our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from papermage_core import Document
from papermage_core.data.readers import iter_documents, reader_of
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig


@attrs.frozen
class LinesReader:
    """Knows neither its file endings nor the line of a document."""

    faults: ClassVar[list[DataError]] = []

    def read(self, path: Path) -> Iterator[Document]:
        for line in path.read_text().splitlines():
            if line.startswith("{"):
                raise DataError("no plain text", path=path)
            yield Document(line)


@attrs.frozen(kw_only=True)
class LinesConfig(DocumentReaderConfig):
    suffixes: ClassVar[tuple[str, ...]] = (".lines",)

    def build(self) -> LinesReader:
        return LinesReader()


def test_the_files_of_a_folder_are_those_with_the_endings_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "a.lines").write_text("one\ntwo\n")
    (tmp_path / "b.jsonl").write_text("{}")
    found = list(iter_documents(tmp_path, reader=reader_of(LinesConfig())))
    assert [(d.document.symbols, d.path.name, d.line) for d in found] == [
        ("one", "a.lines", None),
        ("two", "a.lines", None),
    ]


def test_a_file_that_is_another_readers_says_which(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.txt", "a.lines"):
        (tmp_path / name).write_text("{}")
    reader = reader_of(LinesConfig())
    with pytest.raises(
        DataError, match=r"a\.jsonl: a file of this ending wants reader=jsonl; without it: no plain text$"
    ):
        list(iter_documents(tmp_path / "a.jsonl", reader=reader))
    for name in ("a.txt", "a.lines"):
        with pytest.raises(DataError, match=r"(txt|lines): no plain text$"):
            list(iter_documents(tmp_path / name, reader=reader))


def test_a_fault_that_is_passed_over_says_so_too_once_a_file(tmp_path: Path) -> None:
    from papermage_readers.jsonl import JsonlReader

    class Collecting(JsonlReader):
        suffixes = (".other",)

    path = tmp_path / "a.jsonl"
    path.write_text("x\nx\n" + json.dumps({"symbols": "a", "metadata": {}, "entities": {}}))
    reader = Collecting(on_error="collect")
    assert len(list(iter_documents([path, path], reader=reader))) == 2
    assert ["reader=jsonl" in fault.message for fault in reader.faults] == [True, False, True, False]
