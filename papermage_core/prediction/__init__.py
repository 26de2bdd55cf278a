"""Run a trained predictor over one document, or many."""

from papermage_core.prediction.predictor import EntityClassificationPredictor

__all__ = ["EntityClassificationPredictor"]
