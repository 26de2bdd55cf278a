"""Train a predictor: `EntityClassificationTrainer` does what `EntityClassificationTrainConfig` says.

`EncoderPretrainer` has an encoder learn from documents without labels first, as `EncoderPretrainConfig` says.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.pretrain import EncoderPretrainConfig
from papermage_core.data.garbage import collection_disabled

if TYPE_CHECKING:
    from papermage_core.training.pretraining import EncoderPretrainer
    from papermage_core.training.trainer import EntityClassificationTrainer

__all__ = [
    "EncoderPretrainConfig",
    "EncoderPretrainer",
    "EntityClassificationTrainConfig",
    "EntityClassificationTrainer",
]

_HEAVY = {"EncoderPretrainer": "pretraining", "EntityClassificationTrainer": "trainer"}
"""Imported when they are asked for: with Lightning, which what only predicts can do without."""


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with collection_disabled():  # of all that Lightning's modules make, nothing goes again
        module = import_module(f"{__name__}.{_HEAVY[name]}")
    return getattr(module, name)
