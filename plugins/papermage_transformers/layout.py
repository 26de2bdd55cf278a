"""Boxes as each layout model was trained to see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAYOUT_MODELS", "BoxStyle"]


@attrs.frozen
class BoxStyle:
    """How a model takes boxes: left, top, right, bottom on a page whose sides are ``scale`` long."""

    scale: float
    dtype: Any
    prefix: float = 0.0
    """Each side of the box of the special wordpieces before the text."""
    suffix: float = 0.0
    """Each side of the box of those after it."""

    def normalise(self, boxes: NDArray[np.float32] | None, n: int) -> NDArray[Any]:
        """Return ``n`` boxes, given as shares of the page, in the model's units; zeros where there is none.

        Boxes are cut at the page's edge and their sides put in order: the models look up width and height, which may
        not be negative.
        """
        if boxes is None:
            return np.zeros((n, 4), self.dtype)
        known = np.where(np.isnan(boxes).any(axis=1, keepdims=True), np.float32(0), np.clip(boxes, 0, 1))
        ordered = np.concatenate([np.minimum(known[:, :2], known[:, 2:]), np.maximum(known[:, :2], known[:, 2:])], 1)
        scaled: NDArray[Any] = (ordered * np.float32(self.scale)).astype(self.dtype)
        return scaled


_ZERO_TO_1000 = BoxStyle(1000, np.int16)

LAYOUT_MODELS: Mapping[str, BoxStyle] = {
    "layoutlm": BoxStyle(1000, np.int16, suffix=1000),  # Xu et al. 2020: [SEP] at the far corner
    "layoutlmv3": _ZERO_TO_1000,
    "lilt": _ZERO_TO_1000,
    "bros": BoxStyle(1.0, np.float32, suffix=1.0),  # multiplies by its own bbox_scale
}
"""``model_type`` of the configs whose models take boxes as the argument ``bbox``."""
