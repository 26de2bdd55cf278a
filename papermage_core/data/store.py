"""Records that are kept in memory while they are few, else on disk, and read one at a time.

    <store>/
      records-<i>.bin    records, one after the other; one file for each process that made them
      index.npy          file, first byte and bytes of each record    (records, 3), int64
      <name>.npy         what is known of all records at once
      facts.json         everything else

A record is read by its place and decoded, so a corpus of any size costs what a batch of it costs. A folder appears
when it is whole; two processes may make the same one at once, and the first wins. Deleting stores is always safe.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import shutil
import tempfile
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, overload

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.errors import DataError

__all__ = ["FORMAT", "DiskRecords", "LazyFolder", "RecordWriter", "finish_folder", "open_folder", "read_at"]

T = TypeVar("T")
_ONE_READER = threading.Lock()
_LEFT_OVER = 7 * 24 * 3600.0
FORMAT = 3
"""Version of the layout above and of the records in it."""


class DiskRecords(Sequence[T]):
    """The records of a folder. Reading is safe from several threads and processes.

    A folder that is not kept goes with the object.
    """

    def __init__(
        self, folder: Path, decode: Callable[[bytes], T], index: NDArray[np.int64], is_kept: bool = True
    ) -> None:
        self.folder, self.is_kept = folder, is_kept
        self._decode, self._index = decode, index
        if not is_kept:
            weakref.finalize(self, _remove_own, folder, os.getpid())
        self._files: dict[int, int] = {}
        for number in np.unique(index[:, 0]).tolist():
            self._file(number)  # what is open can be deleted

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, key: int) -> T: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[T]: ...
    def __getitem__(self, key: int | slice) -> T | Sequence[T]:
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(len(self)))]
        return self._decode(self.content(key))

    def __iter__(self) -> Iterator[T]:
        return (self[i] for i in range(len(self)))

    def content(self, key: int) -> bytes:
        """Return a record as it was encoded. Raises DataError where its file was cut short."""
        number, first, size = self._index[key].tolist()
        found = read_at(self._file(number), size, first)
        if len(found) != size:
            raise DataError("this file of the cache was cut short; delete it and run again", path=self._path(number))
        return found

    def _path(self, number: int) -> Path:
        return self.folder / f"records-{number}.bin"

    def _file(self, number: int) -> int:
        if number not in self._files:
            handle = os.open(self._path(number), os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._files[number] = handle
            weakref.finalize(self, os.close, handle)
        return self._files[number]

    def __reduce__(self) -> Any:
        return DiskRecords, (self.folder, self._decode, self._index)


@attrs.define(eq=False)
class RecordWriter(Generic[T]):
    """Appends records; they go to file ``number`` of a folder once they weigh more than ``in_memory``.

    ``folder`` makes the folder when it is first needed; weights are bytes, or anything that ``weigh`` counts in.
    """

    folder: Callable[[], Path]
    encode: Callable[[T], bytes]
    weigh: Callable[[T], int]
    in_memory: int
    number: int = 0
    _kept: list[T] = attrs.field(factory=list, init=False)
    _weight: int = attrs.field(default=0, init=False)
    _file: BinaryIO | None = attrs.field(default=None, init=False)
    _sizes: list[int] = attrs.field(factory=list, init=False)

    def append(self, record: T) -> None:
        """Add a record. Raises OSError where the disk refuses."""
        if self._file is not None:
            self._write(record)
            return
        self._kept.append(record)
        self._weight += self.weigh(record)
        if self._weight > self.in_memory:
            self.spill()

    def spill(self) -> None:
        """Write to disk what is in memory, and all that follows."""
        if self._file is None:
            self._file = (self.folder() / f"records-{self.number}.bin").open("wb", buffering=1 << 20)
            for record in self._kept:
                self._write(record)
            self._kept.clear()

    def finish(self) -> list[T] | NDArray[np.int64]:
        """Return the records where they are in memory, else their index; see `DiskRecords`."""
        if self._file is None:
            return self._kept
        self._file.close()
        stops = np.cumsum(self._sizes, dtype=np.int64)
        sizes = np.array(self._sizes, np.int64)
        return np.stack([np.full(len(sizes), self.number, np.int64), stops - sizes, sizes], 1)

    def _write(self, record: T) -> None:
        assert self._file is not None
        content = self.encode(record)
        self._file.write(content)
        self._sizes.append(len(content))


def read_at(handle: int, size: int, first: int) -> bytes:
    """Return ``size`` bytes of an open file from byte ``first``; safe from several threads and processes."""
    if hasattr(os, "pread"):
        return os.pread(handle, size, first)
    with _ONE_READER:  # Windows
        os.lseek(handle, first, os.SEEK_SET)
        return os.read(handle, size)


@attrs.define(eq=False)
class LazyFolder:
    """A new folder in ``parent`` (see `new_folder`), made when it is first asked for."""

    parent: Path
    _made: Path | None = None

    def __call__(self) -> Path:
        """Return the folder."""
        if self._made is None:
            self._made = new_folder(self.parent)
        return self._made


def new_folder(parent: Path) -> Path:
    """Return a new hidden folder in ``parent``, or in the system's temporary folder where that cannot be written."""
    prefix = f".new-{os.getpid()}-{_numbering()}-"
    with contextlib.suppress(OSError):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(parent)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    return Path(tempfile.mkdtemp(prefix=f"papermage{prefix}"))


def _remove_left_over(parent: Path) -> None:
    """Remove the new folders of processes that are no more."""
    for folder in parent.glob(".new-*"):
        if not is_being_made(folder):
            shutil.rmtree(folder, ignore_errors=True)


def is_being_made(folder: Path) -> bool:
    """Return whether this is a new folder of a process that runs.

    Nothing is known of the processes of other machines and containers, which may share the cache: a folder of theirs
    counts as being made until nothing in it has changed for a week.
    """
    name = folder.name.split("-")
    if name[0] != ".new" or len(name) < 3 or not name[1].isdigit():
        return False
    if len(name) > 3 and name[2] != _numbering():
        return time.time() - _changed(folder) < _LEFT_OVER
    return _is_alive(int(name[1]))


@functools.cache
def _numbering() -> str:
    """Return a name of what numbers the processes: this machine, or a container on it."""
    space = ""
    with contextlib.suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(f'{platform.node()} {space}'.encode()):08x}"


def _changed(folder: Path) -> float:
    changed = 0.0
    for path in (folder, *folder.glob("*")):
        with contextlib.suppress(OSError):
            changed = max(changed, path.stat().st_mtime)
    return changed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def finish_folder(
    new: Path, target: Path | None, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> tuple[Path, bool]:
    """Write what is known of the records into ``new``, and move it to ``target``; return where it is, and if kept.

    Where ``target`` is None, or cannot be, the folder stays where it is, for this process only.
    """
    for name, array in arrays.items():
        np.save(new / f"{name}.npy", array, allow_pickle=False)
    (new / "facts.json").write_text(json.dumps({"format": FORMAT, **facts}), encoding="utf-8")
    if target is None:
        return new, False
    try:
        new.rename(target)
    except OSError:
        if open_folder(target, arrays) is None:  # damaged, or cannot be made
            return _replaced(new, target)
        shutil.rmtree(new, ignore_errors=True)  # another process was faster
    return target, True


def _replaced(new: Path, target: Path) -> tuple[Path, bool]:
    shutil.rmtree(target, ignore_errors=True)
    try:
        new.rename(target)
    except OSError:
        return new, False
    return target, True


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a fork
        shutil.rmtree(folder, ignore_errors=True)


def _array(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:  # np.load would open zip files, and leave them open
        found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return found


def open_folder(folder: Path, names: Iterable[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Return the arrays of these names and the facts of a whole folder; None where it is not one."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            return None
        arrays = {name: _array(folder / f"{name}.npy") for name in names}
        index = arrays.get("index")
        if index is not None and len(index):
            for number in np.unique(index[:, 0]).tolist():
                rows = index[index[:, 0] == number]
                if (folder / f"records-{number}.bin").stat().st_size != int((rows[:, 1] + rows[:, 2]).max()):
                    return None
        os.utime(folder)
        return arrays, facts
    except Exception:  # of a folder that anything may have been done to
        return None
