"""The conformance suite of document readers."""

from __future__ import annotations

import gzip
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from papermage_core.config.structure import unstructure
from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.testing.checks import fail, require
from papermage_core.testing.component import ComponentSuite, check_suffixes

__all__ = ["DocumentReaderSuite"]


class DocumentReaderSuite(ComponentSuite):
    """Subclass with files to read: ``class TestMine(DocumentReaderSuite): component = "mine"; samples = {...}``.

    Let one sample hold three documents or more, if a file can, and text beyond ASCII.
    """

    kind: ClassVar[str] = "document_reader"
    samples: ClassVar[Mapping[str, str | bytes]] = {}
    """File name → content that can be read."""
    broken: ClassVar[Mapping[str, str | bytes]] = {}
    """File name → content that cannot be read."""

    def test_documents_are_read_one_by_one(self) -> None:
        """``read`` yields, each document as it is read, so that a file larger than memory can be read."""
        for reader, path in self._readings(self.samples):
            found = reader.read(path)
            require(isinstance(found, Iterator), f"read returned {type(found).__name__}", "yield the documents")
            with _made_documents() as made:
                first = list(islice(found, 1))
                at_first = len(made)
                read = [*first, *found]
            require(read, f"no document was found in {path.name}", "yield what the file holds")
            for given in read:
                document = _document(given)
                require(isinstance(document, Document), f"read gave {given!r}", "yield papermage_core.Document")
            apart = len({id(_document(given)) for given in read})
            require(apart == len(read), f"of {len(read)} documents only {apart} are apart", "make a new one each time")
            require(
                len(read) < 2 or at_first < len(read),
                f"all {len(read)} documents of {path.name} were made before the first was given",
                "make a document when it is its turn: yield in the loop, or use a generator for a list",
            )

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
            first, second = (_json(reader.read(path)) for _ in range(2))
            require(first == second, f"{path.name} gave other documents the second time", "keep no state in the reader")

    def test_files_are_read_the_same_under_every_locale(self) -> None:
        """The encoding of a file is said, not that of the machine. For components named by ``component``."""
        if self.config_class is not None:
            return
        for config in self.configs():
            with _written(self.samples) as paths:
                words = [self.kind, self.component, *map(str, self.plugins.paths)]
                given = json.dumps({"options": unstructure(config), "paths": [str(path) for path in paths]})
                done = subprocess.run(
                    [sys.executable, "-c", _READ, *words],
                    input=given,
                    capture_output=True,
                    text=True,
                    encoding="utf-8",
                    env={
                        **os.environ,
                        "PYTHONWARNDEFAULTENCODING": "1",
                        "PYTHONUTF8": "0",
                        "PYTHONIOENCODING": "utf-8",
                    },
                    check=False,
                )
            place = done.stdout.strip()
            require(not place, f"a file is opened in the encoding of the locale, in {place}", 'say encoding="utf-8"')

    def test_places_are_those_of_the_documents(self) -> None:
        """A `LocatedDocument` names its file; lines are counted from 1, and they and bytes from top to bottom."""
        for reader, path in self._readings(self.samples):
            located = [given for given in reader.read(path) if isinstance(given, LocatedDocument)]
            require(
                all(each.path == path for each in located), f"a document is not in {path}", "give the path as it is"
            )
            for name, least in (("line", 1), ("byte", 0), ("page", 0)):
                found = [getattr(each, name) for each in located if getattr(each, name) is not None]
                fine = all(type(value) is int and value >= least for value in found) and found == sorted(found)
                require(fine, f"the {name}s in {path.name} are {found}", f"count from {least}, through the file")

    def test_a_share_of_a_file_is_every_so_many_of_its_documents(self) -> None:
        """``first`` and ``every``, where the reader takes them; it returns how many documents there are."""
        for reader, path in self._readings(self.samples):
            if not {"first", "every"} <= _parameters(reader):
                continue
            whole = _json(reader.read(path))
            for first, every in ((0, 1), (0, 2), (1, 2), (1, 3), (len(whole), 1)):
                share, returned = _exhaust(reader.read(path, first=first, every=every))
                words = f"first={first}, every={every}"
                require(
                    _json(share) == whole[first::every],
                    f"with {words} other documents came",
                    "give number first, first + every, …",
                )
                require(
                    returned == len(whole),
                    f"with {words} read returned {returned!r}",
                    f"return {len(whole)} at the end",
                )

    def test_a_broken_file_is_refused_by_its_name(self) -> None:
        """DataError with the path, and the line where there are lines."""
        for reader, path in self._readings(self.broken):
            _check_refused(reader, path, f"the broken file {path.name}")

    def test_errors_are_handed_over_where_the_reader_takes_on_error(self) -> None:
        """With ``on_error`` nothing is raised for a broken document, and it gets every error."""
        for reader, path in self._readings(self.broken):
            if "on_error" not in _parameters(reader):
                continue
            errors: list[DataError] = []
            try:
                list(reader.read(path, on_error=errors.append))
            except DataError as exc:
                fail(f"in spite of on_error, {path.name} raised {exc}", "call on_error(error) and go on, or end")
            require(errors, f"{path.name} was read without an error", "call on_error for what cannot be read")
            fine = all(isinstance(error, DataError) and path.name in str(error) for error in errors)
            require(fine, f"on_error got {errors!r}", "hand over DataError(..., path=path)")

    def test_a_missing_file_is_refused_by_its_name(self) -> None:
        """DataError, or the OSError of opening it."""
        for config in self.configs():
            with tempfile.TemporaryDirectory() as folder:
                _check_refused(config.build(), Path(folder) / "missing.file", "a missing file", (DataError, OSError))

    def test_compressed_files_are_read_where_the_config_says_so(self) -> None:
        """``compressed = True``: what is in ``a.xml.gz`` is what is in ``a.xml``."""
        if not self.found_class().compressed:
            return
        packed = {f"{name}.gz": gzip.compress(_bytes(content)) for name, content in self.samples.items()}
        with _written(self.samples) as plain, _written(packed) as compressed:
            for reader in (config.build() for config in self.configs()):
                for one, other in zip(plain, compressed, strict=True):
                    remedy = "open files with papermage_core.files.open_bytes"
                    try:
                        found = _json_without_ids(reader.read(other))
                    except Exception as exc:
                        fail(f"{other.name} raised {type(exc).__name__}: {exc}", remedy)
                    same = found == _json_without_ids(reader.read(one))
                    require(same, f"{other.name} gave other documents", remedy)

    def test_the_file_endings_begin_with_a_dot(self) -> None:
        """``suffixes`` says which files of a folder are the reader's; they are found in the source."""
        check_suffixes(self, ("suffixes", "shared_suffixes", "companions"))

    def _readings(self, files: Mapping[str, str | bytes]) -> Iterator[tuple[Any, Path]]:
        require(self.samples, f"{type(self).__name__} has no samples", 'set samples = {"a.xml": "<doc>..."}')
        with _written(files) as paths:
            for config in self.configs():
                reader = config.build()
                require(callable(getattr(reader, "read", None)), f"build returned {reader!r}", "give it a read(path)")
                for path in paths:
                    yield reader, path


_READ = """\
import json, sys, warnings
from pathlib import Path
kind, name, *files = sys.argv[1:]
from papermage_core.config.structure import structure
from papermage_core.plugin.manager import Plugins
given = json.loads(sys.stdin.buffer.read())
reader = structure(Plugins(files).config_class(kind, name), given["options"], key="reader", name=name).build()
module = sys.modules[type(reader).__module__.partition(".")[0]]
own = str(Path(module.__file__).parent if hasattr(module, "__path__") else module.__file__)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always", EncodingWarning)
    for path in given["paths"]:
        try:
            for document in reader.read(Path(path)):
                pass
        except Exception:  # other checks are for that
            pass
seen = [each for each in seen if each.category is EncodingWarning and each.filename.startswith(own)]
print(*(f"{each.filename}, line {each.lineno}" for each in seen[:1]))
"""


def _document(given: Any) -> Any:
    return given.document if isinstance(given, LocatedDocument) else given


def _json(read: Any) -> list[Any]:
    return [_document(given).to_json() for given in read]


def _json_without_ids(read: Any) -> list[Any]:
    """Return documents without what may be made of the file's name."""
    found = _json(read)
    for each in found:
        for key in ("doc_id", "id", "paper_id"):
            each["metadata"].pop(key, None)
    return found


def _parameters(reader: Any) -> set[str]:
    return set(inspect.signature(reader.read).parameters)


def _exhaust(read: Iterator[Any]) -> tuple[list[Any], Any]:
    """Return what a generator yields, and what it returns."""
    found = []
    while True:
        try:
            found.append(next(read))
        except StopIteration as done:
            return found, done.value


@contextmanager
def _made_documents() -> Iterator[list[None]]:
    """Yield a list that gets an item for each document that is made."""
    made: list[None] = []
    original: Any = Document.__init__

    def init(self: Document, *arguments: Any, **more: Any) -> None:
        made.append(None)
        original(self, *arguments, **more)

    Document.__init__ = init  # type: ignore[method-assign]
    try:
        yield made
    finally:
        Document.__init__ = original  # type: ignore[method-assign]


@contextmanager
def _written(files: Mapping[str, str | bytes]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, content in files.items():
            path = Path(folder) / name
            path.write_bytes(_bytes(content))
            paths.append(path)
        yield paths


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _check_refused(reader: Any, path: Path, what: str, expected: tuple[type[Exception], ...] = (DataError,)) -> None:
    try:
        found = list(reader.read(path))
    except expected as exc:
        require(path.name in str(exc), f"for {what} the message is {str(exc)!r}", "raise DataError(..., path=path)")
        return
    except Exception as exc:
        fail(f"{what} raised {type(exc).__name__}: {exc}", "raise DataError(..., path=path, line=line) from exc")
    fail(f"{what} gave {len(found)} documents", "raise DataError(..., path=path, line=line)")
