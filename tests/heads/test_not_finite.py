"""Vectors and weights that hold NaN or infinity: a loss of NaN, and an error that says so in prediction."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from papermage_core.errors import PapermageError
from papermage_core.plugin import ModelHeadConfig
from papermage_heads.crf.plugin import CrfHeadConfig
from papermage_heads.linear.plugin import LinearHeadConfig
from papermage_heads.span.plugin import SpanHeadConfig
from papermage_schemes.bio import BioScheme
from papermage_schemes.span import SpanScheme

LABELS = [f"label {i}" for i in range(70)]
SPAN = {"max_length": 3, "overlap": "none"}
CONFIGS: dict[str, ModelHeadConfig] = {
    "linear": LinearHeadConfig(),
    "unconstrained": LinearHeadConfig(constrained=False),
    "focal": LinearHeadConfig(focal_gamma=2.0),
    "crf": CrfHeadConfig(),
    "focal crf": CrfHeadConfig(focal_gamma=2.0),
    "span": SpanHeadConfig(max_gap=0, **SPAN),
    "linked span": SpanHeadConfig(max_gap=2, **SPAN),
}


@pytest.mark.parametrize("where", ["vectors", "weights"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("n_labels", [1, 70])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_is_not_finite_is_told(config: ModelHeadConfig, n_labels: int, value: float, where: str) -> None:
    scheme = (SpanScheme if config.targets == "spans" else BioScheme)(LABELS[:n_labels])
    torch.manual_seed(0)
    head: Any = config.build(4, scheme)
    vectors, mask = torch.randn(2, 3, 4), torch.tensor([[True, True, True], [True, False, False]])
    if where == "vectors":
        vectors[0, 1, 2] = value
    else:
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.view(-1)[0] = value
    targets = [[], []] if config.targets == "spans" else torch.zeros(2, 3, dtype=torch.int64)
    loss = head.loss(vectors, mask, targets)
    assert not loss.isfinite()
    loss.backward()
    with torch.no_grad(), pytest.raises(PapermageError, match="hold NaN or infinity"):
        head.eval().decode(vectors, mask)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_is_not_finite_at_padding_changes_nothing(config: ModelHeadConfig) -> None:
    scheme = (SpanScheme if config.targets == "spans" else BioScheme)(LABELS)
    torch.manual_seed(0)
    head: Any = config.build(4, scheme).eval()
    vectors, mask = torch.randn(2, 3, 4), torch.tensor([[True, True, True], [True, False, False]])
    poisoned = vectors.masked_fill(~mask[..., None], torch.nan)
    with torch.no_grad():
        outputs = [head.decode(given, mask) for given in (vectors, poisoned)]
    assert [(o.spans, o.tags.tolist()) for o in outputs[0]] == [(o.spans, o.tags.tolist()) for o in outputs[1]]
