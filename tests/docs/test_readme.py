"""README as it is read in the repository, where its links are relative, and on the package index, where none can be."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from papermage_core.errors import PAGE

if sys.version_info >= (3, 11):
    import tomllib
else:  # comes with pytest there
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SOURCES = {".md", ".py", ".toml", ".yml", ".ini", ".html", ".jinja", ".js"}
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SITE, REPOSITORY = PROJECT["urls"]["Documentation"], PROJECT["urls"]["Repository"]
TARGETS = re.findall(r"\]\(([^)\s]+)", README)
INDEX = runpy.run_path(str(ROOT / "setup.py"))["readme"]()
INDEX_TARGETS = re.findall(r"\]\(([^)\s]+)", INDEX)


def file_of(url: str) -> Path:
    """The file in the checkout that an address of the project stands for."""
    place, _, _ = url.partition("#")
    if place.startswith(SITE):
        page = place.removeprefix(SITE).strip("/")
        found = [ROOT / "docs" / f"{page}.md", ROOT / "docs" / page / "index.md"]
        return next((file for file in found if file.is_file()), found[0])
    return ROOT / re.sub("^(blob|raw)/main/", "", place.removeprefix(f"{REPOSITORY}/"))


@pytest.mark.parametrize("target", sorted(set(TARGETS)))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target.partition("#")[0]).exists()


def test_on_the_package_index_each_link_is_whole_and_leads_to_the_same_place() -> None:
    assert len(TARGETS) == len(INDEX_TARGETS)
    for target, whole in zip(TARGETS, INDEX_TARGETS, strict=True):
        if target.startswith("https://"):
            assert whole == target
        else:
            assert whole.startswith((SITE, f"{REPOSITORY}/"))
            assert file_of(whole) == ROOT / target.partition("#")[0]
    assert sum(whole.startswith(SITE) for whole in INDEX_TARGETS) > 5
    assert f"{REPOSITORY}/raw/main/docs/images/" in INDEX


def test_the_readme_shows_the_report() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)\s]+)", README)
    assert pictures
    assert all(picture.endswith(".png") and (ROOT / picture).is_file() for picture in pictures)


def test_the_addresses_of_the_project_stand_in_one_place() -> None:
    assert (ROOT / PAGE).is_file()
    account = REPOSITORY.rsplit("/", 2)[1]
    tops = ["README.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md", "mkdocs.yml", "setup.py", "tox.ini"]
    folders = ["docs", "docs_build", "papermage_core", "plugins", "examples", ".github"]
    below = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in SOURCES]
    named = [
        str(path.relative_to(ROOT))
        for path in [*(ROOT / top for top in tops), *below]
        if f"{account}/" in (text := path.read_text(encoding="utf-8")) or f"{account}.github.io" in text
    ]
    assert named == []


def test_the_readme_has_two_commands_to_try_it() -> None:
    """More would be more than somebody types who only wants to look."""
    section = README.partition("## Try it")[2].partition("\n## ")[0]
    commands = re.findall(r"^pip install .*$", section, re.MULTILINE)
    assert len(commands) == 2
    assert all("&&" in command for command in commands)
