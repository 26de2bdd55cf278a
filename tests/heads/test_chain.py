"""The chain against enumeration of all paths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import attrs
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from papermage_core.errors import PapermageError
from papermage_core.plugin import LabelScheme
from papermage_heads.chain import entities, forward_backward, loss, viterbi
from papermage_heads.chain.forward_backward import ForwardBackward
from papermage_heads.chain.legal import LegalChain
from papermage_heads.chain.loss import negative_log_likelihood
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.tagger import ChainTagger
from papermage_heads.chain.viterbi import best_paths, n_best_paths
from papermage_schemes.bio import BioScheme
from papermage_schemes.bioes import BioesScheme
from papermage_schemes.io import IoScheme
from papermage_schemes.iob1 import Iob1Scheme


@pytest.fixture(autouse=True, scope="module", params=["compiled", "plain"])
def _loops(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold the compiled loops to the same tests as those of numpy and torch."""
    if request.param == "compiled":
        pytest.importorskip("numba", reason="the compiled loops need the extra `fast`")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for module in (entities, forward_backward, loss, viterbi):
            patch.setattr(module, "kernels", lambda: None)
        yield


SCHEMES: list[LabelScheme] = [BioScheme(["X", "Y"]), IoScheme(["X", "Y"]), Iob1Scheme(["X", "Y"]), BioesScheme(["X"])]
MOST_UNITS = 4


@attrs.frozen(eq=False)
class Case:
    scheme: LabelScheme
    emissions: Tensor
    mask: Tensor
    scores: ChainScores

    def paths(self, row: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Yield every legal path of a context with its score, by the definition."""
        n = int(self.mask[row].sum())
        x = self.emissions[row].double().tolist()
        m, a, b = (tensor.double().tolist() for tensor in self.scores.tensors)
        for path in itertools.product(range(len(a)), repeat=n):
            score = a[path[0]] + b[path[-1]] + sum(x[i][tag] for i, tag in enumerate(path))
            score += sum(m[i][j] for i, j in itertools.pairwise(path))
            if score > -np.inf:
                yield path, score

    def distribution(self, row: int) -> tuple[float, dict[tuple[int, ...], float]]:
        """Return log Z and the probability of each path."""
        scores = dict(self.paths(row))
        log_z = float(np.logaddexp.reduce(list(scores.values())))
        return log_z, {path: float(np.exp(score - log_z)) for path, score in scores.items()}


def case_of(scheme: LabelScheme, lengths: list[int], seed: int, scale: float = 1.0) -> Case:
    generator = torch.Generator().manual_seed(seed)
    n_tags = len(scheme.tags)
    emissions = torch.randn(len(lengths), max(lengths), n_tags, generator=generator) * scale
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    legal = ChainScores.of_scheme(scheme)
    scores = ChainScores(*(kind + torch.randn(kind.shape, generator=generator) for kind in legal.tensors))
    return Case(scheme, emissions.masked_fill(~mask[..., None], torch.nan), mask, scores)


cases = st.builds(
    case_of,
    st.sampled_from(SCHEMES),
    st.lists(st.integers(1, MOST_UNITS), min_size=1, max_size=3),
    st.integers(0, 2**16),
    st.sampled_from([0.1, 1.0, 10.0, 300.0]),
)
few = settings(max_examples=40, deadline=None)


@given(cases)
@example(case_of(BioesScheme(["X"]), [1, 4, 2], 79, 300.0))
@few
def test_log_z_marginals_and_expected_transitions_are_those_of_all_paths(case: Case) -> None:
    result = forward_backward.forward_backward(case.emissions, case.mask, case.scores)
    n_tags = len(case.scheme.tags)
    expected = np.zeros((n_tags, n_tags))
    for row in range(len(case.mask)):
        log_z, probabilities = case.distribution(row)
        assert result.log_z[row].item() == pytest.approx(log_z, abs=1e-4, rel=1e-6)
        marginals = np.zeros(case.emissions.shape[1:])
        for path, probability in probabilities.items():
            marginals[np.arange(len(path)), path] += probability
            np.add.at(expected, (list(path[:-1]), list(path[1:])), probability)
        np.testing.assert_allclose(result.marginals[row].numpy(), marginals, atol=1e-6)
    np.testing.assert_allclose(result.expected_transitions.numpy(), expected, atol=1e-6)


@given(cases, st.data())
@few
def test_the_loss_is_that_of_all_paths_that_agree_with_what_is_known(case: Case, data: st.DataObject) -> None:
    targets, expected = torch.full(case.mask.shape, -1), 0.0
    for row in range(len(case.mask)):
        _, probabilities = case.distribution(row)
        path = data.draw(st.sampled_from(sorted(probabilities)))
        known = data.draw(st.lists(st.booleans(), min_size=len(path), max_size=len(path)))
        targets[row, : len(path)] = torch.tensor([t if k else -1 for t, k in zip(path, known, strict=True)])
        scores = dict(case.paths(row))
        agreeing = [
            score
            for other, score in scores.items()
            if all(o == t for o, t, k in zip(other, path, known, strict=True) if k)
        ]
        expected += np.logaddexp.reduce(list(scores.values())) - np.logaddexp.reduce(agreeing)
    found = negative_log_likelihood(case.emissions, case.mask, targets, case.scores)
    assert found.item() == pytest.approx(expected, abs=1e-4, rel=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)
@pytest.mark.parametrize("partial", [False, True])
def test_the_gradient_is_that_of_the_loss(scheme: LabelScheme, partial: bool) -> None:
    case = case_of(scheme, [4, 2, 1], seed=5)
    emissions = case.emissions.double().masked_fill(~case.mask[..., None], 0.0).requires_grad_()
    targets = torch.zeros(case.mask.shape, dtype=torch.int64)
    if partial:
        targets[0, 1:3] = targets[1, 0] = -1
    legal = ChainScores.of_scheme(scheme)
    free = [torch.where(k.isinf(), 0.0, k).double().requires_grad_() for k in case.scores.tensors]

    def loss(x: Tensor, m: Tensor, a: Tensor, b: Tensor) -> Tensor:
        kinds = (kind + rule.double() for kind, rule in zip((m, a, b), legal.tensors, strict=True))
        return negative_log_likelihood(x, case.mask, targets, ChainScores(*kinds))

    assert torch.autograd.gradcheck(loss, (emissions, *free), eps=1e-6, atol=1e-6)


@given(cases)
@few
def test_the_best_paths_are_the_best_of_all(case: Case) -> None:
    lengths = case.mask.sum(1).numpy()
    best = best_paths(case.emissions.numpy(), lengths, case.scores)
    ranked = n_best_paths(case.emissions.numpy(), lengths, case.scores, n=5)
    for row, n in enumerate(lengths.tolist()):
        scores = dict(case.paths(row))
        order = sorted(scores.values(), reverse=True)[:5]
        assert scores[tuple(best[row, :n].tolist())] == pytest.approx(order[0], abs=1e-4)
        assert not best[row, n:].any()
        assert [score for _, score in ranked[row]] == pytest.approx(order, abs=1e-3)
        assert [scores[tuple(path.tolist())] for path, _ in ranked[row]] == pytest.approx(order, abs=1e-3)
        assert len({tuple(path.tolist()) for path, _ in ranked[row]}) == len(order)


@given(cases)
@few
def test_entities_have_the_probability_that_exactly_they_occur(case: Case) -> None:
    for row, output in enumerate(ChainTagger(case.scheme)(case.emissions, case.mask, case.scores)):
        _, probabilities = case.distribution(row)
        assert output.spans == case.scheme.decode(output.tags)
        for unit, (tag, score) in enumerate(zip(output.tags, output.scores, strict=True)):
            assert score == pytest.approx(sum(p for path, p in probabilities.items() if path[unit] == tag), abs=1e-5)
        held = {path: case.scheme.decode(np.array(path)) for path in probabilities}
        for span in output.spans:
            expected = sum(p for path, p in probabilities.items() if span in held[path])
            assert span.score == pytest.approx(expected, abs=1e-5)
            if not isinstance(case.scheme, Iob1Scheme):  # where an entity can be spelt in two ways
                assert span.score <= output.scores[span.start : span.stop].min() + 1e-6


def assert_same(found: ForwardBackward, expected: ForwardBackward) -> None:
    for one, other in zip(attrs.astuple(found), attrs.astuple(expected), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("log_beta", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)
def test_every_way_through_forward_backward_gives_the_same(
    scheme: LabelScheme, log_beta: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(scheme, [30, 7, 1], seed=2, scale=3.0)

    def run() -> ForwardBackward:
        found = forward_backward.forward_backward(case.emissions, case.mask, case.scores, log_beta=log_beta)
        return attrs.evolve(
            found, log_beta=found.log_beta.masked_fill(~case.mask[..., None], 0.0) if log_beta else found.log_beta
        )

    expected = run()
    monkeypatch.setattr(forward_backward, "_COMPILED_TAGS", 0)
    assert_same(run(), expected)
    monkeypatch.setattr(forward_backward, "_BLOCK", 1)
    assert_same(run(), expected)
    monkeypatch.setattr(forward_backward, "_SAFE_SPREAD", 0.0)
    assert_same(run(), expected)
    monkeypatch.undo()
    monkeypatch.setattr(forward_backward, "_SAFE_SPREAD", 0.0)
    assert_same(run(), expected)


@given(cases)
@few
def test_log_beta_sums_over_what_follows(case: Case) -> None:
    """Z is the sum over tags of what precedes a unit, its emission, and what follows it: here at the first unit."""
    result = forward_backward.forward_backward(case.emissions, case.mask, case.scores, log_beta=True)
    first = case.scores.start.double() + case.emissions[:, 0] + result.log_beta[:, 0]
    torch.testing.assert_close(first.logsumexp(1), result.log_z, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)
def test_a_legal_chain_is_one_of_scores_of_zero(scheme: LabelScheme, scale: float) -> None:
    case = case_of(scheme, [30, 7, 1, 2], seed=4, scale=scale)
    chain, scores = LegalChain.of(scheme), ChainScores.of_scheme(scheme)
    for one, other in zip(*(ChainTagger(scheme)(case.emissions, case.mask, s) for s in (chain, scores)), strict=True):
        assert one.tags.tolist() == other.tags.tolist()
        assert one.spans == other.spans
        assert [span.score for span in one.spans] == pytest.approx([span.score for span in other.spans], abs=1e-6)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def test_best_paths_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(SCHEMES[0], [9, 4, 1, 7], seed=6)
    emissions, lengths = case.emissions.numpy(), case.mask.sum(1).numpy()
    whole = best_paths(emissions, lengths, case.scores)
    monkeypatch.setattr(viterbi, "_BLOCK", 1)
    assert (best_paths(emissions, lengths, case.scores) == whole).all()


def test_torch_and_numpy_run_the_same_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    emitted = torch.rand(40, 2, 6, 3, generator=generator, dtype=torch.float64)
    matrices = torch.rand(2, 6, 6, generator=generator, dtype=torch.float64)
    results = []
    for convert, product, multiply in (
        (lambda t: t, torch.bmm, torch.mul),
        (lambda t: t.numpy(), np.matmul, np.multiply),
    ):
        before, after, divided = torch.ones_like(emitted), torch.ones_like(emitted), emitted.new_ones(40, 2, 3)
        arrays = [convert(tensor) for tensor in (emitted, before, after, divided)]
        forward_backward._loop(arrays, partial(product, convert(matrices)), multiply, every=7)
        results.append((before, after, divided))
    torch.testing.assert_close(results[0], results[1])
    assert (results[0][2][7] != 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_4096_units_are_exact(dtype: torch.dtype) -> None:
    scheme = BioScheme(["X", "Y"])
    case = case_of(scheme, [4096, 3000], seed=1, scale=2.0)
    emissions = case.emissions.masked_fill(~case.mask[..., None], 0.0).to(dtype)
    legal = ChainScores.of_scheme(scheme)
    free = [torch.where(kind.isinf(), 0.0, kind) for kind in case.scores.tensors]
    targets = torch.zeros(case.mask.shape, dtype=torch.int64)

    given_x = emissions.clone().requires_grad_()
    loss = negative_log_likelihood(given_x, case.mask, targets, case.scores)
    loss.backward()
    x = emissions.double().requires_grad_()
    m, a, b = (kind.double() + rule for kind, rule in zip(free, legal.tensors, strict=True))
    expected = torch.zeros((), dtype=torch.float64)
    for row, n in enumerate((4096, 3000)):
        state = a + x[row, 0]
        for i in range(1, n):
            state = (state[:, None] + m).logsumexp(0) + x[row, i]
        gold = a[0] + b[0] + (n - 1) * m[0, 0] + x[row, :n, 0].sum()
        expected = expected + (state + b).logsumexp(0) - gold
    expected.backward()
    assert given_x.grad is not None
    assert x.grad is not None
    tolerance = 1e-6 if dtype == torch.float32 else 1e-2  # of bfloat16 the result itself is rounded
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    torch.testing.assert_close(given_x.grad.double(), x.grad, atol=1e-6 if dtype == torch.float32 else 4e-3, rtol=0)


def test_a_context_without_units_costs_nothing_and_holds_nothing() -> None:
    case = case_of(SCHEMES[0], [3, 0], seed=0)
    alone = negative_log_likelihood(
        case.emissions[:1], case.mask[:1], torch.zeros(1, 3, dtype=torch.int64), case.scores
    )
    both = negative_log_likelihood(case.emissions, case.mask, torch.zeros(2, 3, dtype=torch.int64), case.scores)
    assert both.item() == pytest.approx(alone.item())
    output = ChainTagger(SCHEMES[0])(case.emissions, case.mask, case.scores)[1]
    assert (output.spans, len(output.tags), len(output.scores)) == ([], 0, 0)


def test_focal_weights_scale_the_gradient_of_units_that_are_right_already() -> None:
    case = case_of(SCHEMES[0], [4, 3], seed=3)
    targets = torch.zeros(2, 4, dtype=torch.int64)
    gradients = []
    for gamma in (0.0, 2.0):
        emissions = case.emissions.masked_fill(~case.mask[..., None], 0.0).requires_grad_()
        negative_log_likelihood(emissions, case.mask, targets, case.scores, focal_gamma=gamma).backward()
        assert emissions.grad is not None
        gradients.append(emissions.grad)
    result = forward_backward.forward_backward(case.emissions, case.mask, case.scores)
    right = result.marginals[:, :, :1].float()
    torch.testing.assert_close(gradients[1], gradients[0] * (1 - right) ** 2)


def test_scores_that_leave_nothing_are_no_error_of_the_loop() -> None:
    scheme = BioScheme(["X"])
    scores = ChainScores.of_scheme(scheme)
    mask = torch.ones(1, 4, dtype=torch.bool)
    inside_after_outside = torch.tensor([[0, 2, 0, -1]])
    value = negative_log_likelihood(torch.zeros(1, 4, 3), mask, inside_after_outside, scores)
    assert value.item() == torch.inf


def test_a_target_that_is_no_tag_is_refused() -> None:
    scores = ChainScores.of_scheme(BioScheme(["X"]))
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        negative_log_likelihood(
            torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0, 3]]), scores
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emissions": torch.zeros(1, 2, 4)}, r"emissions: expected floats of shape \(1, 2, 3\)"),
        ({"emissions": torch.zeros(1, 2, 3, dtype=torch.int64)}, "got torch.int64"),
        ({"mask": torch.ones(1, 2)}, "mask: expected bool"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, r"mask: expected bool of shape \(1, 2\)"),
        ({"mask": torch.tensor([[False, True]])}, "padding"),
        ({"targets": torch.zeros(1, 3, dtype=torch.int64)}, r"targets: expected int64 of shape \(1, 2\)"),
        ({"targets": torch.zeros(1, 2)}, "targets: expected int64"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(change: dict[str, Tensor], message: str) -> None:
    given = {
        "emissions": torch.zeros(1, 2, 3),
        "mask": torch.ones(1, 2, dtype=torch.bool),
        "targets": torch.zeros(1, 2, dtype=torch.int64),
    }
    with pytest.raises(ValueError, match=message):
        negative_log_likelihood(**(given | change), scores=ChainScores.of_scheme(BioScheme(["X"])))


@pytest.mark.parametrize(
    ("emissions", "lengths", "message"),
    [
        (np.zeros((1, 2, 4)), np.array([2]), "emissions"),
        (np.zeros((1, 2, 3), np.int64), np.array([2]), "int64"),
        (np.zeros((2, 2, 3)), np.array([2]), "emissions"),
        (np.zeros((1, 2, 3)), np.array([3]), "lengths"),
    ],
)
def test_viterbi_refuses_what_does_not_fit(emissions: np.ndarray, lengths: np.ndarray, message: str) -> None:
    scores = ChainScores.of_scheme(BioScheme(["X"]))
    for find in (best_paths, partial(n_best_paths, n=2)):
        with pytest.raises(ValueError, match=message):
            find(emissions, lengths, scores)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", ["emissions", "transitions", "start"])
def test_nan_and_infinity_give_a_loss_of_nan_and_no_prediction(value: float, place: str) -> None:
    scheme = BioScheme(["X"])
    emissions, mask = torch.zeros(2, 3, 3), torch.ones(2, 3, dtype=torch.bool)
    scores = ChainScores.of_scheme(scheme)
    {"emissions": emissions, "transitions": scores.transitions, "start": scores.start}[place].view(-1)[0] = value
    for gamma, targets in itertools.product((0.0, 1.0), (torch.zeros(2, 3, dtype=torch.int64), torch.full((2, 3), -1))):
        x = emissions.clone().requires_grad_()
        loss = negative_log_likelihood(x, mask, targets, scores, focal_gamma=gamma)
        loss.backward()
        assert loss.isnan()
    with pytest.raises(PapermageError, match="NaN or infinity"):
        ChainTagger(scheme)(emissions, mask, scores)
