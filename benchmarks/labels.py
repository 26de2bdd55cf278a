"""Many labels: how the time to build a head grows with them, and what memory a step of ``head=crf`` takes."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Sequence
from functools import partial

import torch

from benchmarks import Record, Rows, interleaved, record
from papermage_core.plugin import LabelSchemeConfig, ModelHead, ModelHeadConfig
from papermage_heads.crf.plugin import CrfHeadConfig
from papermage_heads.linear.plugin import LinearHeadConfig
from papermage_heads.span.plugin import SpanHeadConfig
from papermage_schemes.bio import BioSchemeConfig
from papermage_schemes.bioes import BioesSchemeConfig
from papermage_schemes.span import SpanSchemeConfig

CASES: dict[str, tuple[ModelHeadConfig, LabelSchemeConfig, Sequence[int]]] = {
    "linear, bio": (LinearHeadConfig(), BioSchemeConfig(), (500, 10_000)),
    "linear, bioes": (LinearHeadConfig(), BioesSchemeConfig(), (500, 10_000)),
    "crf, bio": (CrfHeadConfig(), BioSchemeConfig(), (500,)),
    "crf, bioes": (CrfHeadConfig(), BioesSchemeConfig(), (500,)),
    "span": (SpanHeadConfig(max_length=8, max_gap=0, overlap="none"), SpanSchemeConfig(), (500, 10_000)),
}
FEW = 100


def build(head: ModelHeadConfig, scheme: LabelSchemeConfig, n_labels: int) -> ModelHead:
    made = scheme.build([f"label {i}" for i in range(n_labels)])
    assert made.targets == "spans" or made.has_legal_sequences()  # as the config asks before data is read
    return head.build(128, made)


def run() -> Rows:
    for name, (head, scheme, sizes) in CASES.items():
        functions = {str(n): partial(build, head, scheme, n) for n in (FEW, *sizes)}
        seconds = interleaved(functions, repeats=3)
        yield from (
            record(
                f"{name}: built for {n} labels",
                seconds[str(n)],
                "s",
                reference=f"{FEW} labels",
                reference_value=seconds[str(FEW)],
                target=f"at most {n / FEW:.0f}, the ratio of the labels",
            )
            for n in sizes
        )
    yield from (_memory(name) for name in ("crf, bio", "crf, bioes"))


def _memory(name: str) -> Record:
    contexts, units = 16, 512
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        megabytes, tags = pool.apply(peak_of_a_step, (name, contexts, units))
    return record(
        f"{name}: peak memory of a step of ({contexts}, {units}) for 500 labels",
        megabytes,
        "MB",
        reference="the sums (B, K, K) of one unit in float64",
        reference_value=contexts * tags**2 * 8 / 1e6,
        target="none",
        note="above that of the process before",
    )


def peak_of_a_step(name: str, contexts: int, units: int) -> tuple[float, int]:
    """Return the peak memory in MB that a training step adds in a fresh process, and the number of tags."""
    head_config, scheme_config, _ = CASES[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = build(head_config, scheme_config, 500)
    mask = torch.ones(contexts, units, dtype=torch.bool)
    vectors = torch.randn(contexts, units, 128, requires_grad=True)
    head.loss(vectors, mask, torch.zeros(contexts, units, dtype=torch.int64)).backward()
    tags = head.score.linear.out_features  # type: ignore[attr-defined]
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3, tags
