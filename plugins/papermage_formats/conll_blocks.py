"""The lines of each document of a file of tokens, as they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from papermage_formats.labelled import of_project, opened_as_utf8

__all__ = ["Block", "iter_blocks"]

_BORDERS = (re.compile(rb"-DOCSTART-"), re.compile(rb"#\s*(?:newdoc|doc_id|begin document)\b"))
"""What begins a document at the beginning of a line. Apart and without ``^``: so they are found fastest."""
_TOKEN = re.compile(rb"^(?!-DOCSTART-)(?: *[^#\s]|#\S*[ \t]O\b|#.*\t(?:O|_|[BIESULM]-.+|<.+>)\r?$)", re.MULTILINE)
_BLANK = re.compile(rb"\n[ \t\r]*\n")
_CHUNK = 1 << 20


@attrs.frozen
class Block:
    """The lines of a document, not yet decoded."""

    data: bytes
    line: int
    byte: int
    doc_id: str
    annotator: str | None = None
    """Who annotated it, in the export of a project of INCEpTION."""


def _borders(data: bytes, at: int, by_sentence: bool) -> list[int]:
    """Return where documents begin, from a place on."""
    if by_sentence:
        return [found.end() for found in _BLANK.finditer(data, at)]
    starts = (found.start() for border in _BORDERS for found in border.finditer(data, at))
    return sorted(start for start in starts if start == 0 or data[start - 1] == ord("\n"))


def iter_blocks(path: Path, encoding: str, by_sentence: bool) -> Iterator[tuple[int, int, Block]]:
    """Yield the lines of each document, as they are read, with line and byte."""
    data, start, searched = b"", 0, 0
    line, byte, number = 1, 0, 0
    """Of the block that begins at ``start``: its line and byte, and how many there were before it."""
    about = of_project(path)
    name = about["doc_id"]

    def block(part: bytes) -> tuple[int, int, Block]:
        return line, byte, Block(part, line, byte, name if number == 1 else f"{name}-{number}", about.get("annotator"))

    with opened_as_utf8(path, encoding) as file:
        while more := file.read(max(_CHUNK, len(data) - start)):  # so that joining takes linear time
            data, start, searched = data[start:] + more, 0, searched - start
            for at in _borders(data, searched, by_sentence):
                searched = at + (not by_sentence)
                if _TOKEN.search(data, start + 3 * data.startswith(b"\xef\xbb\xbf", start), at):
                    number += 1
                    part = data[start:at]
                    yield block(part)
                    line, byte, start = line + part.count(b"\n"), byte + len(part), at
            last = data.rfind(b"\n")
            searched = max(searched, last - 1 if by_sentence else last + 1)
    data = data[start:]
    if not number or _TOKEN.search(data):
        number += 1
        yield block(data)
