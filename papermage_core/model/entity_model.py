"""An encoder with its heads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from papermage_core.data.batches import Batch
from papermage_core.errors import PluginError
from papermage_core.model.weights import unkeepable
from papermage_core.plugin.blame import calling, component_of
from papermage_core.plugin.outputs import check_outputs
from papermage_core.plugin.spec import ContextEncoder, HeadOutput, ModelHead, UnitSpan

__all__ = ["EntityModel", "check_module", "outputs_of"]


_ODD = (torch.float64, torch.float16)
"""Types of numbers that vectors have by mistake, of numpy's say, unless the weights have them."""


def check_module(thing: Any, config: Any) -> Any:
    """Return what a config built. Raises PluginError for what is no torch module, or no checkpoint could keep."""
    if not isinstance(thing, nn.Module):
        raise PluginError(f"the {component_of(config)} built {thing!r:.100}; expected a torch.nn.Module")
    if lost := unkeepable(thing):
        raise PluginError(f"the {component_of(config)} built what a checkpoint cannot keep: {lost[0]}; {lost[1]}")
    return thing


class EntityModel(nn.Module):
    """Windows → unit vectors → what each head makes of them. One head for each task.

    An encoder sees windows; a head sees contexts: each unit's vector comes from the window that sees most around it.
    """

    def __init__(
        self,
        encoder: ContextEncoder,
        heads: Sequence[ModelHead],
        labels: tuple[str, ...] = (),
        head_labels: Sequence[tuple[str, ...]] = (),
    ) -> None:
        super().__init__()
        self.undecided = False
        """Whether `papermage_core.model.precision` chooses the arithmetic to predict in at the first windows."""
        self.labels = labels
        """The names of the labels, where the encoder or a head wants to see them."""
        known: list[frozenset[str] | None] = [frozenset(of_head) for of_head in head_labels]
        self.head_labels = known or [None] * len(heads)
        """The labels that the entities of each head may have; None where any will do."""
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)  # type: ignore[arg-type]  # a ModelHead is a Module, which a Protocol cannot say

    @property
    def device(self) -> torch.device:
        """Where batches have to be."""
        return next(self.parameters()).device

    def forward(self, batch: Batch) -> Tensor:
        """Return the vectors of a batch's units. Shape (B, U, D); what stands at padding is arbitrary but finite."""
        with calling(self.encoder, "forward"):
            shapes = batch.shapes or [None] * len(batch.features)
            return self._gathered(
                [self.encode(run, shape) for run, shape in zip(batch.features, shapes, strict=True)], batch
            )

    def encode(self, run: dict[str, Tensor], shape: tuple[int, int] | None = None) -> Tensor:
        """Return the vectors of a run of windows. Shape (windows, units of the longest, D), the first two if known."""
        with calling(self.encoder, "forward"):
            vectors = self._encoded(run)
            self._check_vectors(vectors, shape)
            return vectors

    def _encoded(self, run: dict[str, Tensor]) -> Tensor:
        vectors: Tensor = self.encoder(run)
        return vectors

    def _check_vectors(self, vectors: Any, shape: tuple[int, int] | None) -> None:
        """Raise TypeError or ValueError for what is none of the vectors of units that are asked for."""
        if not isinstance(vectors, Tensor) or not vectors.is_floating_point():
            raise TypeError(f"expected floating point vectors, got {getattr(vectors, 'dtype', vectors)!r:.100}")
        if vectors.dtype in _ODD and not torch.is_autocast_enabled(vectors.device.type):
            weight = next(self.encoder.parameters(), vectors)  # type: ignore[attr-defined]
            if vectors.dtype != weight.dtype:
                raise TypeError(f"expected vectors of {weight.dtype}, as the weights are, got {vectors.dtype}")
        got, wanted = tuple(vectors.shape), (*(shape or vectors.shape[:2]), self._width)
        if got != wanted:
            raise ValueError(f"expected vectors of shape {wanted} (windows, units, output_size), got {got}")

    @property
    def _width(self) -> int:
        """The size of what ``encode`` gives of a unit."""
        return self.encoder.output_size

    def taken(self, vectors: Tensor, number: int) -> Tensor:
        """Return what a head takes of what ``forward`` gave."""
        return vectors

    def _gathered(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        """Return the vector of each unit from what the encoder made of the runs of windows."""
        if not outputs or batch.gather.numel() == 0:
            return torch.zeros(*batch.gather.shape, self._width, device=batch.gather.device)
        if batch.direct:
            return outputs[0]
        rows = torch.cat([output.flatten(0, 1) for output in outputs])
        return rows[batch.gather]

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch: the sum of the heads' losses over its number of units. A scalar, float32."""
        return self.loss_of(self(batch), batch)

    def loss_of(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Return the loss, a scalar, for vectors that ``forward`` gave, shape (B, U, D)."""
        return self.losses_of(vectors, batch)["loss"]

    def losses_of(self, vectors: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the loss that `loss_of` returns under ``"loss"``, and the parts that heads name beside it.

        Where there are several heads, their parts are numbered: ``boundary``, ``boundary_1``.
        """
        found = {"loss": vectors.new_zeros((), dtype=torch.float32)}
        for number, (head, targets) in enumerate(zip(self.heads, batch.targets, strict=True)):
            with calling(head, "loss"):
                for name, loss in _known_losses(head, vectors, batch, number, targets).items():
                    if name == "loss":
                        found["loss"] = found["loss"] + loss
                    else:
                        found[f"{name}_{number}" if number else name] = loss.detach()
        n_units = batch.mask.sum().clamp(min=1)
        return {name: loss / n_units for name, loss in found.items()}

    def not_finite(self, batch: Batch) -> str:
        """Return what is no number where the loss of a batch is none, in words; empty where it is found no more."""
        weights = [name for name, weight in self.named_parameters() if not torch.isfinite(weight).all()]
        if weights:
            return f"weights are no numbers, such as {weights[0]}, since a step before"
        with torch.no_grad():
            vectors = self(batch)
            if not torch.isfinite(vectors[batch.mask]).all():
                return f"the vectors of the {component_of(self.encoder) or 'encoder'} are no numbers"
            for number, (head, targets) in enumerate(zip(self.heads, batch.targets, strict=True)):
                if not torch.isfinite(_known_losses(head, vectors, batch, number, targets)["loss"]):
                    return f"its vectors are numbers, and the loss of the {component_of(head) or 'head'} is none"
        return ""

    def decode(self, batch: Batch) -> list[list[HeadOutput]]:
        """Return, for each head, what it says of each of the B examples."""
        return self.decode_of(self(batch), batch)

    def decode_of(self, vectors: Tensor, batch: Batch, least: float | None = None) -> list[list[HeadOutput]]:
        """Return, for each head, what it says of each of the B examples; vectors as ``forward`` gave, (B, U, D).

        For ``least`` see `outputs_of`.
        """
        found = []
        for number, head in enumerate(self.heads):
            with calling(head, "decode"):
                taken = self.taken(vectors, number)
                seen, labels = _seen(batch, number), self.head_labels[number]
                found.append(outputs_of(head, taken, batch.mask, seen, least, labels))  # type: ignore[arg-type]
        return found

    def candidates(self, batch: Batch, least: float) -> list[list[HeadOutput]]:
        """Return what ``decode`` does, but as entities all that have at least the probability ``least``."""
        return self.decode_of(self(batch), batch, least)


def outputs_of(
    head: ModelHead,
    vectors: Tensor,
    mask: Tensor,
    seen: Mapping[str, Any],
    least: float | None = None,
    labels: Collection[str] | None = None,
) -> list[HeadOutput]:
    """Return what a head says of B contexts, given vectors (B, U, D) and a mask (B, U); ``seen`` as `_seen` gives.

    Raises TypeError or ValueError for what it must not say: entities of other labels than ``labels``, for one.

    With ``least``, the entities are all that have at least this probability; they may overlap. A head that has no
    method ``candidates(vectors, mask, least)``, which returns the entities of each context, gives those that it
    decodes.
    """
    outputs: list[HeadOutput] = head.decode(vectors, mask, **seen)
    lengths = mask.sum(1).tolist()
    check_outputs(outputs, lengths, labels)
    if least is None:
        return outputs
    of_head = getattr(head, "candidates", None)
    if of_head is None:
        return [attrs.evolve(each, spans=_likely(each.spans, least)) for each in outputs]
    likely = of_head(vectors, mask, least, **seen)
    found = [attrs.evolve(each, spans=of) for each, of in zip(outputs, likely, strict=True)]
    check_outputs(found, lengths, labels)
    return found


def _likely(spans: Sequence[UnitSpan], least: float) -> list[UnitSpan]:
    return [span for span in spans if span.score is None or span.score >= least]


def _seen(batch: Batch, number: int, rows: list[int] | None = None) -> dict[str, Any]:
    """Return the argument ``features`` for a head that looks at documents past the encoder."""
    features = batch.head_features[number] if batch.head_features else {}
    if not features:
        return {}
    return {"features": features if rows is None else {name: value[rows] for name, value in features.items()}}


def _known_losses(head: nn.Module, vectors: Tensor, batch: Batch, number: int, targets: Any) -> dict[str, Tensor]:
    """Return a head's losses over the examples that somebody labelled: all, but for spans that are None."""
    mask, rows = batch.mask, None
    if isinstance(targets, list) and any(target is None for target in targets):
        rows = [row for row, target in enumerate(targets) if target is not None]
        if not rows:
            return {"loss": vectors.new_zeros((), dtype=torch.float32)}
        vectors, mask, targets = vectors[rows], mask[rows], [targets[row] for row in rows]
    found = head.loss(vectors, mask, targets, **_seen(batch, number, rows))  # type: ignore[operator]
    losses = dict(found) if isinstance(found, Mapping) else {"loss": found}
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim:
            raise TypeError(f"expected {name} as a tensor without axes, got {getattr(loss, 'shape', loss)!r:.100}")
    if "loss" not in losses:
        raise TypeError(f"expected the loss that is optimised under 'loss', got {', '.join(losses)}")
    if torch.is_grad_enabled() and not losses["loss"].requires_grad and any(p.requires_grad for p in head.parameters()):
        raise TypeError("expected a loss with a gradient; it is detached, or computed of no weight and no vector")
    return losses
