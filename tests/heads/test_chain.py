"""The chain against enumeration of all paths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import attrs
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from papermage_core.plugin import LabelScheme
from papermage_heads.chain import all_paths, best, entities, loss
from papermage_heads.chain.all_paths import sum_paths
from papermage_heads.chain.best import best_paths
from papermage_heads.chain.loss import negative_log_likelihood
from papermage_heads.chain.n_best import n_best_paths
from papermage_heads.chain.scores import ChainScores
from papermage_heads.chain.tagger import ChainTagger
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
        for module in (all_paths, best, entities, loss):
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
        m, a, b = (kind.double().tolist() for kind in self.scores.kinds)
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
    scores = ChainScores(*(kind + torch.randn(kind.shape, generator=generator) for kind in legal.kinds))
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
def test_log_z_marginals_and_edges_are_those_of_all_paths(case: Case) -> None:
    sums = sum_paths(case.emissions, case.mask, case.scores)
    n_tags = len(case.scheme.tags)
    edges = np.zeros((n_tags, n_tags))
    for row in range(len(case.mask)):
        log_z, probabilities = case.distribution(row)
        assert sums.log_z[row].item() == pytest.approx(log_z, abs=1e-4, rel=1e-6)
        marginals = np.zeros(case.emissions.shape[1:])
        for path, probability in probabilities.items():
            marginals[np.arange(len(path)), path] += probability
            np.add.at(edges, (list(path[:-1]), list(path[1:])), probability)
        np.testing.assert_allclose(sums.marginals[row].numpy(), marginals, atol=1e-6)
    np.testing.assert_allclose(sums.edges.numpy(), edges, atol=1e-6)


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
    free = [torch.where(k.isinf(), 0.0, k).double().requires_grad_() for k in case.scores.kinds]

    def loss(x: Tensor, m: Tensor, a: Tensor, b: Tensor) -> Tensor:
        kinds = (kind + rule.double() for kind, rule in zip((m, a, b), legal.kinds, strict=True))
        return negative_log_likelihood(x, case.mask, targets, ChainScores(*kinds))

    assert torch.autograd.gradcheck(loss, (emissions, *free), eps=1e-6, atol=1e-6)


@given(cases)
@few
def test_the_best_paths_are_the_best_of_all(case: Case) -> None:
    lengths = case.mask.sum(1).numpy()
    kinds = [kind.numpy() for kind in case.scores.kinds]
    best = best_paths(case.emissions.numpy(), lengths, *kinds)
    ranked = n_best_paths(case.emissions.numpy(), lengths, *kinds, n=5)
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


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)
def test_log_space_gives_the_same_sums(scheme: LabelScheme, monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(scheme, [30, 7, 1], seed=2, scale=3.0)
    scaled = sum_paths(case.emissions, case.mask, case.scores, ahead=True)
    monkeypatch.setattr(all_paths, "_SAFE_SPREAD", 0.0)
    logarithmic = sum_paths(case.emissions, case.mask, case.scores, ahead=True)
    torch.testing.assert_close(scaled.log_z, logarithmic.log_z)
    torch.testing.assert_close(scaled.marginals, logarithmic.marginals)
    torch.testing.assert_close(scaled.edges, logarithmic.edges)
    steps = [sums.log_onward[0, 1:] - sums.log_ahead[0, :-1] for sums in (scaled, logarithmic)]
    torch.testing.assert_close(*steps)


def test_torch_and_numpy_run_the_same_loop() -> None:
    from papermage_heads.chain.scaled import _loop

    generator = torch.Generator().manual_seed(0)
    emitted = torch.rand(40, 6, 3, generator=generator, dtype=torch.float64)
    matrix = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    results = []
    for convert, dot, mul in ((lambda t: t, torch.mm, torch.mul), (lambda t: t.numpy(), np.dot, np.multiply)):
        after, before, divided = torch.ones_like(emitted), torch.ones_like(emitted), emitted.new_ones(40, 2, 3)
        arrays = [convert(tensor) for tensor in (emitted, matrix, after, before, divided)]
        _loop(*arrays, every=7, dot=dot, mul=mul)
        results.append((after, before, divided))
    torch.testing.assert_close(results[0], results[1])
    assert (results[0][2][7] != 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_4096_units_are_exact(dtype: torch.dtype) -> None:
    scheme = BioScheme(["X", "Y"])
    case = case_of(scheme, [4096, 3000], seed=1, scale=2.0)
    emissions = case.emissions.masked_fill(~case.mask[..., None], 0.0).to(dtype)
    legal = ChainScores.of_scheme(scheme)
    free = [torch.where(kind.isinf(), 0.0, kind) for kind in case.scores.kinds]
    targets = torch.zeros(case.mask.shape, dtype=torch.int64)

    given_x = emissions.clone().requires_grad_()
    loss = negative_log_likelihood(given_x, case.mask, targets, case.scores)
    loss.backward()
    x = emissions.double().requires_grad_()
    m, a, b = (kind.double() + rule for kind, rule in zip(free, legal.kinds, strict=True))
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
    right = sum_paths(case.emissions, case.mask, case.scores).marginals[:, :, :1].float()
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
