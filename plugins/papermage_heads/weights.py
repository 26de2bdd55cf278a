"""Weights of tags against class imbalance: an option that the heads for tags share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, ModelHeadConfig, option

__all__ = ["TagHeadConfig"]


@attrs.frozen(kw_only=True)
class TagHeadConfig(ModelHeadConfig):
    """Options of a head that gives tags."""

    weighs_first: ClassVar[bool] = False
    """Whether ``balanced`` weighs the first unit of an entity only: where weights of units multiply along it."""

    dropout: float = option(
        0.1, help="share of each unit vector set to zero in training", ge=0, lt=1, search=(0.0, 0.4)
    )
    class_weights: Literal["none", "balanced", "explicit"] = option(
        "none",
        help="weight of each tag in the loss: none, balanced (rare labels count more), or explicit (head.weights)",
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
        """Return the config with ``balanced`` turned to numbers: a label of n entities weighs as 1 / √n.

        ``O`` keeps 1, and so do entities on average, so that as many are predicted as without. (By the frequency of
        tags, ``O`` among them, tags inside of entities outweigh those that begin one, and all of them outweigh ``O``.)
        """
        if self.class_weights != "balanced":
            return self
        number = {label: i for i, label in enumerate(scheme.labels)}
        entities, size = np.zeros(len(number)), np.zeros(len(number))
        tagged, counted = Counter[int](), Counter[tuple[int, int]]()
        for target in targets:
            for span in scheme.decode(target):
                label = number[span.label]
                tags = [int(tag) for start, stop in span.segments for tag in target[start:stop]]
                tagged.update(tags)
                weighed = tags[:1] if self.weighs_first else tags
                counted.update((label, tag) for tag in weighed)
                entities[label] += 1
                size[label] += len(weighed)
        found = entities > 0
        weights = np.divide(1.0, np.sqrt(entities), out=np.ones(len(number)), where=found)
        if found.any():
            weights[found] *= size.sum() / (size * weights).sum()
        logs = np.zeros(len(scheme.tags))
        for (label, tag), count in counted.items():
            logs[tag] += np.log(weights[label]) * count / tagged[tag]
        settled = tuple(max(round(float(weight), 6), 1e-6) for weight in np.exp(logs))
        return attrs.evolve(self, class_weights="explicit", weights=settled)

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
