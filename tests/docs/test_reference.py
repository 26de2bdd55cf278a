"""The reference: every public name once, from docstrings that are Markdown."""

from __future__ import annotations

import ast
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from tests.parsing import parsed

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
INDEX = (REFERENCE / "index.md").read_text(encoding="utf-8")
PUBLIC = re.findall(r"^\| \[`(papermage_core[\w.]*)`\]", INDEX, re.MULTILINE)
SHOWN = [
    path
    for page in sorted(REFERENCE.glob("*.md"))
    for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]
"""The full path of each name that a page takes from the code."""
REST = re.compile(
    r"(?:^|[\s(]):[a-z]+(?: \w+)?:`|:(?:param|returns?|raises?)\b[^`\n]*: |^\s*\.\. \w|::$|(?<!`)`_(?![\w`])", re.M
)


def known_by(path: str) -> object:
    """What a name is: the object, or for constants, which may be equal by chance, its path."""
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name)
    return id(found) if callable(found) else path


def test_every_public_name_is_shown_exactly_once() -> None:
    public = {
        known_by(path): path for module in PUBLIC for path in (f"{module}.{n}" for n in import_module(module).__all__)
    }
    shown = Counter(map(known_by, SHOWN))
    assert [path for path in SHOWN if shown[known_by(path)] > 1] == []
    assert [path for known, path in public.items() if known not in shown] == []
    assert [path for path in SHOWN if known_by(path) not in public] == []


def test_names_are_shown_as_members_of_a_public_module() -> None:
    assert {path.rpartition(".")[0] for path in SHOWN} <= set(PUBLIC)


def test_what_plugins_may_import_is_public() -> None:
    page = (ROOT / "docs" / "plugins" / "versioning.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(papermage_core[\w.]*)` \|", page, re.MULTILINE)
    assert listed
    assert set(listed) <= set(PUBLIC)


def test_pages_import_public_names_only() -> None:
    """What a page shows, readers rely on."""
    public = {f"{module}.{name}" for module in PUBLIC for name in import_module(module).__all__}
    private = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if page.name == "versioning.md":  # which shows what was
            continue
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "papermage_core":
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                    private += [f"{page.name}: {name}" for name in names if name not in public]
    assert private == []


@pytest.mark.parametrize("top", ["papermage_core", "plugins"])
def test_docstrings_are_markdown(top: str) -> None:
    rest = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {found[0]}"
        for path in sorted((ROOT / top).rglob("*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if (found := REST.search(node.value.value))
    ]
    assert rest == []
