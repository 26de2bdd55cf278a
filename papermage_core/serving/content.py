"""Types of content."""

from __future__ import annotations

import codecs
from email.message import Message

from papermage_core.serving.messages import RequestError

__all__ = ["BY_CONTENT_TYPE", "check_charset", "header"]

BY_CONTENT_TYPE = {
    "application/json": "json",
    "application/jsonl": "lines",
    "application/x-ndjson": "lines",
    "application/x-jsonlines": "lines",
    "text/plain": "text",
    "application/pdf": "pdf",
}
"""Kinds of what is sent, by their type of content."""


def header(name: str, value: str) -> Message:
    """Return a message with this header alone, which knows its parameters."""
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message


def check_charset(kind: str, content_type: str) -> None:
    """Raise RequestError for text that says that it is not in UTF-8."""
    charset = header("content-type", content_type).get_param("charset")
    if kind in ("json", "lines", "text") and isinstance(charset, str) and charset:
        try:
            is_utf8 = codecs.lookup(charset).name in ("utf-8", "ascii", "utf-8-sig")
        except (LookupError, ValueError):
            is_utf8 = False
        if not is_utf8:
            raise RequestError(415, f"charset {charset[:40]!r} is not read", "Content-Type", "send UTF-8")
