"""The conformance suite of model heads."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import torch

from papermage_core.errors import ConfigError
from papermage_core.plugin.spec import HeadOutput, LabelScheme, UnitSpan
from papermage_core.testing.checks import each, fail, require, working
from papermage_core.testing.component import ComponentSuite, check_round_trip, kept, settle, targets_of
from papermage_core.testing.head_calls import decode_of, features_of, knows_needs, loss_of, losses_of
from papermage_core.testing.probes import MANY, scheme_of
from papermage_core.testing.samples import SIZE, HeadBatch, batch_of, head_batches, spread, typical
from papermage_core.testing.tensors import (
    Draws,
    close,
    kept_alive,
    missing_gradients,
    modes,
    other_generators,
    reload,
    require_modes,
    require_module,
    require_unseeded,
    seeded,
    shake,
    state_kept,
    unregistered,
    without_dropout,
)

__all__ = ["HeadBatch", "ModelHeadSuite", "head_batches"]


_PATIENCE = (60, 200)
"""Steps that a head may take to learn something by heart: some need more than others."""
_LONG = 20.0
"""Seconds after which a slow head need not go on to learn hundreds of labels."""
_HUNDREDS = 130
"""Labels whose tags are too many for numbers of eight bits."""
_ODD = ("zeta", "B-X", "a-b", "O-ring", "日本", "I", "Author", "author", "x y", "2", "c_d", "alpha")
"""A dozen labels as users have them: in no order, with hyphens, of other scripts."""
_LOGARITHMS = "compute with logarithms: log_softmax, logsumexp, logits in place of probabilities, no product of many"


class ModelHeadSuite(ComponentSuite):
    """Subclass as ``class TestMine(ModelHeadSuite): component = "mine"``."""

    kind: ClassVar[str] = "model_head"
    schemes: ClassVar[Sequence[str]] = ()
    """Label schemes to check the head with; if empty, bio, io and bioes, or span."""
    examples: ClassVar[int] = 12
    """Random batches for each property."""

    def found_schemes(self) -> list[LabelScheme]:
        """Return the schemes to check with, built for two labels."""
        return [scheme_of(name) for name in self._scheme_names()]

    def _scheme_names(self) -> tuple[str, ...]:
        targets = targets_of(self.found_class())
        return tuple(self.schemes) or (("bio", "io", "bioes") if targets == "tags" else ("span",))

    def _probed(self) -> list[tuple[Any, ...]]:
        return [(dict(options), self._scheme_names()) for options in self.options]

    def _training(self) -> list[dict[str, Any]]:
        return [{**arguments, "label_scheme": self._scheme_names()[0]} for arguments in super()._training()]

    def build(self, config: Any, scheme: LabelScheme, *, seed: int = 0, size: int = SIZE) -> Any:
        """Return a new head in eval mode."""
        try:
            with seeded(seed):
                head = config.build(size, scheme)
        except ConfigError as exc:
            fail(f"{config} refuses the scheme {type(scheme).__name__}: {exc}", "name those that fit in `schemes`")
        require_module(head, ("loss", "decode"))
        return knows_needs(head, config.needs).eval()

    def test_the_loss_is_a_finite_scalar_with_a_gradient(self) -> None:
        """Of any batch, contexts of no units included."""

        def check(head: Any, batch: HeadBatch) -> None:
            for name, loss in losses_of(head, batch).items():
                what = "the loss" if name == "loss" else f"the loss {name!r}"
                require(loss.isfinite(), f"{what} of contexts of {batch.lengths} units is {loss}", "see that case")

        self._each_batch(check)

    def test_the_loss_of_a_batch_is_the_sum_of_its_contexts(self) -> None:
        """Results do not depend on which contexts come together, nor on their order."""

        def check(head: Any, batch: HeadBatch) -> None:
            whole = _sure_loss(head, batch)
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
            loss, padded = _sure_loss(head, batch), _loss(head, batch.padded(3, 9.0))
            require(
                close(loss, padded),
                f"the loss of contexts of {batch.lengths} units is {loss:.4f}, and {padded:.4f} with other padding",
                "take only units where the mask is true into the loss",
            )

        self._each_batch(check)

    def test_padding_changes_no_prediction(self) -> None:
        """What stands where the mask is false changes nothing."""

        def check(head: Any, batch: HeadBatch) -> None:
            _same(decode_of(head, batch), decode_of(head, batch.padded(3, 9.0)), "with other padding", "apply the mask")

        self._each_batch(check)

    def test_batch_neighbours_and_order_change_no_prediction(self) -> None:
        """Each context is decoded as if it were alone."""

        def check(head: Any, batch: HeadBatch) -> None:
            rows = list(range(len(batch.spans)))
            together = decode_of(head, batch)
            turned = decode_of(head, batch.take(rows[::-1]))[::-1]
            _same(
                together, turned, "in the opposite order", "treat every row of the batch alike: none by its place in it"
            )
            alone = [decode_of(head, batch.take([row]))[0] for row in rows]
            _same(together, alone, "alone", "share nothing between the contexts of a batch")

        self._each_batch(check)

    def test_unknown_targets_are_left_out_of_the_loss(self) -> None:
        """A target of -1 says nothing; a batch of them has a finite loss and gradient. Tags only."""

        def check(head: Any, batch: HeadBatch) -> None:
            if batch.scheme.targets != "tags":
                return
            unknown = torch.full_like(batch.targets, -1)
            vectors = batch.vectors.clone().requires_grad_()
            loss = loss_of(head, batch, vectors=vectors, targets=unknown)
            require(loss.isfinite(), f"the loss is {loss} where all targets are unknown", "return 0 there")
            if loss.requires_grad:
                loss.backward()
                finite = vectors.grad is None or bool(vectors.grad.isfinite().all())
                require(finite, "the gradient is not finite where all targets are unknown", "return 0 there")

        self._each_batch(check)

    def test_unknown_targets_are_learnt_as_nothing(self) -> None:
        """A unit whose target is -1 counts as no tag, and a context of them has no gradient. Tags only."""

        def check(head: Any, scheme: LabelScheme) -> None:
            if scheme.targets != "tags":
                return
            remedy = (
                "take units with targets >= 0 only, as in `known = mask & (targets >= 0)`, or sum over all their tags"
            )
            equal = dict.fromkeys(range(len(scheme.tags)), 0)
            for seed in range(4):
                batch = spread(scheme, [6, 9], seed)
                targets, vectors = batch.targets, batch.vectors.clone().requires_grad_()
                targets[0] = -1
                loss = loss_of(head, batch, vectors=vectors, targets=targets)
                if loss.requires_grad and vectors.grad_fn is None:
                    loss.backward()
                    reached = vectors.grad is not None and float(vectors.grad[0].abs().max()) > 1e-6
                    require(not reached, "a context of which no target is known has a gradient", remedy)
                unknown = batch.targets
                unknown[1, 4] = -1
                without = loss_of(head, batch, targets=unknown)
                for tag in equal:
                    unknown[1, 4] = tag
                    equal[tag] += close(loss_of(head, batch, targets=unknown), without, tolerance=1e-5)
            learnt = [scheme.tags[tag] for tag, times in equal.items() if times == 4]
            require(not learnt, f"an unknown target (-1) counts as {' and '.join(learnt)} does", remedy)

        self._each_head(check)

    def test_gradients_reach_the_vectors(self) -> None:
        """The encoder learns from the loss: by the vectors of the units that are real, and of no others."""

        def check(head: Any, scheme: LabelScheme) -> None:
            head.train()
            reached = torch.zeros(2, dtype=torch.bool)
            for seed in range(3):
                batch = spread(scheme, [9, 6], seed)
                vectors = batch.vectors.clone().requires_grad_()
                with seeded(seed):
                    loss_of(head, batch, vectors=vectors).backward()
                if vectors.grad is not None:
                    reached |= vectors.grad.abs().amax((1, 2)) > 0
                    beyond = float(vectors.grad[~batch.mask].abs().sum())
                    require(not beyond, "a gradient reaches the vectors of padding", "let the mask end each context")
            require(
                bool(reached.all()),
                "no gradient of the loss reaches the vectors of the units, so that the encoder learns nothing",
                "compute the loss from the vectors as they are: no detach(), no .data, no torch.no_grad()",
            )
            bare = attrs.evolve(spread(scheme, [9, 6]), spans=[[], []])
            require(
                bool(_gradient(head, bare).abs().sum() > 0),
                "contexts without entities have no gradient, so that nothing is learnt of what is none",
                "take all units into the loss, those of contexts without entities, too",
            )
            require(
                any(bool(_gradient(head, spread(scheme, [1], seed)).abs().sum() > 0) for seed in range(4)),
                "contexts of one unit have no gradient at its vector, so that it says nothing of the unit",
                "read the vector of a unit that stands alone as those of others",
            )

        self._each_head(check)

    def test_in_train_mode_padding_and_neighbours_change_nothing_either(self) -> None:
        """But for the dropout, the loss of a batch is that of its contexts; under one seed, each has its gradient."""

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = spread(scheme, [9, 6, 4])
            head.train()
            with without_dropout():
                with Draws() as draws:
                    losses = [_seeded_loss(head, batch, seed) for seed in (1, 2)]
                if torch.equal(*losses) and not draws.found:
                    whole = _loss_at_once(head, batch)
                    alone = sum((_loss_at_once(head, batch.take([row])) for row in range(3)), torch.zeros(()))
                    require(
                        close(whole, alone),
                        f"in train mode, without dropout, the loss of contexts of {batch.lengths} units is {whole:.4f} "
                        f"together and {alone:.4f} one by one",
                        "do in training what eval mode does, but for dropout: no BatchNorm, no mean over the batch",
                    )
            padded = batch.padded(0, 9.0)
            require(
                close(_seeded_loss(head, batch, 1), _seeded_loss(head, padded, 1)),
                "in train mode, under one seed, the loss depends on what stands at padding",
                "take only units where the mask is true into the loss",
            )
            noise = torch.randn(batch.vectors.shape, generator=torch.Generator().manual_seed(1))
            other = attrs.evolve(batch, vectors=torch.cat([batch.vectors[:1], noise[1:] * batch.mask[1:, :, None]]))
            one, two = (_gradient(head, each)[0] for each in (batch, other))
            require(
                close(one, two),
                "in train mode, under one seed, the gradient of a context depends on the others of its batch",
                "share nothing between the contexts of a batch: no BatchNorm, no mean over axis 0",
            )

        self._each_head(check)

    def test_the_mode_is_left_as_it_is(self) -> None:
        """Whether dropout is on is the core's to say: no call but ``train`` and ``eval`` changes it."""

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = typical(scheme, 0)
            for mode in (True, False):
                before = modes(head.train(mode))
                _seeded_loss(head, batch, 0)
                require_modes(head, before, "loss()")
                decode_of(head, batch)
                require_modes(head, before, "decode()")

        self._each_head(check)

    def test_decoding_keeps_no_state(self) -> None:
        """A batch is decoded the same by a new head, again after others, and after its loss was taken in training."""
        remedy = (
            "keep nothing between calls that changes a later one: no threshold, counter, cache or statistic of data"
        )
        for config in self.configs():
            for scheme in self.found_schemes():
                settled = _settled(config, scheme)
                one, other = (shake(self.build(settled, scheme, seed=1)) for _ in range(2))
                batch = spread(scheme, [9, 6])
                wide, flat = (attrs.evolve(batch, vectors=scale * batch.vectors.flip(1)) for scale in (30.0, 0.01))
                first = [decode_of(one, given) for given in (batch, flat, wide)]
                held = decode_of(one, batch)
                was = copy.deepcopy(held)
                decode_of(one, wide)
                for given in (wide, flat, spread(scheme, [40, 3, 40], 1)):
                    decode_of(other, given)
                    other.train()
                    with torch.no_grad():
                        _loss(other, given)
                    other.eval()
                for given, found in zip((batch, flat, wide), first, strict=True):
                    _same(found, decode_of(other, given), "after other batches", remedy)
                require(close(_loss(one, batch), _loss(other, batch)), "the loss differs after other batches", remedy)
                _same(was, held, "in the same result, once others were decoded", "return new arrays in each call")

    def test_two_heads_share_nothing(self) -> None:
        """A head is as it was once others of its config are built, for other labels too, trained and used."""
        remedy = (
            "let build() make a new head, and keep what it learns and what depends on the labels on the head itself: "
            "in no class, module or cache that all share"
        )
        for config in self.configs():
            for name in self._scheme_names():
                scheme = scheme_of(name)
                settled = _settled(config, scheme)
                head: Any = shake(self.build(settled, scheme, seed=1))
                batch = spread(scheme, [9, 6])
                first, loss = copy.deepcopy(decode_of(head, batch)), _loss(head, batch)
                weights = copy.deepcopy(head.state_dict())
                for labels in (scheme.labels, scheme.labels[::-1], ("another", "third")):
                    others = scheme_of(name, labels)
                    other = self.build(_settled(config, others), others, seed=2)
                    require(other is not head, "build() returned the head that it had built before", remedy)
                    with working(f"a head for the labels {labels}, beside another,", remedy):
                        _train(other, typical(others, 1), steps=5)
                        for output, n in zip(decode_of(other, spread(others, [9, 6])), (9, 6), strict=True):
                            check_output(output, n, others)
                    with working(f"a head, once another was built for the labels {labels} and trained,", remedy):
                        again, loss_again = decode_of(head, batch), _loss(head, batch)
                    now = head.state_dict()
                    moved = [key for key in weights if not torch.equal(weights[key], now[key])]
                    seen = f"once another head was built for the labels {labels} and trained"
                    require(not moved, f"{seen}, the weights {', '.join(moved)} of the first are others", remedy)
                    _same(first, again, seen, remedy)
                    require(torch.equal(loss, loss_again), f"{seen}, the first has another loss", remedy)

    def test_the_scheme_is_left_as_it_is(self) -> None:
        """Other heads, and evaluation, use the scheme that a head is built with: its labels, tags and tables."""
        for config in self.configs():
            for name in self._scheme_names():
                scheme, untouched = scheme_of(name), copy.deepcopy(scheme_of(name))
                head: Any = shake(self.build(_settled(config, scheme), scheme, seed=1))
                batch = typical(scheme, 0)
                _train(head, batch, steps=2)
                decode_of(head, batch)
                for what in ("labels", "tags", "start_allowed", "end_allowed", "transition_allowed"):
                    was, now = getattr(untouched, what, None), getattr(scheme, what, None)
                    require(
                        np.array_equal(np.asarray(was), np.asarray(now)),
                        f"{what} of the scheme were changed",
                        "work on a copy: np.array(scheme.transition_allowed)",
                    )

    def test_long_contexts_have_a_finite_loss(self) -> None:
        """Thousands of units, large vectors: nothing overflows, and probabilities do not vanish."""
        remedy = _LOGARITHMS

        def check(head: Any, scheme: LabelScheme, sizes: Sequence[tuple[list[int], float]]) -> None:
            for lengths, scale in sizes:
                batch = spread(scheme, lengths)
                batch = attrs.evolve(batch, vectors=scale * batch.vectors)
                what = f"a context of {lengths[0]} units" + (f", its vectors times {scale:g}," if scale != 1 else "")
                vectors = batch.vectors.clone().requires_grad_()
                head.zero_grad()
                with working(f"the loss of {what}", remedy):
                    loss = loss_of(head, batch, vectors=vectors)
                require(bool(loss.isfinite()), f"the loss of {what} is {float(loss.detach())}", remedy)
                if loss.requires_grad:
                    loss.backward()
                gradients = [vectors.grad, *(parameter.grad for parameter in head.parameters())]
                finite = all(each is None or bool(each.isfinite().all()) for each in gradients)
                require(finite, f"the gradient of {what} is not finite", remedy)
                with working(f"decoding {what}", remedy):
                    outputs = decode_of(head, batch)
                for output, n in zip(outputs, batch.lengths, strict=True):
                    require(np.isfinite(output.scores).all(), f"scores of {what} are not finite", remedy)
                    check_output(output, n, scheme)

        for config in self.configs():
            for scheme in self.found_schemes():
                settled = _settled(config, scheme)
                # with large weights, gradients of a sound recurrent head explode along a long context
                check(self.build(settled, scheme), scheme, [([400, 3], 1.0), ([2100], 1.0)])
                check(shake(self.build(settled, scheme)), scheme, [([60], 100.0), ([60], 0.0)])

    def test_dozens_of_contexts_are_taken(self) -> None:
        """A batch of forty is decoded as its contexts are alone, and its loss is theirs."""

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = spread(scheme, [1 + number % 9 for number in range(40)])
            remedy = "let no size but the vectors' own stand in the code"
            with working("a batch of 40 contexts", remedy):
                together = decode_of(head, batch)
                alone = [decode_of(head, batch.take([row]))[0] for row in range(40)]
                _same(together, alone, "alone, in a batch of 40", "share nothing between the contexts of a batch")
                whole = _sure_loss(head, batch)
                apart = sum((_loss(head, batch.take([row])) for row in range(40)), torch.zeros(()))
            require(close(whole, apart), f"the loss of 40 contexts is {whole:.4f}, their sum {apart:.4f}", remedy)

        self._each_head(check)

    def test_one_label_and_a_dozen_are_taken(self) -> None:
        """Number, names and order are the user's; a head has as many scores as its scheme has tags."""
        remedy = (
            "take sizes from len(scheme.tags) and len(scheme.labels), and keep every axis: no squeeze(); a label may "
            "have any name, so take no tag to pieces: scheme.decode tells labels"
        )
        for config in self.configs():
            for name in self._scheme_names():
                for labels in (MANY[:1], MANY, _ODD):
                    scheme = scheme_of(name, labels)
                    called = f" such as {', '.join(labels[:4])}" if labels == _ODD else ""
                    with working(f"with {len(labels)} label{'s'[: len(labels) > 1]}{called}, the head", remedy):
                        settled = _settled(config, scheme)
                        head = shake(self.build(settled, scheme)).eval()
                        batch = typical(scheme, 0)
                        loss = _loss(head, batch)
                        require(bool(loss.isfinite()), f"with {len(labels)} labels the loss is {loss}", _LOGARITHMS)
                        for output, n in zip(decode_of(head, batch), batch.lengths, strict=True):
                            check_output(output, n, scheme)

    def test_what_is_learnt_is_predicted(self) -> None:
        """After many steps on a few contexts, their own entities are found in them, and sure."""
        remedy = "let the loss be low where decode is right: log_softmax of the scores that decode compares"
        for config in self.configs():
            for scheme in self.found_schemes():
                longest = 4 if scheme.targets == "tags" else 3  # heads of spans may have a length that is the most
                batch = spread(scheme, [8, 8, 5], longest=longest)
                batch = batch_of(scheme, batch.lengths, batch.spans, 3, 64)
                head = self.build(_settled(config, scheme, batch), scheme, size=64)
                before = _loss(head, batch)
                _train(head, batch, steps=80)
                after = _loss(head, batch)
                seen = (
                    f"80 steps on contexts that can be learnt by heart took the loss from {before:.3f} to {after:.3f}"
                )
                left = _spread_of(decode_of(head, batch), scheme)  # what a loss with label smoothing ends at
                require(
                    after - left < 0.4 * before,
                    seen,
                    "give the loss logits, not probabilities, and let no detach() cut it off",
                )
                if scheme.targets == "tags":
                    self._check_long_entity(config, scheme)
                for output, spans in zip(decode_of(head, batch), batch.spans, strict=True):
                    expected = scheme.decode(scheme.encode(spans, len(output.tags)))
                    seen = f"after 80 steps on three contexts, {output.spans} is found where {expected} was learnt"
                    require(output.spans == expected, seen, remedy)
                    sure = [span.score for span in output.spans if span.score is not None and span.score < 0.4]
                    require(
                        not sure,
                        f"what was learnt by heart has the scores {sure}",
                        "give the probability of what is predicted",
                    )

    def _check_long_entity(self, config: Any, scheme: LabelScheme) -> None:
        span = UnitSpan.of(scheme.labels[0], 4, 36)
        batch = batch_of(scheme, [40], [[span]], 3, 64)
        head = self.build(_settled(config, scheme, batch), scheme, size=64)
        for steps in _PATIENCE:
            _train(head, batch, steps=steps)
            (output,) = decode_of(head, batch)
            if output.spans == [span]:
                return
        fail(
            f"an entity of 32 units that was learnt by heart is found as {output.spans}",
            "let no length stand in the code: an entity is as long as the scheme lets it be",
        )

    def test_each_of_a_dozen_labels_is_predicted(self) -> None:
        """After many steps on a context a label, each label is found in its own, the last of many as the first."""
        for config in self.configs():
            for name in self._scheme_names():
                _check_labels(self, config, scheme_of(name, _ODD))
            many = tuple(f"label {number}" for number in range(_HUNDREDS // 2, _HUNDREDS)) + tuple(
                f"label {number}" for number in range(_HUNDREDS // 2)
            )
            _check_labels(self, config, scheme_of(self._scheme_names()[0], many), seconds=_LONG)

    def test_tensors_move_with_the_head(self) -> None:
        """All that it computes with is a parameter or a buffer, so that it is on the device of the others."""

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = typical(scheme, 0)
            targets = batch.targets
            given = [batch.vectors, batch.mask, *([targets] if isinstance(targets, torch.Tensor) else [])]

            def call() -> None:
                loss_of(head, batch, targets=targets)
                decode_of(head, batch)

            found = unregistered(head, call, *given)
            remedy = (
                "register_buffer(name, tensor), persistent=False if it need not be saved; or make it when it is used"
            )
            require(not found, f"{', '.join(found)} is neither a parameter nor a buffer, and stays on the CPU", remedy)

        self._each_head(check)

    def test_only_the_seeded_generator_is_drawn_from(self) -> None:
        """In training, chance comes from torch's global generator alone, and nobody seeds it."""
        remedy = (
            "draw with torch, from its global generator: no np.random, no random, no Generator of its own; a count of "
            "steps belongs in a buffer"
        )
        for config in self.configs():
            for scheme in self.found_schemes():
                settled, batch = _settled(config, scheme), typical(scheme, 0)
                self._check_unseeded(settled, scheme, batch)
                ends: list[torch.Tensor] = []
                drawn: list[Any] = []
                for seed in (3, 3, 4):
                    with other_generators(len(drawn)), seeded(seed):
                        head = knows_needs(settled.build(SIZE, scheme), settled.needs).train()
                        ends.append(torch.get_rng_state())
                        drawn.append([_seeded_loss(head, batch, 1) for _ in range(2)])
                        torch.manual_seed(seed)
                        _loss(head, batch)
                        ends.append(torch.get_rng_state())
                require(torch.equal(drawn[0][0], drawn[1][0]), "in train mode, one seed gives two losses", remedy)
                require(torch.equal(*drawn[0]), "in train mode, one seed gives another loss the second time", remedy)
                seen = "the generator of torch is set to a seed"
                require(
                    not torch.equal(ends[2], ends[4]) and not torch.equal(ends[3], ends[5]),
                    seen,
                    "call no manual_seed: the run is seeded once, for all of its parts",
                )

    def _check_unseeded(self, config: Any, scheme: LabelScheme, batch: HeadBatch) -> None:
        targets = [scheme.encode(spans, n) for spans, n in zip(batch.spans, batch.lengths, strict=True)]
        head = knows_needs(config.build(SIZE, scheme), config.needs)
        require_unseeded(
            settle=lambda: config.settle(targets, scheme),
            build=lambda: config.build(SIZE, scheme),
            loss=lambda: loss_of(head, batch),
            decode=lambda: decode_of(head, batch),
        )

    def test_nothing_is_kept_of_a_batch(self) -> None:
        """Vectors, losses and their graphs go when the core lets them go: memory does not grow with the data."""

        def check(head: Any, scheme: LabelScheme) -> None:
            head.train()

            def step(number: int) -> list[Any]:
                batch = typical(scheme, number)
                loss = loss_of(head, batch, vectors=batch.vectors.requires_grad_())
                loss.backward()
                outputs = decode_of(head, batch)
                return [batch, batch.vectors, batch.mask, loss, *outputs]

            kept_of_it = kept_alive(step)
            require(not kept_of_it, kept_of_it, "keep no tensor or loss on the head; keep numbers, with .item()")

        self._each_head(check)

    def test_the_batch_is_left_as_it_is(self) -> None:
        """Vectors, mask and targets are not changed in place: several heads see them."""

        def check(head: Any, batch: HeadBatch) -> None:
            targets = batch.targets
            before = batch.vectors.clone(), batch.mask.clone(), copy.deepcopy(targets)
            loss_of(head, batch, targets=targets)
            decode_of(head, batch)
            now = batch.vectors, batch.mask, targets
            for name, was, it in zip(("vectors", "mask", "targets"), before, now, strict=True):
                same = torch.equal(was, it) if isinstance(was, torch.Tensor) else was == it
                require(
                    same, f"{name} were changed in place", "work out of place: x * mask, x.masked_fill(...), x.clone()"
                )

        self._each_batch(check)

    def test_gradients_reach_every_parameter(self) -> None:
        """A parameter that no loss moves is not learned."""

        def check(head: Any, scheme: LabelScheme) -> None:
            head.train()
            missing = [""]
            for lacking in (False, True):
                for seed in range(4 if missing else 0):
                    loss_of(head, attrs.evolve(typical(scheme, seed), lacking=lacking)).backward()
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
            batch = typical(scheme, 0)
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
            results = decode_of(head, batch)
            require(
                len(results) == len(batch.spans),
                f"decode returned {len(results)} results for {len(batch.spans)} contexts",
                "return one HeadOutput for each row of the mask, rows without units too",
            )
            for output, n in zip(results, batch.lengths, strict=True):
                check_output(output, n, batch.scheme)

        self._each_batch(check)

    def test_scores_say_how_sure_it_is(self) -> None:
        """Vectors that say next to nothing are no reason to be sure: a head that has learned nothing is not."""
        for config in self.configs():
            for scheme in self.found_schemes():
                head = self.build(_settled(config, scheme), scheme, seed=1)
                batch = spread(scheme, [9, 40])
                outputs = decode_of(head, attrs.evolve(batch, vectors=0.01 * batch.vectors))
                scores = np.concatenate([output.scores for output in outputs])
                require(
                    bool((scores < 1 - 1e-6).any()),
                    "a new head is wholly sure of each tag, of vectors that are next to nothing",
                    "give the probability of each unit's tag, as softmax does, and that of each entity",
                )

    def test_training_goes_on_after_predictions(self) -> None:
        """Between two steps of training a model predicts, in inference mode: the next step is as it would be."""
        remedy = "keep no tensor that decode or loss makes on the head; make tables in __init__, as buffers"

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = spread(scheme, [9, 30])
            before = _gradient(copy.deepcopy(head), batch)
            with torch.inference_mode(), working("decode in inference mode", remedy):
                head.eval()
                head.decode(batch.vectors.clone(), batch.mask.clone(), **features_of(head, batch))
                loss_of(head, batch, vectors=batch.vectors.clone())
            head.train(False)
            with working("a step of training after a prediction in inference mode", remedy):
                after = _gradient(head, batch)
            require(close(before, after), "the gradient differs after a prediction in inference mode", remedy)

        self._each_head(check)

    def test_candidates_are_entities(self) -> None:
        """Where the head has ``candidates()``: for each context those of at least the probability that is asked for."""

        def check(head: Any, scheme: LabelScheme) -> None:
            if not callable(getattr(head, "candidates", None)):
                return
            batch = spread(scheme, [9, 0, 6])
            head.eval()
            for least in (0.02, 0.3):
                with torch.no_grad(), working(f"candidates(vectors, mask, {least})", "take least as a number"):
                    found = head.candidates(batch.vectors, batch.mask, least, **features_of(head, batch))
                seen = f"candidates returned {len(found)} lists for {len(batch.spans)} contexts"
                require(len(found) == len(batch.spans), seen, "return a list for each row of the mask")
                for spans, n in zip(found, batch.lengths, strict=True):
                    for span in spans:
                        inside = span.start >= 0 and span.stop <= n and span.label in scheme.labels
                        require(inside, f"{span} in a context of {n} units", "return known labels inside the context")
                        sure = span.score is None or least - 1e-4 <= span.score <= 1 + 1e-5
                        require(sure, f"with least={least}, {span} came", "return those of at least that probability")

        self._each_head(check)

    def test_eval_mode_is_free_of_chance(self) -> None:
        """Decoding twice, or taking the loss twice, gives the same."""

        def check(head: Any, batch: HeadBatch) -> None:
            remedy = "use dropout only through nn.Dropout or F.dropout(..., training=self.training)"
            _same(decode_of(head, batch), decode_of(head, batch), "a second time", remedy)
            _sure_loss(head, batch)

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
            batch = typical(scheme, 2)
            _train(head, batch, steps=3)
            loaded: Any = reload(head, self.build(kept(config), scheme, seed=99)).eval()
            remedy = "register what decode and loss need as a parameter or buffer (register_buffer, persistent)"
            _same(decode_of(head, batch), decode_of(loaded, batch), "after save and load", remedy)
            require(close(_loss(head, batch), _loss(loaded, batch)), "the loss differs after save and load", remedy)

        for config in self.configs():
            for scheme in self.found_schemes():
                settled = _settled(config, scheme)
                check(shake(self.build(settled, scheme, seed=1)).eval(), scheme, settled)

    def test_a_split_head_decodes_the_same(self) -> None:
        """Where the head has ``split()``: the module and the rest together are the head."""
        for config in self.configs():
            for scheme in self.found_schemes():
                head: Any = shake(self.build(_settled(config, scheme), scheme, seed=1))
                if not hasattr(head, "split"):
                    continue
                batch = spread(scheme, [9, 6])
                wanted = decode_of(head, batch)
                scorer, rest = head.split()
                with torch.no_grad():
                    emissions = scorer(batch.vectors)
                remedy = "return the scores of single units, and a head that decodes these scores"
                _same(wanted, decode_of(rest, attrs.evolve(batch, vectors=emissions)), "after split()", remedy)
                _same(wanted, decode_of(head, batch), "once it was split", "leave the head as it is")

    def test_a_settled_config_is_a_config_that_can_be_kept(self) -> None:
        """``settle`` returns a config of the same class, which is the same after writing and reading."""
        for config in self.configs():
            for scheme in self.found_schemes():
                check_round_trip(_settled(config, scheme))
                for what, targets in _few_targets(scheme):
                    remedy = "count targets >= 0 alone, and let a tag that never stands have a weight like others"
                    with working(f"settling on {what}", remedy):
                        config.settle(list(targets), scheme)
                    with working(f"a head settled on {what}", remedy):
                        settled = settle(config, targets, scheme)
                        check_round_trip(settled)
                        loss = _loss(self.build(settled, scheme), typical(scheme, 0))
                    require(bool(loss.isfinite()), f"settled on {what}, the loss of a head is {loss}", remedy)

    def test_bfloat16_vectors_are_taken(self) -> None:
        """Under autocast the encoder's vectors are bfloat16."""

        def check(head: Any, scheme: LabelScheme) -> None:
            batch = typical(scheme, 0)
            remedy = "compute losses and probabilities in float32: vectors.float(), scores.float()"
            with working("under bfloat16 autocast, the head", remedy), torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(head, batch, vectors=batch.vectors.bfloat16())
                results = decode_of(head, batch, vectors=batch.vectors.bfloat16())
            require(loss.isfinite(), f"the loss is {loss} under bfloat16 autocast", "compute it in float32")
            for output, n in zip(results, batch.lengths, strict=True):
                check_output(output, n, scheme)
            remedy = "mask with torch.finfo(x.dtype).min, not with a number that float16 does not have"
            with working("under float16 autocast, the head", remedy), torch.autocast("cpu", torch.float16):
                loss = loss_of(head, batch, vectors=batch.vectors.half())
                results = decode_of(head, batch, vectors=batch.vectors.half())
            require(loss.isfinite(), f"the loss is {loss} under float16 autocast", "compute it in float32")
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


def _check_labels(suite: ModelHeadSuite, config: Any, scheme: LabelScheme, *, seconds: float = math.inf) -> None:
    """Fail unless a head finds each label where it has learnt it by heart; of very many, some take longer."""
    spans = [[UnitSpan.of(label, 1, 3)] for label in scheme.labels]
    batch = _told_apart(batch_of(scheme, [5] * len(spans), spans, 3, 64))
    head = suite.build(_settled(config, scheme, batch), scheme, size=64)
    few, until = len(spans) // 20, time.monotonic() + seconds
    for steps in _PATIENCE:
        _train(head, batch, steps=steps, until=until)
        if time.monotonic() > until:
            return
        found = [{span.label: None for span in output.spans} for output in decode_of(head, batch)]
        everywhere = {label for labels in found for label in labels}
        missing = [label for label in scheme.labels if label not in everywhere]
        wrong = [
            (label, next(iter(labels)))
            for label, labels in zip(scheme.labels, found, strict=True)
            if labels and label not in labels
        ]
        if len(missing) <= few and len(wrong) <= 1 + few:
            return
    remedy = "score and decode every tag of scheme.tags, and every label of scheme.labels, in their order"
    seen = f"of {len(spans)} labels, never found though learnt by heart: {', '.join(missing[:12])}"
    require(len(missing) <= few, seen, remedy)
    shown = ", ".join(f"{label!r} as {other!r}" for label, other in wrong[:3])
    fail(f"of {len(spans)} labels learnt by heart, these are found: {shown}", remedy)


def _told_apart(batch: HeadBatch) -> HeadBatch:
    """Return a batch with vectors that are alike for units of no entity, and others for the units of each context's.

    A head with few weights, such as one that asks first whether there is an entity at all, can tell them apart.
    """
    kinds = torch.zeros(batch.mask.shape, dtype=torch.int64)
    for row, spans in zip(kinds, batch.spans, strict=True):
        for span in spans:
            row[span.start : span.stop] = 1 + int(kinds.max()) + torch.arange(span.stop - span.start)
    of_kinds = torch.randn(1 + int(kinds.max()), batch.vectors.shape[-1], generator=torch.Generator().manual_seed(3))
    return attrs.evolve(batch, vectors=of_kinds[kinds] + 0.1 * batch.vectors)


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
    twice = [span for span, times in Counter(output.spans).items() if times > 1]
    require(not twice, f"{twice} came more than once", "give every entity once")
    for span in output.spans:
        inside = span.start >= 0 and span.stop <= n and span.label in scheme.labels
        require(inside, f"{span} in a context of {n} units", "return known labels inside the context")
    dtypes = np.asarray(output.tags).dtype, np.asarray(output.scores).dtype
    seen = f"tags are {dtypes[0]} and scores {dtypes[1]}"
    right = dtypes[0] == np.int64 and dtypes[1] == np.float32
    require(not n or right, seen, "give tags as int64 and scores as float32")
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


def _few_targets(scheme: LabelScheme) -> list[tuple[str, list[Any]]]:
    """Return targets as small or partly labelled data give them, with what is odd about them."""
    full, bare, empty = (
        scheme.encode([UnitSpan.of(scheme.labels[0], 1, 3)], 6),
        scheme.encode([], 6),
        scheme.encode([], 0),
    )
    found = [
        ("contexts without entities", [bare, empty, bare]),
        (f"contexts in which only {scheme.labels[0]!r} stands", [full, empty, bare]),
    ]
    if scheme.targets == "tags":
        found.append(("contexts in which some units have no known target (-1)", [np.where(full > 0, full, -1), full]))
    return found


def _settled(config: Any, scheme: LabelScheme, batch: HeadBatch | None = None) -> Any:
    """Return the config, settled on the targets of a batch."""
    batch = batch or typical(scheme, 0)
    targets = [scheme.encode(spans, n) for spans, n in zip(batch.spans, batch.lengths, strict=True)]
    return settle(config, targets, scheme)


def _loss(head: Any, batch: HeadBatch) -> torch.Tensor:
    loss: torch.Tensor = loss_of(head, batch)
    return loss.detach().float()


def _spread_of(outputs: Sequence[HeadOutput], scheme: LabelScheme) -> float:
    """Return the entropy of the units' tags, as scores tell it, of those that are rather sure than not. Tags only."""
    others = len(scheme.tags) - 1
    sure = np.concatenate([output.scores for output in outputs]).astype(float)
    sure = sure[(sure > 0.5) & (sure < 1)]
    return float(-(sure * np.log(sure) + (1 - sure) * np.log((1 - sure) / others)).sum()) if others > 0 else 0.0


def _sure_loss(head: Any, batch: HeadBatch) -> torch.Tensor:
    """Return the loss in eval mode, once it is the same a second time."""
    with Draws() as draws:
        first = _loss(head, batch)
    remedy = (
        "draw in training alone: `if self.training`, nn.Dropout or F.dropout(..., training=self.training); losses of "
        "validation are compared"
    )
    for _ in range(8 if draws.found else 1):
        again = _loss(head, batch)
        require(torch.equal(first, again), f"in eval mode the loss is {first}, then {again}", remedy)
    return first


def _loss_at_once(head: Any, batch: HeadBatch) -> torch.Tensor:
    """Return the loss; a count of the steps of training is then as it was before."""
    with state_kept(head):
        return _loss(head, batch)


def _seeded_loss(head: Any, batch: HeadBatch, seed: int) -> torch.Tensor:
    with seeded(seed):
        return _loss_at_once(head, batch)


def _gradient(head: Any, batch: HeadBatch) -> torch.Tensor:
    """Return the gradient at the vectors, under one seed."""
    vectors = batch.vectors.clone().requires_grad_()
    with seeded(1), state_kept(head):
        loss = loss_of(head, batch, vectors=vectors)
        if loss.requires_grad:
            loss.backward()
    return torch.zeros_like(vectors) if vectors.grad is None else vectors.grad


def _train(head: Any, batch: HeadBatch, *, steps: int, until: float = math.inf) -> None:
    """Take steps on one batch, in train mode, and go back to eval mode; no further step after a time of the clock."""
    parameters = [p for p in head.parameters() if p.requires_grad]
    if not parameters:
        return
    head.train()
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    with seeded(0):
        for _ in range(steps):
            if time.monotonic() > until:
                break
            optimizer.zero_grad()
            loss_of(head, batch).backward()
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
