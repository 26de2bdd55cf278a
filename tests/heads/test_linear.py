"""The linear head and the options it shares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, UnitSpan
from papermage_heads.crf.plugin import CrfHeadConfig
from papermage_heads.linear.head import LinearHead
from papermage_heads.linear.plugin import LinearHeadConfig
from papermage_schemes.bio import BioScheme
from papermage_schemes.bioes import BioesScheme
from papermage_schemes.io import IoScheme

SCHEME = BioScheme(["X", "Y"])
WEIGHTS = (0.5, 3.0, 2.0, 1.0, 1.5)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(2, 5, 6, generator=generator)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    targets = torch.tensor([[0, 1, 2, -1, 0], [3, 4, 0, -1, -1]])
    return vectors, mask, targets


def test_the_loss_is_the_weighted_focal_cross_entropy_of_known_units() -> None:
    vectors, mask, targets = batch()
    head = LinearHead(6, SCHEME, dropout=0.0, weights=WEIGHTS, focal_gamma=2.0)
    probabilities = head.score(vectors, mask).softmax(2).detach().double()
    expected = 0.0
    for row, unit in itertools.product(range(2), range(5)):
        target = int(targets[row, unit])
        if target >= 0:
            p = probabilities[row, unit, target].item()
            expected -= WEIGHTS[target] * (1 - p) ** 2 * np.log(p)
    assert head.loss(vectors, mask, targets).item() == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_is_that_of_torch() -> None:
    vectors, mask, targets = batch()
    head = LinearHead(6, SCHEME, dropout=0.0, label_smoothing=0.2)
    known = targets >= 0
    expected = F.cross_entropy(head.score(vectors, mask)[known], targets[known], reduction="sum", label_smoothing=0.2)
    assert head.loss(vectors, mask, targets).item() == pytest.approx(expected.item())


def test_constrained_decoding_takes_the_likeliest_legal_sequence() -> None:
    vectors, mask, _ = batch()
    head = LinearHead(6, SCHEME).eval()
    logs = (head.score(vectors, mask) * 5).log_softmax(2).detach().double()
    head.score.linear.weight.data *= 5
    head.score.linear.bias.data *= 5
    for row, output in enumerate(head.decode(vectors, mask)):
        n = int(mask[row].sum())
        paths = [path for path in itertools.product(range(5), repeat=n) if SCHEME.allows(np.array(path))]
        scores = [sum(logs[row, i, tag].item() for i, tag in enumerate(path)) for path in paths]
        assert tuple(output.tags) == paths[int(np.argmax(scores))]
        share = np.exp(scores) / np.exp(scores).sum()
        for unit in range(n):
            expected = sum(p for path, p in zip(paths, share, strict=True) if path[unit] == output.tags[unit])
            assert output.scores[unit] == pytest.approx(expected, abs=1e-5)
        for span in output.spans:
            expected = sum(p for path, p in zip(paths, share, strict=True) if span in SCHEME.decode(np.array(path)))
            assert span.score == pytest.approx(expected, abs=1e-5)


def test_unconstrained_decoding_takes_the_likeliest_tag_of_each_unit() -> None:
    head = LinearHead(5, SCHEME, constrained=False).eval()
    torch.nn.init.eye_(head.score.linear.weight)
    torch.nn.init.zeros_(head.score.linear.bias)
    vectors = F.one_hot(torch.tensor([[0, 2, 2, 1, 4]]), 5).float() * 3
    (output,) = head.decode(vectors, torch.ones(1, 5, dtype=torch.bool))
    assert output.spans == [UnitSpan.of("X", 1, 3), UnitSpan.of("X", 3, 4), UnitSpan.of("Y", 4, 5)]
    sure = np.exp(3) / (np.exp(3) + 4)
    np.testing.assert_allclose(output.scores, sure, rtol=1e-5)
    assert [span.score for span in output.spans] == pytest.approx([sure] * 3, rel=1e-5)


@pytest.mark.parametrize("scheme", [SCHEME, BioesScheme(["X", "Y"]), IoScheme(["X", "Y"])])
@pytest.mark.parametrize("config", [LinearHeadConfig, CrfHeadConfig])
def test_balanced_weighs_labels_by_the_root_of_their_entities(
    config: type[LinearHeadConfig | CrfHeadConfig], scheme: LabelScheme
) -> None:
    few, many = [UnitSpan.of("Y", 0, 3)], [UnitSpan.of("X", at, at + 2) for at in range(0, 32, 4)]
    targets = [scheme.encode(few, 4), scheme.encode(many, 33), np.zeros(0, np.int64)]
    settled = config(class_weights="balanced").settle(iter(targets), scheme)
    weights = np.array(settled.weights)
    assert settled.class_weights == "explicit"
    assert weights[0] == 1
    each = [weights[target] for target in targets]
    if config is LinearHeadConfig:  # every unit weighs, and a unit of Y √8 times as much as one of X
        assert each[0][:3] == pytest.approx([8**0.5 * each[1][0]] * 3, rel=1e-5)
        assert np.concatenate(each).mean() == pytest.approx(1)
    else:  # weights multiply along an entity
        entities = [each[0][:3].prod(), *(each[1][at : at + 2].prod() for at in range(0, 32, 4))]
        assert entities[0] == pytest.approx(8**0.5 * entities[1], rel=1e-4)
        assert np.mean(entities) == pytest.approx(1, rel=1e-4)
    assert settled.settle(targets, scheme) == settled


@pytest.mark.parametrize("config", [LinearHeadConfig, CrfHeadConfig])
@pytest.mark.parametrize("spans", [[], [UnitSpan.of("X", 0, 2), UnitSpan.of("X", 3, 4)]])
def test_balanced_changes_nothing_where_one_label_occurs_or_none(
    config: type[LinearHeadConfig | CrfHeadConfig], spans: list[UnitSpan]
) -> None:
    target = SCHEME.encode(spans, 6)
    target[5] = -1
    assert config(class_weights="balanced").settle([target], SCHEME).weights == (1.0,) * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (1.0, 2.0)}, "class_weights"),
        ({"class_weights": "explicit"}, "needs a weight"),
        ({"class_weights": "explicit", "weights": (1.0, 0.0)}, "above 0"),
    ],
)
def test_weights_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LinearHeadConfig(**options)  # type: ignore[arg-type]


def test_weights_of_another_number_than_tags_are_refused() -> None:
    with pytest.raises(ConfigError, match="B-X"):
        LinearHeadConfig(class_weights="explicit", weights=(1.0, 2.0)).build(4, SCHEME)
    with pytest.raises(ConfigError, match="settle"):
        LinearHeadConfig(class_weights="balanced").build(4, SCHEME)
