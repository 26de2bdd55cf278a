"""The crf head: what the scheme forbids, weights, and the n best."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from papermage_core.config.structure import structure
from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, UnitSpan
from papermage_heads.chain.forward_backward import forward_backward
from papermage_heads.crf.head import CrfHead
from papermage_heads.crf.plugin import CrfHeadConfig
from papermage_schemes.bio import BioScheme
from papermage_schemes.bioes import BioesScheme
from papermage_schemes.io import IoScheme

BIO = BioScheme(["X", "Y"])
BIOES = BioesScheme(["X", "Y"])


def head_of(scheme: LabelScheme, **options: object) -> CrfHead:
    torch.manual_seed(0)
    head = CrfHead(6, scheme, dropout=0.0, **options)  # type: ignore[arg-type]
    for parameter in (head.transitions, head.start, head.end):
        torch.nn.init.normal_(parameter)
    return head.eval()


@pytest.mark.parametrize("scheme", [BIO, BIOES])
def test_what_is_forbidden_is_never_decoded_whatever_the_emissions(scheme: LabelScheme) -> None:
    head = head_of(scheme)
    with torch.no_grad():
        head.transitions.copy_(torch.where(head.legal.transitions.isinf(), 50.0, -50.0))
    mask = torch.ones(8, 7, dtype=torch.bool)
    for output in head.decode(torch.randn(8, 7, 6) * 20, mask):
        assert scheme.allows(output.tags)
        assert scheme.decode(output.tags) == output.spans


def test_illegal_transitions_move_neither_loss_nor_weights() -> None:
    head, vectors, mask = head_of(BIO), torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    targets = torch.zeros(2, 5, dtype=torch.int64)
    before = head.loss(vectors, mask, targets)
    before.backward()
    assert head.transitions.grad is not None
    forbidden = head.legal.transitions.isinf()
    assert not head.transitions.grad[forbidden].any()
    assert head.transitions.grad[~forbidden].abs().min() > 0
    with torch.no_grad():
        head.transitions[forbidden] += 100.0
    assert head.loss(vectors, mask, targets).item() == before.item()


@pytest.mark.parametrize("scheme", [BIO, BIOES, IoScheme(["X", "Y"])])
def test_entities_below_the_threshold_are_left_out_and_tags_follow(scheme: LabelScheme) -> None:
    whole, strict = head_of(scheme), head_of(scheme, threshold=0.4)
    vectors, mask = torch.randn(16, 7, 6) * 2, torch.arange(7) < torch.arange(16)[:, None] % 7 + 1
    marginals = forward_backward(whole.score(vectors, mask), mask, whole.chain).marginals
    dropped = 0
    for row, before, after in zip(marginals, whole.decode(vectors, mask), strict.decode(vectors, mask), strict=True):
        assert after.spans == [span for span in before.spans if (span.score or 0) >= 0.4]
        assert scheme.allows(after.tags)
        assert scheme.decode(after.tags) == after.spans
        assert after.scores == pytest.approx(row[range(len(after.tags)), after.tags].detach().numpy(), abs=1e-5)
        dropped += len(before.spans) - len(after.spans)
    assert dropped


def test_the_threshold_is_an_option_that_a_model_of_before_lacks() -> None:
    head = CrfHeadConfig(threshold=0.6).build(4, BIO)
    assert isinstance(head, CrfHead)
    assert head.tagger.threshold == 0.6
    assert head.split()[1].tagger.threshold == 0.6  # an exported model decodes by it too
    assert structure(CrfHeadConfig, {"dropout": 0.1}, key="head", name="head").threshold == 0.0


def test_n_best_lists_distinct_sequences_by_probability() -> None:
    head, vectors, mask = head_of(BIOES), torch.randn(2, 4, 6), torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    best = head.decode(vectors, mask)
    for output, ranked in zip(best, head.n_best(vectors, mask, 10_000), strict=True):
        assert ranked[0][0] == output.spans
        probabilities = [probability for _, probability in ranked]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1.0, abs=1e-5)
        for span in output.spans:
            assert span.score == pytest.approx(sum(p for spans, p in ranked if span in spans), abs=1e-5)


def test_class_weights_are_odds_at_prediction() -> None:
    """A head that has learned to make up for its weights gives, in the loss, what a head without weights gives."""
    weights = (0.5, 3.0, 2.0, 1.0, 1.0)
    plain, weighted = head_of(BIO), head_of(BIO, weights=weights)
    with torch.no_grad():
        weighted.score.linear.bias += torch.tensor(weights).log()
    vectors, mask = torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    targets = torch.from_numpy(np.stack([BIO.encode([UnitSpan.of("X", 1, 3)], 5), BIO.encode([], 5)]))
    assert weighted.loss(vectors, mask, targets).item() == pytest.approx(plain.loss(vectors, mask, targets).item())


def test_partly_known_contexts_teach_what_is_known() -> None:
    torch.manual_seed(0)
    head, vectors = CrfHead(6, BIO, dropout=0.0), torch.randn(1, 5, 6)
    mask, targets = torch.ones(1, 5, dtype=torch.bool), torch.tensor([[-1, 1, 2, -1, 0]])
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(vectors, mask, targets).backward()
        optimizer.step()
    head.eval()
    (output,) = head.decode(vectors, mask)
    assert output.tags[[1, 2, 4]].tolist() == [1, 2, 0]
    assert output.scores[[1, 2, 4]].min() > 0.9


def test_padding_may_hold_nan() -> None:
    head, mask = head_of(BIO), torch.tensor([[True, True, False], [True, True, True]])
    vectors, targets = torch.randn(2, 3, 6), torch.tensor([[0, 1, -1], [0, 0, 0]])
    poisoned = vectors.masked_fill(~mask[..., None], torch.nan)
    loss = head.loss(poisoned, mask, targets)
    loss.backward()
    assert loss.item() == pytest.approx(head.loss(vectors, mask, targets).item())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


class _NoWayOut(BioScheme):
    """Entities must go on for ever."""

    def __init__(self) -> None:
        super().__init__(["X"])
        self.start_allowed[0] = False
        self.transition_allowed[1:, 0] = False
        self.end_allowed[1:] = False


def test_a_scheme_without_legal_sequences_is_refused() -> None:
    with pytest.raises(ConfigError, match="no legal sequence"):
        CrfHead(6, _NoWayOut())


class _Lookback(BioScheme):
    """Reads entities of two units only, which no pair of neighbouring tags tells."""

    def decode(self, target: object) -> list[UnitSpan]:
        return [span for span in super().decode(target) if span.stop - span.start == 2]


def test_a_scheme_whose_entities_no_pair_of_tags_tells_is_refused() -> None:
    with pytest.raises(ConfigError, match="neighbouring tags"):
        CrfHead(6, _Lookback(["X"]))


@pytest.mark.parametrize("scheme", [BIO, BIOES])
@pytest.mark.parametrize("least", [0.0, 0.02, 0.2])
def test_candidates_are_all_entities_of_all_sequences_with_their_probabilities(
    scheme: LabelScheme, least: float
) -> None:
    head, mask = head_of(scheme), torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    vectors = torch.randn(2, 4, 6)
    for found, ranked in zip(head.candidates(vectors, mask, least), head.n_best(vectors, mask, 10_000), strict=True):
        expected: dict[UnitSpan, float] = {}
        for spans, probability in ranked:
            for span in spans:
                expected[span] = expected.get(span, 0.0) + probability
        got = {span: span.score for span in found}
        likely = {span: p for span, p in expected.items() if p >= least}
        assert got.keys() >= {span for span, p in likely.items() if p > least + 1e-6}
        assert {span: got[span] for span in likely if span in got} == pytest.approx(
            {span: p for span, p in likely.items() if span in got}, abs=1e-6
        )
        assert all(expected.get(span, 0.0) >= least - 1e-6 for span in got)
