"""What installed distributions say of themselves, each read on its own: what one wrote wrongly stops no other."""

from __future__ import annotations

import email
import importlib.metadata
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import attrs

__all__ = ["NAME", "Distribution", "EntryLine", "distributions", "malformed_entry_points"]

NAME = re.compile(r"\w([\w.-]*\w)?")
"""What distributions and components may be called."""


@attrs.frozen
class EntryLine:
    """A line of ``entry_points.txt`` that ought to be ``name = module``."""

    group: str
    text: str
    number: int


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


def malformed_entry_points() -> list[str]:
    """Return a sentence for each line of any group that is no entry point: importlib.metadata stops at it."""
    return [
        f"line {line.number} of the entry_points.txt of distribution {found.name!r} {found.version} is {line.text!r}, "
        f"not 'name = module'; type: pip install --force-reinstall {found.name}, or pip uninstall {found.name}"
        for found in distributions()
        for line in found.entry_lines()
        if "=" not in line.text or not line.group
    ]
