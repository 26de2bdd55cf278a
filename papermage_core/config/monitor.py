"""The figure of a validation by which the best model is chosen, and training ends early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from papermage_core.errors import nearest

if TYPE_CHECKING:
    from papermage_core.evaluation import Scores
    from papermage_core.plugin.spec import MetricConfig

__all__ = ["Monitor", "is_figure"]

_WHOLE = ("f1", "f1_macro", "loss")


def is_figure(name: str) -> bool:
    """Whether a name is that of a figure that is always there, or of a label's; else it is a metric's."""
    return name in _WHOLE or name.endswith(".f1")


@attrs.frozen
class Monitor:
    """``f1``, ``f1_macro``, ``loss``, the F1 of one label, ``Disease.f1``, or a metric, of which it has the config.

    >>> Monitor("loss").is_better(0.5, than=0.7), Monitor("Disease.f1").metric
    (True, 'val_Disease.f1')
    """

    name: str = "f1"
    config: MetricConfig | None = None

    @property
    def metric(self) -> str:
        """Its name in the logs."""
        return f"val_{self.name}"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether less or more is better, in Lightning's words."""
        if self.config is not None:
            return "max" if self.config.greater_is_better else "min"
        return "min" if self.name == "loss" else "max"

    def shown(self, value: float) -> str:
        """Return the figure as people read it: a share in percent.

        >>> Monitor("f1").shown(0.8462), Monitor("loss").shown(0.2)
        ('84.6', '0.2000')
        """
        return f"{100 * value:.1f}" if self.config is None and self.name != "loss" else f"{value:.4f}"

    @property
    def label(self) -> str | None:
        """The label whose F1 it is; None for a figure of all labels."""
        return None if self.name in _WHOLE or self.config is not None else self.name.removesuffix(".f1")

    def error(self, labels: Sequence[str], metrics: Sequence[str] = ()) -> str | None:
        """Return what was expected in its place where it is none of the figures that there are for these labels."""
        if self.config is not None or self.name in _WHOLE or (is_figure(self.name) and self.label in labels):
            return None
        names = [*_WHOLE, *(f"{label}.f1" for label in labels)]
        or_metric = f", or a metric: {', '.join(metrics)}" if metrics else ""
        return f"{', '.join(names[:-1])} or {names[-1]}{or_metric}.{nearest(self.name, [*names, *metrics])}"

    def is_better(self, value: float, *, than: float | None) -> bool:
        """Whether a value is better than the best so far, if there is one. What is no number never is."""
        if value != value:
            return False
        return than is None or (value < than if self.mode == "min" else value > than)

    def figures(self, scores: Scores) -> dict[str, float]:
        """Return what is logged of a validation's scores beside F1, precision and recall of all labels."""
        if self.name == "f1_macro":
            return {self.metric: scores.macro["f1"]}
        label = self.label
        return {} if label is None else {self.metric: scores.per_label[label].f1}

    def of(self, figures: Mapping[str, Any]) -> float | None:
        """Return its value among logged figures; None where it is not there."""
        return float(figures[self.metric]) if self.metric in figures else None
