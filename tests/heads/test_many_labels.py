"""Heads of many labels: hundreds learn, thousands are built, and memory does not grow with the square of the tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, ModelHeadConfig, UnitSpan
from papermage_heads.chain import forward_backward
from papermage_heads.chain.legal import LegalChain
from papermage_heads.chain.loss import negative_log_likelihood
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.tagger import ChainTagger
from papermage_heads.crf.plugin import CrfHeadConfig
from papermage_heads.linear.plugin import LinearHeadConfig
from papermage_heads.span.plugin import SpanHeadConfig
from papermage_schemes.bio import BioScheme
from papermage_schemes.bioes import BioesScheme
from papermage_schemes.io import IoScheme
from papermage_schemes.span import SpanScheme

LABELS = [f"label {i}" for i in range(10_000)]
SPAN_OPTIONS = {"max_length": 3, "max_gap": 0, "overlap": "none", "hidden": 16}


@pytest.mark.parametrize(
    ("config", "scheme"),
    [
        (LinearHeadConfig(), BioScheme(LABELS[:500])),
        (LinearHeadConfig(constrained=False), BioesScheme(LABELS[:500])),
        (CrfHeadConfig(), BioScheme(LABELS[:500])),
        pytest.param(CrfHeadConfig(), BioesScheme(LABELS[:500]), marks=pytest.mark.slow),
        (SpanHeadConfig(**SPAN_OPTIONS), SpanScheme(LABELS[:500])),
    ],
    ids=["linear", "unconstrained", "crf", "crf bioes", "span"],
)
def test_five_hundred_labels_are_learned(config: ModelHeadConfig, scheme: LabelScheme) -> None:
    torch.manual_seed(0)
    spans = [[UnitSpan.of("label 3", 0, 2), UnitSpan.of("label 499", 2, 3)], [UnitSpan.of("label 250", 1, 3)]]
    lengths = [5, 3]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    encoded = [scheme.encode(some, n) for some, n in zip(spans, lengths, strict=True)]
    targets: Any = encoded
    if scheme.targets == "tags":
        targets = torch.from_numpy(np.array([np.pad(tags, (0, 5 - len(tags)), constant_values=-1) for tags in encoded]))
    vectors = torch.randn(2, 5, 16)
    head = attrs.evolve(config, dropout=0.0).build(16, scheme)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(25):
        optimizer.zero_grad()
        head.loss(vectors, mask, targets).backward()
        optimizer.step()
    with torch.no_grad():
        assert [output.spans for output in head.eval().decode(vectors, mask)] == spans


@pytest.mark.parametrize("scheme", [BioScheme(LABELS), BioesScheme(LABELS)], ids=["bio", "bioes"])
def test_ten_thousand_labels_are_built_and_decoded_by_linear(scheme: LabelScheme) -> None:
    head = LinearHeadConfig().build(2, scheme).eval()
    with torch.no_grad():
        (output,) = head.decode(torch.randn(1, 3, 2), torch.ones(1, 3, dtype=torch.bool))
    assert scheme.allows(output.tags)
    assert scheme.decode(output.tags) == output.spans
    assert "transition_allowed" not in vars(scheme)


def test_ten_thousand_labels_are_refused_by_crf_at_once() -> None:
    with pytest.raises(ConfigError, match=r"every pair of tags; .* got 20,001 of 10,000 labels; choose head=linear"):
        CrfHeadConfig().build(2, BioScheme(LABELS))
    CrfHeadConfig().build(2, IoScheme(LABELS[:1000]))


def test_products_of_matrices_give_what_the_compiled_loop_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    scheme = BioScheme(LABELS[:150])
    scores, mask = ChainScores.of_scheme(scheme), torch.arange(6) < torch.tensor([[6], [2], [1]])
    emissions = torch.randn(3, 6, 301, generator=torch.Generator().manual_seed(0))
    found = [forward_backward.forward_backward(emissions, mask, scores, log_beta=beta) for beta in (False, True)]
    monkeypatch.setattr(forward_backward, "_COMPILED_TAGS", 1000)
    for beta, one in zip((False, True), found, strict=True):
        other = forward_backward.forward_backward(emissions, mask, scores, log_beta=beta)
        torch.testing.assert_close(one.log_z, other.log_z)
        torch.testing.assert_close(one.marginals, other.marginals)
        torch.testing.assert_close(one.expected_transitions, other.expected_transitions)


class Largest(TorchDispatchMode):
    """Remembers the most numbers that a tensor made in its block has."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [leaf.untyped_storage().nbytes() // 8 for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return made


@pytest.fixture
def _no_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(forward_backward, "_COMPILED_TAGS", 0)
    monkeypatch.setattr(forward_backward, "_BLOCK", 4000)
    return None


@pytest.mark.usefixtures("_no_compiled_loops")
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_no_tensor_of_the_loss_grows_with_contexts_times_the_square_of_tags(scale: float) -> None:
    """Not even in log space, where scores lie far apart: there a step has K² sums a context."""
    contexts, units, n_tags = 100, 4, 41
    scores = ChainScores.of_scheme(BioScheme(LABELS[:20]))
    emissions = (torch.randn(contexts, units, n_tags) * scale).requires_grad_()
    mask, targets = torch.ones(contexts, units, dtype=torch.bool), torch.zeros(contexts, units, dtype=torch.int64)
    with Largest() as largest:
        negative_log_likelihood(emissions, mask, targets, scores).backward()
    assert contexts * units * n_tags <= largest.numbers < 1.5 * contexts * units * n_tags


def test_a_legal_chain_of_many_labels_is_decoded_as_the_table_of_its_scores() -> None:
    scheme = BioesScheme(LABELS[:60])
    tagger = ChainTagger(scheme)
    emissions = torch.randn(4, 7, 241, generator=torch.Generator().manual_seed(0)) * 3
    mask = torch.arange(7) < torch.tensor([[7], [1], [3], [0]])
    dense, legal = (tagger(emissions, mask, s) for s in (ChainScores.of_scheme(scheme), LegalChain.of(scheme)))
    for one, other in zip(dense, legal, strict=True):
        assert one.spans == other.spans
        assert one.tags.tolist() == other.tags.tolist()
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
        scores = [[span.score for span in output.spans] for output in (one, other)]
        np.testing.assert_allclose(*scores, atol=1e-6)
