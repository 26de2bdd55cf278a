"""`Example`: what a step takes of one context, from parsed documents; and the examples of a whole corpus.

Whoever holds examples holds arrays of what must be known of all of them (their costs, their documents), and the
examples themselves in memory while they are few, else on disk.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.corpus import Corpus
from papermage_core.data.gold import encode_gold
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import OverlapPolicy, Task
from papermage_core.data.packing import pack_integers, pack_text, unpack_integers, unpack_text
from papermage_core.data.parallel import Watch, forked, processes_for, watching
from papermage_core.data.store import DiskRecords, LazyFolder, RecordWriter, finish_folder, open_folder
from papermage_core.data.units import ParsedDocument
from papermage_core.plugin.blame import calling
from papermage_core.plugin.spec import Context, ContextEncoder, ModelHead, UnitSpan, Window

__all__ = [
    "Example",
    "Examples",
    "build_examples",
    "cut",
    "has_features",
    "make_examples",
    "owners",
    "with_labels",
]

_log = logging.getLogger(__name__)
_CONTEXTS_AT_ONCE = 512
_UNITS_AT_ONCE = 50_000
"""What is handed to the encoder in one call: enough for tokenizers to be fast, few enough to bound memory."""
_IN_MEMORY = 64 << 20
"""Bytes of examples above which they are on disk."""
_WORTH_KEEPING = 2.0
"""Seconds above which examples are kept: what is made faster is made again as fast as it is read."""


@attrs.frozen(eq=False)
class Example:
    """Units ``start`` to ``stop`` of a context, mostly all of it, as a training step or a prediction takes them."""

    document: int
    """Number of the document in its corpus."""
    context: int
    """Number of the context in its document."""
    first: int
    """The document's unit that the context begins with; -1 where the context's units do not follow each other."""
    start: int
    stop: int
    windows: tuple[Window, ...]
    """The windows that answer for these units."""
    owner: NDArray[np.int64]
    """For each unit, the index in `windows` of the one that answers for it. Shape (stop - start,)."""
    targets: tuple[Any, ...] = ()
    """What each task is to learn: int64 tags, shape (stop - start,), or a list of spans; None where nobody labelled."""
    features: tuple[Mapping[str, NDArray[Any]], ...] = ()
    """What each head sees of the document past the encoder, a row for each unit; empty where no head does."""

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def cost(self) -> int:
        """Cost of a batch of the example's windows alone, padded to the longest."""
        return len(self.windows) * max((w.cost for w in self.windows), default=0)

    @property
    def n_bytes(self) -> int:
        """Bytes of its arrays."""
        arrays = [*(window.features for window in self.windows), *self.features]
        return sum(value.nbytes for each in arrays for value in each.values()) + 16 * len(self)


def make_examples(
    encoder: ContextEncoder,
    documents: Iterable[tuple[int, ParsedDocument]],
    stride: int,
    targets: Callable[[ParsedDocument], Sequence[Sequence[Any]]] | None = None,
    heads: Iterable[ModelHead] = (),
    labels: tuple[str, ...] = (),
) -> Iterator[Example]:
    """Yield one example a context of these documents and their numbers, in order.

    ``heads`` are asked for their features; ``labels`` are shown to encoder and heads. ``targets`` gives those of each
    context of a document. Documents are taken some at a time, so that tokenizers are fast.
    """
    looking = any(map(has_features, heads := tuple(heads)))
    for group in _groups(documents):
        contexts = with_labels((context for _, parsed in group for context in parsed.contexts), labels)
        with calling(encoder, "windows"):
            found = list(encoder.windows(contexts, stride=stride))
            if len(found) != len(contexts):
                raise ValueError(f"expected the windows of {len(contexts)} contexts, got those of {len(found)}")
        of_context = zip(contexts, found, strict=True)
        for number, parsed in group:
            of_targets = targets(parsed) if targets is not None else [()] * len(parsed.contexts)
            for index, (wanted, (context, windows)) in enumerate(zip(of_targets, of_context)):  # noqa: B905
                n, units = len(context), parsed.units[index]
                first = int(units[0]) if n and int(units[-1]) - int(units[0]) + 1 == n else -1
                with calling(encoder, "windows"):
                    owner = owners(windows, n)
                    _check_costs(windows)
                features = tuple(_features_of(head, context) for head in heads) if looking else ()
                yield Example(number, index, first, 0, n, tuple(windows), owner, tuple(wanted), features)


def _check_costs(windows: Sequence[Window]) -> None:
    for window in windows:
        if not isinstance(window.cost, (int, np.integer)) or window.cost < 1:
            raise ValueError(f"expected the length of a window to the encoder as its cost, got {window.cost!r:.100}")


def has_features(head: ModelHead) -> bool:
    """Whether a head looks at documents past the encoder."""
    return callable(getattr(head, "features", None))


def _features_of(head: ModelHead, context: Context) -> Mapping[str, NDArray[Any]]:
    if not has_features(head):
        return {}
    with calling(head, "features"):
        found = {name: np.asarray(values) for name, values in head.features(context).items()}  # type: ignore[attr-defined]
        for name, values in found.items():
            if values.ndim < 1 or len(values) != len(context) or values.dtype.kind not in "biuf":
                raise ValueError(
                    f"expected numbers with a row for each of {len(context)} units under {name!r}, got "
                    f"{values.dtype} of shape {values.shape}"
                )
    return found


def with_labels(contexts: Iterable[Context], labels: tuple[str, ...]) -> list[Context]:
    """Return the contexts, with the names of the labels where some are given."""
    return [attrs.evolve(context, labels=labels) if labels else context for context in contexts]


def _groups(documents: Iterable[tuple[int, ParsedDocument]]) -> Iterator[list[tuple[int, ParsedDocument]]]:
    group: list[tuple[int, ParsedDocument]] = []
    contexts = units = 0
    for number, parsed in documents:
        group.append((number, parsed))
        contexts += len(parsed.contexts)
        units += parsed.n_units
        if contexts >= _CONTEXTS_AT_ONCE or units >= _UNITS_AT_ONCE:
            yield group
            group, contexts, units = [], 0, 0
    if group:
        yield group


def owners(windows: Sequence[Window], n_units: int) -> NDArray[np.int64]:
    """Return, for each unit of a context, the index of the window that sees most around it. Shape (n_units,).

    What a window sees around a unit is the shorter of its two sides; a side that reaches the context's own end counts
    as unbounded, for there is nothing more to see. Ties go to the earlier window.

    >>> w = [Window(0, 6, {}, 6), Window(4, 10, {}, 6)]
    >>> owners(w, 10).tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    """
    if len(windows) == 1 and windows[0].start == 0 and windows[0].stop == n_units:
        return np.zeros(n_units, np.int64)
    best = np.full(n_units, -1, np.int64)
    owner = np.zeros(n_units, np.int64)
    far = n_units + 1
    for index, window in enumerate(windows):
        units = np.arange(window.start, window.stop)
        left = units - window.start if window.start > 0 else np.full(len(units), far)
        right = window.stop - 1 - units if window.stop < n_units else np.full(len(units), far)
        sees = np.minimum(left, right)
        better = sees > best[units]
        owner[units[better]] = index
        best[units[better]] = sees[better]
    if n_units and int(best.min()) < 0:
        missing = int(np.flatnonzero(best < 0)[0])
        raise ValueError(f"the encoder's windows do not cover unit {missing} of a context of {n_units} units")
    return owner


def cut(example: Example, gold: Iterable[UnitSpan], max_cost: int) -> list[Example]:
    """Return examples of a whole context that cost at most about ``max_cost`` each, none of them cutting an entity.

    Only training cuts, so that one step fits in memory however long a context is; prediction and evaluation read
    contexts whole. Cuts fall where one window hands over to the next, moved left to where no entity is open.
    """
    if example.cost <= max_cost or len(example.windows) < 2:
        return [example]
    each = max(1, max_cost * len(example.windows) // example.cost)
    inside = np.zeros(example.stop + 1, np.int64)
    for span in gold:
        inside[span.start + 1] += 1
        inside[span.stop] -= 1
    closed = np.flatnonzero(np.cumsum(inside) == 0)  # cutting before these units cuts no entity
    handover = np.flatnonzero(np.diff(example.owner)) + 1
    wanted = [int(u) for u in handover if example.owner[u] % each == 0]
    at = sorted({int(closed[np.searchsorted(closed, u, "right") - 1]) for u in wanted} - {0, example.stop})
    return [_part(example, start, stop) for start, stop in itertools.pairwise([0, *at, example.stop])]


def _gold_of(example: Example, tasks: Sequence[Task]) -> Iterator[UnitSpan]:
    for task, target in zip(tasks, example.targets, strict=True):
        if isinstance(target, np.ndarray):
            yield from task.scheme.decode(target) if (target >= 0).all() else ()
        else:
            yield from target or ()


def _part(example: Example, start: int, stop: int) -> Example:
    used, owner = np.unique(example.owner[start:stop], return_inverse=True)
    return attrs.evolve(
        example,
        start=start,
        stop=stop,
        windows=tuple(example.windows[i] for i in used.tolist()),
        owner=owner.reshape(-1),
        targets=tuple(_part_of(target, start, stop) for target in example.targets),
        features=tuple({name: value[start:stop] for name, value in each.items()} for each in example.features),
    )


def _part_of(target: Any, start: int, stop: int) -> Any:
    if target is None or isinstance(target, np.ndarray):
        return target if target is None else target[start:stop]
    return [span.shifted(-start) for span in target if start <= span.start and span.stop <= stop]


# The examples of a corpus --------------------------------------------------------------------------------------------


@attrs.frozen(eq=False, kw_only=True)
class Examples:
    """The examples of a corpus, by document and context; and what must be known of all of them, shapes (examples,)."""

    records: Sequence[Example]
    document: NDArray[np.int64]
    context: NDArray[np.int64]
    first: NDArray[np.int64]
    """See `Example.first`."""
    units: NDArray[np.int64]
    """Units of each."""
    windows: NDArray[np.int64]
    """Windows of each."""
    cost: NDArray[np.int64]
    """See `Example.cost`."""

    def __len__(self) -> int:
        return len(self.document)

    def __getitem__(self, number: int) -> Example:
        return self.records[number]

    @classmethod
    def of(cls, records: Sequence[Example]) -> Examples:
        """Return examples that are in memory."""
        return cls(records=records, **_known([_facts_of(example) for example in records]))


_KNOWN = ("document", "context", "first", "units", "windows", "cost")


def _facts_of(example: Example) -> tuple[int, ...]:
    return example.document, example.context, example.first, len(example), len(example.windows), example.cost


def _known(facts: Sequence[tuple[int, ...]]) -> dict[str, NDArray[np.int64]]:
    table = np.array(facts, np.int64).reshape(-1, len(_KNOWN))
    return {name: table[:, i] for i, name in enumerate(_KNOWN)}


@attrs.frozen(eq=False, kw_only=True)
class _Made:
    """What one process made."""

    kept: list[Example] | NDArray[np.int64]
    known: dict[str, NDArray[np.int64]]
    features: list[Any] | None
    issues: Issues


def build_examples(
    corpus: Corpus,
    encoder: ContextEncoder,
    tasks: Sequence[Task],
    *,
    stride: int,
    overlap_policy: OverlapPolicy = "longest",
    max_cost: int | None = None,
    heads: Iterable[ModelHead] = (),
    labels: tuple[str, ...] = (),
    target: Path | None = None,
    spool: Path,
    num_workers: int | None = None,
    watch: Watch | None = None,
) -> tuple[Examples, Issues]:
    """Return the examples of a corpus, and what was odd in its gold for these tasks.

    With ``max_cost`` examples are cut (see `cut`). ``target`` is the folder of the cache where they are looked for, and
    kept if they took long to make; ``spool`` the folder for those that need not be kept and do not fit in memory.
    For ``heads`` and ``labels`` see `make_examples`. ``watch`` is told of how many documents they are made.
    """
    found = _load(target) if target is not None else None
    if found is not None:
        _log.info("examples taken from the cache, %s", target)
        return found
    start = time.perf_counter()
    folder = LazyFolder(spool if target is None else target.parent)

    def make(first: int, every: int, in_memory: int) -> _Made:
        packer, issues = ExamplePacker(), Issues()
        writer = RecordWriter(folder, packer.pack, lambda example: example.n_bytes, in_memory, first)
        facts: list[tuple[int, ...]] = []
        documents = watched((i, corpus[i]) for i in range(first, len(corpus), every))
        for example in make_examples(
            encoder,
            documents,
            stride,
            lambda parsed: encode_gold(parsed, tasks, issues, overlap_policy),
            heads=tuple(heads),
            labels=labels,
        ):
            for part in [example] if max_cost is None else cut(example, _gold_of(example, tasks), max_cost):
                if len(part) or max_cost is None:
                    writer.append(part)
                    facts.append(_facts_of(part))
        if in_memory == 0 or (target is not None and time.perf_counter() - start > _WORTH_KEEPING):
            writer.spill()
        return _Made(kept=writer.finish(), known=_known(facts), features=packer.features, issues=issues)

    processes = processes_for(num_workers, corpus.n_bytes)
    tell, tick = watching(watch, processes)

    def watched(documents: Iterable[tuple[int, ParsedDocument]]) -> Iterator[tuple[int, ParsedDocument]]:
        for count, (number, parsed) in enumerate(documents):
            tell(number % processes, count)
            yield number, parsed

    if processes > 1:
        folder()
        made = forked(processes, lambda number: make(number, processes, 0), tick)
    else:
        made = [make(0, 1, _IN_MEMORY)]
    issues = Issues()
    issues.merge(each.issues for each in made)
    if isinstance(made[0].kept, list):
        return Examples(records=made[0].kept, **made[0].known), issues
    known = {name: np.concatenate([each.known[name] for each in made]) for name in _KNOWN}
    order = np.argsort(known["document"], kind="stable")
    arrays = {name: values[order] for name, values in known.items()}
    arrays["index"] = np.concatenate([np.asarray(each.kept).reshape(-1, 3) for each in made])[order]
    features = next((each.features for each in made if each.features is not None), None)
    facts = {"features": features, "issues": issues.to_json(), "made_of": corpus.description}
    where, is_kept = finish_folder(folder(), target, arrays, facts)
    return _opened(where, arrays, features, is_kept), issues


def _load(folder: Path) -> tuple[Examples, Issues] | None:
    found = open_folder(folder, [*_KNOWN, "index"])
    if found is None:
        return None
    arrays, facts = found
    return _opened(folder, arrays, facts["features"]), Issues.from_json(facts["issues"])


def _opened(folder: Path, arrays: Mapping[str, NDArray[Any]], features: Any, is_kept: bool = True) -> Examples:
    records = DiskRecords(folder, ExamplePacker(features).unpack, arrays["index"], is_kept)
    return Examples(records=records, **{name: arrays[name] for name in _KNOWN})


@attrs.define(eq=False)
class ExamplePacker:
    """Examples ↔ bytes, for an encoder, whose windows all have features of the same names, types and shapes."""

    features: list[Any] | None = None
    """Name, dtype and shape without axis 0 of each feature; None before the first window."""

    def pack(self, example: Example) -> bytes:
        """Return an example as bytes. Raises ValueError for windows unlike those before."""
        windows = []
        for window in example.windows:
            features = [[name, value.dtype.str, list(value.shape[1:])] for name, value in window.features.items()]
            if self.features is None:
                self.features = features
            elif features != self.features:
                raise ValueError(f"expected windows with the features {self.features} of the first, got {features}")
            content = [(len(value), value.tobytes()) for value in window.features.values()]
            windows.append((window.start, window.stop, window.cost, content))
        return msgspec.msgpack.encode(
            (
                (example.document, example.context, example.first, example.start, example.stop),
                windows,
                pack_integers(example.owner) if len(windows) > 1 else None,
                [_pack_target(target) for target in example.targets],
                [{name: _pack_array(value) for name, value in each.items()} for each in example.features],
            )
        )

    def unpack(self, content: bytes) -> Example:
        """Return the example that ``pack`` packed; its features are read-only."""
        place, packed, owner, targets, of_heads = msgspec.msgpack.decode(content)
        document, context, first, start, stop = place
        return Example(
            document,
            context,
            first,
            start,
            stop,
            windows=tuple(Window(start, stop, self._features(values), cost) for start, stop, cost, values in packed),
            owner=np.zeros(stop - start, np.int64) if owner is None else unpack_integers(owner),
            targets=tuple(map(_unpack_target, targets)),
            features=tuple({name: _unpack_array(value) for name, value in each.items()} for each in of_heads),
        )

    def _features(self, packed: Sequence[tuple[int, bytes]]) -> Mapping[str, NDArray[Any]]:
        return {
            name: np.frombuffer(content, dtype).reshape(rows, *shape)
            for (name, dtype, shape), (rows, content) in zip(self.features or (), packed, strict=True)
        }


def _pack_array(values: NDArray[Any]) -> Any:
    return values.dtype.str, values.shape, values.tobytes()


def _unpack_array(packed: Any) -> NDArray[Any]:
    kind, shape, content = packed
    values: NDArray[Any] = np.frombuffer(content, kind).reshape(shape)
    return values


def _pack_target(target: Any) -> Any:
    if isinstance(target, np.ndarray):
        return pack_integers(target)
    return target if target is None else {"spans": [(pack_text(span.label), span.segments) for span in target]}


def _unpack_target(packed: Any) -> Any:
    if isinstance(packed, dict):
        return [UnitSpan(unpack_text(label), tuple((a, b) for a, b in found)) for label, found in packed["spans"]]
    return packed if packed is None else unpack_integers(packed)
