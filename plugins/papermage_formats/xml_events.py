"""XML as it comes: each record of a file is handed over when its last tag is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html.entities import html5
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar
from xml.parsers import expat

from papermage_core.errors import DataError
from papermage_core.files import open_bytes

__all__ = ["XmlHandler", "read_xml", "xml_text"]

_CHUNK = 1 << 16
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
T = TypeVar("T", covariant=True)


class XmlHandler(Protocol[T]):
    """What is told of a file's tags and text, in order; ``line`` is that of the tag."""

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """See a tag that opens."""

    def text(self, data: str) -> None:
        """See text."""

    def end(self, tag: str) -> T | None:
        """See a tag that closes; return the record that it ends, if it ends one."""


def read_xml(path: Path, handler: XmlHandler[T]) -> Iterator[T]:
    """Yield what a handler makes of a file, each as soon as it is read.

    Raises DataError, with the line, for what is no XML, and for XML that declares entities.
    """
    parser, found = expat.ParserCreate(), list[Any]()

    def end(tag: str) -> None:
        record = handler.end(tag)
        if record is not None:
            found.append(record)

    def refuse(*_: Any) -> None:
        raise DataError("declares an entity, which is not read", line=parser.CurrentLineNumber, expected="plain XML")

    def skipped(name: str, is_parameter: bool) -> None:
        """Take an entity of a DTD that is not read, such as ``&nbsp;``: those of HTML are those of other DTDs, too."""
        if is_parameter:
            return
        if (text := html5.get(f"{name};")) is None:
            line = parser.CurrentLineNumber
            raise DataError(f"the entity &{name}; is not declared here", line=line, expected="a character")
        handler.text(text)

    parser.SkippedEntityHandler = skipped
    parser.StartElementHandler = lambda tag, attributes: handler.start(tag, attributes, parser.CurrentLineNumber)
    parser.EndElementHandler, parser.CharacterDataHandler, parser.EntityDeclHandler = end, handler.text, refuse
    parser.buffer_text = True
    with open_bytes(path) as file:
        for chunk in chain(iter(lambda: file.read(_CHUNK), b""), [None]):
            try:
                parser.Parse(chunk or b"", chunk is None)
            except expat.ExpatError as exc:
                yield from found
                raise DataError(f"is not XML: {expat.ErrorString(exc.code)}", line=exc.lineno, expected="XML") from exc
            except (LookupError, ValueError) as exc:  # an encoding that Python does not know
                if isinstance(exc, DataError):
                    raise
                raise DataError(f"is not XML: {exc}", line=parser.CurrentLineNumber, expected="XML") from exc
            yield from found
            found.clear()


def xml_text(text: str, lost: Counter[str]) -> str:
    """Return a text with a sign in place of each character that XML has no way to write."""
    kept, changed = _NOT_XML.subn("\ufffd", text)
    lost["characters that XML lacks"] += changed
    return kept
