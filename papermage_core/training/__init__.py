"""Train a predictor: `EntityClassificationTrainer` does what `EntityClassificationTrainConfig` says."""

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.training.trainer import EntityClassificationTrainer

__all__ = ["EntityClassificationTrainConfig", "EntityClassificationTrainer"]
