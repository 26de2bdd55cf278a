"""What a job has done so far, kept so that it goes on after it was killed at any moment.

    found.csv.part/
      job.json        what the job is: its model, options and documents
      found.csv       what is written so far, in the format of the file where that can be written bit by bit;
                      else documents.jsonl, of which the file is made at the end
      errors.jsonl    the documents that could not be used
      journal.jsonl   a line now and then: so many blocks are done, and the files above are so long

A line is written once the files above are on the disk. Whatever they have beyond the last line is cut off when the job
goes on, and so are blocks done again that were not yet in it: nothing is there twice, and nothing is left out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import attrs
import msgspec

from papermage_core.errors import ConfigError, DataError
from papermage_core.files import exclusive, whole_text_file
from papermage_core.files.whole import made_folder

__all__ = ["Journal", "Progress", "differences", "open_journal", "part_folder"]

_FORMAT = 1
_BETWEEN_LINES = 1.0
"""Seconds after which what was done meanwhile is made sure of; more where a disk is slow (see `_SHARE`)."""
_SHARE = 0.01
"""Of a second: what making sure may take; where it takes more, it is done so many times more rarely."""
_WAIT = 10.0
"""Seconds that a job waits for the one before, which was just killed, to let go of its folder."""


@attrs.define
class Progress:
    """How far a job is."""

    blocks: int = 0
    documents: int = 0
    """Documents that are written."""
    failed: int = 0
    units: int = 0
    losses: Counter[str] = attrs.field(factory=Counter)
    """What the format could not hold: kind → how much."""
    is_done: bool = False
    """Whether there are no more blocks."""


def part_folder(output_path: str | Path) -> Path:
    """Return the folder where a job that writes a file keeps what is done so far."""
    target = Path(os.path.realpath(output_path))
    return target.with_name(f"{target.name}.part")


_Number = Annotated[int, msgspec.Meta(ge=0)]


class _Sizes(msgspec.Struct):
    data: _Number
    errors: _Number
    lengths: _Number


class _Line(msgspec.Struct):
    """A line of the journal: a `Progress`, and how long the files were."""

    blocks: _Number
    documents: _Number
    failed: _Number
    units: _Number
    losses: dict[str, _Number]
    is_done: bool
    sizes: _Sizes


class _File(msgspec.Struct):
    path: str


class _Job(msgspec.Struct):
    """What ``job.json`` must have, beside what it has."""

    fingerprint: dict[str, Any]
    files: list[_File]
    overwrite: bool


class Journal:
    """The folder of a job, open for writing. Made by `open_journal`."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], data_name: str) -> None:
        self.folder, self.facts = folder, facts
        self.data_path, self.errors_path = folder / data_name, folder / "errors.jsonl"
        self._journal_path, self._lengths_path = folder / "journal.jsonl", folder / "lengths.bin"
        self.progress = Progress()
        self._sure_of = sizes = self._read()
        self._last, self._rarer = time.monotonic(), 1.0
        if self.progress.is_done:  # and its files may have gone to their places
            return
        for left in folder.glob("block-*"):
            left.unlink()
        self.data, self._end = self._opened(self.data_path, sizes["data"]), sizes["data"]
        self._errors = self._opened(self.errors_path, sizes["errors"])
        self._lengths = self._opened(self._lengths_path, sizes["lengths"])
        self._journal = self._opened(self._journal_path, sizes["journal"])

    def add(self, documents: int, units: int, losses: Mapping[str, int], errors: Sequence[bytes], lengths: Any) -> None:
        """Take down that the next block is done, whose documents are in `data` already."""
        done = self.progress
        done.blocks += 1
        done.documents += documents
        done.failed += len(errors)
        done.units += units
        done.losses.update(losses)
        self._end = self.data.tell()
        self._errors.writelines(errors)
        self._lengths.write(array("q", lengths).tobytes())
        if time.monotonic() - self._last > _BETWEEN_LINES * self._rarer:
            self.commit()

    def finish(self) -> None:
        """Take down that all blocks are done."""
        self.progress.is_done = True
        self.commit()

    def commit(self) -> None:
        """Make sure of what is done: it stays whatever comes."""
        begin = time.monotonic()
        sizes = {"data": self._end, "errors": self._errors.tell(), "lengths": self._lengths.tell()}
        for name, file in (("data", self.data), ("errors", self._errors), ("lengths", self._lengths)):
            if sizes[name] != self._sure_of[name]:
                file.flush()
                os.fsync(file.fileno())
        line = json.dumps({**attrs.asdict(self.progress), "sizes": sizes}, ensure_ascii=False)
        self._journal.write(f"{line}\n".encode("utf-8", "surrogatepass"))
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._sure_of, self._last = sizes, time.monotonic()
        self._rarer = max(1.0, (self._last - begin) / _SHARE)

    def lengths(self) -> list[int]:
        """Return number and bytes of each document that is written, one after the other."""
        found = array("q")
        found.frombytes(self._lengths_path.read_bytes())
        return found.tolist()

    def close(self) -> None:
        """Close the files."""
        for name in ("data", "_errors", "_lengths", "_journal"):
            with contextlib.suppress(OSError):  # a full disk, of which whoever wrote was told
                if name in self.__dict__:
                    self.__dict__[name].close()

    def remove(self) -> None:
        """Remove the folder: it is gone at once, or there as it was."""
        self.close()
        with contextlib.suppress(OSError):
            gone = self.folder.with_name(f".{self.folder.name[:200]}.{secrets.token_hex(6)}.papermage-new")
            self.folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _read(self) -> dict[str, int]:
        """Read how far the job was; return how long the files were."""
        sizes = {"data": 0, "errors": 0, "lengths": 0, "journal": 0}
        with contextlib.suppress(FileNotFoundError), self._journal_path.open("rb") as file:
            for line in file:
                try:
                    found = msgspec.convert(json.loads(line.decode("utf-8", "surrogatepass")), _Line)
                except (ValueError, RecursionError):
                    break  # written when the job was killed
                if not line.endswith(b"\n"):
                    break
                values = msgspec.structs.asdict(found)
                said = msgspec.structs.asdict(values.pop("sizes"))
                self.progress = Progress(**{**values, "losses": Counter(found.losses)})
                sizes = {**said, "journal": sizes["journal"] + len(line)}
        return sizes

    def _opened(self, path: Path, size: int) -> IO[bytes]:
        with path.open("ab"):  # makes it
            pass
        file = path.open("r+b")
        if path.stat().st_size < size:
            file.close()
            raise DataError(
                "this file is shorter than it was when the job was stopped; begin anew with overwrite=true", path=path
            )
        file.truncate(size)
        file.seek(size)
        return file


@contextlib.contextmanager
def open_journal(
    output_path: str | Path, facts: Mapping[str, Any], data_name: str, *, resume: bool, overwrite: bool
) -> Iterator[Journal]:
    """Yield the journal of a job, new or where it was, which no other process writes while the block runs.

    ``facts`` say what the job is. Raises DataError for one that was stopped, unless it is to be gone on with (`resume`)
    or replaced (`overwrite`), and for one that another process is just at; ConfigError for one that was another job.
    """
    folder = part_folder(output_path)
    if folder.exists() and not resume and not overwrite:
        with contextlib.suppress(FileNotFoundError), _alone(folder, wait=0):  # else it is no job that was stopped
            pass
        raise DataError(
            f"there is {folder} already, of a job that was stopped: go on with resume=auto, or begin anew with "
            "overwrite=true"
        )
    with made_folder(folder), _alone(folder):
        before = _facts(folder) if resume else None
        if before is None:
            _empty(folder)
            with whole_text_file(folder / "job.json") as file:
                json.dump({"format": _FORMAT, **facts}, file, ensure_ascii=False)
            before = dict(facts)
        else:
            _check_same(folder, before, facts)
        journal = Journal(folder, before, data_name)
        try:
            yield journal
        finally:
            journal.close()


@contextlib.contextmanager
def _alone(folder: Path, wait: float | None = None) -> Iterator[None]:
    stop = time.monotonic() + (_WAIT if wait is None else wait)
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(folder))
                break
            except BlockingIOError as exc:
                if time.monotonic() > stop:
                    raise DataError("another process is at this job", path=folder) from exc
                time.sleep(0.1)
        yield


def _facts(folder: Path) -> dict[str, Any] | None:
    """Return what a job was; None where it was killed before it had said so."""
    try:
        found = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        if found.pop("format") == _FORMAT:
            msgspec.convert(found, _Job)
            return dict(found)
        raise ConfigError(f"{folder}: this job was begun with another version; begin anew with overwrite=true")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as exc:
        raise ConfigError(f"{folder / 'job.json'}: cannot be read; begin anew with overwrite=true") from exc


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            raise OSError(errno.ENOTEMPTY, "this is no folder of a job: it holds folders", str(folder))
    for path in folder.iterdir():
        path.unlink()


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if told := differences(before, now):
        raise ConfigError(
            *(f"resume: {each}" for each in told),
            f"resume: the job in {folder} is another one: type what it was begun with, or begin anew with "
            "overwrite=true",
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], but: Collection[str] = ()) -> list[str]:
    """Return in words what of a job is not what it was, the facts ``but`` apart."""
    was, known = before.get("fingerprint", {}), now["fingerprint"]
    keys = [key for key in [*was, *(key for key in known if key not in was)] if key not in but]
    told = []
    for key in (key for key in keys if was.get(key) != known.get(key)):
        files = {str(each) for each in before.get("files", ())} ^ {str(each) for each in now.get("files", ())}
        if key == "documents":
            listed = before.get("files") and now.get("files")
            names = sorted({each["path"] for each in _files(before, now) if str(each) in files}) if listed else []
            told.append("the documents are others" + (f" ({', '.join(names[:3])})" if names else ""))
        else:
            told.append(f"{key} is {known.get(key, 'not given')}, and was {was.get(key, 'not given')}")
    return [f"{each:.400}" for each in told]


def _files(*facts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for each in facts:
        yield from each.get("files", ())
