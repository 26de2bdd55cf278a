"""Encoders in every precision of Lightning's, on a CPU."""

from __future__ import annotations

import pytest
import torch

from papermage_compact.plugin import CompactConfig
from papermage_core.testing import make_documents, sample_contexts, write_jsonl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

SMALL = {"width": 16, "rows": 64}
TRUE = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


@pytest.fixture(params=["bert", "bert alone", "layoutlm", "bros", "t5", "compact", "compact with layout"])
def made(request, encoder):
    """An encoder, as a model's weights are float32 and computed in float32, or by default."""
    if request.param.startswith("compact"):
        torch.manual_seed(1)
        return CompactConfig(layout="on" if "layout" in request.param else "off", **SMALL).build().eval()
    precision = "auto" if "alone" in request.param else "float32"
    return encoder(request.param.split(" ")[0], cpu_precision=precision)


def batch_of(made):
    needs = CompactConfig().needs
    return made.collate([w for ws in made.windows(sample_contexts(needs), stride=2) for w in ws])


@pytest.mark.parametrize("precision", list(TRUE))
def test_vectors_have_the_dtype_of_the_weights_and_are_near_those_of_float32(made, precision):
    batch = batch_of(made)
    with torch.no_grad():
        exact = made(batch)
    dtype = TRUE[precision]
    made.to(dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # as Lightning does in a step
    try:
        vectors = made.train()(batch)
        vectors.sum().backward()
        with torch.no_grad():
            found = made.eval()(batch)
    finally:
        torch.set_default_dtype(before)
    assert vectors.dtype == found.dtype == dtype
    assert all(p.grad is None or p.grad.dtype == dtype for p in made.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())
    real = exact.abs().sum(-1) > 0
    assert (found.double() - exact.double())[real].abs().mean() < 0.05 * exact[real].abs().mean()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_autocast_of_the_callers_is_taken(made, dtype):
    batch = batch_of(made)
    with torch.no_grad():
        exact = made(batch)
    with torch.autocast("cpu", dtype=dtype):
        vectors = made.train()(batch)
        vectors.float().sum().backward()
        with torch.no_grad():
            found = made.eval()(batch)
    assert vectors.dtype in (dtype, torch.float32)
    assert {p.grad.dtype for p in made.parameters() if p.grad is not None} == {torch.float32}
    assert (found.float() - exact).abs().mean() < 0.05 * exact.abs().mean() + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", *TRUE])
@pytest.mark.parametrize("name", ["hf", "compact"])
def test_a_run_trains_and_scores_in_each(name, precision, model_folder, tmp_path):
    options = {f"encoder.{key}": value for key, value in SMALL.items()} | {"encoder.layout": "on"}
    if name == "hf":
        options = {"model_name_or_path": str(model_folder("bert"))}
    config = EntityClassificationTrainConfig(
        data_path=str(write_jsonl(make_documents(12), tmp_path / "data.jsonl")),
        label_field="Disease",
        precision=precision,
        max_epochs=1,
        default_root_dir=str(tmp_path / "run"),
        **options,
    )
    assert 0 <= EntityClassificationTrainer(config).train().scores.f1 <= 1
