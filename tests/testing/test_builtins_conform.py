"""The built-ins pass the kit that a stranger's plugin has to pass."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.testing import DocumentReaderSuite, make_documents
from tests.parsing import parsed

TESTS = Path(__file__).parents[1]
LINE = make_documents(1)[0].to_bytes().decode()
KIND_OF_SUITE = {kind.suite_class().__name__: kind.name for kind in KINDS.values()}


class TestJsonl(DocumentReaderSuite):
    component = "jsonl"
    options = ({}, {"lenient": False})
    samples: ClassVar = {"two.jsonl": f"{LINE}\n\n{LINE}\n"}
    broken: ClassVar = {
        "not-json.jsonl": f"{LINE}\n{{broken\n",
        "empty.jsonl": "",
        "no-text.jsonl": '{"entities": {}}\n',
        "past-the-end.jsonl": '{"symbols": "abc", "metadata": {}, "entities": {"tokens": [{"spans": [[0, 9]]}]}}\n',
    }


def suites_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield kind and component of the suites in a file of tests, subclasses of subclasses included."""
    kinds = dict(KIND_OF_SUITE)
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef):
            kind = next((kinds[ast.unparse(base)] for base in node.bases if ast.unparse(base) in kinds), None)
            if kind is not None:
                kinds[node.name] = kind
                yield from ((kind, name) for name in assigned(node, "component"))


def assigned(node: ast.ClassDef, variable: str) -> list[str]:
    return [
        ast.literal_eval(item.value)
        for item in node.body
        if isinstance(item, ast.Assign) and [ast.unparse(target) for target in item.targets] == [variable]
    ]


BUILT_IN = [(c.kind, c.name) for c in Plugins().components() if c.origin == "built-in"]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN, ids=[f"{kind}-{name}" for kind, name in BUILT_IN])
def test_every_built_in_has_a_suite_among_the_tests(kind, name):
    assert (kind, name) in suites()


@functools.cache
def suites() -> set[tuple[str, str]]:
    return {found for path in TESTS.rglob("test_*.py") for found in suites_in(path)}
