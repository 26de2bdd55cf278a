"""Weights of tags against class imbalance: an option that the heads for tags share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs
import numpy as np

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, ModelHeadConfig, option

__all__ = ["TagHeadConfig"]


@attrs.frozen(kw_only=True)
class TagHeadConfig(ModelHeadConfig):
    """Options of a head that gives tags."""

    dropout: float = option(
        0.1, help="share of each unit vector set to zero in training", ge=0, lt=1, search=(0.0, 0.4)
    )
    class_weights: Literal["none", "balanced", "explicit"] = option(
        "none",
        help="weight of each tag in the loss: none, balanced (rare ones count more), or explicit (head.weights)",
        choices=("none", "balanced", "explicit"),
    )
    weights: tuple[float, ...] = option((), help="with class_weights=explicit: a weight for each tag, O first")
    focal_gamma: float = option(0.0, help="above 0, units that are right already count less (focal loss)", ge=0)

    def __attrs_post_init__(self) -> None:
        if self.weights and self.class_weights != "explicit":
            raise ConfigError(f"weights: given, but class_weights is {self.class_weights!r}; expected 'explicit'")
        if self.class_weights == "explicit" and not self.weights:
            raise ConfigError("weights: missing; class_weights=explicit needs a weight for each tag, O first")
        if any(not 0 < weight < float("inf") for weight in self.weights):
            raise ConfigError(f"weights: expected finite numbers above 0, got {list(self.weights)}")

    def settle(self, targets: Iterable[Any], scheme: LabelScheme) -> TagHeadConfig:
        """Return the config with ``balanced`` turned to numbers: n / (K' n_k), K' being the tags that occur.

        So the mean weight of a unit is 1. A tag that does not occur gets weight 1.
        """
        if self.class_weights != "balanced":
            return self
        counts = np.zeros(len(scheme.tags), np.int64)
        for target in targets:
            counts += np.bincount(target[target >= 0], minlength=len(counts))
        total, kinds = counts.sum(), np.count_nonzero(counts)
        weights = np.divide(total, kinds * counts, out=np.ones(len(counts)), where=counts > 0)
        return attrs.evolve(self, class_weights="explicit", weights=tuple(round(float(w), 6) for w in weights))

    def tag_weights(self, scheme: LabelScheme) -> tuple[float, ...] | None:
        """Return the weight of each tag, or None for equal weights. Raises ConfigError where they do not fit."""
        if self.class_weights == "balanced":
            raise ConfigError("class_weights: 'balanced' is set from training data; expected settle() before build()")
        if self.weights and len(self.weights) != len(scheme.tags):
            some = ", ".join(scheme.tags[:20]) + (", …" if len(scheme.tags) > 20 else "")
            raise ConfigError(
                f"weights: expected {len(scheme.tags)} numbers, for the tags {some}; got {len(self.weights)}"
            )
        return self.weights or None
