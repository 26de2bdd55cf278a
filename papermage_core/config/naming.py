"""The name of a run's folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

__all__ = ["as_texts", "cache_folder", "folder_name"]

_LONGEST_PART = 32
_LONGEST = 120


def cache_folder() -> Path:
    """Return ``$PAPERMAGE_CACHE_DIR``, else ``~/.cache/papermage``."""
    found = os.environ.get("PAPERMAGE_CACHE_DIR")
    return Path(found) if found else Path.home() / ".cache" / "papermage"


def folder_name(words: Iterable[str], arguments: Mapping[str, Any]) -> str:
    """Return a file name of ASCII letters, digits, ``-``, ``.``, ``_`` and ``+``, at most 120 long.

    The words are cut and cleaned; a hash of all ``arguments`` is at the end.
    """
    readable = "_".join(filter(None, map(_safe, words)))
    content = json.dumps(as_texts(arguments)).encode("utf-8", "surrogatepass")
    return f"{readable[: _LONGEST - 11].rstrip('._-')}_{hashlib.sha256(content).hexdigest()[:10]}"


def _safe(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9+.-]+", "-", part)[:_LONGEST_PART].strip("-._")


def as_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Return options as a command line would have them, whatever they were given as.

    >>> as_texts({"head.dropout": 0.1, "head.sizes": [1, 2]}) == as_texts({"head.dropout": "0.1", "head.sizes": "1,2"})
    True
    """
    return {key: str(_content(value)) for key, value in sorted(options.items())}


def _content(value: object) -> object:
    """Return what is the same in every process: objects made in Python count by their class."""
    if isinstance(value, (list, tuple)):
        return ",".join(str(_content(item)) for item in value)
    if value is None or isinstance(value, (str, int, float, Path, dict, timedelta)):
        return value
    return type(value).__qualname__
