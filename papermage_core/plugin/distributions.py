"""What installed distributions say of themselves, each read on its own: what one wrote wrongly stops no other."""

from __future__ import annotations

import contextlib
import email
import importlib.metadata
import logging
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

__all__ = [
    "NAME",
    "Distribution",
    "EntryLine",
    "distributions",
    "is_installed",
    "malformed_entry_points",
    "passing_over_malformed_entry_points",
]

_log = logging.getLogger(__name__)
NAME = re.compile(r"\w([\w.-]*\w)?")
"""What distributions and components may be called."""


@attrs.frozen
class EntryLine:
    """A line of ``entry_points.txt`` that ought to be ``name = module``."""

    group: str
    text: str
    number: int

    @property
    def is_well_formed(self) -> bool:
        """Whether it is an entry point."""
        return "=" in self.text and bool(self.group)


@attrs.frozen(slots=False)
class Distribution:
    """An installed distribution, whatever state its metadata are in."""

    found: importlib.metadata.Distribution

    @cached_property
    def _facts(self) -> tuple[str, str, str]:
        metadata = email.message_from_string(self._text("METADATA") or self._text("PKG-INFO"))
        name = str(metadata["Name"] or "")
        if NAME.fullmatch(name):
            return name, str(metadata["Version"] or ""), ""
        name, _, version = getattr(getattr(self.found, "_path", None), "stem", "unknown").partition("-")
        return name, version, "its METADATA is missing, or does not say its name"

    @property
    def name(self) -> str:
        """Its name; from that of its folder where its metadata say none."""
        return self._facts[0]

    @property
    def version(self) -> str:
        """Its version, empty where its metadata say none."""
        return self._facts[1]

    @property
    def error(self) -> str:
        """What is wrong with its metadata, in a sentence; empty if they are in order."""
        return self._facts[2]

    def is_first(self) -> bool:
        """Whether no other distribution of its name comes first on ``sys.path``."""
        try:
            first = importlib.metadata.distribution(self.name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            return True
        return bool(first.locate_file("") == self.found.locate_file(""))

    def entry_lines(self) -> Iterator[EntryLine]:
        """Yield its entry points, and the lines that ought to be some."""
        group = ""
        for number, text in enumerate(self._text("entry_points.txt").splitlines(), 1):
            line = text.strip()
            if line.startswith("[") and line.endswith("]"):
                group = line[1:-1].strip()
            elif line and not line.startswith("#"):
                yield EntryLine(group, line, number)

    def _text(self, file: str) -> str:
        """Return a file of its metadata, empty where there is none."""
        try:
            return self.found.read_text(file) or ""
        except (OSError, UnicodeDecodeError):
            path = getattr(self.found, "_path", None)
            return path.joinpath(file).read_text("utf-8", "replace") if isinstance(path, Path) else ""


def distributions() -> Iterator[Distribution]:
    """Yield all that is on ``sys.path``, those that others hide included."""
    return map(Distribution, importlib.metadata.distributions())


def is_installed(name: str, version: str) -> bool:
    """Return whether a distribution is installed in this very version."""
    try:
        return importlib.metadata.version(name) == version
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False


def malformed_entry_points() -> list[str]:
    """Return a sentence for each line of any group that is no entry point: importlib.metadata stops at it."""
    return [sentence for found in distributions() for sentence in _malformed(found)]


def _malformed(found: Distribution) -> Iterator[str]:
    for line in found.entry_lines():
        if not line.is_well_formed:
            yield (
                f"line {line.number} of the entry_points.txt of distribution {found.name!r} {found.version} is "
                f"{line.text!r}, not 'name = module'; type: pip install --force-reinstall {found.name}, or pip "
                f"uninstall {found.name}"
            )


@contextlib.contextmanager
def passing_over_malformed_entry_points() -> Iterator[None]:
    """Let importlib.metadata, which torch and Lightning ask, pass over what one distribution wrote wrongly.

    For commands: it changes the process. It would raise TypeError for a line of anybody's that is no entry point.
    """
    before = importlib.metadata.Distribution.entry_points
    told: set[str] = set()

    def entry_points(found: importlib.metadata.Distribution) -> Any:
        try:
            return before.fget(found)  # type: ignore[attr-defined]  # a property of the class
        except Exception:  # TypeError for a malformed line, and whatever a finder of distributions raises
            distribution = Distribution(found)
        for sentence in _malformed(distribution):
            if sentence not in told:
                told.add(sentence)
                _log.warning("%s", sentence)
        return importlib.metadata.EntryPoints(_entry_points(distribution))

    importlib.metadata.Distribution.entry_points = property(entry_points)  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        importlib.metadata.Distribution.entry_points = before  # type: ignore[method-assign]


def _entry_points(found: Distribution) -> Iterator[importlib.metadata.EntryPoint]:
    for line in found.entry_lines():
        if line.is_well_formed:
            name, _, value = (part.strip() for part in line.text.partition("="))
            point = importlib.metadata.EntryPoint(name=name, value=value, group=line.group)
            yield point._for(found.found) if hasattr(point, "_for") else point  # type: ignore[attr-defined]
