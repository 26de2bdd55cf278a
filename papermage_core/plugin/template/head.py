"""A model head: two layers."""

from __future__ import annotations

__all__ = ["FILES"]

_PLUGIN = '''\
"""Options of ``head=$name``, and the hook. Imported when a config names it: torch stays behind `build`."""

from __future__ import annotations

import attrs
from papermage_core.plugin import LabelScheme, ModelHead, ModelHeadConfig, hookimpl, option

papermage_api_version = $api_version


@attrs.frozen(kw_only=True)
class ${class_name}HeadConfig(ModelHeadConfig):
    """Scores each tag with two layers."""

    hidden: int = option(64, help="size of the hidden layer", ge=1)
    dropout: float = option(0.1, help="share of the hidden layer set to zero in training", ge=0, lt=1)

    def build(self, input_size: int, scheme: LabelScheme) -> ModelHead:
        """Return a new head."""
        from $module.head import ${class_name}Head

        return ${class_name}Head(input_size, scheme, hidden=self.hidden, dropout=self.dropout)


@hookimpl
def papermage_model_head() -> type[${class_name}HeadConfig]:
    """Serve ``$name``."""
    return ${class_name}HeadConfig
'''

_CODE = '''\
"""The head itself."""

from __future__ import annotations

import torch
from papermage_core.plugin import HeadOutput, LabelScheme
from torch import nn


class ${class_name}Head(nn.Module):
    """Two layers from a unit's vector to the scores of its tags; each unit is decided for itself."""

    def __init__(self, input_size: int, scheme: LabelScheme, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.scheme = scheme
        self.score = nn.Sequential(
            nn.Linear(input_size, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, len(scheme.tags))
        )

    def loss(self, vectors: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy, summed over the units whose tag is known."""
        known = mask & (targets >= 0)  # shape: (B, U)
        scores = self.score(vectors[known]).float()  # shape: (units, K)
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum")

    def decode(self, vectors: torch.Tensor, mask: torch.Tensor) -> list[HeadOutput]:
        """Return the likeliest tag of each unit, with its probability."""
        scores, tags = self.score(vectors).float().softmax(-1).max(-1)  # shapes: (B, U)
        return [
            HeadOutput.from_tags(tags[i, real].cpu().numpy(), scores[i, real].cpu().numpy(), self.scheme)
            for i, real in enumerate(mask)
        ]
'''

_TEST = '''\
"""The head keeps to what papermage_core asks of a head."""

from papermage_core.testing import ModelHeadSuite


class Test${class_name}Head(ModelHeadSuite):
    component = "$name"
    options = ({}, {"hidden": 8, "dropout": 0.0})
'''

FILES = {
    "src/$module/plugin.py": _PLUGIN,
    "src/$module/head.py": _CODE,
    "tests/test_$module.py": _TEST,
}
