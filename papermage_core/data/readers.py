"""Paths in, documents with their places out: files, folders, globs, compressed files and stdin."""

from __future__ import annotations

import glob
import inspect
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from papermage_core.errors import DataError, PluginError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentReader, DocumentReaderConfig, LocatedDocument

__all__ = ["OnError", "expand_paths", "iter_documents", "reader_of"]

STDIN = "-"
_JSONL = (".jsonl", ".jsonl.gz", ".jsonl.zst")

OnError = Callable[[DataError], None]


def reader_of(config: DocumentReaderConfig) -> DocumentReader:
    """Return the config's reader, which knows the file endings that are the config's."""
    return _ConfiguredReader(config)


class _ConfiguredReader:
    """The reader of a config, and the ``suffixes`` of the config: a plugin's reader need not repeat them."""

    def __init__(self, config: DocumentReaderConfig) -> None:
        self.suffixes = config.suffixes or _JSONL
        self.read: Any = config.build().read


def iter_documents(
    paths: str | Path | Sequence[str | Path],
    *,
    reader: DocumentReader,
    on_error: OnError | None = None,
    first: int = 0,
    every: int = 1,
) -> Iterator[LocatedDocument]:
    """Yield the documents of all files, lazily, in the order of the paths; folders and globs by name.

    A path may be a file, a folder (its files with the reader's ``suffixes``, JSON Lines if it has none), a glob, or
    ``-`` for stdin; a string may hold several with commas between. Raises DataError, before anything is read, for a
    path that is not there and a folder without such files; and for what the reader refuses, with the reader to name
    instead if the ending of the file is another's. With ``on_error``, what the reader refuses is handed over, and
    reading goes on with the next document, or where the format does not allow that, with the next file.

    With ``first`` and ``every``, only documents number ``first``, ``first + every``, … are given, counted from 0 over
    all files together, those that cannot be read included; the others are passed over as cheaply as the format allows.
    """
    files = expand_paths(paths, suffixes=getattr(reader, "suffixes", _JSONL))
    return _documents(files, reader, on_error, first, every)


def _documents(
    files: Sequence[Path], reader: DocumentReader, on_error: OnError | None, first: int, every: int
) -> Iterator[LocatedDocument]:
    count = 0
    for path in files:
        ahead = first - count if count < first else (first - count) % every
        count += yield from _read(path, reader, on_error, ahead, every)


def _read(
    path: Path, reader: DocumentReader, on_error: OnError | None, first: int, every: int
) -> Generator[LocatedDocument, None, int]:
    """Yield the chosen documents of a file; return how many there are. What the reader does not know is done here."""
    takes = inspect.signature(reader.read).parameters
    shares = "first" in takes and "every" in takes
    count = reported = 0

    def wanted() -> bool:
        return shares or (count >= first and (count - first) % every == 0)

    def report(error: DataError) -> None:
        nonlocal count, reported
        if wanted():
            if not reported:
                error = error.replace(message=_other_reader(path, reader) + error.message)
            reported += 1
            error = error if error.path is not None else error.replace(path=path)
            if on_error is None:
                raise error
            on_error(error)
        count += 1

    arguments: dict[str, Any] = {"first": first, "every": every} if shares else {}
    if on_error is not None and "on_error" in takes:
        arguments["on_error"] = report
    documents: Iterator[Any] = iter(reader.read(path, **arguments))
    while True:
        try:
            found = next(documents)
        except StopIteration as done:
            return _count(done.value, reader) if shares and (first, every) != (0, 1) else count
        except DataError as exc:
            report(exc)
        except (OSError, UnicodeDecodeError) as exc:
            report(DataError(f"cannot read this file: {getattr(exc, 'strerror', None) or exc}"))
        else:
            if wanted():
                yield found if isinstance(found, LocatedDocument) else LocatedDocument(found, path)
            count += 1


def _count(returned: object, reader: DocumentReader) -> int:
    if isinstance(returned, int):
        return returned
    raise PluginError(
        f"the reader {type(reader).__name__} takes 'first' and 'every', and its read does not return how many "
        "documents the file holds"
    )


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
