"""Run a trained predictor over one document, or many."""

from papermage_core.checkpoint import copy as copy_checkpoint
from papermage_core.checkpoint import digest as checkpoint_digest
from papermage_core.prediction.predictor import EntityClassificationPredictor
from papermage_core.prediction.recipe import Recipe

__all__ = ["EntityClassificationPredictor", "Recipe", "checkpoint_digest", "copy_checkpoint"]
