"""Text with elements in it → a document's text, and where each element stands: what ``tei`` and ``jats`` share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import attrs

from papermage_formats.labelled import Labelled

__all__ = ["SPACE", "Element", "ElementText", "MarkupHandler"]

SPACE = " \t\r\n"
"""What is white space in XML."""
_RUN = re.compile("[ \t\r\n]+")


@attrs.define
class Element:
    """An element that is a label, and where its text is; nowhere, while it has none."""

    name: str
    attributes: dict[str, str]
    start: int = -1
    stop: int = -1

    def labelled(self, keys: Sequence[str]) -> Labelled:
        """Return it as an entity, whose label has the values of the attributes ``keys`` behind the element's name."""
        values = [self.attributes[key] for key in keys if key in self.attributes]
        metadata: dict[str, Any] = {"attributes": self.attributes} if self.attributes else {}
        metadata |= {"element": self.name} if values else {}
        return Labelled("-".join([self.name, *values]), [(self.start, self.stop)], metadata)


@attrs.define
class ElementText:
    """The text of a document as it is put together: white space is a space, or a line end where there is one."""

    line: int
    name: str | None
    """The document's, if the file says it."""
    about: dict[str, Any] = attrs.field(factory=dict)
    """What else the file says of the document."""
    pieces: list[str] = attrs.field(factory=list)
    length: int = 0
    gap: str = ""
    """The white space since the last word: none, a space, or a line end."""
    border: bool = False
    """Whether a block has begun or ended since the last word."""
    elements: list[Element] = attrs.field(factory=list)
    open: list[Element | None] = attrs.field(factory=list)

    @property
    def symbols(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def add(self, data: str) -> None:
        """Add text, all of it between two tags or a part of that."""
        core = data.strip(SPACE)
        self.gap = self.gap or (" " if data[0] in SPACE else "")
        if not core:
            return
        gap = (self.gap or "\n" * self.border) if self.length else ""
        for element in self.open:
            if element is not None and element.start < 0:
                element.start = self.length + len(gap)
        self.pieces += [gap, _RUN.sub(" ", core)]
        self.length += len(gap) + len(self.pieces[-1])
        self.gap, self.border = " " if data[-1] in SPACE else "", False

    def close(self) -> None:
        """End the innermost element."""
        if (element := self.open.pop()) is not None:
            element.stop = self.length


class MarkupHandler:
    """Puts documents together from tags and text as TEI has them; what others have otherwise is a method."""

    blocks: ClassVar[frozenset[str]]
    """Elements that stand by themselves, in small letters: text before, in and after them is never one word."""

    def __init__(self, document: str) -> None:
        self.document = document.lower()
        """The element that makes a document; empty: what the vocabulary has for it."""
        self.text_of_document: ElementText | None = None
        self.path: list[str] = []
        """The open elements, the root first, in small letters and without prefixes."""
        self.between = ""
        """The text since the last tag."""
        self.ended = ""
        """The element that the last tag ended, if it did."""

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """Begin a document, an element or a line."""
        tag = tag.rpartition(":")[2]  # of a namespace with a prefix
        name = tag.lower()
        self.path.append(name)
        apart = self.stands_apart(name, attributes) and not self.between
        self.ended = ""
        if self.text_of_document is None and self.begins(name):
            self.text_of_document = ElementText(line, self.name_of(attributes))
        text = self.text_of_document
        if text is None:
            return
        self.tag(name)
        if apart:
            text.gap = text.gap or " "
        text.open.append(Element(tag, attributes) if self.is_label(name) else None)
        text.elements += [element for element in text.open[-1:] if element is not None]

    def text(self, data: str) -> None:
        """Add text."""
        if self.text_of_document is not None:
            self.between += data
            self.text_of_document.add(data)

    def end(self, tag: str) -> ElementText | None:
        """End an element; return the document that it ends."""
        name = self.ended = self.path.pop()
        text = self.text_of_document
        if text is None:
            return None
        self.tag(name if name in self.blocks else "")
        text.close()
        if text.open:
            return None
        self.text_of_document = None
        return text

    def tag(self, name: str) -> None:
        """End the text between two tags: if that is white space with a line end, so is it in the document.

        The border of a block is a line end where nothing stands: so GROBID's service writes a heading and a paragraph.
        """
        assert self.text_of_document is not None
        if self.is_line_end(name) or ("\n" in self.between and not self.between.strip(SPACE)):
            self.text_of_document.gap = "\n"
        elif name in self.blocks:
            self.text_of_document.border = True
        self.between = ""

    def begins(self, name: str) -> bool:
        """Whether an element that was opened makes a document."""
        return name == self.document if self.document else len(self.path) == 1

    def name_of(self, attributes: dict[str, str]) -> str | None:
        """Return the name that a document gives itself, by the attributes of its element."""
        return None

    def is_label(self, name: str) -> bool:
        """Whether an element that was opened is a label, and not of the frame."""
        return True

    def is_line_end(self, name: str) -> bool:
        """Whether a tag is a line end."""
        return False

    def stands_apart(self, name: str, attributes: dict[str, str]) -> bool:
        """Whether a space is to stand before an element that was opened, where the last one ended just before."""
        return False
