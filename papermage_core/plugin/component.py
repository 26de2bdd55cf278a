"""What is known of a component without importing it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs

__all__ = ["KEYS", "Component", "Status", "canonical", "kind_called"]

Status = Literal["ok", "blocked", "clash", "broken"]

KEYS: Mapping[str, str] = {
    "context_encoder": "encoder",
    "label_scheme": "label_scheme",
    "model_head": "head",
    "document_reader": "reader",
    "extension": "extensions",
}
"""Kind of component → the key of the config that names one."""

CORE = "papermage-core"


def kind_called(word: str) -> str | None:
    """Return the kind that a word calls: the kind itself, its key in a config, or its last word; else None.

    >>> kind_called("label_scheme"), kind_called("scheme"), kind_called("head"), kind_called("hed")
    ('label_scheme', 'label_scheme', 'model_head', None)
    """
    return next((kind for kind, key in KEYS.items() if word in (kind, key, kind.rpartition("_")[2])), None)


def canonical(distribution: str) -> str:
    """Return the name of a distribution as package indexes compare it (PEP 503).

    >>> canonical("Papermage_Core")
    'papermage-core'
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


@attrs.frozen
class Component:
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
    problem: str = ""
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

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name!r} of {self.source}"
