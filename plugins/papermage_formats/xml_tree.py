"""XML as small trees: elements that a file holds many of, such as pages, each when its last tag is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import attrs

from papermage_core.errors import DataError
from papermage_formats.xml_events import read_xml

__all__ = ["Node", "read_trees"]

_DEEPEST = 100


@attrs.define
class Node:
    """An element with what is in it."""

    name: str
    """Without the prefix of its namespace."""
    attributes: dict[str, str]
    line: int
    children: list[Node] = attrs.field(factory=list)
    pieces: list[str] = attrs.field(factory=list)

    @property
    def text(self) -> str:
        """Its own text, without that of elements in it."""
        return "".join(self.pieces)

    def all(self, name: str) -> Iterator[Node]:
        """Yield the children of a name."""
        return (child for child in self.children if child.name == name)

    def first(self, *names: str) -> Node | None:
        """Return the first child of the first name, its first child of the second, …; None if there is none."""
        found: Node | None = self
        for name in names:
            found = next(found.all(name), None) if found else None
        return found


class _Handler:
    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self._open: list[Node] = []

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        name = tag.rpartition(":")[2]
        if len(self._open) == _DEEPEST:
            said = f"more than {_DEEPEST} elements lie in each other"
            raise DataError(said, value=name, line=line, expected="pages, and what is in them")
        if self._open or name in self._wanted:
            self._open.append(Node(name, attributes, line))

    def text(self, data: str) -> None:
        if self._open:
            self._open[-1].pieces.append(data)

    def end(self, tag: str) -> Node | None:
        if not self._open:
            return None
        node = self._open.pop()
        if not self._open:
            return node
        self._open[-1].children.append(node)
        return None


def read_trees(path: Path, wanted: Collection[str]) -> Iterator[Node]:
    """Yield the elements of these names, in the order in which they end; those inside others are their children.

    Raises DataError as `read_xml` does.
    """
    return read_xml(path, _Handler(wanted))
