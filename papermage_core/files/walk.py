"""The files that a pattern matches."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["find_files", "is_dead_link"]


def find_files(pattern: str) -> list[Path]:
    """Return what a glob matches, files and folders, sorted; ``**`` stands for any folders, as in `glob.glob`.

    Links to folders are followed, but ``**`` looks into no folder twice: links that lead in circles end.
    """
    parts = Path(pattern).parts
    if "**" not in parts:
        return [Path(found) for found in sorted(glob.glob(pattern))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    at = parts.index("**")
    tops = sorted(glob.glob(os.path.join(*parts[:at]))) if at else [""]  # noqa: PTH118, PTH207
    found = {path for top in tops for path in _below(Path(top), parts[at:])} - {Path()}
    return sorted(path for path in found if path.is_dir() or not pattern.endswith(("/", os.sep)))


def is_dead_link(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a link to something that is not there."""
    return Path(path).is_symlink() and not Path(path).exists()


def _below(top: Path, parts: Sequence[str]) -> Iterator[Path]:
    hidden = any(part.startswith(".") for part in parts)
    seen: set[tuple[int, int]] = set()
    places = [top]
    for place in places:  # links join at the end, so that a folder is found by its own name first
        for folder, folders, files in os.walk(place):
            here = Path(folder).stat()
            if (here.st_dev, here.st_ino) in seen:
                folders.clear()
                continue
            seen.add((here.st_dev, here.st_ino))
            for path in (Path(folder, name) for name in ("", *folders, *files)):
                if _matches(path.relative_to(top).parts, parts):
                    yield path
            folders[:] = sorted(name for name in folders if hidden or not name.startswith("."))
            places += [path for path in (Path(folder, name) for name in folders) if path.is_symlink()]


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the names of a path match the parts of a pattern; only a part that begins with a dot matches one."""
    if not parts:
        return not names
    if parts[0] == "**":
        return _matches(names, parts[1:]) or (
            bool(names) and not names[0].startswith(".") and _matches(names[1:], parts)
        )
    return (
        bool(names)
        and names[0].startswith(".") <= parts[0].startswith(".")
        and fnmatchcase(os.path.normcase(names[0]), os.path.normcase(parts[0]))
        and _matches(names[1:], parts[1:])
    )
