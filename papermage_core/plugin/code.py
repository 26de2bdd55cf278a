"""A hash of a component's code, for what is kept of what it made: a version does not tell of code under work."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from papermage_core.plugin.blame import component_of
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.source import module_source

__all__ = ["digest_of_code"]

_LARGE = 8 << 20
"""Bytes above which a file is told by its size and time of change."""
_INSTALLED = {"site-packages", "dist-packages"}
_first: dict[Path, str] = {}
"""File → hash of what it held when this process first looked."""


def digest_of_code(objects: Iterable[Any]) -> str:
    """Return a hash of the code of classes and functions: all files of their packages, and the modules these use.

    Of a component, it is all packages of its distribution. Other packages that are installed for good are left out.
    Where a file has changed while this process ran, which may use what it held before, the hash is another in every
    call.
    """
    objects = list(objects)
    components = [component for each in objects if (component := component_of(each)) is not None]
    files = {path: False for component in components for path in _files_of_distribution(component)}
    starts = [sys.modules.get(getattr(each, "__module__", None) or "") for each in objects]
    for module in _reached([each for each in starts if each is not None and (_is_own(each) or not _is_fixed(each))]):
        is_fresh = module.__name__.startswith("papermage_plugin_file_")
        files |= dict.fromkeys(_files(module), is_fresh)
    digest = hashlib.sha256()
    for path, is_fresh in sorted(files.items()):
        digest.update(f"{path.name}\0{_digest(path, is_fresh)}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files_of_distribution(component: ComponentInfo) -> Iterator[Path]:
    """Yield the files of all packages of a component's distribution, wherever they are."""
    if component.origin != "installed":
        return
    names = {component.value}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
        found = importlib.metadata.distribution(component.distribution)
        names |= {point.value for point in found.entry_points} | {*(found.read_text("top_level.txt") or "").split()}
    for name in sorted({re.split(r"\W", value.strip())[0] for value in names}):
        path = module_source(name)
        if path is not None and path.is_file():
            yield from _files_in(path.parent) if path.name == "__init__.py" else [path]


def _is_own(module: ModuleType) -> bool:
    return module.__name__.partition(".")[0] == "papermage_core"


def _reached(starts: list[ModuleType]) -> Iterator[ModuleType]:
    """Yield the modules, and those whose names stand in them."""
    waiting, seen = list(starts), {module.__name__ for module in starts}
    while waiting:
        module = waiting.pop()
        yield module
        for value in list(vars(module).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            other = sys.modules.get(name) if isinstance(name, str) else None
            if other is not None and other.__name__ not in seen and not _is_fixed(other):
                seen.add(other.__name__)
                waiting.append(other)


def _is_fixed(module: ModuleType) -> bool:
    """Whether a module is part of Python, of papermage_core, or of what was installed and not for working on it."""
    package, file = module.__name__.partition(".")[0], getattr(module, "__file__", None)
    if file is None or package in sys.stdlib_module_names or package == "papermage_core":
        return True
    return not _INSTALLED.isdisjoint(Path(file).parts)


def _files(module: ModuleType) -> Iterator[Path]:
    """Yield the files of the package that a module is in, or the module's own."""
    file = getattr(module, "__file__", None)
    if file is None:
        return
    folder = _package_folder(module, Path(file))
    yield from [Path(file)] if folder is None else _files_in(folder)


def _files_in(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix not in importlib.machinery.BYTECODE_SUFFIXES and path.is_file():
            yield path


def _package_folder(module: ModuleType, file: Path) -> Path | None:
    """Return the folder of the outermost package that is no namespace; that of the module itself, for our own."""
    names = module.__name__.split(".")
    if names[0] == "papermage_core":
        return file.parent
    for end in range(1, len(names) + 1):
        package = sys.modules.get(".".join(names[:end]))
        origin = getattr(package, "__file__", None)
        if origin is not None and hasattr(package, "__path__"):
            return Path(origin).parent
    return None


def _digest(path: Path, is_fresh: bool) -> str:
    try:
        status = path.stat()
        if status.st_size > _LARGE:
            now = f"{status.st_size} {status.st_mtime_ns}"
        else:
            now = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        now = str(error.errno)
    if is_fresh or _first.setdefault(path, now) == now:
        return now
    return f"{now} {os.getpid()} {time.time_ns()}"
