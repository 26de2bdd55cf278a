"""Train a predictor: `EntityClassificationTrainer` does what `EntityClassificationTrainConfig` says.

`EncoderPretrainer` has an encoder learn from documents without labels first, as `EncoderPretrainConfig` says.
"""

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.pretrain import EncoderPretrainConfig
from papermage_core.training.pretraining import EncoderPretrainer
from papermage_core.training.trainer import EntityClassificationTrainer

__all__ = [
    "EncoderPretrainConfig",
    "EncoderPretrainer",
    "EntityClassificationTrainConfig",
    "EntityClassificationTrainer",
]
