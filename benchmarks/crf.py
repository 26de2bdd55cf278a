"""The chain of ``head=crf`` against pytorch-crf: loss, best paths, marginals, and how exact the gradients are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from benchmarks import Record, Rows, interleaved, record
from papermage_heads.chain import entities, forward_backward, loss, viterbi
from papermage_heads.chain.compiled import kernels
from papermage_heads.chain.loss import negative_log_likelihood
from papermage_heads.chain.scores import ChainScores

SHAPES = {(16, 128, 3): 9, (16, 512, 9): 9, (32, 512, 21): 9, (8, 2048, 9): 20, (8, 40, 1001): 9}
"""Contexts, units, tags → how many times faster than pytorch-crf the loss is asked to be."""


def _no_kernels() -> None:
    """Say that there are none."""


def without_kernels(function: Callable[[], Any]) -> Callable[[], Any]:
    """Return the function with the compiled loops of the extra ``fast`` left out."""

    modules: list[Any] = [entities, forward_backward, loss, viterbi]

    def plain() -> Any:
        found = [module.kernels for module in modules]
        for module in modules:
            module.kernels = _no_kernels
        try:
            return function()
        finally:
            for module, one in zip(modules, found, strict=True):
                module.kernels = one

    return plain


@attrs.frozen(eq=False)
class Batch:
    """A ragged batch, and the same scores for both."""

    emissions: Tensor
    mask: Tensor
    targets: Tensor
    scores: ChainScores

    @classmethod
    def of(cls, contexts: int, units: int, tags: int) -> Batch:
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(units // 2, units + 1, (contexts,), generator=generator)
        lengths[0] = units
        shapes = ((tags, tags), (tags,), (tags,))
        return cls(
            torch.randn(contexts, units, tags, generator=generator).requires_grad_(),
            torch.arange(units) < lengths[:, None],
            torch.randint(0, tags, (contexts, units), generator=generator),
            ChainScores(*(torch.randn(shape, generator=generator).mul_(0.1).requires_grad_() for shape in shapes)),
        )


def run() -> Rows:
    from torchcrf import CRF

    for (contexts, units, tags), times in SHAPES.items():
        batch = Batch.of(contexts, units, tags)
        peer = CRF(tags, batch_first=True)
        with torch.no_grad():
            peer.transitions.copy_(batch.scores.transitions)
            peer.start_transitions.copy_(batch.scores.start)
            peer.end_transitions.copy_(batch.scores.end)
        yield from _of_shape(f"({contexts}, {units}, {tags})", times, batch, peer)


def _of_shape(shape: str, times: int, batch: Batch, peer: torch.nn.Module) -> list[Record]:
    def loss() -> None:
        negative_log_likelihood(batch.emissions, batch.mask, batch.targets, batch.scores).backward()

    def peers_loss() -> None:
        (-peer(batch.emissions, batch.targets, mask=batch.mask, reduction="sum")).backward()

    lengths, plain = batch.mask.sum(1).numpy(), batch.emissions.detach().numpy()

    def find_best() -> None:
        viterbi.best_paths(plain, lengths, batch.scores)

    medians = interleaved(
        {
            "loss": without_kernels(loss),
            "peer's loss": peers_loss,
            "best": without_kernels(find_best),
            "peer's best": torch.no_grad()(lambda: peer.decode(batch.emissions, batch.mask)),
            "marginals": without_kernels(
                lambda: forward_backward.forward_backward(batch.emissions, batch.mask, batch.scores)
            ),
            **({"compiled loss": loss, "compiled best": find_best} if kernels() else {}),
        },
        repeats=5,
    )
    milliseconds = {name: seconds * 1e3 for name, seconds in medians.items()}
    rows = [
        ("crf loss, forward and backward", "loss", "peer's loss", f"at most 1/{times} = {1 / times:.3f}"),
        ("crf best paths", "best", "peer's best", "at most 1/3 = 0.333"),
        ("crf marginals", "marginals", "loss", "at most 1.5"),
        ("crf loss, forward and backward, compiled", "compiled loss", "peer's loss", "none"),
        ("crf best paths, compiled", "compiled best", "peer's best", "none"),
    ]
    found = [
        record(
            f"{name} {shape}",
            milliseconds[ours],
            "ms",
            reference="our loss" if theirs == "loss" else "pytorch-crf",
            reference_value=milliseconds[theirs],
            target=target,
            peers=("torch", "pytorch-crf"),
        )
        for name, ours, theirs, target in rows
        if ours in milliseconds
    ]
    return [*found, _exactness(shape, batch, peer)]


def _exactness(shape: str, batch: Batch, peer: torch.nn.Module) -> Record:
    """Return the largest error of a gradient at the emissions, against pytorch-crf in float64."""

    def gradient(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, batch.emissions)[0]

    ours = gradient(negative_log_likelihood(batch.emissions, batch.mask, batch.targets, batch.scores))
    theirs = gradient(-peer(batch.emissions, batch.targets, mask=batch.mask, reduction="sum"))
    exact = gradient(-peer.double()(batch.emissions.double(), batch.targets, mask=batch.mask, reduction="sum"))
    return record(
        f"crf error of a gradient in float32 {shape}",
        (ours - exact).abs().max().item(),
        "",
        reference="pytorch-crf",
        reference_value=max((theirs - exact).abs().max().item(), 1e-12),
        target="below 1",
        peers=("torch", "pytorch-crf"),
    )
