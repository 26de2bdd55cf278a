"""Files and folders that appear whole or not at all, whatever becomes of the process that writes them.

Each is written beside its place, under a name of its own, and moved there when it is whole and on the disk. The name
is locked while its writer lives, so that what a killed one left can be told from what another is just writing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

from papermage_core.errors import ConfigError
from papermage_core.files.compression import compressed

try:
    import fcntl
except ImportError:  # Windows, where what is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "can_write_in",
    "check_folder",
    "exclusive",
    "is_written_through",
    "made_folder",
    "recover",
    "whole_file",
    "whole_folder",
    "whole_text_file",
]

_LEFT = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.papermage-(?P<what>new|old)", re.DOTALL)
_DESCRIPTOR = re.compile(r"/dev/(?P<name>stdout|stderr)|(/dev/fd|/proc/self/fd)/(?P<number>\d+)")
_LONG_AGO = 24 * 3600.0  # seconds; counts only where files cannot be locked
_swept: set[Path] = set()


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a file to write; it takes the name ``path`` once the block has ended without an exception.

    What stood there before stays until then, and for good if the block fails. A name that ends as a compressed file's
    does is compressed (see `open_bytes`), the same content to the same bytes. The file has the permissions of the one
    that it replaces, else those that any new file gets.

    A symbolic link stays, and the file that it leads to is replaced. A device, a pipe or a descriptor (``/dev/stdout``)
    is written to as it is: there, nothing can be taken back.
    """
    if is_written_through(path):
        with _written_through(path) as raw, compressed(raw, path) as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if target.parent not in _swept:
        _swept.add(target.parent)
        recover(target.parent)
    with _new(target, _touch, os.fspath(path)) as new:
        with io.BufferedWriter(_NamedFile(new, os.fspath(path))) as raw:
            with contextlib.suppress(FileNotFoundError):
                new.chmod(stat.S_IMODE(target.stat().st_mode) & 0o777)
            with compressed(raw, path) as file:
                yield file
            raw.flush()
            os.fsync(raw.fileno())
        new.replace(target)
        _sync(target.parent)


@contextmanager
def whole_text_file(path: str | PathLike[str]) -> Iterator[IO[str]]:
    """Yield a text file like `whole_file`: UTF-8, lone surrogates written as escapes."""
    with whole_file(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")
        yield text
        text.flush()
        text.detach()


@contextmanager
def whole_folder(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a new folder to fill; it takes the name ``path`` once the block has ended without an exception.

    What stood there before stays until then. Whoever looks sees the old folder or the new one: where the system cannot
    swap the two in one step, `recover` puts back what a process killed in between had taken away. All files in it have
    the permissions that any new file gets.
    """
    target = Path(os.path.realpath(path))
    with made_folder(target.parent):
        recover(target.parent)
        with _new(target, Path.mkdir, os.fspath(path)) as new:
            yield new
            _settle(new)
            _put(new, target)
            _sync(target.parent)


def check_folder(path: str | PathLike[str]) -> None:
    """Raise ConfigError where no folder can be, since a file is there or above it."""
    for place in (Path(path), *Path(path).parents):
        if os.path.lexists(place):
            if not place.is_dir():
                raise ConfigError(f"{path} cannot be a folder: {place} is a file; choose another place")
            return


@contextmanager
def made_folder(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a folder, made with those above it if need be; of those, what is still empty after the block goes again.

    Raises ConfigError where a file is in its place.
    """
    folder = Path(path)
    check_folder(folder)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        with contextlib.suppress(OSError):
            for each in missing:  # from the innermost; one that holds something stays
                each.rmdir()


def recover(folder: str | PathLike[str]) -> list[str]:
    """Clear up what killed processes left in a folder; return the names that living ones are just replacing.

    What was half written is removed, and a folder that had been taken away is put back. What a living process writes
    stays. Never fails: what cannot be cleared up stays.
    """
    replacing = []
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            left = _LEFT.fullmatch(entry.name)
            if left is None:
                continue
            path, target = Path(entry.path), Path(folder, left["name"])
            with _abandoned(path) as abandoned, contextlib.suppress(OSError):
                if not abandoned:
                    replacing += [left["name"]] * (left["what"] == "old")
                elif left["what"] == "old" and not os.path.lexists(target):
                    path.rename(target)
                else:
                    _remove(path)
    return replacing


@contextmanager
def exclusive(folder: str | PathLike[str]) -> Iterator[None]:
    """Keep others who ask for the same folder out while the block runs, and this process lives.

    Raises BlockingIOError where another has it. Where the file system knows no locks, nobody is kept out.
    """
    lock = None if fcntl is None else os.open(folder, os.O_RDONLY)
    try:
        if lock is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise BlockingIOError(exc.errno, "another process is writing here", os.fspath(folder)) from None
            except OSError:
                pass
        yield
    finally:
        if lock is not None:
            os.close(lock)


def can_write_in(folder: Path) -> None:
    """Raise OSError if no file can be made in a folder."""
    with _new(folder / "probe", _touch, os.fspath(folder)):
        pass


# Written through -----------------------------------------------------------------------------------------------------


def is_written_through(path: str | PathLike[str]) -> bool:
    """Whether ``path`` is a device, a pipe or a descriptor of this process: what is written to, and never replaced."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _written_through(path: str | PathLike[str]) -> IO[bytes]:
    descriptor = _descriptor(path)
    return io.BufferedWriter(_NamedFile(path if descriptor is None else os.dup(descriptor), os.fspath(path)))


def _descriptor(path: str | PathLike[str]) -> int | None:
    """Return the descriptor that a path, or the links from it, names: opening it anew would cut off what it holds."""
    place = os.path.abspath(path)  # noqa: PTH100 - links are followed one by one
    for _ in range(40):
        if found := _DESCRIPTOR.fullmatch(place):
            if found["name"]:
                return 1 if found["name"] == "stdout" else 2
            return int(found["number"])
        try:
            place = os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place)))  # noqa: PTH115, PTH118, PTH120
        except OSError:
            return None
    return None


class _NamedFile(io.FileIO):
    """A file whose errors name the place that it is meant for."""

    def __init__(self, path: str | PathLike[str] | int, name: str) -> None:
        super().__init__(path if isinstance(path, int) else os.fspath(path), "wb")
        self._meant_for = name

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as exc:
            exc.filename = self._meant_for
            raise


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a write ends with where no more can be written; nothing of it says where that was."""

# New files and folders -----------------------------------------------------------------------------------------------


def _touch(path: Path) -> None:
    path.touch(exist_ok=False)


@contextmanager
def _new(target: Path, make: Callable[[Path], None], name: str) -> Iterator[Path]:
    """Yield what ``make`` made beside ``target``, locked while the block runs; what is left of it then is removed."""
    lock = None
    try:
        while True:
            new = _beside(target, "new")
            make(new)
            lock = _lock(new)
            if os.path.lexists(new):  # else another has cleared it up before it was locked
                break
            if lock is not None:
                os.close(lock)
                lock = None
        yield new
    except OSError as exc:
        if exc.filename is None and exc.errno in FULL:
            exc.filename = name
        elif isinstance(exc.filename, (str, os.PathLike)) and Path(exc.filename).is_relative_to(new):
            exc.filename, exc.filename2 = os.path.normpath(Path(name, Path(exc.filename).relative_to(new))), None
        raise
    finally:
        _remove(new)
        if lock is not None:
            os.close(lock)


def _beside(target: Path, what: str) -> Path:
    stem = os.fsdecode(os.fsencode(target.name)[:200])  # names have at most 255 bytes
    return target.with_name(f".{stem}.{secrets.token_hex(6)}.papermage-{what}")


def _lock(path: Path) -> int | None:
    """Return a descriptor whose lock says that this process lives; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        lock = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


@contextmanager
def _abandoned(path: Path) -> Iterator[bool]:
    """Yield whether the writer of what was begun is dead; while the block runs, no other finds that too."""
    file = None
    try:
        if fcntl is None:
            raise OSError
        file = os.open(path, os.O_RDONLY)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        abandoned = True
    except BlockingIOError:
        abandoned = False
    except OSError:  # no locks here: judged by its age
        abandoned = False
        with contextlib.suppress(OSError):
            abandoned = time.time() - path.stat().st_mtime > _LONG_AGO
    try:
        yield abandoned
    finally:
        if file is not None:
            os.close(file)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _settle(folder: Path) -> None:
    """Give all in a folder the permissions of a new file, and have it on the disk."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    for place, folders, files in os.walk(folder):
        for names, wanted in ((folders, mode), (files, mode & 0o666)):
            for path in (Path(place, name) for name in names):
                if path.is_symlink():
                    continue
                if stat.S_IMODE(path.stat().st_mode) != wanted:
                    with contextlib.suppress(PermissionError):  # a hard link to another's file
                        path.chmod(wanted)
                _sync(path)
    _sync(folder)


def _put(new: Path, target: Path) -> None:
    """Move a folder to its place; what stands there goes, in one step where the system can."""
    for attempt in range(100):
        try:
            if not target.is_dir():
                new.rename(target)
            elif not _exchange(new, target):
                _put_in_two_steps(new, target)
            return
        except OSError as exc:  # another may have put its folder there, or taken one away, just now
            if attempt == 99 or exc.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise


def _put_in_two_steps(new: Path, target: Path) -> None:
    old = _beside(target, "old")
    lock = _lock(target)
    try:
        target.rename(old)
        try:
            new.rename(target)
        except OSError:
            with contextlib.suppress(OSError):
                old.rename(target)
            raise
        finally:
            if target.exists():
                _remove(old)
    finally:
        if lock is not None:
            os.close(lock)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; return whether the system could."""
    if sys.platform != "linux":
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk; where the system cannot, it is left to its time."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
