"""What can be wrong with a document, as errors, and what was repaired instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from papermage_core.errors import DataError

__all__ = ["BoxError", "LayerNameError", "MissingKeyError", "MissingLayerError", "Repair", "document_id"]


class MissingKeyError(DataError, KeyError):
    """A key that a document must have is not there."""


class LayerNameError(DataError, AssertionError):
    """A layer's name is taken, or no layer can have it."""


class MissingLayerError(DataError, AttributeError):
    """A document has no layer of this name."""


class BoxError(DataError, AssertionError):
    """A box of negative width or height."""


@attrs.frozen(kw_only=True)
class Repair:
    """Something out of order that reading leniently let pass. What is written back is as it was read."""

    kind: str
    """``"span_past_end"``, ``"box_over_edge"`` or ``"metadata_key"``."""
    layer: str | None
    entity: int | None
    value: Any
    done: str
    """What queries see instead, in words."""


def document_id(metadata: Mapping[str, Any]) -> str | None:
    """Return what messages call a document: its ``doc_id``, ``id`` or ``paper_id``.

    >>> document_id({"paper_id": 17})
    '17'
    """
    for key in ("doc_id", "id", "paper_id"):
        value = metadata.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    return None
