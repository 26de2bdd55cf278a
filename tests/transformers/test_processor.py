"""Settings for the processor at hand."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys

import pytest
import torch

from papermage_transformers import processor
from papermage_transformers.plugin import TransformerEncoderConfig

TUNE = "from papermage_transformers.processor import tune_allocator; print(tune_allocator())"
FAULTS = """
import resource, sys, torch
from papermage_transformers.processor import tune_allocator
if sys.argv[1] == "tuned":
    tune_allocator()
def work():
    for _ in range(10):
        torch.ones(16_000_000).sum()
for _ in range(10):  # until the heap has a hole that fits, wherever it lies
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc is tuned")


def run(code, *args, **environ):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", code, *args], env=kept | environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@glibc
@pytest.mark.slow
def test_large_blocks_are_kept_from_step_to_step():
    assert int(run(FAULTS, "tuned")) < 1000 < int(run(FAULTS, "untuned"))


@glibc
@pytest.mark.slow
def test_what_the_environment_says_about_malloc_is_left_alone():
    assert run(TUNE) == "True"
    assert run(TUNE, MALLOC_TRIM_THRESHOLD_="100000") == "False"
    assert run(TUNE, GLIBC_TUNABLES="glibc.malloc.mmap_max=10") == "False"


def test_auto_takes_bfloat16_only_where_the_processor_has_it(monkeypatch):
    monkeypatch.setattr(processor, "has_bfloat16", lambda: True)
    assert processor.choose_precision("auto") == "bfloat16"
    monkeypatch.setattr(processor, "has_bfloat16", lambda: False)
    assert processor.choose_precision("auto") == "medium"
    assert [processor.choose_precision(p) for p in ("float32", "medium", "bfloat16")] == [
        "float32",
        "medium",
        "bfloat16",
    ]


def test_the_choice_is_logged_and_attention_dropout_is_off_on_a_cpu(model_folder, caplog, monkeypatch):
    monkeypatch.setattr("papermage_transformers.build.has_accelerator", lambda: False)
    before = torch.get_float32_matmul_precision()
    try:
        with caplog.at_level(logging.INFO, "papermage_transformers"):
            config = TransformerEncoderConfig(model_name_or_path=str(model_folder("bert")), cpu_precision="medium")
            made = config.build()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert "CPU: medium arithmetic, attention dropout 0" in caplog.text
    assert made.model.config.attention_probs_dropout_prob == 0


def test_a_gpu_keeps_the_models_own_attention_dropout(model_folder, monkeypatch):
    monkeypatch.setattr("papermage_transformers.build.has_accelerator", lambda: True)
    made = TransformerEncoderConfig(model_name_or_path=str(model_folder("bert"))).build()
    assert made.model.config.attention_probs_dropout_prob == 0.1


def test_bfloat16_vectors_come_out_as_float32_and_near_the_exact_ones(encoder, make_context, texts):
    exact, rounded = encoder("bert"), encoder("bert", cpu_precision="bfloat16")
    [windows] = exact.windows([make_context(texts[0])], stride=0)
    batch = exact.collate(windows)
    with torch.no_grad():
        a, b = exact(batch), rounded(batch)
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, atol=0.1, rtol=0)


def test_an_autocast_of_the_callers_is_left_alone(encoder, make_context, texts):
    made = encoder("bert")
    [windows] = made.windows([make_context(texts[0])], stride=0)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        inside = made(made.collate(windows))
    with torch.no_grad():
        outside = made(made.collate(windows))
    assert not torch.equal(inside.float(), outside)
