"""The pages: all in the menu, no link into nothing, no example that is not Python, no option that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from papermage_core.config.train import lightning_parameters, own_options

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def in_menu(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for below in entry if isinstance(entry, list) else entry.values():
            yield from in_menu(below)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_menu_has_every_page_and_no_other() -> None:
    menu = list(in_menu(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(menu) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", prose)
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_python_examples_are_python(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, named(page), "exec")


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_options_in_training_commands_exist(page: Path) -> None:
    known = {*own_options(), *lightning_parameters()}
    prefixes = ("head.", "encoder.", "label_scheme.", "reader.", "processors.")
    for block in blocks(page, "(?:bash|console|sh|text)?"):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.search(r"papermage-train\s([^#|;&]*)", line)
            words = re.findall(r"(?:^|\s)([a-z_]+(?:\.[a-z_.]+)?)=", command[1]) if command else []
            assert [word for word in words if word not in known and not word.startswith(prefixes)] == [], line
