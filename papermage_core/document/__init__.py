"""Documents: text, layers of entities over it, and fast queries. papermage's magelib, with arrays behind it."""

from papermage_core.document.arrays import BoxArrays, SpanArrays
from papermage_core.document.box import Box
from papermage_core.document.document import Document
from papermage_core.document.entity import Entity
from papermage_core.document.faults import Repair
from papermage_core.document.file import DocumentFile
from papermage_core.document.image import Image
from papermage_core.document.layer import Layer
from papermage_core.document.metadata import Metadata
from papermage_core.document.prediction import Prediction
from papermage_core.document.span import Span

__all__ = [
    "Box",
    "BoxArrays",
    "Document",
    "DocumentFile",
    "Entity",
    "Image",
    "Layer",
    "Metadata",
    "Prediction",
    "Repair",
    "Span",
    "SpanArrays",
]
