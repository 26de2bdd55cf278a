"""Paths in, documents with their places out: files, folders, globs, compressed files and stdin."""

from __future__ import annotations

import codecs
import contextlib
import glob
import inspect
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import IOBase
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import attrs

from papermage_core.config.paths import no_such_path
from papermage_core.config.readers import ReaderChoice, companions, other_kind
from papermage_core.data.garbage import collecting
from papermage_core.errors import DataError, PapermageError, PluginError
from papermage_core.files import compression, find_files, is_dead_link, open_bytes
from papermage_core.files.outline import json_outline
from papermage_core.plugin.blame import built, calling, component_of
from papermage_core.plugin.spec import DocumentReader, DocumentReaderConfig, LocatedDocument

if TYPE_CHECKING:
    from papermage_core.document import Document

__all__ = [
    "AnyReader",
    "OnError",
    "Place",
    "at_least_one",
    "check_read_again",
    "chosen_reader",
    "companions_of",
    "expand_paths",
    "file_head",
    "iter_documents",
    "needing",
    "none_usable",
    "passed_over",
    "read_documents",
    "read_file",
    "reader_config",
    "without_companions",
]

T = TypeVar("T")
STDIN = "-"
_HEAD = 4096
_COMMON, _FEW = (".jsonl", ".json", ".pdf", ".txt", ".xml", ".conll", ".tsv", ".csv", ".ann", ".parquet"), 12
"""Endings that are named where there is no room for all, and of how many all are."""
_OUTLINED = 2 << 20
"""Bytes of JSON that are looked through for its keys."""

_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

OnError = Callable[[DataError], None]
Place: TypeAlias = "tuple[int | None, int | None]"
"""Line and byte where a document begins, as in `LocatedDocument`."""
AnyReader: TypeAlias = "ReaderChoice | DocumentReaderConfig | DocumentReader | str | None"
"""What names a reader: a choice, a config, a reader, a name; None: the ending of each file."""


def iter_documents(
    paths: str | Path | Sequence[str | Path],
    *,
    reader: AnyReader = None,
    on_error: OnError | None = None,
    first: int = 0,
    every: int = 1,
) -> Iterator[LocatedDocument]:
    """Yield the documents of all files, lazily, in the order of the paths; folders and globs by name.

    A path may be a file, a folder (its files that readers know by their ending, or those with the endings of the reader
    named), a glob, or ``-`` for stdin; a string may hold several with commas between. Raises DataError, before anything
    is read, for a path that is not there, a folder without such files, and a file that no reader has; and for what the
    reader refuses, with the reader to name instead if the ending of the file is another's. With ``on_error``, what the
    reader refuses is handed over, and reading goes on with the next document, or where the format does not allow that,
    with the next file.

    With ``first`` and ``every``, only documents number ``first``, ``first + every``, … are given, counted from 0 over
    all files together, those that cannot be read included; the others are passed over as cheaply as the format allows.
    """
    choice = chosen_reader(reader)
    files = expand_paths(paths, reader=choice)
    choice.check(files)
    return collecting(_documents(files, choice, on_error, first, every), _n_characters)


def at_least_one(read: Callable[[OnError | None], Iterable[T]], on_error: OnError | None) -> Iterator[T]:
    """Yield what ``read`` yields, which takes ``on_error``. Raises DataError at its end where there were errors alone.

    An empty output would be taken for the result of sound documents.
    """
    failed, count = 0, 0

    def told(error: DataError) -> None:
        nonlocal failed
        failed += 1
        assert on_error is not None
        on_error(error)

    for each in read(None if on_error is None else told):
        count += 1
        yield each
    if failed and not count:
        raise none_usable(failed)


def check_read_again(files: Iterable[Path], what: str) -> None:
    """Raise DataError for standard input and pipes, whose documents come once; ``what`` reads them more than once."""
    for path in files:
        if str(path) == STDIN or not path.is_file():
            pipe = "standard input" if str(path) == STDIN else "a pipe"
            raise DataError(
                f"{what}: documents are read more than once, which {pipe} cannot be: write it to a file first",
                path=path,
            )


def none_usable(failed: int) -> DataError:
    """Return the error for documents of which none could be used."""
    errors = "an error" if failed == 1 else f"{failed} errors"
    return DataError(f"none of the documents can be used ({errors}), so there is no result")


def _n_characters(located: LocatedDocument) -> int:
    return len(located.document.symbols or "")


def read_documents(
    paths: str | Path | Sequence[str | Path], reader: AnyReader = None, *, on_error: OnError | None = None
) -> Iterator[Document]:
    """Yield the documents of files, folders and globs, such as ``"papers/*.pdf"``, lazily.

    This is `iter_documents` without the places; it raises what that raises: DataError for what is not there or cannot
    be read, PluginError where a library is missing.
    """
    return (located.document for located in iter_documents(paths, reader=reader, on_error=on_error))


def chosen_reader(reader: AnyReader) -> ReaderChoice:
    """Return the choice that names a reader."""
    if isinstance(reader, ReaderChoice):
        return reader
    if reader is None or isinstance(reader, str):
        return ReaderChoice(name=reader)
    if not isinstance(reader, DocumentReaderConfig) and not callable(getattr(reader, "read", None)):
        raise TypeError(f"expected a reader, its name or its options, got {type(reader).__name__}")
    return ReaderChoice(config=reader if isinstance(reader, DocumentReaderConfig) else _Given(reader=reader))


def reader_config(path: Path, reader: AnyReader) -> DocumentReaderConfig:
    """Return the config of the reader that reads a file. Raises DataError for a file that is nobody's."""
    return chosen_reader(reader).config_for(path, file_head)


def companions_of(path: Path, config: DocumentReaderConfig) -> list[Path]:
    """Return the files beside a file that its reader reads with it."""
    return sorted({other for other in companions(path, config) if other.is_file()})


@attrs.frozen(kw_only=True)
class _Given(DocumentReaderConfig):
    """A reader that was made already. In a folder it reads the files with its own ``suffixes``, or JSON Lines."""

    compressed: ClassVar[bool] = True
    reader: DocumentReader

    @property
    def suffixes(self) -> tuple[str, ...]:  # type: ignore[override]  # of the object, not of the class
        return tuple(getattr(self.reader, "suffixes", (".jsonl",)))

    def build(self) -> DocumentReader:
        return self.reader


def _documents(
    files: Sequence[Path], choice: ReaderChoice, on_error: OnError | None, first: int, every: int
) -> Iterator[LocatedDocument]:
    count = 0
    for path in files:
        ahead = first - count if count < first else (first - count) % every
        try:
            config = choice.config_for(path, file_head)
        except DataError as error:
            if on_error is None:
                raise
            if not ahead:
                on_error(error)
            count += 1
            continue
        with needing(path, config):
            count += yield from read_file(path, built(config), partial(choice.advice, path), on_error, ahead, every)


@contextmanager
def needing(path: Path, config: DocumentReaderConfig) -> Iterator[None]:
    """Raise PluginError that says what to install where a reader misses a module."""
    try:
        yield
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        wanted = quote(config.requirement or missing)
        raise PluginError(f"{path}: reading it needs {missing}; type: pip install {wanted}") from exc


def file_head(path: Path, outlined: bool = False) -> bytes:
    """Return how a file begins, decompressed, or how JSON does without what is long in it; nothing if it is unreadable.

    A paper's text is longer than a head, and what tells one format from another may come after it.
    """
    try:
        with open_bytes(path) as file:
            begin = _as_utf8(file.read(_OUTLINED if outlined else _HEAD))
            return json_outline(begin, _HEAD) if outlined else begin
    except (DataError, OSError):
        return b""


def _as_utf8(head: bytes) -> bytes:
    """Return the beginning of a text as UTF-8 where a byte order mark says that it is something wider."""
    encoding = next((encoding for mark, encoding in _WIDE if head.startswith(mark)), None)
    return head if encoding is None else head.decode(encoding, "ignore").encode("utf-8", "ignore")


def read_file(
    path: Path,
    reader: DocumentReader,
    advice: Callable[[], str],
    on_error: OnError | None,
    first: int,
    every: int,
    start: Place | None = None,
) -> Generator[LocatedDocument, None, int]:
    """Yield the chosen documents of a file; return how many there are. What the reader does not know is done here.

    ``start`` is for readers that can begin in the middle of a file: documents before it do not count.
    """
    with calling(reader, f"read of {path}"):
        takes = inspect.signature(reader.read).parameters
    shares = "first" in takes and "every" in takes
    count = reported = 0
    stopped: DataError | None = None

    def wanted() -> bool:
        return shares or (count >= first and (count - first) % every == 0)

    def report(error: DataError) -> None:
        nonlocal count, reported, stopped
        if wanted():
            if not reported:
                error = error.replace(message=advice() + error.message)
            reported += 1
            error = error if error.path is not None else error.replace(path=path)
            if on_error is None:
                raise error
            try:
                on_error(error)
            except DataError as too_many:
                stopped = too_many
                raise
        count += 1

    arguments: dict[str, Any] = {"first": first, "every": every} if shares else {}
    if on_error is not None and "on_error" in takes:
        arguments["on_error"] = report
    if start is not None:
        arguments["start"] = start
    with calling(reader, f"read of {path}"):
        documents: Iterator[Any] = iter(reader.read(path, **arguments))
    while True:
        try:
            found = next(documents)
        except StopIteration as done:
            ended = reported and done.value is None  # by what it raised, and so cannot say how many there are
            return _count(done.value, reader) if shares and (first, every) != (0, 1) and not ended else count
        except DataError as exc:
            if exc is stopped:  # by `on_error`, which a reader called
                raise
            report(exc)
        except (OSError, UnicodeDecodeError) as exc:
            report(DataError(f"cannot read this file: {getattr(exc, 'strerror', None) or exc}"))
        except BaseException as exc:
            with calling(reader, f"read of {path}"):
                raise exc from None
        else:
            if wanted():
                yield _located(found, path, reader)
            count += 1


def _located(found: Any, path: Path, reader: DocumentReader) -> LocatedDocument:
    from papermage_core.document import Document

    located = found if isinstance(found, LocatedDocument) else LocatedDocument(found, path)
    if isinstance(located.document, Document):
        return located
    whose = component_of(reader) or f"reader {type(reader).__name__}"
    raise PluginError(f"the {whose} gave {located.document!r:.100} of {path}; expected documents")


def _count(returned: object, reader: DocumentReader) -> int:
    if isinstance(returned, int):
        return returned
    raise PluginError(
        f"the reader {type(reader).__name__} takes 'first' and 'every', and its read does not return how many "
        "documents the file holds"
    )


def expand_paths(paths: str | Path | Sequence[str | Path], *, reader: AnyReader = None) -> list[Path]:
    """Return the files that paths stand for (see `iter_documents`)."""
    choice = chosen_reader(reader)
    given = _listed(paths)
    for path in given:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"expected a path, or several, got {type(path).__name__}")
    parts = [part for path in given for part in (_split(path) if isinstance(path, str) else [path])]
    if not parts:
        raise DataError("no path was given", expected="a file, a folder, a glob or - for stdin")
    texts = [*map(str, parts)]
    found = [_expand(Path(texts[at]), texts, at, choice) for at in range(len(parts))]
    if len(found) == 1 and os.path.isdir(texts[0]):  # noqa: PTH112 - of a folder, they are left out already
        return found[0]
    return without_companions([file for files in found for file in files], choice)


def without_companions(files: Sequence[Path], reader: AnyReader) -> list[Path]:
    """Return files without those that are read with another one of them, as a text is with its annotations."""
    if len(files) < 2:
        return list(files)
    choice = chosen_reader(reader)
    belonging = set[Path]()
    for path in dict.fromkeys(files):
        with contextlib.suppress(PapermageError):  # whoever reads it finds out
            belonging.update(companions(path, choice.config_for(path, file_head)))
    return [path for path in files if path not in belonging]


def _listed(paths: Any) -> list[Any]:
    one = isinstance(paths, (str, bytes, os.PathLike, IOBase)) or not isinstance(paths, Iterable)
    return [paths] if one else list(paths)


def _split(text: str) -> list[str]:
    """Return the paths in a string; one that exists as a whole is not split at its commas."""
    if "," not in text or os.path.lexists(text):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _expand(path: Path, texts: Sequence[str], at: int, choice: ReaderChoice) -> list[Path]:
    text = texts[at]
    if text == STDIN:
        return [path]
    if path.is_dir():
        return _in_folder(path, choice)
    if path.exists() or is_dead_link(path):
        return [path]
    if glob.has_magic(text):
        return _matching(text, choice)
    more = no_such_path(texts, at)
    raise DataError(f"no such file or folder{more}", path=text, expected="a file, a folder, a glob or - for stdin")


def _matching(pattern: str, choice: ReaderChoice) -> list[Path]:
    """Return the files that a pattern matches, and the documents in the folders that it matches, each once."""
    found = find_files(pattern)
    seen: set[str] = set()
    files: list[Path] = []
    for path in found:
        if not path.is_dir():
            files += [] if Path(pattern).name == "**" else [path]  # there, files are found in their folders
        elif (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            files += _documents_in(path, choice)
    if files:
        return list(dict.fromkeys(files))
    if found:
        raise DataError(f"no file in these folders ends in {_shown(choice.endings())}", path=pattern)
    raise DataError("no file matches this pattern", path=pattern, expected="a pattern that matches files")


def _in_folder(folder: Path, choice: ReaderChoice) -> list[Path]:
    if files := _documents_in(folder, choice):
        return files
    endings = choice.endings()
    if not any(folder.iterdir()):
        raise DataError("this folder is empty", path=folder, expected=_shown(endings))
    inner = any(path.is_dir() for path in folder.iterdir())
    hint = f"; type {folder / '**'} to read what is in the folders below" if inner else ""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in (path for path in files if _bare(path).endswith(tuple(endings))):
        try:
            choice.config_for(path, file_head)
        except DataError as error:
            raise DataError(
                f"no reader knows a file of this folder; {path.name}: {error.message}{hint}", path=folder
            ) from None
    told = next((f"; {path.name} is {kind}" for path, kind in ((each, other_kind(each)) for each in files) if kind), "")
    raise DataError(
        f"no file in this folder ends in {_shown(endings)}{told}{hint}", path=folder, expected=_shown(endings)
    )


def _shown(endings: Sequence[str]) -> str:
    """Return endings, of many those that most people have."""
    common = [ending for ending in _COMMON if ending in endings]
    if len(endings) <= _FEW or not common:
        return ", ".join(endings)
    return f"{', '.join(common)}, nor in any other of the {len(endings)} endings that readers know (docs/formats.md)"


def _bare(path: Path) -> str:
    return path.name.lower().removesuffix(compression(path) or "")


def passed_over(paths: Sequence[str | Path], files: Sequence[Path], reader: AnyReader = None) -> Iterator[str]:
    """Yield lines on what is given twice, and what is not read of folders: unknown files, and folders below.

    ``files`` are all that are read. Folders are read without those below, of which nobody may think. What belongs to a
    file that is read counts not.
    """
    choice = chosen_reader(reader)
    endings = tuple(choice.endings())
    read = set(files)
    if (twice := Counter(files).most_common(1)) and twice[0][1] > 1:
        yield f"{twice[0][0]}: is given {twice[0][1]} times: training reads it once, other commands as often"
    for path in (Path(path) for path in paths if os.path.isdir(path)):  # noqa: PTH112 - a string may be no path
        entries = sorted(each for each in path.iterdir() if each.name[0] != ".")
        used = {each for each in entries if each in read or is_dead_link(each)}
        for each in sorted(used):
            with contextlib.suppress(PapermageError):  # whoever reads it finds out
                used.update(companions_of(each, choice.config_for(each, file_head)))
        if others := [each for each in entries if each.is_file() and each not in used]:
            are = (
                "a file is not read, which no reader knows"
                if len(others) == 1
                else (f"{len(others)} files are not read, which no reader knows")
            )
            yield f"{path}: {are}: {others[0].name}{' …' * (len(others) > 1)}"
        parents = {each.parent for each in used | read}
        for folder in (each for each in entries if each.is_dir() and not each.is_symlink() and each not in parents):
            with contextlib.suppress(OSError):
                if any(each.name.lower().endswith(endings) for each in folder.iterdir() if each.name[0] != "."):
                    yield f"{path}: folders below, such as {folder}, are not read; data_path={path / '**'} reads them"
                    break


def _documents_in(folder: Path, choice: ReaderChoice) -> list[Path]:
    try:
        entries = (entry for entry in os.scandir(folder) if entry.name[0] != ".")
        names = sorted(entry.name for entry in entries if entry.is_file() or is_dead_link(entry.path))
    except OSError as exc:
        raise DataError(f"cannot list this folder: {exc.strerror}", path=folder) from exc
    return choice.in_folder([folder / name for name in names], file_head)
