"""``papermage-data publish``: a recipe and copies of its checkpoints in one folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs

from papermage_core.cli._data.shared import as_json
from papermage_core.cli._options import PLUGINS_PATH_HELP, read_options
from papermage_core.cli._shell import say
from papermage_core.errors import ConfigError, counted
from papermage_core.plugin.spec import option

__all__ = ["Publish", "run"]


@attrs.frozen(kw_only=True)
class Publish:
    """Options of ``publish``."""

    recipe: Path = option(help="the recipe: its file, or its folder")
    output_path: Path = option(help="folder to write, with the recipe and all that it needs")
    overwrite: bool = option(False, help="replace what is there already")
    plugins_path: tuple[Path, ...] = option((), help=PLUGINS_PATH_HELP)


def run(arguments: argparse.Namespace) -> None:
    """Write the recipe and all that it needs."""
    from papermage_core.prediction.recipe import Recipe

    paths = [word for word in arguments.words if "=" not in word]
    named = [f"{name}={path}" for name, path in zip(("recipe", "output_path"), paths, strict=False)]
    if len(paths) > len(named):
        raise ConfigError(f"{paths[2]}: expected a recipe and one folder to write")
    options, _ = read_options(Publish, [*(word for word in arguments.words if "=" in word), *named])
    recipe = Recipe.from_yaml(options.recipe, plugins_path=options.plugins_path)
    folder = recipe.save(options.output_path, overwrite=options.overwrite)
    facts = {"output_path": str(folder), "stages": [stage.name for stage in recipe.stages]}
    say(
        as_json(facts)
        if arguments.json
        else f"{folder}: {counted(len(recipe.stages), 'stages')}, and all that is needed"
    )
