"""What is known of a component without importing it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import attrs

from papermage_core.plugin.kinds import KINDS

__all__ = ["ComponentInfo", "Status", "canonical"]

Status = Literal["ok", "blocked", "clash", "broken"]

CORE = "papermage-core"


def canonical(distribution: str) -> str:
    """Return the name of a distribution as package indexes compare it (PEP 503).

    >>> canonical("Papermage_Core")
    'papermage-core'
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


@attrs.frozen
class ComponentInfo:
    """A component that an entry point, or a file of ``plugins_path``, declares."""

    kind: str
    name: str
    distribution: str
    """Name of the distribution; the path as given, for a file."""
    version: str
    """Version of the distribution; the head of the content's SHA-256, for a file."""
    value: str
    """The entry point's value, ``module`` or ``module:object``; the path, for a file."""
    status: Status = "ok"
    error: str = ""
    """Why the status is not ``ok``, in a sentence."""
    path: Path | None = None
    """The file, for a component that comes from one."""

    @property
    def qualified(self) -> str:
        """``distribution:name``, which no other distribution can give."""
        return f"{self.distribution}:{self.name}"

    @property
    def origin(self) -> Literal["built-in", "installed", "file"]:
        """Where the component comes from."""
        if self.path is not None:
            return "file"
        return "built-in" if canonical(self.distribution) == CORE else "installed"

    @property
    def source(self) -> str:
        """What gives the component, for messages: ``distribution 'crf-heads' 1.2``."""
        if self.path is not None:
            return f"file {self.distribution!r}"
        return f"distribution {self.distribution!r} {self.version}".rstrip()

    @property
    def provenance(self) -> dict[str, str]:
        """What a checkpoint records: name, distribution, version and value; of a file its name, and no path."""
        file = None if self.path is None else self.path.name
        return {
            "name": self.name,
            "distribution": file or self.distribution,
            "version": self.version,
            "value": file or self.value,
        }

    def __str__(self) -> str:
        return f"{KINDS[self.kind].label} {self.name!r} of {self.source}"
