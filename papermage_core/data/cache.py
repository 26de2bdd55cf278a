"""The folder of parsed documents and examples that are kept between runs, each below a key of all that made it.

Deleting it is always safe.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from papermage_core.data import packing, store
from papermage_core.data.source import DocumentSource
from papermage_core.document import Document
from papermage_core.plugin.blame import calling
from papermage_core.plugin.code import digest_of_code
from papermage_core.plugin.spec import ContextEncoder

__all__ = ["CacheEntry", "cache_clear", "cache_list", "encoder_digest", "key_of", "locked"]

KINDS = ("documents", "examples")


@attrs.frozen
class CacheEntry:
    """One entry of the cache."""

    kind: str
    """``documents`` (parsed) or ``examples``."""
    folder: Path
    size: int
    """Bytes."""
    used: datetime.datetime
    made_of: tuple[str, ...]
    """The files it was made of."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return attrs.asdict(self) | {"folder": str(self.folder), "used": self.used.isoformat()}


def key_of(source: DocumentSource | None, **made_by: Any) -> str | None:
    """Return a name for what is made of a source by all that is given, our own code included.

    Return None where the source cannot be read twice, so that nothing can be kept.
    """
    content = "" if source is None else source.content
    if content is None:
        return None
    code = digest_of_code([packing.pack_document, Document])
    text = json.dumps([store.FORMAT, content, code, made_by], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def encoder_digest(encoder: ContextEncoder) -> str:
    """Return a hash of the code of an encoder and its parts, and of what it saves, such as a tokenizer."""
    parts = encoder.modules()  # type: ignore[attr-defined]  # it is a torch module
    digest = hashlib.sha256(digest_of_code(dict.fromkeys(map(type, parts))).encode())
    with tempfile.TemporaryDirectory() as folder:
        with calling(encoder, "save"):
            encoder.save(Path(folder))
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def locked(target: Path | None) -> Iterator[None]:
    """Wait until no other process makes the entry ``target``: what it makes can then be used."""
    if target is None:
        yield
        return
    try:
        import fcntl

        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except (ImportError, OSError):  # not on this system, or not in this folder
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        target.with_name(f".{target.name}.lock").unlink(missing_ok=True)
        os.close(handle)


def cache_list(folder: Path) -> list[CacheEntry]:
    """Return the entries of the cache below ``folder``, the last used first."""
    found = []
    for kind in KINDS:
        for path in (folder / kind).glob("*/facts.json"):
            facts = _facts(path)
            try:
                size = sum(file.stat().st_size for file in path.parent.iterdir())
                used = datetime.datetime.fromtimestamp(path.parent.stat().st_mtime).astimezone()
            except FileNotFoundError:  # deleted by another process since
                continue
            found.append(CacheEntry(kind, path.parent, size, used, tuple(map(str, facts.get("made_of", ())))))
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def _facts(path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def cache_clear(folder: Path) -> int:
    """Delete the cache below ``folder``; return how many bytes it had. Runs that use it, or make some of it, go on."""
    freed = 0
    for kind in (*KINDS, "spool", "features"):  # features: of versions before
        for entry in (folder / kind).glob("*"):
            if store.is_being_made(entry):
                continue
            for file in entry.rglob("*"):
                with contextlib.suppress(OSError):
                    freed += file.stat().st_size if file.is_file() else 0
            shutil.rmtree(entry, ignore_errors=True)
    for file in (folder / "jobs").glob("*.json"):  # what outputs of predictions were made of
        with contextlib.suppress(OSError):
            freed += file.stat().st_size
            file.unlink()
    return freed
