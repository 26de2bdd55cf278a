"""The name of a run's folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from papermage_core.config.train import EntityClassificationTrainConfig

__all__ = ["as_texts", "cache_folder", "run_name"]

_LONGEST_PART = 32
_LONGEST = 120
_NOT_NAMED = frozenset({"default_root_dir", "resume", "lightning", "options", "sources"})
"""What says where a run is, not what it is; and what is taken apart."""


def cache_folder() -> Path:
    """Return ``$PAPERMAGE_CACHE_DIR``, else ``~/.cache/papermage``."""
    found = os.environ.get("PAPERMAGE_CACHE_DIR")
    return Path(found) if found else Path.home() / ".cache" / "papermage"


def run_name(config: EntityClassificationTrainConfig) -> str:
    """Return a file name of ASCII letters, digits, ``-``, ``.``, ``_`` and ``+``, at most 120 long.

    The same arguments give the same name; any other argument gives another hash at its end.
    """
    shape = ["eval"] if config.mode == "eval" else [config.head, config.label_scheme]
    parts = [
        _model(config),
        *shape,
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


def as_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Return options as a command line would have them, whatever they were given as.

    >>> as_texts({"head.dropout": 0.1, "head.sizes": [1, 2]}) == as_texts({"head.dropout": "0.1", "head.sizes": "1,2"})
    True
    """
    return {key: str(_content(value)) for key, value in sorted(options.items())}


def _digest(config: EntityClassificationTrainConfig) -> str:
    """Return a hash of all that is not as by default."""
    own = {
        field.name: repr(getattr(config, field.name))
        for field in attrs.fields(type(config))
        if field.name not in _NOT_NAMED and getattr(config, field.name) != field.default
    }
    content = json.dumps(as_texts({**own, **config.lightning, **config.options}))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _content(value: object) -> object:
    """Return what is the same in every process: objects made in Python count by their class."""
    if isinstance(value, (list, tuple)):
        return ",".join(str(_content(item)) for item in value)
    if value is None or isinstance(value, (str, int, float, Path, dict, timedelta)):
        return value
    return type(value).__qualname__
