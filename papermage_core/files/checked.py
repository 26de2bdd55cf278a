"""Files that end in a checksum of what is before it: a bit that flipped, or an end that is missing, is found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

from papermage_core.errors import CheckpointError
from papermage_core.files.whole import whole_file

__all__ = ["check_file", "checked_file"]

_MARK = b"\npapermage sha256 "
_END = len(_MARK) + 64
_BLOCK = 1 << 20


@contextmanager
def checked_file(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a file to write from its start to its end, as `whole_file` does; `check_file` tells whether it is sound.

    What reads the file finds 82 bytes after what was written; torch, as any reader of zip files, passes over them.
    """
    with whole_file(path) as file:
        summed = _Summed(file)
        yield cast("IO[bytes]", summed)
        file.write(_MARK + summed.digest.hexdigest().encode())


def check_file(path: str | PathLike[str], advice: str) -> None:
    """Raise CheckpointError, with ``advice`` what to do, unless a file is what `checked_file` wrote.

    Raises OSError where it cannot be read.
    """
    with Path(path).open("rb") as file:
        left = file.seek(0, 2) - _END
        file.seek(max(left, 0))
        end = file.read(_END)
        if left < 0 or not end.startswith(_MARK):
            raise CheckpointError(f"{path} is cut short, or is no such file: its checksum is missing. {advice}")
        file.seek(0)
        digest = hashlib.sha256()
        while left and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
        if digest.hexdigest().encode() != end[len(_MARK) :]:
            raise CheckpointError(f"{path} is damaged: its content does not fit its checksum. {advice}")


class _Summed:
    """A file that sums up what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
