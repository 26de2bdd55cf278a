"""What is read on the package index: no link there can be relative, and each of ours leads to a file that is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from papermage_core.errors import PAGE

if sys.version_info >= (3, 11):
    import tomllib
else:  # comes with pytest there
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SITE, REPOSITORY = PROJECT["urls"]["Documentation"], PROJECT["urls"]["Repository"]
TARGETS = re.findall(r"\]\(([^)\s]+)", README)


def file_of(url: str) -> Path | None:
    """The file in the checkout that an address of the project stands for; None for another's address."""
    place, _, _ = url.partition("#")
    if place.startswith(SITE):
        page = place.removeprefix(SITE).strip("/")
        found = [ROOT / "docs" / f"{page}.md", ROOT / "docs" / page / "index.md"]
        return next((file for file in found if file.is_file()), found[0])
    account, name = REPOSITORY.rsplit("/", 2)[1:]
    raw = f"https://raw.githubusercontent.com/{account}/{name}/main/"
    for start in (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/", raw):
        if place.startswith(start):
            return ROOT / place.removeprefix(start)
    return None


@pytest.mark.parametrize("target", sorted(set(TARGETS)))
def test_a_link_of_the_readme_is_whole_and_leads_somewhere(target: str) -> None:
    assert target.startswith("https://")
    file = file_of(target)
    assert file is None or file.exists()


def test_the_readme_shows_the_report() -> None:
    pictures = [file_of(url) for url in re.findall(r"!\[[^\]]+\]\(([^)\s]+)", README)]
    assert pictures
    assert all(picture is not None and picture.suffix == ".png" for picture in pictures)


def test_the_addresses_of_the_project_stand_in_one_place() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(config)["site_url"] == SITE
    assert f"link: {REPOSITORY}\n" in config
    assert (ROOT / PAGE).is_file()
    ours = [url for url in TARGETS if file_of(url) is not None]
    assert len(ours) > 8
    foreign = [url for url in TARGETS if PROJECT["name"] in url and file_of(url) is None]
    assert foreign == []


def test_the_readme_has_two_commands_to_try_it() -> None:
    """More would be more than somebody types who only wants to look."""
    section = README.partition("## Try it")[2].partition("\n## ")[0]
    commands = re.findall(r"^pip install .*$", section, re.MULTILINE)
    assert len(commands) == 2
    assert all("&&" in command for command in commands)
