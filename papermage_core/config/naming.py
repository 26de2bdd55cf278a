"""The name of a run's folder."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from papermage_core.config.train import EntityClassificationTrainConfig

__all__ = ["run_name"]

_LONGEST_PART = 32
_LONGEST = 120
_NOT_NAMED = frozenset({"default_root_dir", "resume"})
"""What says where a run is, not what it is."""


def run_name(config: EntityClassificationTrainConfig) -> str:
    """Return a file name of ASCII letters, digits, ``-``, ``.``, ``_`` and ``+``, at most 120 long.

    The same arguments give the same name; any other argument gives another hash at its end.
    """
    parts = [
        "eval" if config.mode == "eval" else "",
        _model(config),
        config.head,
        config.label_scheme,
        "+".join(config.label_field),
        config.data_path[0].stem,
        config.data_notes,
        config.notes,
    ]
    readable = "_".join(filter(None, (_safe(part) for part in parts)))
    return f"{readable[: _LONGEST - 11].rstrip('._-')}_{_digest(config)}"


def _model(config: EntityClassificationTrainConfig) -> str:
    """Return the last word of the model's path; of a run's ``checkpoints``, the run's."""
    path = Path(config.model_name_or_path or config.encoder)
    return path.parent.name if path.name == "checkpoints" else path.name


def _safe(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9+.-]+", "-", part)[:_LONGEST_PART].strip("-._")


def _digest(config: EntityClassificationTrainConfig) -> str:
    given = {item.key: str(_content(item.value)) for item in config.given() if item.key not in _NOT_NAMED}
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:10]


def _content(value: object) -> object:
    """Return what is the same in every process: objects made in Python count by their class."""
    if isinstance(value, (list, tuple)):
        return [_content(item) for item in value]
    if value is None or isinstance(value, (str, int, float, Path, dict)):
        return value if not isinstance(value, Path) else str(value)
    return type(value).__qualname__
