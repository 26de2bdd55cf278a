"""Read a config from files and ``key=value`` arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from papermage_core.config.given import Given, from_file, from_overrides
from papermage_core.config.train import EntityClassificationTrainConfig
from papermage_core.errors import ConfigError

__all__ = ["load_config"]


def load_config(files: Sequence[Path] = (), overrides: Sequence[str] = ()) -> EntityClassificationTrainConfig:
    """Return the config that YAML files (later wins) and ``key=value`` arguments (over files) give.

    Its ``sources`` say for each value where it was given. Raises ConfigError with every fault.
    """
    readers: list[Callable[[], list[Given]]] = [_reader(Path(file)) for file in files]
    readers.append(lambda: from_overrides(overrides))
    layers: list[list[Given]] = []
    faults: list[str] = []
    for read in readers:
        try:
            layers.append(read())
        except ConfigError as exc:
            faults += exc.faults
    if faults:
        raise ConfigError(*faults)
    return EntityClassificationTrainConfig.from_layers(layers)


def _reader(path: Path) -> Callable[[], list[Given]]:
    return lambda: from_file(path)
