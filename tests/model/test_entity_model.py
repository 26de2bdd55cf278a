"""Encoder and heads joined: each unit's vector from the right window, losses over units, outputs in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from papermage_core.config.labelling import Labelling
from papermage_core.data.batches import Batch, BatchLimits
from papermage_core.data.issues import Issues
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.errors import ConfigError, PluginError
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.model.entity_model import EntityModel, check_module
from papermage_core.model.inference import decode_documents, document_spans, pick_device
from papermage_core.plugin import HeadOutput, UnitSpan
from papermage_core.plugin.manager import Plugins
from papermage_core.testing import make_documents

PLUGINS = Plugins()


class Rows(nn.Module):
    """An encoder whose vectors say which row of the joined outputs they are."""

    output_size = 1

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return features["rows"][..., None].float()


class Known(nn.Module):
    """A head with the losses that it is given, and outputs that say which example they are of."""

    def __init__(self, losses: Any) -> None:
        super().__init__()
        self.losses = losses
        self.seen: list[Any] = []

    def loss(self, vectors: Tensor, mask: Tensor, targets: Any) -> Any:
        self.seen.append((vectors, mask, targets))
        return self.losses

    def decode(self, vectors: Tensor, mask: Tensor) -> list[HeadOutput]:
        return [
            HeadOutput([UnitSpan.of("A", 0, 1, score=s)], np.zeros(n, np.int64), np.zeros(n, np.float32), ["O"])
            for s, n in zip((0.2, 0.9), mask.sum(1).tolist(), strict=True)
        ]


def batch(targets: Sequence[Any] = ()) -> Batch:
    """Two examples of three and two units; the first is two windows, in two runs of the encoder."""
    runs = ({"rows": torch.tensor([[0, 1]])}, {"rows": torch.tensor([[2, 3], [4, 5]])})
    gather = torch.tensor([[0, 1, 2], [4, 5, 0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    return Batch(index=(7, 3), features=runs, gather=gather, mask=mask, targets=tuple(targets))


def test_the_vector_of_a_unit_is_that_of_the_window_that_answers_for_it() -> None:
    found = EntityModel(Rows(), [])(batch())
    assert found[..., 0][batch().mask].tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vectors: vectors.repeat(1, 2, 1), r"expected vectors of shape \(1, 2, \d\) .* got \(1, 4, \d\)"),
        (lambda vectors: vectors[:, :1], r"got \(1, 1, \d\)"),
        (lambda vectors: torch.cat([vectors, vectors], -1), "expected vectors of shape"),
        (lambda vectors: vectors.sum(-1), "expected vectors of shape"),
        (lambda vectors: vectors.long(), r"floating point vectors, got torch\.int64"),
        (lambda vectors: vectors.numpy(), "floating point vectors, got"),
    ],
)
def test_vectors_of_another_shape_are_the_fault_of_the_encoder(change: Any, message: str) -> None:
    """Else they are taken for those of other units, or a head is blamed."""

    class Wrong(Rows):
        def forward(self, features: dict[str, Tensor]) -> Any:
            return change(super().forward(features))

    given = attrs.evolve(batch(), shapes=((1, 2), (2, 2)))
    EntityModel(Rows(), [])(given)
    with pytest.raises((TypeError, ValueError), match=message):
        EntityModel(Wrong(), [])(given)


def test_a_loss_without_a_gradient_is_the_fault_of_its_head() -> None:
    class Detached(Known):
        def __init__(self) -> None:
            super().__init__(torch.tensor(1.0))
            self.weight = nn.Parameter(torch.zeros(1))

    model = EntityModel(Rows(), [Detached()])
    with pytest.raises(TypeError, match="expected a loss with a gradient"):
        model.loss(batch([torch.zeros(2, 3)]))
    with torch.no_grad():
        assert float(model.loss(batch([torch.zeros(2, 3)]))) > 0


def test_the_loss_is_the_sum_of_the_heads_over_the_units() -> None:
    heads = [Known(torch.tensor(10.0)), Known({"loss": torch.tensor(5.0), "boundary": torch.tensor(2.5)})]
    given = batch([torch.zeros(2, 3), torch.zeros(2, 3)])
    model = EntityModel(Rows(), heads)
    losses = model.losses_of(model(given), given)
    assert {name: float(loss) for name, loss in losses.items()} == {"loss": 3.0, "boundary_1": 0.5}
    assert float(model.loss(given)) == 3.0


def test_what_nobody_labelled_is_left_out_of_the_loss() -> None:
    head = Known(torch.tensor(1.0))
    given = batch([[None, ["a"]]])
    EntityModel(Rows(), [head]).loss(given)
    ((vectors, mask, targets),) = head.seen
    assert targets == [["a"]]
    assert vectors[mask][:, 0].tolist() == [4, 5]
    assert float(EntityModel(Rows(), [head]).loss(batch([[None, None]]))) == 0


@pytest.mark.parametrize("losses", [torch.zeros(2), {"loss": 1.0}, {"other": torch.tensor(1.0)}, None])
def test_a_loss_of_another_kind_is_the_fault_of_its_head(losses: Any) -> None:
    model = EntityModel(Rows(), [Known(losses)])
    with pytest.raises((TypeError, PluginError)):
        model.loss(batch([torch.zeros(2, 3)]))


def test_candidates_of_a_head_without_its_own_are_what_it_decodes_and_is_likely() -> None:
    (found,) = EntityModel(Rows(), [Known(None)]).candidates(batch(), least=0.5)
    assert [[span.score for span in output.spans] for output in found] == [[], [0.9]]


def test_a_label_that_a_head_was_not_trained_for_is_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    head = Known(None)
    assert EntityModel(Rows(), [head], head_labels=[("B", "A")]).decode(batch())
    model = EntityModel(Rows(), [head], head_labels=[("B",)])
    with pytest.raises((ValueError, PluginError), match=r"expected entities of the labels B, got .*'A'"):
        model.decode(batch())
    monkeypatch.setattr(head, "candidates", lambda vectors, mask, least: [[UnitSpan.of("C", 0, 1)], []], raising=False)
    with pytest.raises((ValueError, PluginError), match=r"expected entities of the labels A, got .*'C'"):
        EntityModel(Rows(), [head], head_labels=[("A",)]).candidates(batch(), least=0.5)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(PluginError, match=r"built 'a text'; expected a torch\.nn\.Module"):
        check_module("a text", object())


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    encoder = PLUGINS.config_class("context_encoder", "compact")(width=16, rows=200, layout="off", max_length=16)
    heads = [PLUGINS.config_class("model_head", name)() for name in ("linear", "crf")]
    return Blueprint(
        encoder=encoder,
        scheme=PLUGINS.config_class("label_scheme", "bio")(),
        tasks=tuple(
            TaskBlueprint(label_field=(f"L{n}",), labels=(f"L{n}",), head=head) for n, head in enumerate(heads)
        ),
        labelling=Labelling(label_field=("L0", "L1"), context_name="whole"),
        stride=2,
    )


def parsed(blueprint: Blueprint, n: int) -> Iterator[ParsedDocument]:
    parser = Parser(attrs.evolve(blueprint.labelling, label_field=()), blueprint.needs, Issues())
    for number, document in enumerate(make_documents(n)):
        yield parser.parse(document, str(number))


def test_documents_come_out_in_order_whatever_runs_together(blueprint: Blueprint) -> None:
    torch.manual_seed(0)
    model = blueprint.build_model()
    limits = (BatchLimits(size=1, cost=1), BatchLimits(size=None, cost=50), BatchLimits(size=1000, cost=10_000))
    rows = [list(decode_documents(model, parsed(blueprint, 6), blueprint.stride, limit)) for limit in limits]
    assert any(len(context.words) > 16 for document, _ in rows[0] for context in document.contexts)
    for found in rows:
        assert [len(outputs) for _, outputs in found] == [len(document.contexts) for document, _ in found]
    for (one, outputs), *others in zip(*rows, strict=True):
        for other, again in others:
            assert one.n_units == other.n_units
            for context, same in zip(outputs, again, strict=True):
                for head, head_again in zip(context, same, strict=True):
                    assert head.spans == head_again.spans
                    assert head.scores == pytest.approx(head_again.scores, abs=1e-5)


def test_only_a_little_is_read_ahead(blueprint: Blueprint) -> None:
    read = 0

    def counted() -> Iterator[ParsedDocument]:
        nonlocal read
        for document in parsed(blueprint, 60):
            read += 1
            yield document

    found = decode_documents(blueprint.build_model(), counted(), blueprint.stride, BatchLimits(size=1, cost=1))
    next(found)
    assert read < 30


def test_entities_of_a_context_are_told_in_units_of_the_document() -> None:
    units = torch.tensor([4, 5, 9]).numpy()
    nothing = torch.zeros(3).numpy()
    outputs = [
        HeadOutput([UnitSpan.of("B", 1, 3)], nothing, nothing, ["O"]),
        HeadOutput([UnitSpan.of("A", 0, 1)], nothing, nothing, ["O"]),
    ]
    assert [(span.label, span.segments) for span in document_spans(outputs, units)] == [
        ("A", ((4, 5),)), ("B", ((5, 6), (9, 10))),
    ]  # fmt: skip


def test_a_device_that_is_not_there_is_told_with_those_that_are() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match=r"no device 'cuda:99' on this machine; there are: cpu"):
        pick_device("cuda:99")
