"""Train and run entity predictors over scientific documents; every part of the model is a plugin."""

from papermage_core.document import Box, Document, Entity, Image, Layer, Metadata, Prediction, Span

__all__ = ["Box", "Document", "Entity", "Image", "Layer", "Metadata", "Prediction", "Span"]
