"""The page of messages: a heading for each error, and messages that the code really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from papermage_core import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/questions.md").read_text(encoding="utf-8")
CODE = "\n".join(
    p.read_text(encoding="utf-8") for top in ("papermage_core", "plugins") for p in (ROOT / top).rglob("*.py")
)


@pytest.mark.parametrize(
    "name", [name for name in errors.__all__ if name.endswith("Error") and name != "PapermageError"]
)
def test_each_error_has_a_heading_with_its_exit_code(name: str) -> None:
    section = re.search(rf"^## {name}\n\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert section, f"no heading for {name}"
    assert f"Exit code {getattr(errors, name).exit_code}:" in section[1]


def test_the_messages_are_those_of_the_code() -> None:
    quoted = re.findall(r"^- \*\*`([^`]+)`\*\*", PAGE, flags=re.MULTILINE)
    assert len(quoted) > 5
    assert [message for message in quoted if message not in CODE] == []
