"""What an output was made of, kept in the cache: so a job that is typed again knows whether it is done.

An output says nothing of the model, the options and the documents that it is of. Deleting what is kept is always safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from papermage_core.config.naming import cache_folder
from papermage_core.files import whole_text_file

__all__ = ["made_of", "remember"]

_LISTED = 100
"""Most files that are listed, to say which one is another."""
_KEPT = 1_000
"""Outputs that are remembered, the last ones."""


def remember(target: Path, facts: Mapping[str, Any]) -> None:
    """Keep what an output was made of; where nothing can be kept, nothing is."""
    files = facts.get("files", ())
    kept = {**facts, "files": files if len(files) <= _LISTED else []}
    with contextlib.suppress(OSError):
        place = _place(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_text_file(place) as file:
            json.dump({"output": _stamp(target), "facts": kept}, file)
        of_outputs = sorted(place.parent.glob("*.json"), key=lambda each: each.stat().st_mtime_ns)
        for old in of_outputs[:-_KEPT]:
            old.unlink()


def made_of(target: Path) -> Mapping[str, Any] | None:
    """Return what an output was made of; None where that is not known, or somebody has changed it since."""
    try:
        found = json.loads(_place(target).read_text(encoding="utf-8"))
        return dict(found["facts"]) if found["output"] == _stamp(target) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(target: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(target))).hexdigest()[:32]
    return cache_folder() / "jobs" / f"{name}.json"


def _stamp(target: Path) -> list[int]:
    found = target.stat()
    return [found.st_size, found.st_mtime_ns]
