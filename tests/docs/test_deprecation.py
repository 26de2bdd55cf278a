"""The policy of deprecation, and news fragments: what docs/plugins/versioning.md and changelog.d/README.md promise."""

from __future__ import annotations

import ast
import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parsing import parsed

if sys.version_info >= (3, 11):
    import tomllib
else:  # comes with pytest there
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FRAGMENTS = sorted(
    path for path in (ROOT / "changelog.d").iterdir() if path.name not in ("README.md", "template.jinja")
)
TYPES = [
    each["directory"]
    for each in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]["type"]
]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for path in sorted((ROOT / "papermage_core").rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def warns(function: Function) -> list[ast.Call]:
    """The calls of ``warnings.warn`` in a function that say DeprecationWarning."""
    calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
    return [
        call
        for call in calls
        if ast.unparse(call.func) == "warnings.warn" and "DeprecationWarning" in ast.unparse(call)
    ]


def test_what_warns_says_so_where_it_is_read_and_names_the_line_that_uses_it() -> None:
    found = {name: function for name, function in functions() if warns(function)}
    assert found
    for name, function in found.items():
        if function.name != "__getattr__":  # of a module: the name that it stands for is gone from the code
            assert "Deprecated" in (ast.get_docstring(function) or ""), name
        for call in warns(function):
            (level,) = [each.value for each in call.keywords if each.arg == "stacklevel"] or [ast.Constant(1)]
            assert isinstance(level, ast.Constant), name
            assert level.value > 1, name


def test_what_says_that_it_is_deprecated_warns() -> None:
    said = [name for name, function in functions() if "Deprecated" in (ast.get_docstring(function) or "")]
    warned = {name for name, function in functions() if warns(function)}
    assert [name for name in said if name not in warned] == []


def test_garbage_whose_finalizer_parses_too_disturbs_no_tree() -> None:
    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            failed.append(ast.unparse(ast.parse("(1 + (2 * (3)))")))

    failed: list[str] = []
    before = gc.get_threshold()
    gc.set_threshold(50)
    try:
        for _ in range(10):
            Garbage(), Garbage()
            assert parsed(Path(__file__)).body
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert set(failed) == {"1 + 2 * 3"}


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.name)
def test_a_news_fragment_is_of_a_type_and_reads_as_a_line_of_the_changelog(fragment: Path) -> None:
    assert re.fullmatch(rf"[\w-]+\.({'|'.join(TYPES)})\.md", fragment.name)
    text = fragment.read_text(encoding="utf-8")
    assert text.strip()
    assert not text.lstrip().startswith(("-", "#"))
    assert text.endswith("\n")


def test_the_changelog_has_the_place_where_news_begin() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
    assert (ROOT / config["filename"]).read_text(encoding="utf-8").count(config["start_string"]) == 1
    page = (ROOT / "changelog.d" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == TYPES
