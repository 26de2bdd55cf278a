"""Options of ``head=linear``."""

from __future__ import annotations

import attrs

from papermage_core.plugin import LabelScheme, ModelHead, hookimpl, option
from papermage_heads.weights import TagHeadConfig

__all__ = ["LinearHeadConfig"]


@attrs.frozen(kw_only=True)
class LinearHeadConfig(TagHeadConfig):
    """A softmax over each unit's tags, decoded to legal sequences."""

    label_smoothing: float = option(0.0, help="share of each target spread over all tags", ge=0, lt=1)
    constrained: bool = option(True, help="decode only sequences of tags that are legal under the scheme")

    def build(self, input_size: int, scheme: LabelScheme) -> ModelHead:
        """Return a new head."""
        from papermage_heads.linear.head import LinearHead

        return LinearHead(
            input_size,
            scheme,
            dropout=self.dropout,
            weights=self.tag_weights(scheme),
            focal_gamma=self.focal_gamma,
            label_smoothing=self.label_smoothing,
            constrained=self.constrained,
        )


@hookimpl
def papermage_model_head() -> type[LinearHeadConfig]:
    """Serve ``linear``."""
    return LinearHeadConfig
