"""What pages of HTML share: a style, the script that draws pages of documents, and how data and code stand in them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec

__all__ = ["as_json", "asset", "data_block", "policy"]


def asset(package: str, *names: str) -> str:
    """Return the texts of files of ``papermage_core.evaluation.PACKAGE``, one after the other, after those shared."""
    folder = files("papermage_core.evaluation")
    ending = names[0].rpartition(".")[2]
    shared = {"css": "base.css", "js": "drawing.js"}[ending]
    parts = [folder / "web" / shared, *(folder / package / name for name in names)]
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return a content security policy that allows these scripts and styles, and nothing else."""
    allowed = {"script-src": scripts, "style-src": styles}
    directives = [f"{name} {' '.join(map(_digest, parts))}" for name, parts in allowed.items()]
    return "; ".join(["default-src 'none'", *directives, "img-src data:"])


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def data_block(name: str, value: Any) -> bytes:
    """Return an element that holds a value as JSON, for scripts to find by its name."""
    return b'<script type="application/json" id="%s">%s</script>\n' % (name.encode(), as_json(value))


def as_json(value: Any) -> bytes:
    """Return JSON without ``<``, so that it ends no element and opens no comment."""
    try:
        found = msgspec.json.encode(value, enc_hook=str)
    except UnicodeEncodeError:  # a lone surrogate
        found = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")
    return found.replace(b"<", b"\\u003c")
