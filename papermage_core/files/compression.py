"""Files that are compressed, by the ending of their name."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

from papermage_core.errors import ConfigError, DataError

__all__ = ["COMPRESSIONS", "compressed", "compression", "open_bytes"]

COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
"""Endings of compressed files."""

_STDIN = "-"
_BUFFER = 1 << 17
_ZST_INPUT = 1 << 12  # of zeros, 4 KiB may hold 128 MiB


def compression(path: str | PathLike[str]) -> str:
    """Return the ending that says how a file is compressed, in small letters, or an empty string.

    >>> compression("a.jsonl.GZ"), compression("a.jsonl")
    ('.gz', '')
    """
    ending = os.path.splitext(os.fspath(path).rstrip(os.sep))[1].lower()  # noqa: PTH122 - of each file of a large folder
    return ending if ending in COMPRESSIONS else ""


def open_bytes(path: str | PathLike[str], *, block: int | None = None) -> IO[bytes]:
    """Return a file open for reading, decompressed where its name ends in one of `COMPRESSIONS`; ``-`` is stdin.

    With ``block``, a regular file is not kept open but opened anew for each block of so many bytes: of thousands that
    are read side by side, the system would not let all be open. Raises DataError for a file that cannot be opened. What
    is damaged or cut short raises OSError when it is read.
    """
    if str(path) == _STDIN:
        return sys.stdin.buffer
    try:
        found = compression(path)
        raw = None if block is None else io.BufferedReader(_Reopened(Path(path)), block)
        if not found:
            return Path(path).open("rb") if raw is None else raw
        return io.BufferedReader(_Decompressed(*_reader(raw or path, found)), block or _BUFFER)
    except OSError as exc:
        raise DataError(f"cannot read this file: {exc.strerror or exc}", path=path) from exc
    except ModuleNotFoundError as exc:
        raise DataError(f"reading {found} files needs {_needed(exc)}", path=path) from exc


@contextmanager
def compressed(raw: IO[bytes], path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a file that compresses into ``raw`` as the name ``path`` says; ``raw`` itself if it says nothing."""
    found = compression(path)
    if not found:
        yield raw
        return
    try:
        writer = _writer(raw, found)
    except ModuleNotFoundError as exc:
        raise ConfigError(f"{path}: writing {found} files needs {_needed(exc)}") from exc
    with writer:
        yield cast("IO[bytes]", writer)


def _reader(file: str | PathLike[str] | IO[bytes], ending: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return what decompresses a file, and what it raises for damaged data."""
    given: Any = file
    if ending == ".gz":
        is_path = isinstance(file, (str, PathLike))
        packed = gzip.GzipFile(given, "rb") if is_path else gzip.GzipFile(fileobj=given, mode="rb")
        return packed, (EOFError, gzip.BadGzipFile, zlib.error)
    if ending == ".bz2":
        import bz2

        return bz2.BZ2File(given, "rb"), (EOFError, OSError)
    if ending == ".xz":
        import lzma

        return lzma.LZMAFile(given, "rb"), (EOFError, lzma.LZMAError)
    import zstandard

    source = io.FileIO(given) if isinstance(file, (str, PathLike)) else given
    return _ZstReader(source, zstandard), (zstandard.ZstdError,)


def _writer(raw: IO[bytes], ending: str) -> Any:
    if ending == ".gz":
        return gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0)
    if ending == ".bz2":
        import bz2

        return bz2.BZ2File(raw, "wb")
    if ending == ".xz":
        import lzma

        return lzma.LZMAFile(raw, "wb")
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=True).stream_writer(raw, closefd=False)


def _needed(exc: ModuleNotFoundError) -> str:
    return "zstandard: pip install 'papermage_core[zstd]'" if exc.name == "zstandard" else f"Python's module {exc.name}"


class _Reopened(io.RawIOBase):
    """A file that is open only while it is read."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        with path.open("rb"):  # whether it can be
            pass

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._at)
            count = file.readinto(buffer) or 0
        self._at += count
        return count


class _Decompressed(io.RawIOBase):
    """What a decompressor reads; whatever one raises for damaged data is an OSError."""

    def __init__(self, source: Any, errors: tuple[type[Exception], ...]) -> None:
        self._source = source
        self._errors = errors
        self._began = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count = int(self._source.readinto(buffer))
            self._began = True
            return count
        except self._errors as exc:
            if isinstance(exc, OSError) and exc.errno is not None:  # the disk's, not the decompressor's
                raise
            never = "" if self._began else ", or not compressed as its name says"
            raise OSError(f"damaged or cut short{never}: {exc}") from exc

    def close(self) -> None:
        self._source.close()
        super().close()


class _ZstReader(io.RawIOBase):
    """Zstandard frames. zstandard's own reader takes a frame that is cut short for a whole one."""

    def __init__(self, source: IO[bytes], zstandard: Any) -> None:
        self._source = source
        self._new = zstandard.ZstdDecompressor().decompressobj
        self._error = zstandard.ZstdError
        self._frame = self._new()
        self._started = False
        self._input = b""
        self._output = memoryview(b"")

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            data = self._input or self._source.read(_ZST_INPUT)
            if not data:
                if self._started and not self._frame.eof:
                    raise self._error("the file ends within a frame")
                return 0
            if self._frame.eof:
                self._frame = self._new()
            self._started = True
            self._output = memoryview(self._frame.decompress(data))
            self._input = self._frame.unused_data if self._frame.eof else b""
        place = memoryview(buffer)
        count = min(len(place), len(self._output))
        place[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def close(self) -> None:
        self._source.close()
        super().close()
