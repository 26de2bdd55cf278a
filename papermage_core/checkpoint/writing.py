"""Files of a folder that is written beside its place and swapped in when it is whole."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from papermage_core.checkpoint.content import JSON, Content, content_digest
from papermage_core.errors import CheckpointError
from papermage_core.files import whole_folder

__all__ = ["files_of", "link", "replaced", "write_json", "write_text"]

_OF_RUST = re.compile(r"\(os error \d|IoError\(Os ")
"""How safetensors and other libraries in Rust, today's and older ones, call a full disk."""


def files_of(folder: Path) -> list[Path]:
    """Return all files in a folder and those below it, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; what it cannot hold is written as escapes."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``papermage.json``, with a hash of all that shapes what is found."""
    described = {key: value for key, value in content.items() if key != "checksums"}
    digest = content_digest(msgspec.convert(json.loads(json.dumps(content)), Content))
    whole = {**described, "digest": digest, "checksums": content["checksums"]}
    write_text(folder / JSON, json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False))


def link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``folder`` when the block ends well, and is gone when it does not."""
    try:
        with whole_folder(folder) as new:
            yield new
    except Exception as error:
        if not isinstance(error, OSError) and not _OF_RUST.search(str(error)):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"cannot write the checkpoint {folder}: {reason}. What was there before is unchanged"
        ) from error
