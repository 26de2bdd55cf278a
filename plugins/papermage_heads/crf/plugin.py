"""Options of ``head=crf``."""

from __future__ import annotations

from typing import ClassVar

import attrs

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, ModelHead, hookimpl, option
from papermage_heads.weights import TagHeadConfig

__all__ = ["CrfHeadConfig"]

_MOST_TAGS = 8192


@attrs.frozen(kw_only=True)
class CrfHeadConfig(TagHeadConfig):
    """A linear-chain CRF over units: legal tags, the exact probability of each entity."""

    weighs_first: ClassVar[bool] = True

    threshold: float = option(
        0.0, help="least probability of an entity that is predicted; 0.5 to 0.7: precision for recall", ge=0, lt=1
    )

    def build(self, input_size: int, scheme: LabelScheme) -> ModelHead:
        """Return a new head. Raises ConfigError where the scores of all pairs of tags would not fit into memory."""
        if len(scheme.tags) > _MOST_TAGS:
            raise ConfigError(
                f"head=crf: learns a score for every pair of tags; expected at most {_MOST_TAGS:,} tags (268 MB of "
                f"scores, ten times that in training), got {len(scheme.tags):,} of {len(scheme.labels):,} labels; "
                "choose head=linear, head=span, or a label_scheme of fewer tags, such as io"
            )
        from papermage_heads.crf.head import CrfHead

        return CrfHead(
            input_size,
            scheme,
            dropout=self.dropout,
            weights=self.tag_weights(scheme),
            focal_gamma=self.focal_gamma,
            threshold=self.threshold,
        )


@hookimpl
def papermage_model_head() -> type[CrfHeadConfig]:
    """Serve ``crf``."""
    return CrfHeadConfig
