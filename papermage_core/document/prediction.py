"""What a predictor adds to a document."""

from __future__ import annotations

from typing import NamedTuple

from papermage_core.document.entity import Entity

__all__ = ["Prediction"]


class Prediction(NamedTuple):
    """Entities and the name of the layer that they are to become."""

    name: str
    entities: list[Entity]
