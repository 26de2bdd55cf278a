"""The page of messages: a heading for each error, and messages that the code really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from papermage_core import errors
from papermage_core.cli.train import main
from papermage_core.document.errors import LayerNameError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/questions.md").read_text(encoding="utf-8")
CODE = "\n".join(
    p.read_text(encoding="utf-8") for top in ("papermage_core", "plugins") for p in (ROOT / top).rglob("*.py")
)


NAMES = [name for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("name", NAMES)
def test_each_error_has_a_heading_with_its_exit_code(name: str) -> None:
    section = re.search(rf"^## {name}\n\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert section, f"no heading for {name}"
    assert f"Exit code {getattr(errors, name).exit_code}:" in section[1]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_leads_to_its_heading(name: str) -> None:
    error = getattr(errors, name)("a message")
    assert error.help == f"{errors.PAGE}#{name.lower()}"


def test_an_error_of_a_kind_without_a_heading_leads_to_that_of_its_kin() -> None:
    assert LayerNameError("a message").help == f"{errors.PAGE}#dataerror"


@pytest.mark.parametrize(("flags", "told"), [([], True), (["-q"], False)])
def test_commands_name_the_heading(flags: list[str], told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data_path=a", "label_field=b", "nothing=1", *flags]) == 2
    assert (f"more on this: {errors.PAGE}#configerror" in capsys.readouterr().err) == told


def test_the_messages_are_those_of_the_code() -> None:
    quoted = re.findall(r"^- \*\*`([^`]+)`\*\*", PAGE, flags=re.MULTILINE)
    assert len(quoted) > 5
    assert [message for message in quoted if message not in CODE] == []
