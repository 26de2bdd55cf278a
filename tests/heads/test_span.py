"""The span head: what it finds, and that it can be trained to find overlapping and discontinuous entities."""

from __future__ import annotations

import itertools
import time
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from papermage_core.errors import ConfigError
from papermage_core.plugin import UnitSpan
from papermage_heads.span import scorer
from papermage_heads.span.choose import choose, unit_tags
from papermage_heads.span.head import SpanHead
from papermage_heads.span.links import neighbours, walks
from papermage_heads.span.plugin import SpanHeadConfig
from papermage_heads.span.segments import clash, widest_overlap
from papermage_schemes.span import SpanScheme

SCHEME = SpanScheme(["A", "B"])
NESTED = [UnitSpan.of("A", 0, 3), UnitSpan.of("B", 1, 2), UnitSpan.of("A", 1, 2)]
SHARED = [
    UnitSpan("A", ((0, 1), (4, 5))),
    UnitSpan("A", ((2, 3), (4, 5))),
    UnitSpan.of("A", 3, 5),
    UnitSpan("B", ((6, 7), (8, 9), (10, 11))),
]


def train(head: SpanHead, vectors: torch.Tensor, mask: torch.Tensor, targets: Any, steps: int = 150) -> None:
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        head.loss(vectors, mask, targets).backward()
        optimizer.step()
    head.eval()


def test_nested_shared_and_discontinuous_entities_are_learned() -> None:
    torch.manual_seed(0)
    vectors, mask = torch.randn(3, 12, 24), torch.arange(12) < torch.tensor([[12], [4], [0]])
    head = SpanHead(24, SCHEME, hidden=32, dropout=0.0, max_length=4, max_gap=3)
    targets = [SCHEME.encode(spans, 12) for spans in (SHARED, NESTED, [])]
    train(head, vectors, mask, targets)
    for output, target in zip(head.decode(vectors, mask), targets, strict=True):
        assert SCHEME.decode(output.spans) == target
        assert all(span.score is not None and span.score > 0.5 for span in output.spans)


@pytest.mark.parametrize("max_gap", [0, 3])
def test_blocks_change_neither_loss_nor_gradient_nor_entities(max_gap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    vectors, mask = torch.randn(2, 12, 8), torch.arange(12) < torch.tensor([[12], [9]])
    head = SpanHead(8, SCHEME, hidden=8, dropout=0.0, max_length=4, max_gap=max_gap)
    torch.nn.init.normal_(head.spans.output.bias)
    targets = [SHARED, NESTED]

    def results() -> tuple[torch.Tensor, list[torch.Tensor], Any]:
        loss = head.loss(vectors, mask, targets)
        gradients = list(torch.autograd.grad(loss, list(head.parameters())))
        return loss, gradients, head.decode(vectors, mask)

    loss, gradients, outputs = results()
    monkeypatch.setattr(scorer, "_BLOCK", 5 * 4 * 8)
    assert len(head.spans.blocks(21)) == 5
    loss_in_blocks, gradients_in_blocks, outputs_in_blocks = results()
    torch.testing.assert_close(loss, loss_in_blocks)
    torch.testing.assert_close(gradients, gradients_in_blocks)
    for one, other in zip(outputs, outputs_in_blocks, strict=True):
        assert one.spans == other.spans
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def test_the_loss_is_the_cross_entropy_of_every_span_within_its_context() -> None:
    torch.manual_seed(2)
    head = SpanHead(6, SCHEME, hidden=5, dropout=0.0, max_length=3)
    vectors = torch.randn(1, 4, 6)
    mask = torch.ones(1, 4, dtype=torch.bool)
    parts, expected = head.spans.parts(vectors[0]), 0.0
    held = {(span.start, span.stop, span.label) for span in NESTED}
    for start, stop in itertools.combinations(range(5), 2):
        if stop - start <= 3:
            logits = head.spans.output(head.spans.vectors(parts, torch.tensor(start), torch.tensor(stop - start)))
            for logit, label in zip(logits.tolist(), "AB", strict=True):
                probability = 1 / (1 + np.exp(-logit))
                expected -= np.log(probability if (start, stop, label) in held else 1 - probability)
    assert head.loss(vectors, mask, [NESTED]).item() == pytest.approx(expected, rel=1e-5)


def test_o_gets_what_the_likeliest_span_over_a_unit_leaves() -> None:
    torch.manual_seed(3)
    head = SpanHead(6, SCHEME, hidden=5, dropout=0.0, max_length=3, threshold=0.9).eval()
    torch.nn.init.zeros_(head.spans.output.bias)
    vectors, mask = torch.randn(2, 5, 6), torch.arange(5) < torch.tensor([[5], [2]])
    for row, output in enumerate(head.decode(vectors, mask)):
        n = int(mask[row].sum())
        parts = head.spans.parts(vectors[row, :n])
        likeliest = np.zeros(n)
        for start, stop in itertools.combinations(range(n + 1), 2):
            if stop - start <= 3:
                logits = head.spans.output(head.spans.vectors(parts, torch.tensor(start), torch.tensor(stop - start)))
                likeliest[start:stop] = np.maximum(likeliest[start:stop], logits.sigmoid().max().item())
        assert not output.spans
        np.testing.assert_allclose(output.scores, 1 - likeliest, atol=1e-6)


def test_entities_longer_than_max_length_are_left_out_of_the_loss() -> None:
    head = SpanHead(6, SCHEME, max_length=2).eval()
    vectors, mask = torch.randn(1, 4, 6), torch.ones(1, 4, dtype=torch.bool)
    assert head.loss(vectors, mask, [[UnitSpan.of("A", 0, 4)]]).item() == head.loss(vectors, mask, [[]]).item()


def test_a_long_context_is_scored_in_blocks_of_bounded_size() -> None:
    head = SpanHead(4, SCHEME, hidden=64, max_length=32)
    assert len(head.spans.blocks(20_000)) > 1
    assert all((stop - start) * 32 * 64 <= 4_000_000 for start, stop in head.spans.blocks(20_000))
    assert head.spans.blocks(20_000)[-1][1] == 20_000


def test_settle_takes_lengths_gaps_and_overlap_from_the_entities() -> None:
    settled = SpanHeadConfig().settle([SHARED, NESTED], SCHEME)
    assert (settled.max_length, settled.max_gap, settled.overlap) == (3, 3, "any")
    flat = SpanHeadConfig().settle([[UnitSpan.of("A", 0, 2), UnitSpan.of("A", 2, 3)], []], SCHEME)
    assert (flat.max_length, flat.max_gap, flat.overlap) == (2, 0, "none")
    assert SpanHeadConfig().settle([[]], SCHEME).max_length == 1


def test_settle_keeps_what_the_user_said() -> None:
    said = SpanHeadConfig(max_length=9, max_gap=1, overlap="nested")
    assert said.settle([SHARED], SCHEME) == said


def test_one_very_long_entity_does_not_set_the_length() -> None:
    spans = [UnitSpan.of("A", i, i + 2) for i in range(300)] + [UnitSpan.of("A", 400, 900)]
    assert SpanHeadConfig().settle([spans], SCHEME).max_length == 2
    assert SpanHeadConfig().settle([[UnitSpan.of("A", 0, 900)]], SCHEME).max_length == 32


def test_an_unsettled_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="settle"):
        SpanHeadConfig().build(4, SCHEME)


CROSSING = [UnitSpan.of("A", 0, 3), UnitSpan.of("A", 1, 4)]


@pytest.mark.parametrize(
    ("spans", "widest"),
    [
        ([], "none"),
        (NESTED, "nested"),
        (SHARED, "labels"),
        ([UnitSpan.of("A", 0, 3), UnitSpan.of("B", 1, 4)], "labels"),
        (CROSSING, "any"),
        ([*CROSSING, *(UnitSpan.of("B", i, i + 1) for i in range(5, 60))], "none"),
        ([*CROSSING, *(UnitSpan.of("B", i, i + 1) for i in range(60)), UnitSpan.of("B", 0, 2)], "any"),
        ([*CROSSING, *(UnitSpan.of("AB"[i % 2], i, i + 2) for i in range(5, 105))], "labels"),
    ],
)
def test_the_widest_overlap_of_entities_is_found(spans: list[UnitSpan], widest: str) -> None:
    assert widest_overlap([[], spans]) == widest


def test_entities_that_interleave_share_no_unit() -> None:
    woven = UnitSpan("A", ((0, 1), (2, 3)))
    assert not clash(woven, UnitSpan.of("A", 1, 2), "none")


def test_the_surest_of_clashing_entities_stays() -> None:
    spans = [attrs.evolve(span, score=score) for span, score in zip(NESTED, (0.6, 0.7, 0.9), strict=True)]
    assert choose(spans, "none") == [spans[2]]
    assert choose(spans, "nested") == [spans[0], spans[2], spans[1]]


def test_many_entities_of_a_context_are_chosen_among_in_time_as_there_are_of_them() -> None:
    """Not as their square: four thousand took 19 seconds when each was held against all."""
    spans = [UnitSpan.of("A", 2 * place, 2 * place + 3, 0.5 + place % 2 / 4) for place in range(20_000)]
    began = time.process_time()
    assert choose(spans, "none") == spans[1::2]
    assert choose(spans, "nested") == spans[1::2]
    assert time.process_time() - began < 60


def test_a_unit_takes_the_tag_of_the_surest_entity_over_it() -> None:
    spans = [UnitSpan("A", ((0, 1), (3, 4)), score=0.6), UnitSpan.of("B", 0, 2, score=0.9)]
    tags, scores = unit_tags(spans, np.array([0.1, 0.2, 0.8, 0.3], np.float32), {"A": 0, "B": 1})
    assert tags.tolist() == [2, 2, 0, 1]
    np.testing.assert_allclose(scores, [0.9, 0.9, 0.8, 0.6])


def test_neighbours_are_the_pairs_within_the_gap() -> None:
    generator = np.random.default_rng(0)
    starts = generator.integers(0, 40, 60)
    stops = starts + generator.integers(1, 4, 60)
    context = starts // 10
    left, right = neighbours(*map(torch.from_numpy, (starts, stops, context)), 3)
    expected = {
        (i, j)
        for i, j in itertools.product(range(60), repeat=2)
        if 1 <= starts[j] - stops[i] <= 3 and context[i] == context[j]
    }
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == expected
    assert len(left) == len(expected)


def test_walks_are_bounded() -> None:
    layers = [
        (i, j)
        for layer in range(9)
        for i in range(4 * layer, 4 * layer + 4)
        for j in range(4 * layer + 4, 4 * layer + 8)
    ]
    assert len(walks([(i, j, 0.9) for i, j in layers])) == 64
