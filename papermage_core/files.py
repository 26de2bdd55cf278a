"""Files that appear whole or not at all, and files read whatever they are packed in."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

from papermage_core.errors import DataError

__all__ = ["open_bytes", "whole_file", "whole_text_file"]


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a file to write; it takes the name ``path`` once the block has ended without an exception.

    What stood there before stays until then, and for good if the block fails. A name that ends in ``.gz`` is
    compressed, the same content to the same bytes. The file has the permissions that any new file gets.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as raw:
            if target.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:
                    yield packed  # type: ignore[misc]  # a GzipFile is no IO by its base class, but is one
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_text_file(path: str | PathLike[str]) -> Iterator[IO[str]]:
    """Yield a text file like `whole_file`: UTF-8, lone surrogates written as escapes."""
    with whole_file(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")
        yield text
        text.flush()
        text.detach()


def open_bytes(path: Path) -> IO[bytes]:
    """Return a file open for reading, decompressed where its name ends in ``.gz`` or ``.zst``; ``-`` is stdin.

    Raises DataError for a file that cannot be opened.
    """
    if str(path) == "-":
        return sys.stdin.buffer
    try:
        if path.name.endswith(".gz"):
            return gzip.open(path, "rb")  # type: ignore[return-value]
        if path.name.endswith(".zst"):
            return _open_zst(path)
        return path.open("rb")
    except OSError as exc:
        raise DataError(f"cannot read this file: {exc.strerror or exc}", path=path) from exc


def _open_zst(path: Path) -> IO[bytes]:
    try:
        import zstandard
    except ImportError as exc:
        needs = "reading .zst files needs zstandard: pip install 'papermage_core[zstd]'"
        raise DataError(needs, path=path) from exc
    handle = path.open("rb")
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(handle, read_across_frames=True, closefd=True))
