"""Read a config from files and ``key=value`` arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from papermage_core.config.given import Given, from_file, from_overrides
from papermage_core.config.train import EntityClassificationTrainConfig
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.kinds import IN_CONFIG

__all__ = ["load_config"]

_OF_COMPONENTS = frozenset({*IN_CONFIG, "plugins_path", "extensions"})


def load_config(
    files: Sequence[Path] = (), overrides: Sequence[str] = (), defaults: Sequence[Given] = ()
) -> EntityClassificationTrainConfig:
    """Return the config that YAML files (later wins) and ``key=value`` arguments (over files) give, over ``defaults``.

    Its ``sources`` say for each value where it was given. Raises ConfigError with every error.
    """
    readers: list[Callable[[], list[Given]]] = [_reader(Path(file)) for file in files]
    readers.append(lambda: from_overrides(overrides))
    layers: list[list[Given]] = [[*defaults]]
    errors: list[str] = []
    for read in readers:
        try:
            layers.append(read())
        except ConfigError as exc:
            errors += exc.errors
    if errors:
        raise ConfigError(*errors)
    try:
        return EntityClassificationTrainConfig.from_layers(layers)
    except ConfigError as exc:
        raise ConfigError(*exc.errors, *_component_errors(layers)) from None


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


def _reader(path: Path) -> Callable[[], list[Given]]:
    return lambda: from_file(path)
