"""Contexts of very many units: the same said of them, and few of their windows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from papermage_core.config.labelling import Labelling
from papermage_core.data.batches import BatchLimits
from papermage_core.data.issues import Issues
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.model import inference
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.inference import decode_documents
from papermage_core.model.precision import use_precision
from papermage_core.plugin.manager import Plugins
from papermage_core.testing import make_documents

PLUGINS = Plugins()
LIMITS = BatchLimits(size=None, cost=50)
HEADS = ("linear", "crf")
SETTLED = {"span": {"max_length": 4, "max_gap": 0, "overlap": "any"}}
"""What heads else learn of training data."""


def blueprint(scheme: str, heads: Sequence[str]) -> Blueprint:
    encoder = PLUGINS.config_class("context_encoder", "compact")(width=16, rows=200, layout="off", max_length=16)
    return Blueprint(
        encoder=encoder,
        scheme=PLUGINS.config_class("label_scheme", scheme)(),
        tasks=tuple(
            TaskBlueprint(
                label_field=(f"L{n}",),
                labels=(f"L{n}",),
                head=PLUGINS.config_class("model_head", name)(**SETTLED.get(name, {})),
            )
            for n, name in enumerate(heads)
        ),
        labelling=Labelling(label_field=tuple(f"L{n}" for n in range(len(heads))), context_name="whole"),
        stride=4,
    )


def parsed(given: Blueprint, n: int = 5) -> list[ParsedDocument]:
    parser = Parser(attrs.evolve(given.labelling, label_field=()), given.needs, Issues())
    return [parser.parse(document, str(number)) for number, document in enumerate(make_documents(n))]


def said(model: EntityModel, given: Blueprint, least: float | None = None) -> list[Any]:
    """What each head says of each context."""
    documents = decode_documents(model, iter(parsed(given)), given.stride, LIMITS, least=least)
    return [output for _, contexts in documents for of_heads in contexts for output in of_heads]


@pytest.mark.parametrize("least", [None, 0.05])
@pytest.mark.parametrize(("scheme", "heads"), [("bio", HEADS), ("span", ["span"])])
def test_the_same_is_said_of_a_long_context_as_of_one_in_a_batch(
    monkeypatch: pytest.MonkeyPatch, scheme: str, heads: Sequence[str], least: float | None
) -> None:
    given = blueprint(scheme, heads)
    torch.manual_seed(1)
    model = given.build_model()
    for head in model.heads:  # so that something is found, and of unlike lengths
        for weights in head.parameters():
            torch.nn.init.normal_(weights, std=0.6)
    wanted = said(model, given, least)
    assert max(len(output.tags) for output in wanted) > 20
    assert sum(len(output.spans) for output in wanted) > 20
    monkeypatch.setattr(inference, "LONG", 12)
    for expected, found in zip(wanted, said(model, given, least), strict=True):
        assert found.tags.tolist() == expected.tags.tolist()
        assert found.scores == pytest.approx(expected.scores, abs=1e-5)
        assert [span.place for span in found.spans] == [span.place for span in expected.spans]
        assert [span.score for span in found.spans] == pytest.approx([span.score for span in expected.spans], abs=1e-5)


def test_few_windows_of_a_long_context_are_tensors_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given = blueprint("bio", HEADS)
    model = given.build_model()
    collate, sizes = model.encoder.collate, []

    def counted(windows: Sequence[Any]) -> dict[str, torch.Tensor]:
        sizes.append(sum(window.cost for window in windows))
        return collate(windows)

    def forward(features: Any) -> torch.Tensor:
        assert len(sizes) == 1 + len(seen)  # the windows before were through before these were made
        seen.append(features)
        return original(features)

    seen: list[Any] = []
    original = model.encoder.forward
    monkeypatch.setattr(model.encoder, "collate", counted)
    monkeypatch.setattr(model.encoder, "forward", forward)
    monkeypatch.setattr(inference, "LONG", 1)
    said(model, given)
    assert len(sizes) >= 5
    assert max(sizes) <= LIMITS.cost


def test_what_heads_see_past_the_encoder_is_given_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = blueprint("bio", ["linear"])
    model = given.build_model()
    head: Any = model.heads[0]
    decode, seen = head.decode, []

    def features(context: Any) -> dict[str, np.ndarray]:
        return {"length": np.array([len(word) for word in context.words])}

    def with_features(vectors: torch.Tensor, mask: torch.Tensor, features: dict[str, torch.Tensor]) -> Any:
        seen.append([row[real].tolist() for row, real in zip(features["length"], mask, strict=True)])
        return decode(vectors, mask)

    head.features, head.decode, head.split = features, with_features, lambda: (None, head)
    monkeypatch.setattr(inference, "LONG", 1)
    said(model, given)
    contexts = [context for document in parsed(given) for context in document.contexts]
    assert sorted(lengths for (lengths,) in seen) == sorted([len(word) for word in c.words] for c in contexts)


def test_arithmetic_is_chosen_on_a_part_of_a_long_context(monkeypatch: pytest.MonkeyPatch) -> None:
    given = blueprint("bio", ["linear"])
    model = given.build_model()
    monkeypatch.setattr(inference, "LONG", 1)
    given_to: list[int] = []
    monkeypatch.setattr(inference, "decide", lambda model, batches: given_to.extend(len(b.mask[0]) for b in batches))
    use_precision(model, "auto")
    model.undecided = True
    said(model, given)
    assert given_to
    assert max(given_to) <= LIMITS.cost
