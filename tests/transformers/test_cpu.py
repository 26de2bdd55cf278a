"""Settings for the CPU at hand."""

from __future__ import annotations

import logging
import os
import platform
import threading

import pytest
import torch

from papermage_transformers import build, cpu
from papermage_transformers.plugin import TransformerEncoderConfig
from tests.warm import run_warm

TUNE = "from papermage_transformers.cpu import tune_allocator; print(tune_allocator())"
FAULTS = """
import resource, sys, torch
from papermage_transformers.cpu import tune_allocator
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
    done = run_warm(code, *args, environment=kept | environ)
    assert done.returncode == 0, done.stderr[-2000:]
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


def test_auto_takes_bfloat16_only_where_the_cpu_has_it(monkeypatch):
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: True)
    assert cpu.choose_precision("auto") == "bfloat16"
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: False)
    assert cpu.choose_precision("auto") == "medium"
    assert [cpu.choose_precision(p) for p in ("float32", "medium", "bfloat16")] == [
        "float32",
        "medium",
        "bfloat16",
    ]


def test_the_choice_is_logged_once_and_attention_dropout_is_off_on_a_cpu(model_folder, caplog, monkeypatch):
    monkeypatch.setattr("papermage_transformers.build.has_accelerator", lambda: False)
    build._tell_of_cpu.cache_clear()
    with caplog.at_level(logging.INFO, "papermage_transformers"):
        config = TransformerEncoderConfig(model_name_or_path=str(model_folder("bert")), cpu_precision="medium")
        made = [config.build() for _ in range(2)][-1]
    assert caplog.text.count("CPU: medium arithmetic, attention dropout 0") == 1
    assert made.model.config.attention_probs_dropout_prob == 0


def matmul_precision():
    own = getattr(torch.backends.mkldnn, "matmul", None)
    return getattr(own, "fp32_precision", None) or torch.get_float32_matmul_precision()


def test_medium_arithmetic_holds_in_forward_alone_and_on_the_cpu_alone(encoder, make_context, texts):
    made, before, gpu = encoder("bert", cpu_precision="medium"), matmul_precision(), gpu_matmul_precision()
    seen = []
    made.model.register_forward_hook(lambda *_: seen.append((matmul_precision(), gpu_matmul_precision())))
    [windows] = made.windows([make_context(texts[0])], stride=0)
    made(made.collate(windows)).sum().backward()
    assert matmul_precision() == before
    assert [precision for precision, _ in seen] == ["bf16" if cpu._OF_THE_CPU else "medium"]
    assert not cpu._OF_THE_CPU or [of_gpu for _, of_gpu in seen] == [gpu]
    made.model.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made(made.collate(windows))
    assert matmul_precision() == before


def gpu_matmul_precision():
    return getattr(torch.backends.cuda.matmul, "fp32_precision", None)


def test_threads_that_overlap_leave_the_precision_as_it_was():
    before = matmul_precision()
    first, second = threading.Event(), threading.Event()
    seen = []

    def early():
        with cpu.medium_matmul:
            first.set()
            second.wait(10)
        seen.append(matmul_precision())  # the other is still inside
        second.clear()
        first.set()

    thread = threading.Thread(target=early)
    thread.start()
    first.wait(10)
    first.clear()
    with cpu.medium_matmul:
        second.set()
        first.wait(10)
        inside = matmul_precision()
    thread.join()
    assert seen == [inside]
    assert inside != before
    assert matmul_precision() == before


TUNED = """
import sys, torch
from papermage_transformers import cpu
from papermage_transformers.plugin import TransformerEncoderConfig
cpu.tune_allocator = lambda: called.append("allocator")
called, (folder, precision, tune, gpu) = [], sys.argv[1:]
cpu.has_accelerator = lambda: bool(gpu)
config = TransformerEncoderConfig(model_name_or_path=folder, cpu_precision=precision, tune_allocator=bool(tune))
if "once" in tune:
    config.tune_process()
config.build()
print(*called, torch.get_float32_matmul_precision())
"""


def test_only_where_a_command_says_so_is_the_process_tuned(model_folder):
    folder = str(model_folder("bert"))
    assert run(TUNED, folder, "medium", "once", "") == "allocator medium"
    assert run(TUNED, folder, "float32", "once", "") == "allocator highest"
    assert run(TUNED, folder, "medium", "once", "gpu") == "highest"
    assert run(TUNED, folder, "medium", "no", "") == "highest"


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
