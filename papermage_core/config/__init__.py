"""Defaults, YAML files and ``key=value`` arguments → typed, checked configs. Never imports torch."""

from papermage_core.config.components import ComponentConfigs
from papermage_core.config.load import load_config
from papermage_core.config.train import EntityClassificationTrainConfig

__all__ = ["ComponentConfigs", "EntityClassificationTrainConfig", "load_config"]
