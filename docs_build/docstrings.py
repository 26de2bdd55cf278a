"""Docstrings as Markdown: examples in fences, names of the reference as links.

Docstrings are Markdown already; two habits of the code are kept in it. An example is a doctest as it is, and a name
in single backticks is one of ours (in double ones, any code).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_NAME = re.compile(r"(?<!`)`([A-Za-z_]\w*)`(?!`)")


def paths(folder: Path = REFERENCE) -> dict[str, str]:
    """Return the full path of each name that a page of the reference shows, by its last part."""
    found = [path for page in sorted(folder.glob("*.md")) for path in shown(page.read_text(encoding="utf-8"))]
    return {path.rpartition(".")[2]: path for path in found}


def shown(page: str) -> list[str]:
    """Return the names that a page takes from the code."""
    return re.findall(r"^::: (\S+)$", page, re.MULTILINE)


def as_markdown(text: str, known: dict[str, str]) -> str:
    """Return a docstring with its doctests in fences and the known names linked."""
    lines: list[str] = []
    fence = example = False
    for line in [*text.split("\n"), ""]:
        if line.lstrip().startswith(">>> ") and not (fence or example):
            lines.append("```pycon")
            example = True
        elif example and not line.strip():
            lines.append("```")
            example = False
        if line.lstrip().startswith("```"):
            fence = not fence
        lines.append(line if fence or example else _NAME.sub(lambda name: _linked(name[1], known), line))
    return "\n".join(lines[:-1])


def _linked(name: str, known: dict[str, str]) -> str:
    return f"[`{name}`][{known[name]}]" if name in known else f"`{name}`"


class Docstrings(griffe.Extension):
    """Does it to every docstring of a package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Change what was read of the package."""
        known = paths()
        below: list[griffe.Object | griffe.Alias] = [pkg]
        while below:
            here = below.pop()
            if here.is_alias:
                continue
            if here.docstring is not None:
                here.docstring.value = as_markdown(here.docstring.value, known)
            below.extend(here.members.values())
