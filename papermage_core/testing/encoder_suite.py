"""The conformance suite of context encoders."""

from __future__ import annotations

import functools
import itertools
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
from hypothesis import strategies as st

from papermage_core.plugin.spec import Context, ContextNeeds, Window
from papermage_core.testing.checks import each, fail, require
from papermage_core.testing.component import ComponentSuite, check_round_trip, kept, settle
from papermage_core.testing.strategies import contexts
from papermage_core.testing.tensors import close, missing_gradients, reload, require_module, seeded

__all__ = ["ContextEncoderSuite", "sample_contexts"]

PICKLES = (".bin", ".ckpt", ".joblib", ".npy", ".pickle", ".pkl", ".pt", ".pth")


def sample_contexts(needs: ContextNeeds | None = None, *, units: Sequence[int] = (1, 7, 40, 3, 0, 12)) -> list[Context]:
    """Return contexts of these lengths, with what ``needs`` asks for, the same in every call."""
    needs = needs or ContextNeeds()
    random = np.random.default_rng(7)
    syllables = ["car", "di", "o", "gen", "ic", "Pro", "tein", "-", "12", "(", "é"]
    samples = []
    for n in units:
        words = ["".join(random.choice(syllables, random.integers(1, 4))) for _ in range(n)]
        corners = np.sort(random.random((n, 2, 2)), axis=1).reshape(n, 4).astype(np.float32)
        samples.append(
            Context(
                words=words,
                space_before=random.random(n) < 0.8,
                boxes=corners if needs.boxes else None,
                pages=np.zeros(n, np.int32) if needs.boxes else None,
                groups={name: np.cumsum(random.random(n) < 0.3).astype(np.int32) for name in needs.groups},
                metadata={key: [float(x) for x in random.integers(8, 13, n)] for key in needs.metadata}
                | ({"style": [("bold", "plain")[x] for x in random.integers(0, 2, n)]} if needs.all_metadata else {}),
            )
        )
    return samples


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

    @torch.no_grad()
    def vectors(self, windows: Sequence[Window]) -> list[torch.Tensor]:
        """Return each window's own vectors, encoded in one batch."""
        if not windows:
            return []
        out = self.encode(windows)
        return [row[: window.stop - window.start].float() for row, window in zip(out, windows, strict=True)]

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

    def test_windows_hold_numbers_of_the_same_names_and_types(self) -> None:
        """Features are cached on disk and sent to workers: arrays of fixed names, dtypes and inner shapes."""
        for subject in self.subjects():
            windows = subject.windows()
            for window in windows:
                arrays = all(isinstance(v, np.ndarray) and v.dtype.kind in "biuf" for v in window.features.values())
                require(arrays, f"features are {window.features}", "make every feature a numpy array of numbers")
                require(
                    isinstance(window.cost, int) and window.cost > 0,
                    f"a window of {window.stop - window.start} units costs {window.cost!r}",
                    "set cost to the window's length as the encoder sees it, at least 1",
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
            except Exception as exc:
                fail(f"{type(exc).__name__} without boxes, groups and metadata: {exc}", "do without what is absent")
            finite = all(vectors.isfinite().all() for _, vectors in encoded)
            require(finite, "vectors are not finite without boxes, groups and metadata", "do without what is absent")

    def test_padding_and_batch_neighbours_change_nothing(self) -> None:
        """A window's vectors are the same alone, beside longer ones, and in any order."""
        remedy = "mask the padding wherever units meet: attention, convolution, pooling, normalisation"

        def check(subject: Subject, batch: list[Context]) -> None:
            windows = subject.windows(batch)
            alone = [subject.vectors([window])[0] for window in windows]
            for order in (range(len(windows)), range(len(windows) - 1, -1, -1)):
                chosen = [windows[i] for i in order]
                for i, vectors in zip(order, subject.vectors(chosen), strict=True):
                    require(
                        close(vectors, alone[i], tolerance=1e-3),
                        f"a window of {len(vectors)} units has other vectors beside longer ones than alone (by up to "
                        f"{(vectors - alone[i]).abs().max():.2g})",
                        remedy,
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
            subject.encoder.train()
            with seeded(0):
                for windows in _chunks(subject.windows()):
                    vectors = subject.encode(windows)
                    torch.autograd.backward((vectors * torch.randn(vectors.shape)).sum())
            missing = missing_gradients(subject.encoder)
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
                fail(f"pickling failed: {exc}", "define classes at the top level of a module, and keep no open files")
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
            require(fine, f"collate returned {features!r}", "return a dict of CPU tensors")

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

    def test_a_settled_config_is_a_config_that_can_be_kept(self) -> None:
        """``settle`` returns a config of the same class, which is the same after writing and reading."""
        for config in self.configs():
            check_round_trip(settle(config, sample_contexts(config.needs)))
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

    def settled_configs(self) -> list[Any]:
        """Return the configs under test, settled on sample contexts."""
        settled = []
        for config in self.configs():
            fine = isinstance(config.needs, ContextNeeds)
            require(fine, f"needs is {config.needs!r}", "return ContextNeeds from a property")
            settled.append(settle(config, sample_contexts(config.needs)))
        return settled

    def _each_batch(self, check: Callable[[Subject, list[Context]], None]) -> None:
        for subject in self.subjects():
            each(_batches(subject.config.needs), functools.partial(check, subject), examples=self.examples)


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
