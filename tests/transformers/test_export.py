"""Models of every family as ONNX graphs."""

from __future__ import annotations

import pytest
import torch

from papermage_core.model.entity_model import EntityModel
from papermage_core.plugin import ContextNeeds

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


class _Decoder(torch.nn.Module):
    """A head that takes vectors."""


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("distilbert", "roberta", "modernbert", "t5")]


@pytest.mark.parametrize("name", ["bert", "layoutlm", *SLOW])
def test_a_family_is_exported(name, encoder, layout_families):
    from papermage_core.model.onnx import make_graphs

    made = encoder(name)
    model = EntityModel(made, [_Decoder()])
    graphs, (output,) = make_graphs(model, ContextNeeds(boxes=name in layout_families), ["fp32", "int8"])
    assert (output.name, output.width) == ("vectors", made.output_size)
    assert len(graphs["int8"]) < len(graphs["fp32"])  # what the fp32 graph gives has been compared with the model
