"""Options of ``head=crf``."""

from __future__ import annotations

import attrs

from papermage_core.plugin import LabelScheme, ModelHead, hookimpl
from papermage_heads.weights import TagHeadConfig

__all__ = ["CrfHeadConfig"]


@attrs.frozen(kw_only=True)
class CrfHeadConfig(TagHeadConfig):
    """A linear-chain CRF over units: legal tags, the exact probability of each entity."""

    def build(self, input_size: int, scheme: LabelScheme) -> ModelHead:
        """Return a new head."""
        from papermage_heads.crf.head import CrfHead

        return CrfHead(
            input_size,
            scheme,
            dropout=self.dropout,
            weights=self.tag_weights(scheme),
            focal_gamma=self.focal_gamma,
        )


@hookimpl
def papermage_model_head() -> type[CrfHeadConfig]:
    """Serve ``crf``."""
    return CrfHeadConfig
