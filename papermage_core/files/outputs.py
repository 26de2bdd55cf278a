"""What may be written where: one rule for every command."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

from papermage_core.errors import ConfigError, DataError
from papermage_core.files.compression import COMPRESSIONS, compression
from papermage_core.files.whole import FULL, can_write_in, is_written_through, made_folder, whole_file

__all__ = ["check_output", "naming_stdout", "open_output"]

_STDOUT = "-"
_OF_A_RUN = ("checkpoints", "results", "last.ckpt", "config.yaml", "metrics.csv", "report.html")


def check_output(
    path: str | PathLike[str],
    *,
    option: str = "output_path",
    inputs: Iterable[str | PathLike[str]] = (),
    endings: Collection[str] | None = None,
    overwrite: bool = False,
    folder: bool = False,
) -> None:
    """Raise before any work is done if ``path``, which ``option`` names, must not or cannot be written.

    ``-``, devices, pipes and descriptors may always be written to. Else ConfigError is raised for a folder where a file
    is wanted, or the reverse if a ``folder`` is; for one of the ``inputs``, or what lies in one, by whatever name; for
    what belongs to a checkpoint or a run; for a name whose ending is none of ``endings``, a compressed file's apart
    (a name without any is let pass); and for a place where nothing can be written. DataError is raised for what is
    there already, unless it may be overwritten, which a folder with folders or hidden files in it never may. Inputs
    that do not exist do not count.
    """
    if os.fspath(path) == _STDOUT:
        if folder:
            raise ConfigError(f"{option}=-: what is written is a folder, which standard output cannot take; name one")
        return
    try:
        if not folder and is_written_through(path):
            return
        for problem in _problems(path, inputs, endings, folder):
            raise ConfigError(f"{option}={os.fspath(path)}: {problem}")
        if not overwrite and _holds_something(Path(path)):
            raise DataError(f"there is {os.fspath(path)} already: choose another {option}, or type overwrite=true")
        if folder and (more := _more_than_files(Path(path))):
            raise ConfigError(f"{option}={os.fspath(path)}: {more} in it would be lost; choose another place")
        can_write_in(_nearest_folder(Path(os.path.realpath(path))))
    except (OSError, ValueError) as exc:
        if isinstance(exc, (ConfigError, DataError)):
            raise
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f"{option}={os.fspath(path)}: it cannot be written: {reason}") from exc


@contextmanager
def open_output(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield the file to write, as `whole_file` does, in a folder that is made if need be; ``-`` is standard output."""
    if os.fspath(path) == _STDOUT:
        with naming_stdout():
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    with made_folder(Path(os.path.realpath(path)).parent), whole_file(path) as file:
        yield file


@contextmanager
def naming_stdout() -> Iterator[None]:
    """Have what the block raises where no more can be written, which names no file, name the standard output."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None and exc.errno in FULL:
            exc.filename = "standard output"
        raise


def _problems(
    path: str | PathLike[str],
    inputs: Iterable[str | PathLike[str]],
    endings: Collection[str] | None,
    folder: bool,
) -> Iterator[str]:
    given, place = Path(path), Path(os.path.realpath(path))
    if given.is_dir() and not folder:
        yield "this is a folder; name a file in it"
    if not given.is_dir() and not folder and os.fspath(path).endswith(("/", os.sep)):
        yield "this names a folder; name a file"
    if folder and given.exists() and not given.is_dir():
        yield "this is no folder"
    for each in map(Path, inputs):
        if not each.exists():
            continue
        if given.exists() and given.samefile(each):
            yield "this is one of the inputs; choose another place"
        real = Path(os.path.realpath(each))
        if real.is_dir() and real in place.parents and not _is_run(real):
            yield f"it lies in {each}, which is one of the inputs; choose another place"
        if folder and place in real.parents:
            yield f"the input {each} lies in it; choose another place"
    here = Path.cwd()
    if folder and place in (here, *here.parents):
        yield "this is the working folder, or holds it; choose another place"
    yield from _owners(place, folder)
    if endings is not None and not _has_ending(given.name, endings):
        yield (
            f"nothing writes such a file; choose a name that ends in {', '.join(endings)}, or in one of these and "
            f"{' '.join(COMPRESSIONS)}"
        )
    if given.exists() and not os.access(given, os.W_OK):
        yield "it cannot be written: it is read-only"
    nearest = _nearest_folder(place)
    if not nearest.is_dir():
        yield f"it cannot be written: {nearest} is no folder"


def _owners(place: Path, folder: bool) -> Iterator[str]:
    for parent in [place, *place.parents] if folder else place.parents:
        if (parent / "papermage.json").is_file() and (parent / "model.safetensors").exists():
            yield f"{parent} is a checkpoint, in which nothing else is written; choose another place"
        elif _is_run(parent):
            first = place.relative_to(parent).parts[:1]
            if not first or first[0] in _OF_A_RUN:
                yield f"it belongs to the run in {parent}; choose another place"


def _is_run(folder: Path) -> bool:
    return (folder / "checkpoints" / "papermage.json").is_file()


def _has_ending(name: str, endings: Collection[str]) -> bool:
    bare = name.lower().removesuffix(compression(name))
    return not Path(bare).suffix or bare.endswith(tuple(ending.lower() for ending in endings))


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _more_than_files(path: Path) -> str:
    """Return the name of something in a folder, if there is one, that no writer is likely to have put there."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return next((found.name for found in inside if found.name.startswith(".") or found.is_dir()), "")


def _nearest_folder(place: Path) -> Path:
    """Return the nearest of the folders above that is there."""
    return next(parent for parent in place.parents if os.path.lexists(parent))
