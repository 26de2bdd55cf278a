"""The page on the command line, and the gallery, say what is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # comes with pytest there
    import tomli as tomllib

from papermage_core.cli._completable import Completable
from papermage_core.cli._complete import candidates, split
from papermage_core.config import load_config
from papermage_core.config.aliases import with_known_words
from papermage_core.config.environment import NOT_OPTIONS, from_environment, is_typed_each_time
from papermage_core.config.given import from_overrides
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.plugin.kinds import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
KNOWN = [*own_options(), *lightning_parameters()]


def rows(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize(("line", "shown"), rows("Completion"))
def test_the_tab_key_shows_what_the_page_says(line: str, shown: str) -> None:
    found = set(candidates(*split(quoted(line)[0]), Completable()))
    assert found
    names = {each.rpartition("=")[2] or each for each in found}
    if not shown.strip().startswith(("the ", "files")):
        assert names == set(quoted(shown))


@pytest.mark.parametrize(("variable", "typed"), rows("Defaults of a machine"))
def test_a_variable_is_the_option_that_the_page_says(variable, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, value = quoted(variable)[0].partition("=")
    monkeypatch.setenv(name, value)
    typed_item = from_overrides(quoted(typed))[0]
    assert [(item.key, item.value) for item in from_environment(KNOWN)] == [(typed_item.key, typed_item.value)]


def test_what_has_no_variable_is_named() -> None:
    text = PAGE.partition("What a command is to do")[2].partition("A variable that no")[0]
    assert len(quoted(text)) == 6
    assert all(map(is_typed_each_time, quoted(text)))
    assert all(f"`{name}`" in PAGE for name in NOT_OPTIONS)


def test_other_words_mean_what_the_page_says() -> None:
    base = ["data_path=a", "label_field=b"]
    for typed, means in rows("Other words for the same"):
        if "device=cpu" in quoted(typed):
            for one, other in zip(quoted(typed), quoted(means), strict=True):
                assert load_config([], [*base, one]) == load_config([], [*base, *other.split()])
        elif "accelerator=gpu" in quoted(typed):
            (item,) = with_known_words(from_overrides([quoted(typed)[0]]), ["device"])
            assert f"{item.key}={item.value}" == quoted(means)[0]
        else:
            for one, other in zip(quoted(typed), quoted(means), strict=True):
                assert from_overrides([one]) == from_overrides([other])


def test_the_gallery_lists_the_components_of_the_example() -> None:
    gallery = (ROOT / "docs/plugins/gallery.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "examples/papermage-example-plugin/pyproject.toml").read_text())["project"]
    keys = {kind.group: kind.key for kind in KINDS.values()}
    listed = re.findall(r"^\| (?:`[\w-]+` )?\| `([\w=-]+)` \|", gallery, re.MULTILINE)
    assert sorted(listed) == sorted(
        f"{keys[group]}={name}" for group, names in project["entry-points"].items() for name in names
    )
