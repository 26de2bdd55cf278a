"""The conformance suite of document readers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.testing.checks import fail, require
from papermage_core.testing.component import ComponentSuite

__all__ = ["DocumentReaderSuite"]


class DocumentReaderSuite(ComponentSuite):
    """Subclass with files to read: ``class TestMine(DocumentReaderSuite): component = "mine"; samples = {...}``."""

    kind: ClassVar[str] = "document_reader"
    samples: ClassVar[Mapping[str, str | bytes]] = {}
    """File name → content that can be read."""
    broken: ClassVar[Mapping[str, str | bytes]] = {}
    """File name → content that cannot be read."""

    def test_documents_are_read_one_by_one(self) -> None:
        """``read`` yields, so that a file larger than memory can be read."""
        for reader, path in self._readings(self.samples):
            found = reader.read(path)
            require(isinstance(found, Iterator), f"read returned {type(found).__name__}", "yield the documents")
            read = list(found)
            require(read, f"no document was found in {path.name}", "yield what the file holds")
            for given in read:
                document = _document(given)
                require(isinstance(document, Document), f"read gave {given!r}", "yield papermage_core.Document")

    def test_documents_can_be_written_and_read_again(self) -> None:
        """What is read is a whole document: JSON takes it and gives it back."""
        for reader, path in self._readings(self.samples):
            for given in reader.read(path):
                written = _document(given).to_json()
                same = Document.from_json(written, lenient=False).to_json() == written
                require(same, f"a document of {path.name} differs after writing it", "make layers and spans sound")

    def test_reading_twice_gives_the_same(self) -> None:
        """The reader keeps nothing from one file to the next."""
        for reader, path in self._readings(self.samples):
            first, second = ([_document(given).to_json() for given in reader.read(path)] for _ in range(2))
            require(first == second, f"{path.name} gave other documents the second time", "keep no state in the reader")

    def test_a_broken_file_is_refused_by_its_name(self) -> None:
        """DataError with the path, and the line where there are lines."""
        for reader, path in self._readings(self.broken):
            _check_refused(reader, path, f"the broken file {path.name}")

    def test_a_missing_file_is_refused_by_its_name(self) -> None:
        """DataError, or the OSError of opening it."""
        for config in self.configs():
            with tempfile.TemporaryDirectory() as folder:
                _check_refused(config.build(), Path(folder) / "missing.file", "a missing file", (DataError, OSError))

    def test_the_file_endings_begin_with_a_dot(self) -> None:
        """``suffixes`` says which files of a folder are the reader's."""
        for config in self.configs():
            suffixes = config.suffixes
            fine = isinstance(suffixes, tuple) and all(s.startswith(".") and s == s.lower() for s in suffixes)
            require(fine, f"suffixes are {suffixes!r}", 'write them as (".xml",), in lower case')

    def _readings(self, files: Mapping[str, str | bytes]) -> Iterator[tuple[Any, Path]]:
        require(self.samples, f"{type(self).__name__} has no samples", 'set samples = {"a.xml": "<doc>..."}')
        with _written(files) as paths:
            for config in self.configs():
                reader = config.build()
                require(callable(getattr(reader, "read", None)), f"build returned {reader!r}", "give it a read(path)")
                for path in paths:
                    yield reader, path


def _document(given: Any) -> Any:
    return given.document if isinstance(given, LocatedDocument) else given


@contextmanager
def _written(files: Mapping[str, str | bytes]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, content in files.items():
            path = Path(folder) / name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            paths.append(path)
        yield paths


def _check_refused(reader: Any, path: Path, what: str, expected: tuple[type[Exception], ...] = (DataError,)) -> None:
    try:
        found = list(reader.read(path))
    except expected as exc:
        require(path.name in str(exc), f"for {what} the message is {str(exc)!r}", "raise DataError(..., path=path)")
        return
    except Exception as exc:
        fail(f"{what} raised {type(exc).__name__}: {exc}", "raise DataError(..., path=path, line=line) from exc")
    fail(f"{what} gave {len(found)} documents", "raise DataError(..., path=path, line=line)")
