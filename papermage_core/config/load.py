"""Read a config from files and ``key=value`` arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from papermage_core.config.errors import missing
from papermage_core.config.given import Given, from_file, read_overrides
from papermage_core.config.train import EntityClassificationTrainConfig, own_options
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.kinds import IN_CONFIG

__all__ = ["config_of", "load_config", "read_layers"]

_OF_COMPONENTS = frozenset({*IN_CONFIG, "plugins_path", "extensions"})


STAGES = "stages"
"""What stands in a file of a cascade, and may be meant in any other."""


def load_config(
    files: Sequence[Path] = (), overrides: Sequence[str] = (), defaults: Sequence[Given] = ()
) -> EntityClassificationTrainConfig:
    """Return the config that YAML files (later wins) and ``key=value`` arguments (over files) give, over ``defaults``.

    Its ``sources`` say for each value where it was given. Raises ConfigError with every error.
    """
    layers, strange = read_layers(files, overrides, defaults)
    return config_of(layers, strange, [STAGES])


def read_layers(
    files: Sequence[Path], overrides: Sequence[str], defaults: Sequence[Given]
) -> tuple[list[list[Given]], list[str]]:
    """Return what was given, later layers winning, and what is wrong with arguments that are no ``key=value``.

    Raises ConfigError for files that cannot be read: what is wrong beside them is not known.
    """
    layers: list[list[Given]] = [[*defaults]]
    errors: list[str] = []
    for file in files:
        try:
            layers.append(from_file(Path(file)))
        except ConfigError as exc:
            errors += exc.errors
    typed, strange = read_overrides(overrides)
    if errors:
        raise ConfigError(*errors, *strange)
    return [*layers, typed], strange


def config_of(
    layers: Sequence[Sequence[Given]], found: Sequence[str] = (), others: Iterable[str] = ()
) -> EntityClassificationTrainConfig:
    """Return the config of layers. Raises ConfigError with the errors that were ``found`` before, and all there are.

    ``others`` are options that may be meant as well.
    """
    try:
        config = EntityClassificationTrainConfig.from_layers(layers, others)
    except ConfigError as exc:
        # One of the words that were not understood may be what seems to be missing
        unsaid = {missing(option) for option in own_options().values() if option.required} if found else ()
        errors = [error for error in exc.errors if error not in unsaid]
        raise ConfigError(*found, *errors, *_component_errors(layers)) from None
    if found:
        raise ConfigError(*found, *_component_errors(layers))
    return config


def _component_errors(layers: Sequence[Sequence[Given]]) -> tuple[str, ...]:
    """Return what is wrong with the components, in a config that has errors elsewhere."""
    of_components = [[item for item in layer if item.key.partition(".")[0] in _OF_COMPONENTS] for layer in layers]
    placeholders = [Given("data_path", "-", ""), Given("label_field", "label", "")]
    try:
        EntityClassificationTrainConfig.from_layers([placeholders, *of_components]).components()
    except ConfigError as exc:
        return exc.errors
    except PluginError as exc:
        return (str(exc),)
    return ()
