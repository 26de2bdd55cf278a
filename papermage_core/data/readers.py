"""Paths in, documents with their places out: files, folders, globs, compressed files and stdin."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs

from papermage_core.errors import DataError, PluginError
from papermage_core.files import open_bytes
from papermage_core.plugin.manager import Plugins

if TYPE_CHECKING:
    from papermage_core.document import Document
    from papermage_core.plugin.spec import DocumentReader, DocumentReaderConfig

__all__ = ["LocatedDocument", "LocatingReader", "expand_paths", "iter_documents", "open_bytes", "reader_of"]

STDIN = "-"
_JSONL = (".jsonl", ".jsonl.gz", ".jsonl.zst")


@attrs.frozen(eq=False)
class LocatedDocument:
    """A document and where it was read."""

    document: Document
    path: Path
    line: int | None
    """Counted from 1, blank lines included; None where the reader does not tell."""


@runtime_checkable
class LocatingReader(Protocol):
    """A reader that tells the line of each document, and may list the faults it passed over in ``faults``."""

    def read_located(self, path: Path) -> Iterator[tuple[int | None, Document]]:
        """Yield pairs of line and document."""
        ...


def reader_of(config: DocumentReaderConfig) -> DocumentReader:
    """Return the config's reader, which knows the file endings that are the config's."""
    return _ConfiguredReader(config)


class _ConfiguredReader:
    """The reader of a config, and the ``suffixes`` of the config: a plugin's reader need not repeat them."""

    def __init__(self, config: DocumentReaderConfig) -> None:
        self.suffixes = config.suffixes or _JSONL
        self._reader = config.build()

    @property
    def faults(self) -> list[DataError]:
        """The faults that the reader passed over."""
        return getattr(self._reader, "faults", [])

    def read(self, path: Path) -> Iterator[Document]:
        """Yield the documents of a file."""
        return self._reader.read(path)

    def read_located(self, path: Path) -> Iterator[tuple[int | None, Document]]:
        """Yield pairs of line, where the reader tells it, and document."""
        if isinstance(self._reader, LocatingReader):
            return self._reader.read_located(path)
        return ((None, document) for document in self._reader.read(path))


def iter_documents(paths: str | Path | Sequence[str | Path], *, reader: DocumentReader) -> Iterator[LocatedDocument]:
    """Yield the documents of all files, lazily, in the order of the paths; folders and globs by name.

    A path may be a file, a folder (its files with the reader's ``suffixes``, JSON Lines if it has none), a glob, or
    ``-`` for stdin; a string may hold several with commas between. Raises DataError, before anything is read, for a
    path that is not there and a folder without such files; and for what the reader refuses, with the reader to name
    instead if the ending of the file is another's.
    """
    for path in expand_paths(paths, suffixes=getattr(reader, "suffixes", _JSONL)):
        known = len(_faults(reader))
        try:
            yield from _located(path, reader)
        except DataError as exc:
            exc.message = _other_reader(path, reader) + exc.message
            raise
        for fault in _faults(reader)[known : known + 1]:
            fault.message = _other_reader(path, reader) + fault.message


def _faults(reader: DocumentReader) -> Sequence[DataError]:
    return getattr(reader, "faults", ())


def _located(path: Path, reader: DocumentReader) -> Iterator[LocatedDocument]:
    if isinstance(reader, LocatingReader):
        for line, document in reader.read_located(path):
            yield LocatedDocument(document, path, line)
    else:
        for document in reader.read(path):
            yield LocatedDocument(document, path, None)


def _other_reader(path: Path, reader: DocumentReader) -> str:
    """Return what to say first of a file that cannot be read, if its ending is another reader's than this one's."""
    stated = getattr(reader, "suffixes", None)
    if stated is None or path.name.endswith(tuple(stated)):
        return ""
    plugins = Plugins()
    for component in plugins.components("document_reader"):
        try:
            suffixes = plugins.config_class(component.kind, component.qualified).suffixes
        except PluginError:
            continue
        if path.name.endswith(tuple(suffixes)):
            return f"a file of this ending wants reader={component.name}; without it: "
    return ""


def expand_paths(paths: str | Path | Sequence[str | Path], *, suffixes: Sequence[str] = _JSONL) -> list[Path]:
    """Return the files that paths stand for (see `iter_documents`)."""
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    parts = [part for path in given for part in (_split(path) if isinstance(path, str) else [path])]
    if not parts:
        raise DataError("no path was given", expected="a file, a folder, a glob or - for stdin")
    return [file for part in parts for file in _expand(Path(part), str(part), suffixes)]


def _split(text: str) -> list[str]:
    """Return the paths in a string; one that exists as a whole is not split at its commas."""
    if "," not in text or os.path.lexists(text):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _expand(path: Path, text: str, suffixes: Sequence[str]) -> list[Path]:
    if text == STDIN:
        return [path]
    if path.is_dir():
        return _in_folder(path, suffixes)
    if path.exists():
        return [path]
    if glob.has_magic(text):
        found = [Path(name) for name in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207  # Path.glob takes no absolute pattern
        files = [file for name in found for file in (_in_folder(name, suffixes) if name.is_dir() else [name])]
        if files:
            return files
        raise DataError("no file matches this pattern", path=text, expected="a pattern that matches files")
    raise DataError("no such file or folder", path=text, expected="a file, a folder, a glob or - for stdin")


def _in_folder(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as exc:
        raise DataError(f"cannot list this folder: {exc.strerror}", path=folder) from exc
    files = [folder / name for name in names if name.endswith(tuple(suffixes)) and not name.startswith(".")]
    if not files:
        endings = ", ".join(suffixes)
        raise DataError(f"no file in this folder ends in {endings}", path=folder, expected=endings)
    return files
