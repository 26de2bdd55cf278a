"""Where a checkpoint is, what its ``papermage.json`` says, and whether its files are those that were recorded."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from papermage_core.checkpoint.content import (
    CARD,
    EXPORT_VERSION,
    FORMAT_VERSION,
    JSON,
    LEARNED_FILES,
    PROCESSORS,
    WEIGHTS,
    Content,
    check_source,
    content_digest,
)
from papermage_core.checkpoint.damage import damage, finite
from papermage_core.config.hub import from_hub
from papermage_core.errors import CheckpointError
from papermage_core.files import check_keys, kind_of_file, recover
from papermage_core.files.hub import is_on_hub

__all__ = [
    "check_digest",
    "check_file",
    "check_files",
    "identity",
    "located",
    "read_content",
    "regular",
    "sha256",
    "untampered",
]

_MOST_JSON = 64 << 20
_DEEPEST = 8  # checkpoints of processors within each other


def located(folder: Path) -> Path:
    """Return the folder of the checkpoint: the one given, or ``checkpoints`` in it if it is a run's.

    ``hf:owner/name`` is fetched from the hub first.
    """
    if is_on_hub(folder):
        return from_hub(str(folder))
    for place in (folder, folder / "checkpoints"):
        for _ in range(500):
            if (place / JSON).exists():
                return place
            if place.exists() or place.name not in recover(place.parent):
                break
            time.sleep(0.01)  # another process has just taken it away, to put a new one there
    return folder


def identity(folder: Path) -> tuple[int, int, int] | None:
    """Return what tells a checkpoint from the one that takes its place; None where there is none."""
    try:
        found = (folder / JSON).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _runs_below(folder: Path) -> str:
    """Return what to say of the checkpoints of a search's, a cascade's or several runs' folder."""
    try:
        names = sorted(path.parent.parent.name for path in folder.glob(f"*/checkpoints/{JSON}"))
    except OSError:  # a folder that may not be looked into
        names = []
    if "best" in names:
        return f". The best of its models is in {folder / 'best'}"
    more = " …" if len(names) > 3 else ""
    return f". There are models in {', '.join(str(folder / name) for name in names[:3])}{more}" if names else ""


def _folder_of(file: Path) -> str:
    """Return what to say of a file that was given where a folder should be."""
    places = [place for place in (file.parent, file.parent / "checkpoints") if (place / JSON).is_file()]
    return f"; give the folder {places[0]}" if places else "; give the folder of a run, or the checkpoints in it"


def read_content(folder: Path) -> tuple[dict[str, Any], Content]:
    """Return ``papermage.json`` as it stands, and what of it must be as it should."""
    path = folder / JSON
    if not os.path.lexists(path):
        what = f"has no {JSON}" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
        if folder.is_file():
            what += _folder_of(folder)
        raise CheckpointError(f"{folder} is no checkpoint: it {what}{_runs_below(folder)}")
    if regular(folder, JSON).st_size > _MOST_JSON:
        raise CheckpointError(f"{path} is damaged: it has more than {_MOST_JSON >> 20} MiB")
    with damage(path):
        if kind := _kind(path):
            raise CheckpointError(f"{path} is {kind}")
        text = path.read_text(encoding="utf-8")
        facts: dict[str, Any] = json.loads(text, parse_constant=finite, parse_float=finite)
        check_keys(text.encode())
        version = facts.get("format_version") if isinstance(facts, dict) else None
        if type(version) is not int or version < FORMAT_VERSION:
            raise CheckpointError(f"{path} is damaged: it has no format_version of {FORMAT_VERSION} or more")
        if version > EXPORT_VERSION:
            raise CheckpointError(
                f"{folder} has checkpoint format {version}, this papermage_core reads up to {EXPORT_VERSION}; "
                "pip install -U papermage_core"
            )
        content = msgspec.convert(facts, Content)
        for component in content.components:
            check_source(component)
    return facts, content


def untampered(folder: Path) -> dict[str, Any]:
    """Return ``papermage.json``, which is to be written anew: what was changed in it by hand is not made sound so."""
    facts, content = read_content(folder)
    check_digest(folder, content)
    return facts


def check_digest(folder: Path, content: Content) -> None:
    """Raise CheckpointError if what shapes the results was changed since, which nothing else needs to show."""
    if content.digest and content.digest not in (content_digest(content), content_digest(content, former=True)):
        raise CheckpointError(
            f"{folder / JSON} was changed since it was written: its labels, options, or how entities are found. "
            'Take the checkpoint from where it came; if the change is meant, remove "digest" from that file'
        )


def check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Raise CheckpointError unless the recorded files, and no others that a component may read, are there and sound."""
    for name, recorded in checksums.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name or name == JSON:
            raise CheckpointError(f"{folder / JSON} is damaged: checksums name {name!r:.80}")
        if path.parts.count(PROCESSORS) > _DEEPEST:
            raise CheckpointError(f"{folder} holds checkpoints in checkpoints more than {_DEEPEST} deep")
        check_file(folder, name, recorded)
    if WEIGHTS not in checksums:
        raise CheckpointError(f"{folder / JSON} is damaged: it records no {WEIGHTS}")
    with damage(folder):
        inner = [walk for name in ("encoder", LEARNED_FILES, PROCESSORS) for walk in os.walk(folder / name)]
        for place, folders, files in inner:
            for found in (Path(place, name) for name in [*folders, *files]):
                known = found.relative_to(folder).as_posix() in checksums
                if not known and (found.is_symlink() or not found.is_dir()):
                    raise CheckpointError(f"{found} is not of this checkpoint, which does not record it; remove it")


def check_file(folder: Path, name: str, recorded: str) -> None:
    """Raise CheckpointError unless a file is there, in the folder, with the contents that were recorded."""
    if not os.path.lexists(folder / name):
        raise CheckpointError(f"{folder} lacks the file {name}; copy the whole folder again")
    regular(folder, name)
    with damage(folder / name):
        if name != CARD and sha256(folder / name) != recorded:
            kind = _kind(folder / name) or "damaged: its checksum is not the recorded one; copy the folder again"
            raise CheckpointError(f"{folder / name} is {kind}")


def _kind(path: Path) -> str:
    """Return what is said of what stands in place of a file where its repository was copied without its large files."""
    with path.open("rb") as file:
        found = kind_of_file(file.read(64)) or ""
    return found if "LFS" in found else ""


def regular(folder: Path, name: str) -> os.stat_result:
    """Return what is known of a file. Raises CheckpointError where it is none, or stands outside of the folder."""
    with damage(folder / name):
        real = Path(os.path.realpath(folder / name))
        found = real.stat()
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{folder / name} is damaged: it is no ordinary file")
        if Path(os.path.realpath(folder)) not in real.parents:
            raise CheckpointError(
                f"{folder / name} is a link to {real}, outside of the checkpoint; copy the file there"
            )
    return found


def sha256(path: Path) -> str:
    """Return the hash of a file's contents, in hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
