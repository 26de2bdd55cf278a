"""Run a trained predictor over one document, or many, or files of any number."""

from papermage_core.checkpoint import copy as copy_checkpoint
from papermage_core.checkpoint import digest as checkpoint_digest
from papermage_core.prediction.annotators import Layers, ModelChoice, RecipeChoice
from papermage_core.prediction.explaining import Explanation, Weight
from papermage_core.prediction.job import Predicted, predict_files
from papermage_core.prediction.predictor import EntityClassificationPredictor
from papermage_core.prediction.recipe import Recipe
from papermage_core.prediction.running import Engine

__all__ = [
    "Engine",
    "EntityClassificationPredictor",
    "Explanation",
    "Layers",
    "ModelChoice",
    "Predicted",
    "Recipe",
    "RecipeChoice",
    "Weight",
    "checkpoint_digest",
    "copy_checkpoint",
    "predict_files",
]
