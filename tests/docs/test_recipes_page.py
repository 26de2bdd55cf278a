"""The files on the page on recipes are read as they stand, and its commands have the options that they name."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from papermage_core import read_documents
from papermage_core.cli._data.check import Check
from papermage_core.cli._data.convert import Convert
from papermage_core.cli._data.publish import Publish
from papermage_core.cli.predict import Options
from papermage_core.config.cascade import load_cascade
from papermage_core.config.recipe import PredictorOptions, read_recipe
from papermage_records.fields import parse_fields

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPE, CASCADE = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_recipe_is_read(tmp_path: Path) -> None:
    for name in re.findall(r"predictor: (models/\w+)", RECIPE):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "references.yaml").write_text(RECIPE)
    recipe = read_recipe(tmp_path / "references.yaml")
    assert [stage.name for stage in recipe.stages] == ["tokens", "region", "entries", "fields", "names"]
    assert recipe.stages[1].options.join_across == ("page", "footnote", "headnote")
    assert recipe.reader.name == "pdf"
    parse_fields(str(recipe.records))


def test_the_cascade_is_read(tmp_path: Path) -> None:
    (tmp_path / "cascade.yaml").write_text(CASCADE)
    config = load_cascade([tmp_path / "cascade.yaml"])
    assert [(stage.name, stage.contexts) for stage in config.stages] == [
        ("entries", "predicted"), ("fields", "predicted"), ("names", "gold"),
    ]  # fmt: skip
    assert [config.needs(number) for number in range(3)] == [[], [0], []]
    assert {stage.config.max_epochs for stage in config.stages} == {10}


def test_every_option_of_a_predictor_is_on_the_page() -> None:
    for field in attrs.fields(PredictorOptions):
        assert f"`{field.name}" in PAGE


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("papermage-predict", Options),
        ("papermage-data check", Check),
        ("papermage-data convert", Convert),
        ("papermage-data publish", Publish),
    ],
)
def test_commands_have_the_options_that_they_name(command: str, options: type) -> None:
    known = {field.name for field in attrs.fields(options)}
    lines = re.findall(rf"^\$ {command} (.*)", PAGE, flags=re.MULTILINE)
    assert lines
    for line in lines:
        words = re.findall(r"(?:^|[\s'])([a-z_]+)(?:\.[a-z_.]+)?=", line)
        assert [word for word in words if word not in known] == [], line


def test_the_example_fits_the_corpora(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[2] / "examples" / "references" / "cascade.yaml"
    monkeypatch.chdir(corpora)
    config = load_cascade([example])
    parse_fields(str(config.records))
    for stage in config.stages:
        stage.config.check_paths()
        first = next(iter(read_documents(stage.config.val_data_path[0])))
        wanted = {stage.config.entity_name, stage.gold_context_name or stage.config.context_name}
        assert wanted <= {*first.layer_names}
        assert set(stage.config.label_field) & {*first.layer_names}
