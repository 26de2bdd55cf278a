"""The conformance suite of model heads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
from hypothesis import strategies as st

from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import HeadOutput, LabelScheme, UnitSpan
from papermage_core.testing.checks import each, fail, require
from papermage_core.testing.component import ComponentSuite, check_round_trip, kept, settle, targets_of
from papermage_core.testing.strategies import unit_spans
from papermage_core.testing.tensors import close, missing_gradients, reload, require_module, seeded, shake

__all__ = ["HeadBatch", "ModelHeadSuite", "head_batches"]

SIZE = 6
"""Length of the unit vectors in the checks."""
LABELS = ("one", "two")


@attrs.frozen(eq=False)
class HeadBatch:
    """What a head is called with: B contexts of some length, with their entities."""

    scheme: LabelScheme
    vectors: torch.Tensor
    """Shape (B, U, D)."""
    mask: torch.Tensor
    """Shape (B, U)."""
    spans: list[list[UnitSpan]]

    @property
    def lengths(self) -> list[int]:
        """The units of each context."""
        return [int(n) for n in self.mask.sum(1)]

    @property
    def targets(self) -> Any:
        """What the scheme makes of the entities: a padded tensor of tags, or the entities."""
        if self.scheme.targets == "spans":
            return self.spans
        tags = torch.full(self.mask.shape, -1, dtype=torch.int64)
        for row, n, spans in zip(tags, self.lengths, self.spans, strict=True):
            row[:n] = torch.from_numpy(self.scheme.encode(spans, n))
        return tags

    def take(self, rows: Sequence[int]) -> HeadBatch:
        """Return these contexts as a batch, padded to the longest of them."""
        units = max((self.lengths[row] for row in rows), default=0)
        index = torch.tensor(list(rows))
        return attrs.evolve(
            self,
            vectors=self.vectors[index][:, :units],
            mask=self.mask[index][:, :units],
            spans=[self.spans[row] for row in rows],
        )

    def padded(self, units: int, value: float) -> HeadBatch:
        """Return the batch with ``units`` more of padding, and ``value`` at all that is padding."""
        vectors = torch.nn.functional.pad(self.vectors, (0, 0, 0, units))
        mask = torch.nn.functional.pad(self.mask, (0, units))
        return attrs.evolve(self, vectors=vectors.masked_fill(~mask[..., None], value), mask=mask)


@st.composite
def head_batches(draw: st.DrawFn, scheme: LabelScheme, *, min_units: int = 0) -> HeadBatch:
    """Draw batches of one to four contexts of up to seven units, with random vectors."""
    lengths = draw(st.lists(st.integers(min_units, 7), min_size=1, max_size=4))
    spans = [draw(unit_spans(scheme.labels, n, overlap=scheme.allows_overlap)) for n in lengths]
    return batch_of(scheme, lengths, spans, seed=draw(st.integers(0, 2**16)))


def batch_of(scheme: LabelScheme, lengths: Sequence[int], spans: list[list[UnitSpan]], seed: int) -> HeadBatch:
    """Return a batch of random vectors."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(list(lengths))[:, None]
    vectors = torch.randn(len(lengths), max(lengths), SIZE, generator=generator)
    return HeadBatch(scheme, vectors * mask[..., None], mask, spans)


class ModelHeadSuite(ComponentSuite):
    """Subclass as ``class TestMine(ModelHeadSuite): component = "mine"``."""

    kind: ClassVar[str] = "model_head"
    schemes: ClassVar[Sequence[str]] = ()
    """Label schemes to check the head with; if empty, bio, io and bioes, or span."""
    examples: ClassVar[int] = 12
    """Random batches for each property."""

    def found_schemes(self) -> list[LabelScheme]:
        """Return the schemes to check with, built for two labels."""
        targets = targets_of(self.found_class())
        names = self.schemes or (("bio", "io", "bioes") if targets == "tags" else ("span",))
        return [Plugins().config_class("label_scheme", name)().build(LABELS) for name in names]

    def build(self, config: Any, scheme: LabelScheme, *, seed: int = 0) -> Any:
        """Return a new head in eval mode."""
        try:
            with seeded(seed):
                head = config.build(SIZE, scheme)
        except ConfigError as exc:
            fail(f"{config} refuses the scheme {type(scheme).__name__}: {exc}", "name those that fit in `schemes`")
        require_module(head, ("loss", "decode"))
        return head.eval()

    def test_the_loss_is_a_finite_scalar_with_a_gradient(self) -> None:
        """Of any batch, contexts of no units included."""

        def check(head: Any, batch: HeadBatch) -> None:
            loss = head.loss(batch.vectors, batch.mask, batch.targets)
            require(loss.shape == (), f"the loss has shape {tuple(loss.shape)}", "return a sum over the batch")
            require(loss.isfinite(), f"the loss of contexts of {batch.lengths} units is {loss}", "see that case")

        self._each_batch(check)

    def test_the_loss_of_a_batch_is_the_sum_of_its_contexts(self) -> None:
        """Results do not depend on which contexts come together, nor on their order."""

        def check(head: Any, batch: HeadBatch) -> None:
            whole = _loss(head, batch)
            alone = sum((_loss(head, batch.take([row])) for row in range(len(batch.spans))), torch.zeros(()))
            require(
                close(whole, alone),
                f"the loss of contexts of {batch.lengths} units is {whole:.4f} together and {alone:.4f} one by one",
                'sum the losses of all real units (reduction="sum"), never average, and let the mask end each context',
            )

        self._each_batch(check)

    def test_padding_changes_no_loss(self) -> None:
        """What stands where the mask is false changes nothing."""

        def check(head: Any, batch: HeadBatch) -> None:
            loss, padded = _loss(head, batch), _loss(head, batch.padded(3, 9.0))
            require(
                close(loss, padded),
                f"the loss of contexts of {batch.lengths} units is {loss:.4f}, and {padded:.4f} with other padding",
                "take only units where the mask is true into the loss",
            )

        self._each_batch(check)

    def test_padding_changes_no_prediction(self) -> None:
        """What stands where the mask is false changes nothing."""

        def check(head: Any, batch: HeadBatch) -> None:
            _same(_decode(head, batch), _decode(head, batch.padded(3, 9.0)), "with other padding", "apply the mask")

        self._each_batch(check)

    def test_batch_neighbours_and_order_change_no_prediction(self) -> None:
        """Each context is decoded as if it were alone."""

        def check(head: Any, batch: HeadBatch) -> None:
            rows = list(range(len(batch.spans)))
            together = _decode(head, batch)
            alone = [_decode(head, batch.take([row]))[0] for row in rows]
            _same(together, alone, "alone", "share nothing between the contexts of a batch")
            turned = _decode(head, batch.take(rows[::-1]))[::-1]
            _same(together, turned, "in the opposite order", "share nothing between the contexts of a batch")

        self._each_batch(check)

    def test_unknown_targets_are_left_out_of_the_loss(self) -> None:
        """A target of -1 says nothing; a batch of them has a finite loss and gradient. Tags only."""

        def check(head: Any, batch: HeadBatch) -> None:
            if batch.scheme.targets != "tags":
                return
            unknown = torch.full_like(batch.targets, -1)
            vectors = batch.vectors.clone().requires_grad_()
            loss = head.loss(vectors, batch.mask, unknown)
            require(loss.isfinite(), f"the loss is {loss} where all targets are unknown", "return 0 there")
            if loss.requires_grad:
                loss.backward()
                finite = vectors.grad is None or bool(vectors.grad.isfinite().all())
                require(finite, "the gradient is not finite where all targets are unknown", "return 0 there")

        self._each_batch(check)

    def test_gradients_reach_every_parameter(self) -> None:
        """A parameter that no loss moves is not learned."""

        def check(head: Any, scheme: LabelScheme) -> None:
            head.train()
            for seed in range(4):
                batch = _typical(scheme, seed)
                head.loss(batch.vectors, batch.mask, batch.targets).backward()
            missing = missing_gradients(head)
            require(
                not missing,
                f"no gradient reaches {', '.join(missing)}",
                "use these in the loss, leave them out, or freeze them with requires_grad_(False)",
            )

        self._each_head(check)

    def test_the_loss_falls_in_training(self) -> None:
        """Steps along the gradient of a batch lower its loss."""

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = _typical(scheme, 0)
            before = _loss(head, batch)
            _train(head, batch, steps=60)
            after = _loss(head, batch)
            require(
                after < 0.8 * before,
                f"after 60 steps on one batch the loss went from {before:.4f} to {after:.4f}",
                "see that the loss is what decode makes large, and that no detach() cuts the gradient",
            )

        self._each_head(check)

    def test_predictions_keep_to_the_specification(self) -> None:
        """Shapes, names, probabilities; legal tags; entities in order and inside their context."""

        def check(head: Any, batch: HeadBatch) -> None:
            results = _decode(head, batch)
            require(
                len(results) == len(batch.spans),
                f"decode returned {len(results)} results for {len(batch.spans)} contexts",
                "return one HeadOutput for each row of the mask, rows without units too",
            )
            for output, n in zip(results, batch.lengths, strict=True):
                check_output(output, n, batch.scheme)

        self._each_batch(check)

    def test_eval_mode_is_free_of_chance(self) -> None:
        """Decoding twice, or taking the loss twice, gives the same."""

        def check(head: Any, batch: HeadBatch) -> None:
            remedy = "use dropout only through nn.Dropout or F.dropout(..., training=self.training)"
            _same(_decode(head, batch), _decode(head, batch), "a second time", remedy)
            first, second = _loss(head, batch), _loss(head, batch)
            require(torch.equal(first, second), f"in eval mode the loss is {first}, then {second}", remedy)

        self._each_batch(check)

    def test_equal_seeds_give_equal_heads(self) -> None:
        """New weights come from torch's global generator alone."""
        for config in self.configs():
            for scheme in self.found_schemes():
                settled = _settled(config, scheme)
                first, second = (self.build(settled, scheme, seed=3).state_dict() for _ in range(2))
                other = [name for name in first if not torch.equal(first[name], second[name])]
                require(
                    not other,
                    f"two heads built under one seed differ in {', '.join(other)}",
                    "draw initial weights with torch only, from its global generator",
                )

    def test_a_saved_head_predicts_the_same(self) -> None:
        """Options, what was learned and state_dict are all that a checkpoint keeps."""

        def check(head: Any, scheme: LabelScheme, config: Any) -> None:
            batch = _typical(scheme, 2)
            _train(head, batch, steps=3)
            loaded: Any = reload(head, self.build(kept(config), scheme, seed=99)).eval()
            remedy = "register what decode and loss need as a parameter or buffer (register_buffer, persistent)"
            _same(_decode(head, batch), _decode(loaded, batch), "after save and load", remedy)
            require(close(_loss(head, batch), _loss(loaded, batch)), "the loss differs after save and load", remedy)

        for config in self.configs():
            for scheme in self.found_schemes():
                settled = _settled(config, scheme)
                check(shake(self.build(settled, scheme, seed=1)).eval(), scheme, settled)

    def test_a_settled_config_is_a_config_that_can_be_kept(self) -> None:
        """``settle`` returns a config of the same class, which is the same after writing and reading."""
        for config in self.configs():
            for scheme in self.found_schemes():
                check_round_trip(_settled(config, scheme))

    def test_bfloat16_vectors_are_taken(self) -> None:
        """Under autocast the encoder's vectors are bfloat16."""

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = _typical(scheme, 0)
            with torch.autocast("cpu", torch.bfloat16):
                loss = head.loss(batch.vectors.bfloat16(), batch.mask, batch.targets)
                with torch.no_grad():
                    results = head.decode(batch.vectors.bfloat16(), batch.mask)
            require(loss.isfinite(), f"the loss is {loss} under bfloat16 autocast", "compute it in float32")
            for output, n in zip(results, batch.lengths, strict=True):
                check_output(output, n, scheme)

        self._each_head(check)

    def _each_head(self, check: Callable[[Any, LabelScheme], None]) -> None:
        for config in self.configs():
            for scheme in self.found_schemes():
                check(shake(self.build(_settled(config, scheme), scheme)), scheme)

    def _each_batch(self, check: Callable[[Any, HeadBatch], None]) -> None:
        def check_batches(head: Any, scheme: LabelScheme) -> None:
            each(head_batches(scheme), functools.partial(check, head.eval()), examples=self.examples)

        self._each_head(check_batches)


def check_output(output: Any, n: int, scheme: LabelScheme) -> None:
    """Fail unless ``output`` is what a head may say of a context of ``n`` units."""
    require(isinstance(output, HeadOutput), f"decode returned {output!r}", "return a list of HeadOutput")
    require(
        np.shape(output.tags) == (n,) and np.shape(output.scores) == (n,),
        f"for {n} units, tags have shape {np.shape(output.tags)} and scores {np.shape(output.scores)}",
        "give one tag and one score for each unit where the mask is true",
    )
    require(
        ((output.tags >= 0) & (output.tags < len(output.tag_names))).all(),
        f"tags are {output.tags} with {len(output.tag_names)} names",
        "make tags indices into tag_names",
    )
    _check_probabilities(output.scores, "the scores of the units")
    _check_probabilities([span.score for span in output.spans], "the scores of the entities")
    places = [(span.start, span.stop) for span in output.spans]
    require(places == sorted(places), f"the entities are at {places}", "sort them by start, then stop")
    for span in output.spans:
        inside = span.start >= 0 and span.stop <= n and span.label in scheme.labels
        require(inside, f"{span} in a context of {n} units", "return known labels inside the context")
    if scheme.targets == "tags":
        _check_tags(output, scheme)


def _check_tags(output: HeadOutput, scheme: LabelScheme) -> None:
    require(output.tag_names == scheme.tags, f"tag_names are {output.tag_names}", "set them to scheme.tags")
    shown = " ".join(scheme.tags[tag] for tag in output.tags)
    require(
        scheme.allows(output.tags),
        f"the tags {shown!r} are not legal under the scheme",
        "decode with start_allowed, end_allowed and transition_allowed, or make the result with HeadOutput.from_tags",
    )
    require(
        output.spans == scheme.decode(output.tags),
        f"the tags {shown!r} do not mean the entities {output.spans}",
        "take the entities from scheme.decode(tags)",
    )


def _check_probabilities(values: Any, what: str) -> None:
    numbers = np.array([np.nan if value is None else value for value in values], float)
    probable = bool(((numbers >= 0) & (numbers <= 1 + 1e-5)).all())
    require(probable, f"{what} are {numbers}", "return probabilities, from 0 to 1")


def _settled(config: Any, scheme: LabelScheme) -> Any:
    batch = _typical(scheme, 0)
    targets = [scheme.encode(spans, n) for spans, n in zip(batch.spans, batch.lengths, strict=True)]
    return settle(config, targets, scheme)


def _typical(scheme: LabelScheme, seed: int) -> HeadBatch:
    """Return a batch in which every label stands, in entities of one, two and three units."""
    one, two = scheme.labels
    spans = [
        [UnitSpan.of(one, 0, 1), UnitSpan.of(two, 2, 4), UnitSpan.of(one, 4, 7)],
        [UnitSpan.of(two, 1, 4), UnitSpan.of(two, 4, 5), UnitSpan.of(one, 6, 8)],
        [],
    ]
    return batch_of(scheme, [8, 8, 3], spans, seed)


def _loss(head: Any, batch: HeadBatch) -> torch.Tensor:
    loss = head.loss(batch.vectors, batch.mask, batch.targets)
    require(isinstance(loss, torch.Tensor), f"the loss is {loss!r}", "return a tensor")
    return loss.detach().float()  # type: ignore[no-any-return]


@torch.no_grad()
def _decode(head: Any, batch: HeadBatch) -> list[HeadOutput]:
    return list(head.decode(batch.vectors, batch.mask))


def _train(head: Any, batch: HeadBatch, *, steps: int) -> None:
    """Take steps on one batch, in train mode, and go back to eval mode."""
    parameters = [p for p in head.parameters() if p.requires_grad]
    if not parameters:
        return
    head.train()
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    with seeded(0):
        for _ in range(steps):
            optimizer.zero_grad()
            head.loss(batch.vectors, batch.mask, batch.targets).backward()
            optimizer.step()
    head.eval()


def _same(first: Sequence[HeadOutput], second: Sequence[HeadOutput], when: str, remedy: str) -> None:
    for one, other in zip(first, second, strict=True):
        equal = (
            one.spans == other.spans
            and np.array_equal(one.tags, other.tags)
            and np.allclose(one.scores, other.scores, atol=1e-3)
            and np.allclose(_scores(one), _scores(other), atol=1e-3)
        )
        require(equal, f"decode says {_brief(one)}, and {_brief(other)} {when}", remedy)


def _scores(output: HeadOutput) -> list[float]:
    return [np.nan if span.score is None else span.score for span in output.spans]


def _brief(output: HeadOutput) -> str:
    spans = [(span.label, span.segments, span.score) for span in output.spans]
    return f"tags {np.asarray(output.tags).tolist()}, scores {np.round(output.scores, 4).tolist()}, entities {spans}"
