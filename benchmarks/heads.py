"""What each head costs beside the encoder ``compact``, in a training step and in prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch

from benchmarks import Rows, interleaved, record
from benchmarks.crf import without_kernels
from papermage_compact.plugin import CompactConfig
from papermage_core.plugin import Context, LabelScheme, UnitSpan
from papermage_heads.chain.compiled import kernels
from papermage_heads.chain.loss import negative_log_likelihood
from papermage_heads.crf.plugin import CrfHeadConfig
from papermage_heads.linear.plugin import LinearHeadConfig
from papermage_heads.span.plugin import SpanHeadConfig
from papermage_schemes.bio import BioScheme
from papermage_schemes.span import SpanScheme

SENTENCES, WORDS = 32, 25


@attrs.frozen(eq=False)
class Step:
    """A batch of sentences of about 25 words with an entity each, and what ``compact`` makes of it."""

    encoder: Any
    features: dict[str, torch.Tensor]
    mask: torch.Tensor
    spans: list[list[UnitSpan]]

    @classmethod
    def new(cls) -> Step:
        generator = np.random.default_rng(0)
        lengths = generator.integers(WORDS - 8, WORDS + 9, SENTENCES)
        contexts = [
            Context(words=[f"word{i}" for i in generator.integers(0, 4000, n)], space_before=np.ones(n, np.bool_))
            for n in lengths
        ]
        encoder = CompactConfig(layout="off").build()
        windows = [window for some in encoder.windows(contexts, stride=32) for window in some]
        mask = torch.arange(int(lengths.max())) < torch.from_numpy(lengths)[:, None]
        return cls(encoder, encoder.collate(windows), mask, [[UnitSpan.of("Disease", 3, 5)] for _ in lengths])

    def targets(self, scheme: LabelScheme) -> Any:
        encoded = [scheme.encode(spans, int(n)) for spans, n in zip(self.spans, self.mask.sum(1), strict=True)]
        if scheme.targets == "spans":
            return encoded
        padded = torch.full(self.mask.shape, -1)
        for row, tags in zip(padded, encoded, strict=True):
            row[: len(tags)] = torch.from_numpy(tags)
        return padded


def run() -> Rows:
    torch.manual_seed(0)
    step = Step.new()
    vectors = step.encoder(step.features).detach()
    bio, span = BioScheme(["Disease"]), SpanScheme(["Disease"])
    heads = {
        "linear": (LinearHeadConfig().build(vectors.shape[2], bio), step.targets(bio)),
        "crf": (CrfHeadConfig().build(vectors.shape[2], bio), step.targets(bio)),
        "span": (SpanHeadConfig(max_length=8, max_gap=0, overlap="none").build(vectors.shape[2], span), step.spans),
    }
    for head, targets in heads.values():
        _train(head, vectors, step.mask, targets)
    training: dict[str, Callable[[], Any]] = {"encoder": lambda: step.encoder(step.features).sum().backward()}
    predicting: dict[str, Callable[[], Any]] = {"encoder": torch.no_grad()(lambda: step.encoder(step.features))}
    for name, (head, targets) in heads.items():
        training[name] = _training(head, vectors, step.mask, targets)
        predicting[name] = _predicting(head, vectors, step.mask)
    crf, targets = heads["crf"]
    emissions = crf.score(vectors, step.mask).detach().requires_grad_()
    training["chain of crf"] = lambda: negative_log_likelihood(emissions, step.mask, targets, crf.chain).backward()
    predicting["chain of crf"] = torch.no_grad()(lambda: crf.tagger(emissions, step.mask, crf.chain))
    if kernels():
        for functions in (training, predicting):
            for name in ("crf", "chain of crf"):
                functions |= {f"{name}, compiled": functions[name], name: without_kernels(functions[name])}
    for what, functions in (("training", training), ("prediction", predicting)):
        for head, _ in heads.values():
            head.train(what == "training")
        step.encoder.train(what == "training")
        milliseconds = {name: seconds * 1e3 for name, seconds in interleaved(functions, repeats=25, warmup=3).items()}
        yield from (
            record(
                f"{name} beside compact, {what}",
                milliseconds[name],
                "ms a step of 800 words",
                reference="compact and head",
                reference_value=milliseconds["encoder"] + milliseconds[_head_of(name)],
                target="below 0.05" if name.startswith("chain") else "none",
                peers=("torch", "numba"),
            )
            for name in functions
            if name != "encoder"
        )


def _head_of(name: str) -> str:
    return name.removeprefix("chain of ")


def _train(head: Any, vectors: torch.Tensor, mask: torch.Tensor, targets: Any) -> None:
    """Train until the head predicts about as many entities as there are: what it costs depends on them."""
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        head.loss(vectors, mask, targets).backward()
        optimizer.step()


def _training(head: Any, vectors: torch.Tensor, mask: torch.Tensor, targets: Any) -> Callable[[], None]:
    given = vectors.clone().requires_grad_()
    return lambda: head.loss(given, mask, targets).backward()


def _predicting(head: Any, vectors: torch.Tensor, mask: torch.Tensor) -> Callable[[], Any]:
    return torch.no_grad()(lambda: head.decode(vectors, mask))  # type: ignore[no-any-return]
