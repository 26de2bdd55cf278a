"""The conformance suite of context encoders."""

from __future__ import annotations

import contextlib
import functools
import itertools
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from papermage_core.errors import ConfigError, DataError
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import Context, ContextEncoderConfig, ContextNeeds, Window
from papermage_core.testing.checks import each, ending, fail, require, working
from papermage_core.testing.component import ComponentSuite, check_round_trip, kept, settle
from papermage_core.testing.samples import (
    far_context,
    many_words,
    odd_contexts,
    other_contexts,
    sample_contexts,
    training_contexts,
)
from papermage_core.testing.strategies import contexts
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
    state_kept,
    unregistered,
    without_dropout,
)

__all__ = ["ContextEncoderSuite", "sample_contexts"]

_MOST_RATE = 50
"""Times the learning rate that was given, of a group of parameters."""
_OF_GROUPS = (
    ("lr", "learning rate", frozenset({"lr", "learning_rate", "rate"})),
    ("weight_decay", "weight decay", frozenset({"weight_decay", "decay"})),
)
"""Keys of groups of parameters, what they are, and the options by which an encoder may set them itself."""
_BUDGET = 4.0
"""Seconds after which no further order of words is tried."""
_UNITS_OF_A_COST = 8
"""An encoder may see fewer places than there are units, but not one for any number."""

PICKLES = (".bin", ".ckpt", ".joblib", ".npy", ".pickle", ".pkl", ".pt", ".pth")


@attrs.frozen(eq=False, slots=False)
class Subject:
    """An encoder under test, with its config."""

    config: Any
    encoder: Any
    build: Callable[..., Any]

    @functools.cached_property
    def fresh(self) -> Subject:
        """A second encoder of the same config, with other weights."""
        return attrs.evolve(self, encoder=self.build(self.config, seed=5))

    def windows(self, batch: Sequence[Context] | None = None) -> list[Window]:
        """Return the windows of some contexts, or of sample contexts, in one list."""
        chosen = sample_contexts(self.config.needs) if batch is None else batch
        return [window for windows in self.encoder.windows(chosen, stride=2) for window in windows]

    def encode(self, windows: Sequence[Window]) -> torch.Tensor:
        """Return what ``forward`` returns for a batch, once its shape is what it should be."""
        out: torch.Tensor = self.encoder(self.encoder.collate(windows))
        shape = (len(windows), max(window.stop - window.start for window in windows), self.encoder.output_size)
        require(
            tuple(out.shape) == shape,
            f"forward returned shape {tuple(out.shape)} for {shape[0]} windows of up to {shape[1]} units",
            f"return (windows, units of the longest window, output_size), here {shape}",
        )
        return out

    def is_free_of_chance(self, windows: Sequence[Window]) -> bool:
        """Whether nothing is drawn, and two seeds give the same vectors, in the mode that the encoder is in."""
        found = []
        with Draws() as draws:
            for seed in (1, 2):
                with seeded(seed):
                    found.append(torch.cat(self.vectors_at_once(windows)))
        return torch.equal(*found) and not draws.found

    @torch.no_grad()
    def vectors(self, windows: Sequence[Window]) -> list[torch.Tensor]:
        """Return each window's own vectors, encoded in one batch."""
        if not windows:
            return []
        out = self.encode(windows)
        return [row[: window.stop - window.start].float() for row, window in zip(out, windows, strict=True)]

    def vectors_at_once(self, windows: Sequence[Window]) -> list[torch.Tensor]:
        """Return each window's own vectors; a count of the steps of training is then as it was before."""
        with state_kept(self.encoder) if self.encoder.training else contextlib.nullcontext():
            return self.vectors(windows)

    def encoded(self, batch: Sequence[Context]) -> list[tuple[Window, torch.Tensor]]:
        """Return the windows of some contexts, each with its vectors."""
        windows = self.windows(batch)
        return list(zip(windows, self.vectors(windows), strict=True))

    def train(self) -> None:
        """Take a few steps in train mode, and go back to eval mode."""
        parameters = [p for p in self.encoder.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=0.01) if parameters else None
        self.encoder.train()
        with seeded(0):
            for windows in _chunks(self.windows()):
                vectors = self.encode(windows)
                if optimizer is not None:
                    optimizer.zero_grad()
                    torch.autograd.backward(vectors.square().mean())
                    optimizer.step()
        self.encoder.eval()


def _chunks(windows: Sequence[Window], size: int = 3) -> Iterator[Sequence[Window]]:
    for start in range(0, len(windows), size):
        yield windows[start : start + size]


class ContextEncoderSuite(ComponentSuite):
    """Subclass as ``class TestMine(ContextEncoderSuite): component = "mine"``.

    An encoder whose windows are long is checked faster, and harder, with an option that makes them short.
    """

    kind: ClassVar[str] = "context_encoder"
    examples: ClassVar[int] = 15
    """Random batches for each property; fewer for a slow encoder."""

    def build(self, config: Any, folder: Path | None = None, *, seed: int = 0) -> Any:
        """Return a new encoder in eval mode."""
        with seeded(seed):
            encoder = config.build(folder)
        require_module(encoder, ("windows", "collate", "forward", "save"))
        return encoder.eval()

    def subjects(self) -> list[Subject]:
        """Return a new encoder for each of ``options``, settled on sample contexts."""
        return [Subject(config, self.build(config), self.build) for config in self.settled_configs()]

    def test_the_encoder_says_its_size(self) -> None:
        """``output_size`` is the last axis of what ``forward`` returns."""
        for subject in self.subjects():
            size = getattr(subject.encoder, "output_size", None)
            require(isinstance(size, int) and size > 0, f"output_size is {size!r}", "set it to the size of a vector")
            for name in ("default_learning_rate", "default_batch_size", "default_batch_cost", "training_batch_cost"):
                value = getattr(subject.config, name)
                require(isinstance(value, (int, float)) and value > 0, f"{name} is {value!r}", "set it above 0")

    def test_windows_cover_every_unit_in_order(self) -> None:
        """Windows lie inside their context, go forward, and leave nothing out; no units, no windows."""

        def check(subject: Subject, batch: list[Context]) -> None:
            for stride in (0, 2):
                for context, windows in zip(batch, subject.encoder.windows(batch, stride=stride), strict=True):
                    _check_cover(windows, len(context), stride)

        self._each_batch(check)

    def test_windows_overlap_by_the_stride(self) -> None:
        """Where a context needs several windows, neighbours share units."""
        for subject in self.subjects():
            (long,) = sample_contexts(subject.config.needs, units=[600])
            for stride in (0, 8):
                windows = subject.encoder.windows([long], stride=stride)[0]
                _check_cover(windows, 600, stride)
                for first, second in itertools.pairwise(windows):
                    shared = first.stop - second.start
                    require(
                        shared > 0 or stride == 0,
                        f"with stride={stride} two neighbouring windows share {shared} units",
                        "begin a window about `stride` units before the one before it ends",
                    )
            for stride in (64, 1000):
                try:
                    subject.config.check(stride=stride)
                except ConfigError:
                    continue
                remedy = "begin each window after the one before, whatever the stride; or have check() refuse it"
                with working(f"windows() with stride={stride}", remedy), ending(), contextlib.suppress(ConfigError):
                    _check_cover(subject.encoder.windows([long], stride=stride)[0], 600, stride)

    def test_counted_windows_are_those_that_are_made(self) -> None:
        """``count_windows`` of the config, where it is not None: ``papermage-data check`` shows it."""
        for subject in self.subjects():
            contexts = sample_contexts(subject.config.needs)
            for stride in (0, 2):
                found = subject.config.count_windows(contexts, stride)
                made = [len(windows) for windows in subject.encoder.windows(contexts, stride=stride)]
                require(
                    found is None or list(found) == made,
                    f"count_windows says {found}, windows makes {made} with stride={stride}",
                    "count them by the rule that windows follows, or return None",
                )

    def test_windows_hold_numbers_of_the_same_names_and_types(self) -> None:
        """Features are cached on disk and sent to workers: arrays of fixed names, dtypes and inner shapes."""
        for subject in self.subjects():
            windows = subject.windows()
            for window in windows:
                arrays = all(isinstance(v, np.ndarray) and v.dtype.kind in "biuf" for v in window.features.values())
                require(arrays, f"features are {window.features}", "make every feature a numpy array of numbers")
                units = window.stop - window.start
                require(
                    isinstance(window.cost, int) and window.cost > units // _UNITS_OF_A_COST,
                    f"a window of {units} units costs {window.cost!r}",
                    "set cost to the window's length as the encoder sees it, at least 1: batches are filled by it",
                )
            forms = {tuple((k, np.asarray(v).dtype, np.shape(v)[1:]) for k, v in w.features.items()) for w in windows}
            require(len(forms) == 1, f"windows differ in form: {forms}", "keep names, dtypes and inner shapes the same")

    def test_windows_of_contexts_do_not_depend_on_each_other(self) -> None:
        """``windows(a + b)`` equals ``windows(a) + windows(b)``, and neither weights nor earlier calls matter."""

        def check(subject: Subject, batch: list[Context]) -> None:
            together = subject.encoder.windows(batch, stride=2)
            other = subject.fresh.encoder
            alone = [other.windows([context], stride=2)[0] for context in batch[::-1]][::-1]
            for one, two in zip(together, alone, strict=True):
                same = len(one) == len(two) and all(map(_same_window, one, two))
                require(same, "windows differ when made together and one by one", "keep no state between contexts")

        self._each_batch(check)

    def test_every_unit_gets_a_finite_vector(self) -> None:
        """Wordless, long, odd and unplaced units too."""

        def check(subject: Subject, batch: list[Context]) -> None:
            for window, vectors in subject.encoded(batch):
                require(
                    vectors.isfinite().all(),
                    f"some vectors of a window of {window.stop - window.start} units are not finite",
                    "see to units without a word, and without a box",
                )

        self._each_batch(check)

    def test_a_context_without_boxes_groups_and_metadata_is_encoded(self) -> None:
        """Documents do not always have what ``needs`` asks for."""
        for subject in self.subjects():
            bare = sample_contexts(ContextNeeds())
            try:
                encoded = subject.encoded(bare)
            except _lacking(subject.config):
                continue
            except Exception as exc:
                remedy = "do without what is absent: None, no such key, NaN; or raise DataError, which says what lacks"
                fail(f"{type(exc).__name__} without boxes, groups and metadata: {exc}", remedy)
            finite = all(vectors.isfinite().all() for _, vectors in encoded)
            require(finite, "vectors are not finite without boxes, groups and metadata", "do without what is absent")

    def test_padding_and_batch_neighbours_change_nothing(self) -> None:
        """A window's vectors are the same alone, beside longer ones, and in any order."""

        def check(subject: Subject, batch: list[Context]) -> None:
            _check_batches(subject, subject.windows(batch), "")

        self._each_batch(check)

    def test_in_train_mode_padding_and_neighbours_change_nothing_either(self) -> None:
        """But for the dropout, training sees each window as prediction does."""
        for subject in self.subjects():
            windows = subject.windows(sample_contexts(subject.config.needs, units=(5, 12, 3, 9)))
            subject.encoder.train()
            with without_dropout():
                if subject.is_free_of_chance(windows):
                    _check_batches(subject, windows, "in train mode, without dropout, ")
            _check_seeded(subject)

    def test_the_mode_is_left_as_it_is(self) -> None:
        """Whether dropout is on is the core's to say: no call but ``train`` and ``eval`` changes it."""
        for subject in self.subjects():
            for mode in (True, False):
                subject.encoder.train(mode)
                encoder = subject.encoder
                seen = f"after train({mode}) the encoder has training = {encoder.training}"
                require(encoder.training == mode, seen, "let a train(mode) of its own call super().train(mode)")
                before = modes(encoder)
                windows = subject.windows()
                require_modes(encoder, before, "windows()")
                features = encoder.collate(windows)
                require_modes(encoder, before, "collate()")
                with seeded(0):
                    encoder(features)
                require_modes(encoder, before, "forward()")

    def test_many_contexts_and_long_ones_are_encoded(self) -> None:
        """Hundreds of units, dozens of contexts, thousands of words, and a word of thousands of letters."""
        for subject in self.subjects():
            needs = subject.config.needs
            odd = attrs.evolve(many_words(needs, 3), words=["x" * 5000, "日" * 500, "word"])
            for what, batch in (
                ("a context of 700 units", sample_contexts(needs, units=[700])),
                ("48 contexts", sample_contexts(needs, units=[1 + number % 5 for number in range(48)])),
                ("a context of 3000 different words", [many_words(needs, 3000)]),
                ("words of thousands of letters", [odd]),
                ("units on page 700, in group 60000 of their document,", [far_context(needs)]),
            ):
                remedy = "make windows that fit the encoder's tables, and take rows of a table modulo its length"
                with working(f"encoding {what}", remedy):
                    for windows in _chunks(subject.windows(batch), 48):
                        finite = all(vectors.isfinite().all() for vectors in subject.vectors(windows))
                        require(finite, f"vectors of {what} are not finite", "see what grows with the length")
            _check_far_on(subject)

    def test_encoding_keeps_no_state(self) -> None:
        """A context is encoded the same again after others, after many words, and after training mode."""
        remedy = (
            "keep nothing between calls that changes a later one: no cache that answers for other inputs or changes as "
            "it fills, no counter, no statistic"
        )
        for subject in self.subjects():
            needs = subject.config.needs
            (first,) = sample_contexts(needs, units=[12])
            other = attrs.evolve(first, words=[f"{word}x" for word in first.words[::-1]])
            fresh = attrs.evolve(subject, encoder=self.build(subject.config))
            for batch in ([other], [many_words(needs, 1500)]):
                for windows in _chunks(fresh.windows(batch), 48):
                    fresh.vectors(windows)
            fresh.encoder.train()
            for batch in ([other], [first]):
                fresh.vectors(fresh.windows(batch))
            fresh.encoder.eval()
            windows, again = subject.windows([first]), fresh.windows([first])
            same = len(windows) == len(again) and all(map(_same_window, windows, again))
            require(same, "a context has other windows once others were seen", remedy)
            one, two = torch.cat(subject.vectors(windows)), torch.cat(fresh.vectors(again))
            require(close(one, two), "a context has other vectors once others were encoded", remedy)
            self._check_caches(subject, first)

    def _check_caches(self, subject: Subject, first: Context) -> None:
        """Fail where what was seen of one context answers for another that is like it, or that lies where it lay."""
        remedy = (
            "let a cache answer for what is wholly the same: all of a context that is looked at is its key, no id()"
        )
        seen = attrs.evolve(subject, encoder=self.build(subject.config))
        for other in other_contexts(first):
            seen.vectors(seen.windows([other]))
        one, two = subject.windows([first]), seen.windows([first])
        same = len(one) == len(two) and all(map(_same_window, one, two))
        require(same, "a context has other windows once one was seen that differs in a single thing", remedy)
        vectors = torch.cat(subject.vectors(one)), torch.cat(seen.vectors(two))
        require(close(*vectors), "a context has other vectors once one was seen that differs in a single thing", remedy)
        words = [f"{word}x" for word in first.words]
        wanted = subject.encoder.windows([attrs.evolve(first, words=words)], stride=2)[0]
        for lies_at in (lambda context: id(context.words), id):
            found = seen.encoder.windows([_lying_where_one_lay(seen, first, words, lies_at)], stride=2)[0]
            same = len(found) == len(wanted) and all(map(_same_window, found, wanted))
            require(same, "a context has the windows of another, which is no more", remedy)

    def test_training_goes_on_after_predictions(self) -> None:
        """Between two steps of training a model predicts, in inference mode: the next step is as it would be."""
        remedy = "keep no tensor that forward makes on the encoder; make tables in __init__, as buffers"
        for subject in self.subjects():
            windows = subject.windows(sample_contexts(subject.config.needs, units=(5, 12, 30)))
            features = subject.encoder.collate(windows)
            before = _gradients(subject.encoder, features)
            other = attrs.evolve(subject, encoder=reload(subject.encoder, self.build(subject.config, seed=5)).eval())
            with torch.inference_mode(), working("forward in inference mode", remedy):
                other.encoder(other.encoder.collate(windows))
            if before:
                with working("a step of training after a prediction in inference mode", remedy):
                    after = _gradients(other.encoder, features)
                same = before.keys() == after.keys() and all(
                    close(before[name].to_dense(), after[name].to_dense()) for name in before
                )
                require(same, "the gradients differ after a prediction in inference mode", remedy)

    def test_batches_may_be_collated_ahead(self) -> None:
        """Other processes collate batches before the one at hand is encoded: ``forward`` knows its features alone."""
        remedy = "put all that forward needs of a batch into its features; keep none of it on the encoder"
        for subject in self.subjects():
            windows = subject.windows(sample_contexts(subject.config.needs, units=(5, 12, 3, 9)))
            batches = [windows[:2], windows[2:3], windows[3:]] if len(windows) > 3 else [windows[:1], windows[1:]]
            batches = [batch for batch in batches if batch]
            alone = [[vectors.clone() for vectors in subject.vectors(batch)] for batch in batches]
            ahead = [subject.encoder.collate(batch) for batch in batches]
            copies = [{name: tensor.clone() for name, tensor in features.items()} for features in ahead]
            subject.encoder.collate(windows)
            same = all(
                torch.equal(was[name], now[name]) for was, now in zip(copies, ahead, strict=True) for name in was
            )
            require(same, "the features of a batch change when others are collated", "return new tensors each time")
            never = reload(subject.encoder, self.build(subject.config, seed=5)).eval()
            for encoder, when in (
                (subject.encoder, "once other batches were collated"),
                (never, "in a process where it was not collated"),
            ):
                with working(f"encoding a batch, {when},", remedy), torch.no_grad():
                    found = [encoder(features) for features in ahead]
                for batch, vectors, wanted in zip(batches, found, alone, strict=True):
                    rows = [row[: w.stop - w.start].float() for row, w in zip(vectors, batch, strict=True)]
                    same = all(map(close, rows, wanted))
                    require(same, f"a batch has other vectors {when}", remedy)

    def test_two_encoders_share_nothing(self) -> None:
        """An encoder is as it was once others of its config are built, trained and used."""
        remedy = (
            "let build() make a new encoder, and keep what it learns and what was settled on the encoder itself: in no "
            "class, module or cache that all share"
        )
        for subject in self.subjects():
            windows = subject.windows()
            first, weights = torch.cat(subject.vectors(windows)), _copied_state(subject.encoder)
            for sample in (training_contexts(subject.config.needs), sample_contexts(subject.config.needs, units=[9])):
                config = settle(subject.config, sample)
                other = Subject(config, self.build(config, seed=2), self.build)
                require(other.encoder is not subject.encoder, "build() returned what it had built before", remedy)
                with working("an encoder beside another", remedy):
                    other.train()
                now = subject.encoder.state_dict()
                moved = [name for name in weights if not torch.equal(weights[name], now[name])]
                seen = "once another encoder was built and trained"
                require(not moved, f"{seen}, the weights {', '.join(moved)} of the first are others", remedy)
                with working(f"an encoder, {seen},", remedy):
                    again = subject.windows()
                    vectors = torch.cat(subject.vectors(again))
                same = len(windows) == len(again) and all(map(_same_window, windows, again))
                require(same, f"{seen}, the first makes other windows", remedy)
                require(close(first, vectors), f"{seen}, the first has other vectors", remedy)

    def test_contexts_and_features_are_left_as_they_are(self) -> None:
        """Features come from a map of the cache that cannot be written to; contexts belong to the core."""
        remedy = "work on a copy: np.array(x), tensor.clone(), or out of place"
        for subject in self.subjects():
            batch = sample_contexts(subject.config.needs)
            before = [_content(context) for context in batch]
            with _read_only(*map(_arrays_of, batch)), working("windows() of read-only arrays", remedy):
                windows = subject.windows(batch)
            changed = [_content(context) for context in batch] != before
            require(not changed, "windows() changed the contexts that it was given", remedy)
            windows = [_copied(window) for window in windows]
            held = [{name: np.array(value) for name, value in window.features.items()} for window in windows]
            remedy = f"features are a read-only map of the cache: {remedy}"
            arrays = [list(window.features.values()) for window in windows]
            with _read_only(*arrays), working("collate() and forward() of read-only features", remedy):
                subject.vectors(windows)
            same = all(
                np.array_equal(window.features[name], value, equal_nan=value.dtype.kind == "f")
                for window, before_it in zip(windows, held, strict=True)
                for name, value in before_it.items()
            )
            require(same, "collate() or forward() changed the features of a window in place", remedy)

    def test_vectors_have_the_dtype_of_the_weights(self) -> None:
        """float32 unless the run computes in another precision, as under bfloat16 or float16 autocast."""
        for subject in self.subjects():
            windows = subject.windows(sample_contexts(subject.config.needs, units=(3, 9)))
            with torch.no_grad():
                dtype = subject.encode(windows).dtype
            remedy = "make what numpy counts in float64 float32 in collate, and compute in the dtype of the weights"
            require(dtype == torch.float32, f"forward returned {dtype}", remedy)
            autocast = working("under bfloat16 autocast, forward", "mix no dtypes: follow that of the vectors at hand")
            with autocast, torch.autocast("cpu", torch.bfloat16), torch.no_grad():
                out = subject.encode(windows)
            fine = out.dtype in (torch.float32, torch.bfloat16) and bool(out.isfinite().all())
            require(fine, f"under bfloat16 autocast, vectors are {out.dtype} and not all finite", remedy)
            remedy = "mask with torch.finfo(x.dtype).min, not with a number that float16 does not have"
            half = working("under float16 autocast, forward", remedy)
            with half, torch.autocast("cpu", torch.float16), torch.no_grad():
                out = subject.encode(windows)
            require(bool(out.isfinite().all()), "under float16 autocast, vectors are not finite", remedy)

    def test_tensors_move_with_the_encoder(self) -> None:
        """All that ``forward`` computes with is a parameter or a buffer, so that it is on the device of the others."""
        for subject in self.subjects():
            windows = subject.windows()[:3]
            for mode in (False, True):
                subject.encoder.train(mode)

                def encode(subject: Subject = subject, windows: Sequence[Window] = windows) -> Any:
                    return subject.encoder(subject.encoder.collate(windows))

                found = unregistered(subject.encoder, encode)
                remedy = (
                    "register_buffer(name, tensor), persistent=False if it need not be saved; or make it in forward"
                )
                require(
                    not found, f"{', '.join(found)} is neither a parameter nor a buffer, and stays on the CPU", remedy
                )

    def test_only_the_seeded_generator_is_drawn_from(self) -> None:
        """In training, ``collate`` and ``forward`` draw from torch's global generator alone, and nobody seeds it."""
        remedy = (
            "draw with torch, from its global generator: no np.random, no random, no Generator of its own; a count of "
            "steps belongs in a buffer"
        )
        for subject in self.subjects():
            windows = subject.windows()[:4]
            self._check_unseeded(subject)
            ends: list[torch.Tensor] = []
            drawn: list[Any] = []
            for seed in (3, 3, 4):
                with other_generators(len(drawn)), seeded(seed):
                    encoder = subject.config.build(None).train()
                    ends.append(torch.get_rng_state())
                    drawn.append([_trained(encoder, windows, seed=1) for _ in range(2)])
                    torch.manual_seed(seed)
                    encoder(encoder.collate(windows))
                    ends.append(torch.get_rng_state())
            apart = not torch.equal(ends[2], ends[4]) and not torch.equal(ends[3], ends[5])
            one, other = drawn[0], drawn[1]
            require(torch.equal(one[0], other[0]), "in train mode, one seed gives two results", remedy)
            require(torch.equal(one[0], one[1]), "in train mode, one seed gives another result the second time", remedy)
            require(
                apart,
                "the generator of torch is set to a seed",
                "call no manual_seed: the run is seeded once, for all of its parts",
            )

    @staticmethod
    def _check_unseeded(subject: Subject) -> None:
        contexts = sample_contexts(subject.config.needs, units=(5, 3))
        windows = subject.windows(contexts)
        features = subject.encoder.collate(windows)

        def save() -> None:
            with tempfile.TemporaryDirectory() as folder:
                subject.encoder.save(Path(folder))

        require_unseeded(
            settle=lambda: subject.config.settle(contexts),
            build=lambda: subject.config.build(None),
            windows=lambda: subject.encoder.windows(contexts, stride=2),
            collate=lambda: subject.encoder.collate(windows),
            forward=lambda: subject.encoder(features),
            save=save,
        )

    def test_nothing_is_kept_of_what_was_encoded(self) -> None:
        """Windows, vectors and their graphs go when the core lets them go: memory does not grow with the data."""
        remedy = "keep no window, tensor or loss on the encoder; keep numbers, with .item() or .detach()"
        for subject in self.subjects():
            windows = subject.windows(sample_contexts(subject.config.needs, units=(5, 3)))
            subject.encoder.train()

            def step(number: int, subject: Subject = subject, windows: list[Window] = windows) -> list[Any]:
                copies = [_copied(window) for window in windows]
                vectors = subject.encode(copies)
                if vectors.requires_grad:
                    vectors.sum().backward()  # type: ignore[no-untyped-call]
                return [*copies, vectors, *(array for window in copies for array in window.features.values())]

            kept_of_it = kept_alive(step)
            require(not kept_of_it, kept_of_it, remedy)

    def test_gradients_are_finite(self) -> None:
        """For wordless and unplaced units too: what is not finite and hidden by torch.where has a gradient of NaN."""

        def check(subject: Subject, batch: list[Context]) -> None:
            windows = subject.windows(batch)
            if not windows:
                return
            subject.encoder.zero_grad()
            vectors = subject.encode(windows)
            if vectors.requires_grad:
                real = [row[: window.stop - window.start] for row, window in zip(vectors, windows, strict=True)]
                torch.cat(real).square().sum().backward()  # type: ignore[no-untyped-call]
            wrong = [
                n for n, p in subject.encoder.named_parameters() if p.grad is not None and not p.grad.isfinite().all()
            ]
            require(
                not wrong,
                f"the gradient of {', '.join(wrong)} is not finite",
                "replace NaN and 0 before sqrt, log and division",
            )

        self._each_batch(check)

    def test_eval_mode_is_free_of_chance(self) -> None:
        """Encoding twice gives the same."""
        for subject in self.subjects():
            windows = subject.windows()
            first, second = (torch.cat(subject.vectors(windows)) for _ in range(2))
            require(
                torch.equal(first, second),
                "in eval mode the vectors differ from call to call",
                "use dropout only through nn.Dropout or F.dropout(..., training=self.training)",
            )

    def test_gradients_reach_every_parameter(self) -> None:
        """A parameter that no unit vector depends on is not learned."""
        for subject in self.subjects():
            if not any(parameter.requires_grad for parameter in subject.encoder.parameters()):
                continue  # all that it does is fixed
            missing = [""]
            subject.encoder.train()
            for batch in (sample_contexts(subject.config.needs), odd_contexts(subject.config.needs)):
                with seeded(0), contextlib.suppress(*_lacking(subject.config)):
                    for windows in _chunks(subject.windows(batch)):
                        vectors = subject.encode(windows)
                        require(
                            vectors.requires_grad,
                            "no gradient reaches the encoder: nothing of it is learnt",
                            "compute without detach() and torch.no_grad(); or freeze all of it with "
                            "requires_grad_(False)",
                        )
                        torch.autograd.backward((vectors * torch.randn(vectors.shape)).sum())
                missing = missing_gradients(subject.encoder)
                if not missing:
                    break
            require(
                not missing,
                f"no gradient reaches {', '.join(missing)}",
                "use these in forward, leave them out, or freeze them with requires_grad_(False)",
            )

    def test_equal_seeds_give_equal_encoders(self) -> None:
        """New weights come from torch's global generator alone."""
        for config in self.settled_configs():
            first, second = (Subject(config, self.build(config, seed=3), self.build) for _ in range(2))
            windows = first.windows()
            same = torch.equal(torch.cat(first.vectors(windows)), torch.cat(second.vectors(windows)))
            require(same, "two encoders built under one seed differ", "draw initial weights with torch only")

    def test_a_saved_encoder_encodes_the_same(self) -> None:
        """Options, what was learned, state_dict and the folder that ``save`` wrote are all that a checkpoint keeps."""
        for config in self.settled_configs():
            subject = Subject(config, self.build(config, seed=1), self.build)
            subject.train()
            with tempfile.TemporaryDirectory() as name:
                subject.encoder.save(Path(name))
                fresh = self.build(kept(config), Path(name), seed=99)
            loaded = Subject(config, reload(subject.encoder, fresh).eval(), self.build)
            before, after = subject.windows(), loaded.windows()
            same = len(before) == len(after) and all(map(_same_window, before, after))
            require(same, "windows differ after save and load", "write all that windows() uses in save()")
            require(
                close(torch.cat(subject.vectors(before)), torch.cat(loaded.vectors(after))),
                "vectors differ after save and load",
                "register what forward needs as a parameter or buffer, or write it in save() and read it in build()",
            )
            self._check_saved_again(config, subject, before)

    def _check_saved_again(self, config: Any, subject: Subject, windows: Sequence[Window]) -> None:
        """Fail unless an encoder can be saved twice, and one that was loaded can be saved: training goes on with it."""
        remedy = "write in each save() all that build(folder) reads, from what is kept, and change nothing by it"
        encoder = subject.encoder  # which was saved already
        for times in ("twice", "again after it was loaded"):
            with tempfile.TemporaryDirectory() as name, working(f"an encoder that is saved {times}", remedy):
                encoder.save(Path(name))
                fresh = self.build(kept(config), Path(name), seed=99)
            loaded = Subject(config, reload(encoder, fresh).eval(), self.build)
            with working(f"an encoder that was saved {times}", remedy):
                after = loaded.windows()
                same = len(windows) == len(after) and all(map(_same_window, windows, after))
                require(same, f"windows differ where the encoder was saved {times}", remedy)
                one, two = torch.cat(subject.vectors(windows)), torch.cat(loaded.vectors(after))
                require(close(one, two), f"vectors differ where the encoder was saved {times}", remedy)
            encoder = loaded.encoder

    def test_no_pickle_is_saved(self) -> None:
        """Loading a checkpoint runs no code from its folder."""
        for subject in self.subjects():
            with tempfile.TemporaryDirectory() as name:
                subject.encoder.save(Path(name))
                found = [path.name for path in Path(name).rglob("*") if path.suffix in PICKLES or _is_pickle(path)]
            require(not found, f"save wrote {', '.join(found)}", "write JSON, text or safetensors")

    def test_the_encoder_can_be_pickled(self) -> None:
        """Worker processes call ``collate`` of a copy."""
        for subject in self.subjects():
            windows = subject.windows()
            try:
                copy = pickle.loads(pickle.dumps(subject.encoder))  # the suite's own bytes
            except Exception as exc:
                remedy = (
                    "define classes at the top level of a module, and keep no open files; what cannot be pickled, as "
                    "modules that torch parametrizes, __getstate__ may leave out: a copy is asked for collate() only"
                )
                fail(f"pickling failed: {exc}", remedy)
            first, second = subject.encoder.collate(windows), copy.collate(windows)
            same = first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
            require(same, "a pickled copy collates otherwise", "keep all state in plain attributes")

    def test_collate_gives_tensors_on_the_cpu(self) -> None:
        """The core moves them."""
        for subject in self.subjects():
            features = subject.encoder.collate(subject.windows())
            fine = isinstance(features, dict) and all(
                isinstance(v, torch.Tensor) and v.device.type == "cpu" for v in features.values()
            )
            require(fine, f"collate returned {features!r:.200}", "return a dict of CPU tensors")
            remedy = "look nothing up in weights in collate: it runs in other processes, which have old ones"
            learnt = [name for name, value in features.items() if value.requires_grad]
            require(not learnt, f"a gradient is wanted of {', '.join(learnt)}, which collate returned", remedy)
            with seeded(0):
                ours = subject.encoder.collate(subject.windows())
            with seeded(0):
                others = subject.fresh.encoder.collate(subject.windows())
            same = ours.keys() == others.keys() and all(_equal(ours[name], others[name]) for name in ours)
            require(same, "collate returns other features where the weights are others", remedy)

    def test_parameter_groups_hold_every_parameter_once(self) -> None:
        """Where the encoder has groups of its own."""
        for subject in self.subjects():
            encoder = subject.encoder
            if not hasattr(encoder, "parameter_groups"):
                continue
            groups = encoder.parameter_groups(1e-3, 0.01)
            grouped = sorted(id(parameter) for group in groups for parameter in group["params"])
            wanted = sorted(id(parameter) for parameter in encoder.parameters() if parameter.requires_grad)
            frozen = {id(parameter) for parameter in encoder.parameters() if not parameter.requires_grad}
            require(
                [parameter for parameter in grouped if parameter not in frozen] == wanted,
                "parameter_groups does not hold every trainable parameter exactly once",
                "put each parameter into one group",
            )
            rates = [group["lr"] for group in groups if "lr" in group]
            odd = [rate for rate in rates if not 0 <= rate <= _MOST_RATE * 1e-3]
            require(
                not odd,
                f"for a learning rate of 0.001 parameter_groups has one of {', '.join(map(str, odd))}",
                "derive the rates of groups from the one given: the user chose it",
            )
            others = encoder.parameter_groups(2e-3, 0.05)
            for key, what, names in _OF_GROUPS:
                if not names.isdisjoint(option.name for option in describe_options(type(subject.config))):
                    continue  # it is an option of its own
                one, two = ([group[key] for group in each if group.get(key)] for each in (groups, others))
                require(
                    one != two or not one,
                    f"parameter_groups gives the same {what}, {one[:3]}, whatever the user chose",
                    f"derive it from the {what} that is given, or leave {key!r} out of the group",
                )

    def test_what_is_exportable_computes_the_same(self) -> None:
        """Where the encoder has ``exportable()``, and that gives a module."""
        for subject in self.subjects():
            encoder = subject.encoder
            if not hasattr(encoder, "exportable"):
                continue
            try:
                module = encoder.exportable().eval()
            except ConfigError:
                continue
            features = encoder.collate(subject.windows())
            given = module.inputs(features) if hasattr(module, "inputs") else features
            with torch.no_grad():
                wanted, found = encoder(features), module(dict(given))
            units = [window.stop - window.start for window in subject.windows()]
            require(
                found.shape == wanted.shape
                and all(close(a[:n].float(), b[:n].float()) for a, b, n in zip(wanted, found, units, strict=True)),
                "the module that exportable() returns gives other vectors than the encoder",
                "compute the same in eval mode, whatever the operations",
            )

    def test_sparse_gradients_are_those_of_the_encoder(self) -> None:
        """Where the encoder has ``make_gradients_sparse()``: of one sparse dimension, and equal when written out."""
        for subject in self.subjects():
            encoder = subject.encoder
            if not hasattr(encoder, "make_gradients_sparse"):
                continue
            features = encoder.collate(subject.windows())
            dense = _gradients(encoder, features)
            encoder.make_gradients_sparse()
            sparse = _gradients(encoder, features)
            odd = [name for name, gradient in sparse.items() if gradient.is_sparse and gradient.sparse_dim() != 1]
            require(
                not odd,
                f"after make_gradients_sparse() the gradients of {', '.join(odd)} are sparse in several dimensions",
                "let rows be sparse, as torch.nn.Embedding(sparse=True) does",
            )
            same = dense.keys() == sparse.keys() and all(close(sparse[n].to_dense(), dense[n]) for n in dense)
            require(
                same,
                "after make_gradients_sparse() the encoder has other gradients than before",
                "change how they are kept, not what they are",
            )

    def test_another_arithmetic_computes_much_the_same(self) -> None:
        """Where the encoder has ``compute_in()``: vectors are near, and training is as it was."""
        remedy = (
            "compute so where no gradient is wanted (not torch.is_grad_enabled()), and leave the weights as they are"
        )
        for subject in self.subjects():
            if not hasattr(subject.encoder, "compute_in"):
                continue
            windows = subject.windows(sample_contexts(subject.config.needs, units=(5, 12, 30)))
            features = subject.encoder.collate(windows)
            wanted, gradients = torch.cat(subject.vectors(windows)), _gradients(subject.encoder, features)
            for precision in ("bf16", "int8", "fp32"):
                try:
                    subject.encoder.compute_in(precision)
                except ConfigError:
                    continue
                with working(f"after compute_in({precision!r}), the encoder", remedy):
                    found = torch.cat(subject.vectors(windows))
                    near = nn.functional.cosine_similarity(found, wanted, dim=-1)
                    fine = bool(found.isfinite().all()) and float(near.mean()) > 0.9
                    require(fine, f"after compute_in({precision!r}) vectors are far from those before", remedy)
                    now = _gradients(subject.encoder, features)
                same = gradients.keys() == now.keys() and all(
                    now[name].dtype == gradients[name].dtype
                    and close(now[name].to_dense(), gradients[name].to_dense(), tolerance=1e-3)
                    for name in gradients
                )
                require(same, f"after compute_in({precision!r}) the encoder has other gradients", remedy)

    def test_a_settled_config_is_a_config_that_can_be_kept(self) -> None:
        """``settle`` returns a config of the same class, which is the same after writing and reading."""
        for config in self.configs():
            check_round_trip(settle(config, training_contexts(config.needs)))
            with contextlib.suppress(*_lacking(config)):
                check_round_trip(settle(config, sample_contexts(ContextNeeds())))

    def test_what_was_learned_builds_the_same_encoder(self) -> None:
        """A config that came back from a checkpoint builds what the settled one built."""
        for config in self.settled_configs():
            built = Subject(config, self.build(config, seed=3), self.build)
            again = Subject(config, self.build(kept(config), seed=3), self.build)
            first, second = built.windows(), again.windows()
            same = len(first) == len(second) and all(map(_same_window, first, second))
            require(
                same and torch.equal(torch.cat(built.vectors(first)), torch.cat(again.vectors(second))),
                f"two encoders built from {config}, one by way of JSON, differ",
                "put what settle learns into learned() fields, and let build() look at nothing else",
            )

    def test_weights_fit_what_is_settled_again(self) -> None:
        """``settle_again``, for training that goes on, changes nothing that weights are made for."""
        remedy = (
            "return attrs.evolve(self, ...) from settle_again with nothing changed that build() reads, or leave it out"
        )
        for config in self.settled_configs():
            contexts = training_contexts(config.needs)
            with working("settle_again on other contexts", remedy):
                again = config.settle_again(contexts[: len(contexts) // 2])
            require(type(again) is type(config), f"settle_again returned {again!r:.100}", remedy)
            check_round_trip(again)
            subject = Subject(config, self.build(config, seed=1), self.build)
            with tempfile.TemporaryDirectory() as name, working("an encoder that was settled again", remedy):
                subject.encoder.save(Path(name))
                fresh = self.build(kept(again), Path(name), seed=99)
                goes_on = Subject(again, reload(subject.encoder, fresh).eval(), self.build)
                before, after = subject.windows(), goes_on.windows()
            same = len(before) == len(after) and all(map(_same_window, before, after))
            require(
                same and close(torch.cat(subject.vectors(before)), torch.cat(goes_on.vectors(after))),
                "after settle_again the same weights give other vectors",
                remedy,
            )

    def test_pretraining_trains_the_encoder(self) -> None:
        """Where a config offers ``pretraining``: a loss of each batch, that the encoder's weights learn from."""
        offered = type(self.configs()[0]).pretraining is not ContextEncoderConfig.pretraining
        for config in self.configs() if offered else ():
            pretrained = config.for_pretraining()
            settled = settle(pretrained, training_contexts(pretrained.needs))
            subject = Subject(settled, self.build(settled), self.build)
            try:
                task = settled.pretraining(subject.encoder)
            except ConfigError:
                continue  # it says why these options cannot be
            require_module(task, ("loss", "save_pretrained"))
            task.train()
            some = subject.windows()
            for windows in ([window] for window in some[:1]), _chunks(some):
                for number, batch in enumerate(windows):
                    self._pretrain_on(task, subject.encoder.collate(batch), number)
            moved = {name for name, value in subject.encoder.named_parameters() if value.grad is not None}
            remedy = "compute the loss of what the encoder given returns, without detach() and torch.no_grad()"
            require(moved, "no gradient of the loss of pretraining reaches the encoder", remedy)
            with tempfile.TemporaryDirectory() as name:
                task.save_pretrained(Path(name))
                files = [path for path in Path(name).rglob("*") if path.is_file()]
                require(files, "save_pretrained wrote no file", "write what an option of the config takes")
                found = [path.name for path in files if path.suffix in PICKLES or _is_pickle(path)]
            require(not found, f"save_pretrained wrote {', '.join(found)}", "write JSON, text or safetensors")

    def _pretrain_on(self, task: nn.Module, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fail unless the loss of a batch is a number to learn from, drawn from torch's generator."""
        losses = []
        for _ in range(2):
            with seeded(seed), working("loss(features)", "take every batch that collate makes"):
                losses.append(task.loss(features))  # type: ignore[operator]
        loss = losses[0]
        fine = isinstance(loss, torch.Tensor) and loss.ndim == 0 and bool(loss.isfinite()) and loss.requires_grad
        remedy = "return a tensor of one finite number, shape (), with a gradient"
        require(fine, f"the loss of pretraining is {loss!r:.200}", remedy)
        require(torch.equal(*losses), "under one seed the loss of pretraining differs", "draw with torch only")
        torch.autograd.backward(loss)

    def settled_configs(self) -> list[Any]:
        """Return the configs under test, settled on sample contexts."""
        settled = []
        for config in self.configs():
            fine = isinstance(config.needs, ContextNeeds)
            require(fine, f"needs is {config.needs!r}", "return ContextNeeds from a property")
            settled.append(settle(config, training_contexts(config.needs)))
        return settled

    def _each_batch(self, check: Callable[[Subject, list[Context]], None]) -> None:
        def check_batch(subject: Subject, batch: list[Context]) -> None:
            with contextlib.suppress(*_lacking(subject.config)):
                check(subject, batch)

        for subject in self.subjects():
            each(_batches(subject.config.needs), functools.partial(check_batch, subject), examples=self.examples)


def _lacking(config: Any) -> tuple[type[DataError], ...]:
    """Return what an encoder may raise of documents that lack what it needs, if it needs anything."""
    return () if config.needs == ContextNeeds() else (DataError,)


def _check_batches(subject: Subject, windows: list[Window], when: str) -> None:
    """Fail unless windows have the same vectors alone and together; say what it is in the batch that changes them."""
    alone = [subject.vectors_at_once([window])[0] for window in windows]
    together = subject.vectors_at_once(windows)
    turned = subject.vectors_at_once(windows[::-1])[::-1]
    for window, one, two, three in zip(windows, alone, together, turned, strict=True):
        if close(two, one, tolerance=1e-3) and close(three, one, tolerance=1e-3):
            continue
        n = window.stop - window.start
        most = max(float((other - one).abs().max()) for other in (two, three))
        beside = f"{when}a window of {n} units has other vectors (by up to {most:.2g})"
        if not close(two, three, tolerance=1e-3):
            fail(f"{beside} at another place of the batch", "treat every row of a batch alike: none by its place in it")
        longer = many_words(subject.config.needs, n + 4)
        turned_words = attrs.evolve(longer, words=longer.words[::-1])
        beside_one, beside_other = (
            subject.vectors_at_once([window, subject.windows([context])[0]])[0] for context in (longer, turned_words)
        )
        if not close(beside_one, beside_other, tolerance=1e-3):
            fail(
                f"{beside} beside others than alone, and it depends on their words",
                "share nothing between the windows of a batch: no mean or norm over axis 0, no BatchNorm",
            )
        fail(
            f"{beside} beside longer ones than alone",
            "mask the padding wherever units meet: attention, convolution, pooling, normalisation",
        )


def _check_far_on(subject: Subject) -> None:
    """Fail where units that are told apart in a short context are all encoded alike at the end of a long one."""
    needs = subject.config.needs
    short = sample_contexts(needs)[2]  # of words that the encoder was shown
    (long,) = sample_contexts(needs, units=[3000])
    long = attrs.evolve(long, words=[short.words[at % len(short)] for at in range(3000)], long_forms={})
    if _n_apart(subject, subject.windows([short])) == 1:
        return
    windows = subject.windows([long])
    for part in (windows[:1], windows[-1:]):
        n = sum(window.stop - window.start for window in part)
        require(
            _n_apart(subject, part) > 1 or n < 3,
            f"of a context of 3000 units, {n} have one vector, which are told apart in a short one",
            "cut nothing off: make as many windows as it takes",
        )


def _n_apart(subject: Subject, windows: list[Window]) -> int:
    """Return how many vectors of units are different."""
    vectors = torch.cat([row for some in _chunks(windows, 48) for row in subject.vectors(some)])
    return len(torch.unique(vectors.round(decimals=4), dim=0))


def _lying_where_one_lay(
    subject: Subject, first: Context, words: Sequence[str], lies_at: Callable[[Context], int]
) -> Context:
    """Return a context that, or whose list of words, lies in memory where one lay that was encoded and let go."""
    others: list[Context] = []  # kept, so that each lies at another place
    former = attrs.evolve(first, words=[f"{word}y" for word in words])
    subject.encoder.windows([former], stride=2)
    place = lies_at(former)
    del former
    while len(others) < 1000:
        others.append(attrs.evolve(first, words=[*words]))
        if lies_at(others[-1]) == place:
            break
    return others[-1]


def _copied_state(encoder: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items() if isinstance(tensor, torch.Tensor)}


def _check_seeded(subject: Subject) -> None:
    """Fail where, under one seed, a window's vectors depend on the order of the words of another context.

    Only where that order leaves the form of the batch and all that is drawn as they are. Where words fill windows of
    other sizes, as wordpieces do, one seed gives other dropout to every window, which is no fault.
    """
    begun = time.monotonic()
    first, *others = sample_contexts(subject.config.needs, units=(6, 9, 3))
    for other in others:
        form, vectors = _seeded(subject, [first, other])
        for turned in _turned(other):
            other_form, other_vectors = _seeded(subject, [first, turned])
            require(
                form != other_form or close(vectors, other_vectors, tolerance=1e-3),
                "in train mode, under one seed, a window's vectors depend on the words of another window of the batch",
                "share nothing between the windows of a batch: no mean or norm over axis 0, no BatchNorm",
            )
            if time.monotonic() - begun > _BUDGET:
                break


def _seeded(subject: Subject, batch: list[Context]) -> tuple[Any, torch.Tensor]:
    """Return the form of a batch, with what is drawn for it, and the vectors of its first window under a seed."""
    windows = subject.windows(batch)
    with seeded(5), Draws() as draws:
        vectors = subject.vectors_at_once(windows)[0]
    return ([(window.start, window.stop, window.cost) for window in windows], draws.found), vectors


def _turned(context: Context) -> Iterator[Context]:
    """Yield the context with its words in other orders, the opposite one first; with their spaces and without."""
    random, n = np.random.default_rng(3), len(context)
    for order in [np.arange(n)[::-1], *(random.permutation(n) for _ in range(5))]:
        words = [context.words[unit] for unit in order]
        for spaces in (context.space_before, context.space_before[order]):
            yield attrs.evolve(context, words=words, space_before=spaces)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and close(one.float(), other.float())


def _trained(encoder: Any, windows: Sequence[Window], seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    with state_kept(encoder):
        vectors: torch.Tensor = encoder(encoder.collate(windows))
        return vectors.detach().clone()


def _gradients(encoder: Any, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the gradients of a sum that weighs each number of the vectors otherwise, by name, in eval mode."""
    encoder.eval()
    encoder.zero_grad()
    vectors = encoder(features).float()
    if not vectors.requires_grad:
        return {}
    (vectors * torch.linspace(-1, 2, vectors.numel()).sin().view_as(vectors)).sum().backward()
    found = {name: weight.grad for name, weight in encoder.named_parameters() if weight.grad is not None}
    encoder.zero_grad()
    return found


def _copied(window: Window) -> Window:
    return attrs.evolve(window, features={name: np.array(value) for name, value in window.features.items()})


def _arrays_of(context: Context) -> list[Any]:
    return [a for a in (context.space_before, context.boxes, context.pages, *context.groups.values()) if a is not None]


def _content(context: Context) -> tuple[Any, ...]:
    metadata = {key: list(values) for key, values in context.metadata.items()}
    return list(context.words), [array.tobytes() for array in _arrays_of(context)], metadata


@contextlib.contextmanager
def _read_only(*arrays: Sequence[Any]) -> Iterator[None]:
    """Make arrays read-only while the block runs; torch's warning of them is not shown: it is the core's own."""
    every = [array for of_one in arrays for array in of_one]
    for array in every:
        array.flags.writeable = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            yield
    finally:
        for array in every:
            array.flags.writeable = True


def _batches(needs: ContextNeeds) -> st.SearchStrategy[list[Context]]:
    return st.booleans().flatmap(lambda bare: st.lists(contexts(needs, bare=bare), min_size=1, max_size=4))


def _check_cover(windows: Sequence[Window], n: int, stride: int) -> None:
    places = [(window.start, window.stop) for window in windows]
    if n == 0:
        require(not places, f"a context of no units has the windows {places}", "return an empty list for it")
        return
    reached, before = 0, -1
    for start, stop in places:
        if not (before < start <= reached < stop <= n):
            fail(
                f"{n} units, stride={stride}: a window goes from {start} to {stop}, those before reach to {reached}",
                "begin at unit 0, go forward, leave no unit out, and end at the last",
            )
        reached, before = stop, start
    require(reached == n, f"the windows leave out units {reached} to {n} (stride={stride})", "cover every unit")


def _same_window(one: Window, other: Window) -> bool:
    return (
        (one.start, one.stop, one.cost) == (other.start, other.stop, other.cost)
        and one.features.keys() == other.features.keys()
        and all(
            np.array_equal(one.features[k], other.features[k], equal_nan=_inexact(one.features[k]))
            for k in one.features
        )
    )


def _inexact(array: Any) -> bool:
    return bool(np.asarray(array).dtype.kind == "f")


def _is_pickle(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
