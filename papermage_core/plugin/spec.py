"""All that a plugin author has to read: the hooks, the interfaces behind them, and a plugin that runs.

A *component* is a part that a config names: a context encoder, a label scheme, a model head, a document reader,
processor or writer, an optimizer, a metric, an extension. A plugin is any installed distribution with an entry point
in the group of the component's kind.
The entry point's **name is the component's name**; its value is a module (or object) that implements the kind's hook:

| entry-point group | hook | returns a subclass of |
|---|---|---|
| ``papermage.context_encoder`` | `papermage_context_encoder` | `ContextEncoderConfig` |
| ``papermage.label_scheme`` | `papermage_label_scheme` | `LabelSchemeConfig` |
| ``papermage.model_head`` | `papermage_model_head` | `ModelHeadConfig` |
| ``papermage.document_reader`` | `papermage_document_reader` | `DocumentReaderConfig` |
| ``papermage.document_processor`` | `papermage_document_processor` | `DocumentProcessorConfig` |
| ``papermage.document_writer`` | `papermage_document_writer` | `DocumentWriterConfig` |
| ``papermage.optimizer`` | `papermage_optimizer` | `OptimizerConfig` |
| ``papermage.metric`` | `papermage_metric` | `MetricConfig` |
| ``papermage.extension`` | `papermage_extension` | `ExtensionConfig`; or the life-cycle hooks alone |

The module is imported only when a config names the component. Keep it light: put torch behind ``build``.

Life of a component
-------------------
1. The hook returns a **config class**: frozen, keyword-only attrs; its fields are the component's options.
2. The core structures what the user typed into it: unknown keys, wrong types, values out of range are reported there.
3. ``settle`` sees the training data and returns the config to build from. It may replace automatic options (class
   weights, whether there are boxes), and fill the `learned` fields (a vocabulary, a gazetteer, a file). The data comes
   as a stream: it has a length and may be gone through more than once, but is not held in memory, so keep what you
   count, not what you see. What ``settle`` returns is what the checkpoint keeps.
4. ``build`` makes the component. When a checkpoint is loaded, ``build`` runs again from the settled config, then the
   weights are loaded into it; so ``build`` must not look at the data.

Words
-----
A *unit* is what gets a label (a token); a *context* is what the encoder may look at together (a page); a *window* is a
stretch of a context that fits the encoder. All spans are half-open. ``B`` is contexts in a batch, ``U`` the units of
the longest of them, ``D`` the encoder's `output_size`, ``K`` the scheme's tags.

A complete plugin
-----------------
A head that scores tags with two layers, in a file ``my_head.py``:

    import attrs
    from papermage_core.plugin import ModelHeadConfig, hookimpl, option

    @attrs.frozen(kw_only=True)
    class MyHeadConfig(ModelHeadConfig):
        hidden: int = option(64, help="size of the hidden layer", ge=1)

        def build(self, input_size, scheme):
            import torch
            from torch import nn
            from papermage_core.plugin import HeadOutput

            class MyHead(nn.Module):
                def __init__(self, hidden):
                    super().__init__()
                    self.score = nn.Sequential(
                        nn.Linear(input_size, hidden), nn.ReLU(), nn.Linear(hidden, len(scheme.tags))
                    )

                def loss(self, vectors, mask, targets):
                    known = mask & (targets >= 0)
                    return nn.functional.cross_entropy(self.score(vectors)[known], targets[known], reduction="sum")

                def decode(self, vectors, mask):
                    scores, tags = self.score(vectors).softmax(-1).max(-1)
                    return [
                        HeadOutput.from_tags(t[m].cpu().numpy(), s[m].float().cpu().numpy(), scheme)
                        for t, s, m in zip(tags, scores, mask)
                    ]

            return MyHead(self.hidden)

    @hookimpl
    def papermage_model_head():
        return MyHeadConfig

Try it at once with ``papermage-train … head=my_head plugins_path=my_head.py``, or publish it with an entry point:

    [project.entry-points."papermage.model_head"]
    my_head = "my_head"
"""

from __future__ import annotations

import itertools
import math
import operator
import reprlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import attrs
import pluggy

from papermage_core.errors import ConfigError, DataError
from papermage_core.plugin.learned_fields import check_learned, empty_value, learned_types, mark
from papermage_core.plugin.part_fields import MARK, made_by_default

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger

    from papermage_core.document import Document

__all__ = [
    "API_VERSION",
    "PROJECT",
    "ComponentConfig",
    "Context",
    "ContextEncoder",
    "ContextEncoderConfig",
    "ContextNeeds",
    "DocumentProcessor",
    "DocumentProcessorConfig",
    "DocumentReader",
    "DocumentReaderConfig",
    "DocumentWriter",
    "DocumentWriterConfig",
    "ExtensionConfig",
    "HeadOutput",
    "LabelScheme",
    "LabelSchemeConfig",
    "LocatedDocument",
    "Metric",
    "MetricConfig",
    "ModelHead",
    "ModelHeadConfig",
    "OptimizerConfig",
    "UnitSpan",
    "Window",
    "hookimpl",
    "hookspec",
    "learned",
    "option",
    "part",
]

PROJECT = "papermage"
API_VERSION = 2
"""Version of this file. A plugin module may state the one it was made for: ``papermage_api_version = 2``."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Targets = Literal["tags", "spans"]
Self = TypeVar("Self", bound="ComponentConfig")
_Encoder = TypeVar("_Encoder", bound="ContextEncoderConfig")
_Head = TypeVar("_Head", bound="ModelHeadConfig")
_Processor = TypeVar("_Processor", bound="DocumentProcessorConfig")


# Options -------------------------------------------------------------------------------------------------------------


def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,  # the word users see
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Sequence[Any] | None = None,
    search: tuple[float, float] | tuple[float, float, Literal["log"]] | None = None,
) -> Any:
    """Return an attrs field with a one-line help and a range; a shorthand, plain attrs fields work as well.

    ``None`` passes every range, so that an ``int | None`` option can be left out. Infinity passes none, unless it is
    the default or a bound (``le=math.inf``). Of a ``Mapping[str, float]``, which users type as ``name.key=0.5``, each
    value is to be in the range. ``search`` is where good values of a number lie, ``(0.1, 0.6)`` or
    ``(64, 256, "log")``: what ``papermage-tune`` tries without a space of the user's.

    >>> import attrs
    >>> @attrs.frozen(kw_only=True)
    ... class C(ComponentConfig):
    ...     dropout: float = option(0.1, help="share of values set to zero in training", ge=0, lt=1)
    >>> C().dropout
    0.1
    """
    limits = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    validators = [getattr(attrs.validators, name)(bound) for name, bound in limits.items() if bound is not None]
    if choices is not None:
        validators.append(attrs.validators.in_(tuple(choices)))
    if not any(isinstance(each, float) and math.isinf(each) for each in (default, *limits.values())):
        validators.append(_finite)
    validator = attrs.validators.optional(_of_each(attrs.validators.and_(*validators))) if validators else None
    metadata: dict[str, Any] = {"help": help, "choices": tuple(choices) if choices is not None else None}
    metadata |= {name: bound for name, bound in {**limits, "search": search}.items() if bound is not None}
    return attrs.field(default=default, validator=validator, metadata=metadata)


def _of_each(validator: Callable[..., Any]) -> Callable[..., None]:
    """Return a validator of a value, or of each of a mapping's."""

    def check(config: Any, field: attrs.Attribute[Any], value: Any) -> None:
        for each in value.values() if isinstance(value, Mapping) else (value,):
            validator(config, field, each)

    return check


def _finite(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"{field.name!r} must be finite: {value}")


def learned(*, help: str) -> Any:
    """Return an attrs field for what ``settle`` learns from the training data: a vocabulary, a gazetteer, a scale.

    It is no option: users cannot type it, and ``config.yaml`` does not hold it. The checkpoint keeps it as JSON, and
    ``build`` finds it in the config, in training and when the checkpoint is loaded. Types are ``str``, ``int``,
    ``float``, ``tuple[str, ...]``, ``tuple[int, ...]``, ``tuple[float, ...]``, ``Mapping[str, int]`` and
    ``Mapping[str, float]`` (plain dicts), each with ``| None`` if you like; and ``bytes``, for what is a file of its
    own (a BPE model, a matrix as ``numpy.save`` writes it): the checkpoint keeps it as one. Until something is learned,
    a tuple or mapping is empty, and all else is None.

    >>> import attrs
    >>> @attrs.frozen(kw_only=True)
    ... class C(ComponentConfig):
    ...     vocabulary: tuple[str, ...] = learned(help="the words of the training data")
    >>> C().vocabulary, attrs.evolve(C(), vocabulary=("ataxia",)).vocabulary
    ((), ('ataxia',))
    """

    def empty(config: ComponentConfig) -> Any:
        (name,) = (field.name for field in attrs.fields(type(config)) if field.default is default)
        return empty_value(learned_types(type(config))[name])

    default: Any = attrs.Factory(empty, takes_self=True)
    # A mapping has no hash, and a vocabulary is long: neither belongs in the hash, nor whole in a message.
    metadata = {**mark, "help": help}
    return attrs.field(default=default, validator=check_learned, hash=False, repr=reprlib.repr, metadata=metadata)


def part(default: str | None = None, *, help: str) -> Any:
    """Return an attrs field for the config of another component, which the user chooses by its name.

    Annotate it with the kind, ``inner: ContextEncoderConfig = part("compact", help=...)``. Users then type
    ``encoder.inner=hf encoder.inner.model_name_or_path=...``; without a ``default`` they have to. Your ``needs``,
    ``settle``, ``build`` and ``save`` call those of the field's value; checkpoints keep its options and what it
    learned, and record its distribution.
    """

    def chosen(config: ComponentConfig) -> Any:
        (name,) = (field.name for field in attrs.fields(type(config)) if field.default is factory)
        return made_by_default(config, name)

    factory: Any = attrs.Factory(chosen, takes_self=True)
    metadata = {MARK: default, "help": help}
    return attrs.field(metadata=metadata) if default is None else attrs.field(default=factory, metadata=metadata)


@attrs.frozen(kw_only=True)
class ComponentConfig:
    """The options of a component. Subclass as ``@attrs.frozen(kw_only=True)``; defaults must be immutable.

    Field types may be ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Literal``, enums, ``X | None``,
    ``tuple[X, ...]``, ``Mapping[str, X]`` and nested frozen attrs classes: all that can be typed as ``head.key=value``,
    of a mapping as ``head.key.name=value``; its default is None, for a dict can be changed. No option may be called
    ``name``: in a config file that is the component's own.
    """


# What goes in --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ContextNeeds:
    """What an encoder or head wants to see of documents beside the units' text. What nobody needs is not computed.

    Documents do not always have it. Who cannot do without raises DataError, which says what lacks, in ``windows`` or
    ``features``: training stops there, and predicting passes over the document if ``on_error=skip``.
    """

    boxes: bool = False
    groups: tuple[str, ...] = ()
    """Layers of which each unit's group is wanted, such as ``("rows", "blocks")``. Absent layers are left out."""
    metadata: tuple[str, ...] = ()
    """Keys of the units' metadata, such as ``("font", "size")``. Keys that no unit has are left out."""
    all_metadata: bool = False
    """Whether every key of the units' metadata with plain values is wanted, for an encoder that settles which it uses.

    The key that labels are taken from (``label_attribute``) is left out, and so are a document's keys beyond 64.
    """
    document_metadata: tuple[str, ...] = ()
    """Keys of the document's own metadata, such as ``("venue", "year")``. Absent ones are left out."""
    neighbours: int = 0
    """How many contexts before and after are wanted, as words."""
    long_forms: bool = False
    """Whether the long forms of abbreviations are wanted that the document defines."""
    images: bool = False
    """Whether the images of the pages are wanted on which the units' boxes are."""
    labels: bool = False
    """Whether the names of the labels are wanted; a head has them in its scheme."""
    gold: bool = False
    """Whether an encoder's config wants the gold entities of the training contexts that it settles by."""

    def __or__(self, other: ContextNeeds) -> ContextNeeds:
        """Return what either wants.

        >>> (ContextNeeds(boxes=True, groups=("rows",)) | ContextNeeds(groups=("rows", "blocks"), neighbours=1)).groups
        ('rows', 'blocks')
        """

        def joined(name: str) -> Any:
            own, others = getattr(self, name), getattr(other, name)
            return tuple(dict.fromkeys(own + others)) if isinstance(own, tuple) else max(own, others)

        return ContextNeeds(**{field.name: joined(field.name) for field in attrs.fields(ContextNeeds)})


@attrs.frozen(eq=False, kw_only=True)
class Context:
    """A stretch of a document whose ``n`` units are read together, in document order."""

    words: Sequence[str]
    """The text of each unit; empty for a wordless one (a soft hyphen, an empty span). Length n."""
    space_before: NDArray[np.bool_]
    """Whether white space, or nothing, stands before the unit: false where two units touch. Shape (n,)."""
    boxes: NDArray[np.float32] | None = None
    """Left, top, right, bottom of each unit as shares of its page, NaN for a unit without a box. Shape (n, 4)."""
    pages: NDArray[np.int32] | None = None
    """Page number of each unit's box, -1 for none. Given with `boxes`. Shape (n,)."""
    groups: Mapping[str, NDArray[np.int32]] = attrs.field(factory=dict)
    """Layer name → index, in the document, of the entity that holds the unit, -1 for none. Shapes (n,)."""
    metadata: Mapping[str, Sequence[Any]] = attrs.field(factory=dict)
    """Metadata key → the value of each unit, None where it has none. Lengths n."""
    document_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """Key → value of the document's own metadata."""
    before: Sequence[Sequence[str]] = ()
    """The words of the contexts before this one, the nearest last. Length `ContextNeeds.neighbours`, or less."""
    after: Sequence[Sequence[str]] = ()
    """The words of the contexts after this one, the nearest first."""
    long_forms: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    """Short form → words of its long form, for the units that are abbreviations which the document defines, here or
    elsewhere: ``HIF`` by "the hypoxia inducible factor (HIF)"."""
    images: Mapping[int, bytes] = attrs.field(factory=dict)
    """Page number → the page's image as a file (PNG)."""
    labels: tuple[str, ...] = ()
    """The names of the labels of all tasks."""
    gold: Sequence[UnitSpan] | None = None
    """The gold entities of all tasks, in units of the context. Given to ``settle`` alone, never to ``windows``; None
    where nobody labelled the document for each task."""
    document: int = -1
    """Which of the training documents it is of, where gold is asked for."""

    def __len__(self) -> int:
        return len(self.words)


@attrs.frozen(eq=False)
class Window:
    """Units ``start`` to ``stop`` of a context, as the encoder wants them.

    `features` are arrays that the encoder's ``collate`` turns into tensors. They are cached on disk and sent to worker
    processes, so they hold numbers only. Names and dtypes are the same for every window of an encoder. Axis 0 may
    have any length; the other axes are fixed.
    """

    start: int
    stop: int
    features: Mapping[str, NDArray[Any]]
    cost: int
    """Length of the window to the encoder (wordpieces, or units): windows of like cost are batched together."""


@attrs.frozen
class UnitSpan:
    """An entity of a context, in units: its label and the segments of units that it is made of.

    A segment ``(start, stop)`` is half-open. Most entities have one; a discontinuous one has several, in order and
    apart from each other. So there is one way to write an entity, and equal ones are equal, in sets too. The score is
    carried, not compared. Numbers of numpy and torch become Python's own. Raises ValueError for segments that are
    empty, out of order, or touch.

    >>> heart = UnitSpan("Disease", ((2, 4), (6, 7)), score=0.9)
    >>> heart.start, heart.stop, list(heart.units), heart.is_discontinuous
    (2, 7, [2, 3, 6], True)
    """

    label: str
    segments: tuple[tuple[int, int], ...]
    score: float | None = attrs.field(default=None, eq=False)

    def __attrs_post_init__(self) -> None:
        # Decoding makes many of these: that of one sound segment is let through before anything else is looked at.
        try:
            ((start, stop),) = self.segments
        except (TypeError, ValueError):
            self._check()
        else:
            if not (type(start) is type(stop) is int) or start >= stop or type(self.segments) is not tuple:
                self._check()
        if self.score is not None and type(self.score) is not float:
            object.__setattr__(self, "score", float(self.score))

    def _check(self) -> None:
        if not isinstance(self.label, str):
            raise TypeError(
                f"expected a label, got {self.label!r}; UnitSpan(start, stop, label) of plugin API 1 is now "
                "UnitSpan.of(label, start, stop), or UnitSpan(label, segments)"
            )
        if not isinstance(self.segments, tuple) or not all(
            isinstance(segment, tuple) and len(segment) == 2 for segment in self.segments
        ):
            raise TypeError(f"expected segments as a tuple of tuples (start, stop), got {self.segments!r}")
        try:
            plain = tuple((operator.index(start), operator.index(stop)) for start, stop in self.segments)
        except TypeError as exc:
            raise TypeError(f"expected whole numbers in segments (start, stop), got {self.segments!r}") from exc
        object.__setattr__(self, "segments", plain)
        ends = [end for segment in plain for end in segment]
        if not ends or any(left >= right for left, right in itertools.pairwise(ends)):
            raise ValueError(
                f"expected segments (start, stop) that hold a unit each, in order and apart from each other, "
                f"got {self.segments}; UnitSpan.joining sorts and joins"
            )

    @classmethod
    def of(cls, label: str, start: int, stop: int, score: float | None = None) -> UnitSpan:
        """Return the entity of one segment, units ``start`` to before ``stop``.

        >>> UnitSpan.of("Disease", 2, 4) == UnitSpan("Disease", ((2, 4),))
        True
        """
        return cls(label, ((start, stop),), score)

    @classmethod
    def joining(cls, label: str, segments: Iterable[tuple[int, int]], score: float | None = None) -> UnitSpan:
        """Return the entity that covers ``segments``, which may touch, overlap and come in any order.

        >>> UnitSpan.joining("Disease", [(6, 7), (2, 3), (3, 4)]).segments
        ((2, 4), (6, 7))
        """
        joined: list[tuple[int, int]] = []
        for start, stop in sorted(segments):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
            else:
                joined.append((start, stop))
        return cls(label, tuple(joined), score)

    @property
    def start(self) -> int:
        """The first unit."""
        return self.segments[0][0]

    @property
    def stop(self) -> int:
        """One past the last unit."""
        return self.segments[-1][1]

    @property
    def units(self) -> Iterator[int]:
        """The units that belong to the entity, in order; those between its segments do not."""
        return itertools.chain.from_iterable(itertools.starmap(range, self.segments))

    @property
    def is_discontinuous(self) -> bool:
        """Whether there is more than one segment."""
        return len(self.segments) > 1

    @property
    def place(self) -> tuple[int, int, str, tuple[tuple[int, int], ...]]:
        """What entities are sorted by: start, stop, label, segments."""
        segments = self.segments
        return segments[0][0], segments[-1][1], self.label, segments

    def __lt__(self, other: UnitSpan) -> bool:
        return self.place < other.place

    def shifted(self, by: int) -> UnitSpan:
        """Return the entity ``by`` units further on.

        >>> UnitSpan.of("Disease", 2, 4).shifted(-2).segments
        ((0, 2),)
        """
        return UnitSpan(self.label, tuple((start + by, stop + by) for start, stop in self.segments), self.score)


# Context encoder -----------------------------------------------------------------------------------------------------


class ContextEncoder(Protocol):
    """Contexts in, one vector per *unit* out. Wordpieces never leave it. A ``torch.nn.Module``.

    Results must not depend on padding, on batch neighbours, or (in eval mode) on chance. A count of steps, for a
    schedule of its own in training, is kept in a buffer. A unit with an empty word gets a vector like any other. May
    also have ``parameter_groups(learning_rate, weight_decay)`` returning the list of dicts that a torch optimizer
    takes; without it all parameters are one group, with weight decay on matrices only.

    For ``papermage-export`` an encoder may have ``exportable()``: it returns a module that computes in eval mode what
    ``forward`` does, of the same features, with operations that ``torch.export`` can follow whatever the sizes; or
    raises ConfigError, which says why there is none. What such a module cannot compute in a graph, its
    ``inputs(features)`` may: it returns the tensors that ``forward`` takes instead, and runs outside the graph.
    Without ``exportable``, the encoder itself is exported. What comes out is compared with ``forward`` either way.

    For ``precision=`` an encoder may have ``compute_in(precision)``, with ``"fp32"``, ``"bf16"`` or ``"int8"``: from
    then on ``forward`` computes so where no gradient is wanted; or ConfigError is raised, which says why it cannot.

    For faster training an encoder with large embeddings may have ``make_gradients_sparse()``: from then on theirs are
    sparse, of one sparse dimension, as those of ``torch.nn.Embedding(sparse=True)`` are. It is called before a training
    in one process on a CPU whose optimizer `takes_sparse_gradients`.
    """

    output_size: int
    """D, the size of a unit's vector."""

    def windows(self, contexts: Sequence[Context], *, stride: int) -> list[list[Window]]:
        """Return the windows of each context, in order, overlapping by about ``stride`` units, covering every unit.

        Called in one go for many contexts so that tokenizers can be fast: ``windows(a + b)`` equals ``windows(a) +
        windows(b)``. A context of no units has no windows. Touches no weights.
        """
        ...

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Return the tensors that ``forward`` takes for these windows, on the CPU. May run in a worker process."""
        ...

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the unit vectors of a batch of windows, padded to the longest.

        Shape: (windows, units of the longest window, D). What stands at padded units does not matter.
        """
        ...

    def __call__(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return what ``forward`` returns, as every torch module does."""
        ...

    def save(self, folder: Path) -> None:
        """Write to the existing ``folder`` what ``build(folder)`` needs beside options and weights (a tokenizer)."""
        ...


@attrs.frozen(kw_only=True)
class ContextEncoderConfig(ComponentConfig, ABC):
    """Options of a context encoder."""

    default_learning_rate: ClassVar[float] = 1e-3
    """Used where the user gives no ``learning_rate``."""
    default_batch_size: ClassVar[int] = 32
    """Windows in a batch where the user gives no ``batch_size``; a context's windows stay together."""
    default_batch_cost: ClassVar[int] = 4096
    """Most ``Window.cost``, summed over a batch, where the user gives no ``batch_size``."""

    @property
    def training_batch_cost(self) -> int:
        """`default_batch_cost` in training, which may be less where `settle` saw little data."""
        return self.default_batch_cost

    def check(self, *, stride: int) -> None:
        """Raise ConfigError where the options do not fit the ``stride`` that the user typed. Reads no data or model."""

    @property
    def needs(self) -> ContextNeeds:
        """What ``windows`` wants to see of documents beside the text."""
        return ContextNeeds()

    def settle(self: _Encoder, contexts: Iterable[Context]) -> _Encoder:
        """Return the config with automatic options and `learned` fields as the training contexts say.

        ``contexts`` is a stream with a length: each ``for`` goes through it anew, in the same order, and the contexts
        are made on the way. They have their gold entities where ``needs`` asks for ``gold``.
        """
        return self

    def settle_again(self: _Encoder, contexts: Iterable[Context]) -> _Encoder:
        """Return a settled config for further training, on other contexts, with the weights of its checkpoint.

        What the weights were made for has to stay; what only says how they are trained may change. ``contexts`` as for
        `settle`, without gold entities.
        """
        return self

    @abstractmethod
    def build(self, folder: Path | None = None) -> ContextEncoder:
        """Return a new encoder; from what ``save`` wrote to ``folder``, when a checkpoint is loaded.

        Random weights come from torch's global generator, which the trainer has seeded. With a ``folder``, that folder
        alone is read: no path or hub name among the options, and no network.
        """

    def count_windows(self, contexts: Sequence[Context], stride: int) -> list[int] | None:
        """Return how many windows ``windows`` would give of each context, with no torch and no weights.

        None where that is not known without building the encoder.
        """
        return None

    def for_pretraining(self: _Encoder) -> _Encoder:
        """Return the config to settle for pretraining, where it differs."""
        return self

    def pretraining(self, encoder: Any) -> Any:
        """Return a torch module that holds ``encoder``, which this config built, and trains it on text alone.

        Its ``loss(features)`` is that of a batch that ``collate`` made, with randomness from torch's global generator;
        its ``save_pretrained(folder)`` writes what an option of this config takes. Raises ConfigError if, as by
        default, the encoder learns nothing from text alone.
        """
        raise ConfigError(f"{type(self).__name__} cannot be pretrained; encoder=compact can")

    def tune_process(self) -> None:
        """Set what of the process (allocator, arithmetic) makes the encoder fast.

        Only commands call it, before they build the encoder. In a process where it was not called, all else leaves the
        settings of the process as they are, or puts them back before it returns.
        """


# Label scheme --------------------------------------------------------------------------------------------------------


class LabelScheme(ABC):
    """Entities ↔ what a head learns, for given labels. Pure Python and numpy: no torch.

    With ``targets = "tags"``, entities of a context of n units become an int64 array of shape (n,), each value an index
    into `tags`, or -1 where the unit's label is unknown. With ``targets = "spans"`` they stay a list of `UnitSpan`.
    """

    targets: ClassVar[Targets]
    allows_overlap: ClassVar[bool] = False
    """Whether entities that share a unit can be encoded, however many. If not, the core resolves overlaps before
    ``encode``."""
    allows_discontinuous: ClassVar[bool] = False
    """Whether discontinuous entities can be encoded. If not, the core makes one of each segment before ``encode``."""
    joins_neighbours: ClassVar[bool] = False
    """Whether two entities of one label that touch come back as one (as in ``io``)."""

    labels: tuple[str, ...]
    tags: tuple[str, ...] = ()
    """Names of the tags, ``"O"`` the first. Empty with spans. Length K."""
    start_allowed: NDArray[np.bool_]
    """Tags that a context may start with. Shape (K,). Tags only."""
    end_allowed: NDArray[np.bool_]
    """Tags that a context may end with. Shape (K,). Tags only."""
    transition_allowed: NDArray[np.bool_]
    """[i, j]: whether tag j may follow tag i. Shape (K, K). Tags only."""

    @abstractmethod
    def encode(self, spans: Sequence[UnitSpan], n_units: int) -> Any:
        """Return the target of a context of ``n_units`` units that holds ``spans``.

        Raises ValueError for a label that is not one of `labels`, a span outside the context, and spans that overlap
        where `allows_overlap` is false.
        """

    @abstractmethod
    def decode(self, target: Any) -> list[UnitSpan]:
        """Return the entities that a target holds, by start, then stop. Ill-formed tag sequences are read too."""

    def allows(self, tags: NDArray[Any]) -> bool:
        """Whether a sequence of tags, shape (n,), is legal. Tags only."""
        return len(tags) == 0 or bool(
            self.start_allowed[tags[0]]
            and self.end_allowed[tags[-1]]
            and self.transition_allowed[tags[:-1], tags[1:]].all()
        )

    def predecessors(self) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Return which tags may stand before each tag: the number of a set, shape (K,), and the sets. Tags only.

        A set holds the indices of its tags in ascending order. Found in `transition_allowed`; a scheme for thousands of
        labels overrides this, so that no table of K² values is needed.
        """
        import numpy as np  # here, so that commands which only list plugins start fast

        packed = np.packbits(self.transition_allowed, axis=0)
        columns, number = np.unique(packed, axis=1, return_inverse=True)
        return number.reshape(-1), [np.flatnonzero(np.unpackbits(column)) for column in columns.T]

    def has_legal_sequences(self) -> bool:
        """Whether contexts of every number of units have a legal sequence. Tags only."""
        import numpy as np

        number, sets = self.predecessors()
        reached = np.array(self.start_allowed)
        seen: set[bytes] = set()
        while reached.tobytes() not in seen:
            if not (reached & self.end_allowed).any():
                return False
            seen.add(reached.tobytes())
            reached = np.array([reached[before].any() for before in sets])[number]
        return True


@attrs.frozen(kw_only=True)
class LabelSchemeConfig(ComponentConfig, ABC):
    """Options of a label scheme."""

    targets: ClassVar[Targets]

    @abstractmethod
    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels. Raises ConfigError for labels it cannot hold: ``"O"``, say, or more of
        them than it has tags for, if that is more than a dozen."""


# Model head ----------------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class HeadOutput:
    """What a head says of one context of n units."""

    spans: list[UnitSpan]
    """The entities, each with the probability of the whole entity as its score, sorted by start, then stop.

    With a scheme of tags, they are what it reads `tags` as: who leaves an entity out leaves out its tags, too."""
    tags: NDArray[np.int64]
    """The tag of each unit, an index into `tag_names`. Shape (n,)."""
    scores: NDArray[np.float32]
    """The probability of each unit's tag. Shape (n,)."""
    tag_names: tuple[str, ...]

    @classmethod
    def from_tags(cls, tags: NDArray[Any], scores: NDArray[Any], scheme: LabelScheme) -> HeadOutput:
        """Return the result for tags with a probability each; an entity's score is that of its least sure unit.

        Tags that are not a legal sequence of the scheme are replaced by those of the entities that they are read as.
        """
        import numpy as np  # here, so that commands which only list plugins start fast

        spans = [
            UnitSpan(span.label, span.segments, float(min(scores[start:stop].min() for start, stop in span.segments)))
            for span in scheme.decode(tags)
        ]
        if not scheme.allows(tags):
            tags = scheme.encode(spans, len(tags))
        return cls(spans, np.asarray(tags, np.int64), np.asarray(scores, np.float32), scheme.tags)


class ModelHead(Protocol):
    """Unit vectors in; loss, or labels with scores, out. A ``torch.nn.Module``.

    ``vectors`` is (B, U, D) floating point, ``mask`` (B, U) bool with true for real units, padding at the end. What
    stands in ``vectors`` where ``mask`` is false must change nothing. A context may have no units at all. ``vectors``
    may be bfloat16 under autocast.

    A head that looks at documents past the encoder has a method ``features(context)``, too, which returns a mapping of
    arrays of shape (n, ...), a row for each unit of a `Context` that holds what the config ``needs``. They are cached,
    so they hold numbers only. ``loss`` and ``decode`` (and ``candidates``) then take one argument more, ``features``:
    name → tensor of shape (B, U, ...), zero at padding.

    A head that can tell of more entities than it decodes may have ``candidates(vectors, mask, least)``, for
    ``papermage-evaluate guarantee=true`` and ``min_recall``: it returns, for each context, all entities of at least the
    probability ``least``, which may overlap.

    A head whose decoding begins with scores of each unit by itself may have ``split()``, for ``papermage-export``. It
    returns a module, vectors (..., D) → emissions (..., E), and a head that takes emissions where this one takes
    vectors. The module becomes part of the graph. Without ``split`` the graph gives the vectors, and the head decodes
    these.
    """

    def loss(
        self, vectors: torch.Tensor, mask: torch.Tensor, targets: Any
    ) -> torch.Tensor | Mapping[str, torch.Tensor]:
        """Return the loss, a scalar, **summed** over the units of the batch; the core divides by their number.

        ``targets`` with tags: int64 tensor (B, U), -1 for unknown or padding. With spans: a list of B lists of
        `UnitSpan`. The loss of a batch is the sum of the losses of its contexts. A mapping has it under ``"loss"``, and
        beside it named parts that are logged, and not optimised. Chance, such as dropout or a sample of the units, is
        for train mode alone; what is counted from step to step is kept in a buffer.
        """
        ...

    def decode(self, vectors: torch.Tensor, mask: torch.Tensor) -> list[HeadOutput]:
        """Return what the head says of each of the B contexts. Called in eval mode, without gradient."""
        ...


@attrs.frozen(kw_only=True)
class ModelHeadConfig(ComponentConfig, ABC):
    """Options of a model head."""

    targets: ClassVar[Targets] = "tags"

    @property
    def needs(self) -> ContextNeeds:
        """What the head's ``features`` want to see of documents beside the text."""
        return ContextNeeds()

    def settle(self: _Head, targets: Iterable[Any], scheme: LabelScheme) -> _Head:
        """Return the config with automatic options and `learned` fields as the training targets (one a context) say.

        ``targets`` are what ``scheme.encode`` returns: with tags an int64 array of shape (n,), -1 for unknown; with
        spans a list of `UnitSpan`. They are a stream with a length, as for encoders.
        """
        return self

    @abstractmethod
    def build(self, input_size: int, scheme: LabelScheme) -> ModelHead:
        """Return a new head for vectors of ``input_size``. Raises ConfigError where the scheme does not fit."""


# Document reader -----------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class LocatedDocument:
    """A document and where it was read."""

    document: Document
    path: Path
    line: int | None = None
    """Its first line, counted from 1, blank lines included; the row, in a table. None where there are none."""
    byte: int | None = None
    """Where it begins in the file, decompressed: reading can start there again. None where the reader cannot say."""
    page: int | None = None
    """Its page, counted from 0, where a file's pages are documents of their own."""

    def error(self, error: DataError | str) -> DataError:
        """Return an error with the place of this document."""
        error = DataError(error) if isinstance(error, str) else error
        return error.replace(path=self.path, line=self.line, document=self.document.id)


class DocumentReader(Protocol):
    """A file in, documents out.

    Only ``read(path)`` that yields documents is asked for. A reader that can tell places, read on after a broken
    document, or pass over documents without decoding them takes the other arguments as well.
    """

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Iterator[LocatedDocument] | Iterator[Document]:
        """Yield the documents of a file, lazily, each with its place where it has one.

        Some may be made ahead, in batches of a few hundred, but never all of a long file.
        Open the file with `papermage_core.files.open_bytes`: it decompresses ``.gz`` and its like, and ``-`` is
        standard input. A document that cannot be read raises DataError with path and line; with ``on_error``, the error
        is handed over instead and reading goes on where the format allows.

        With ``first`` and ``every``, only documents number ``first``, ``first + every``, … counted from 0, are given,
        and only their errors reported: so workers share a file. A document that cannot be read has its number, too. A
        generator that takes these two *returns* the number of all documents in the file.

        A reader that can begin in the middle of a file says where with a method ``places(path)``, which yields line and
        byte of each document, those that cannot be read included, without decoding them; its ``read`` then takes
        ``start``, one of these places, and counts from there: so a large file is read by several processes, and a job
        that was killed goes on where it was. Compressed files are never begun in the middle.
        """
        ...


@attrs.frozen(kw_only=True)
class DocumentReaderConfig(ComponentConfig, ABC):
    """Options of a document reader."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """File name endings, such as ``(".jsonl",)``, that are its own: files of these names are read by it where the user
    names no reader. Write them out, in the module that the entry point names: there they are looked up in the source,
    so that whose a file is can be said before any plugin is imported."""
    shared_suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings that files of other kinds have too, such as ``(".json",)``: `recognises` says which files are its own."""
    companions: ClassVar[tuple[str, ...]] = ()
    """Endings of files that belong to one of its own of the same stem, such as brat's ``a.txt`` to ``a.ann``: in a
    folder, they are not taken for documents of their own. What does not begin with a dot, or begins with ``../``, is a
    pattern of names beside the file, or below: ``pdf_structure.json``, ``*/*.arrow``, ``../PDF/*.pdf``."""
    compressed: ClassVar[bool] = False
    """Whether ``a.jsonl.gz`` is its own if ``a.jsonl`` is: true where it opens files with `open_bytes`."""
    requirement: ClassVar[str] = ""
    """What to ``pip install`` where a module that it imports is missing: ``"papermage_core[parquet]"``."""

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether a file of a shared ending is its own; ``head`` is how it begins, decompressed, up to 4 KiB.

        Where no reader knows JSON by that, ``head`` is its outline: long texts in it are cut short, and of each list
        the first three items are kept, so that the keys after them are there.
        """
        return True

    @abstractmethod
    def build(self) -> DocumentReader:
        """Return a new reader."""


# Document processor --------------------------------------------------------------------------------------------------


class DocumentProcessor(Protocol):
    """Documents in, the same documents with further layers out."""

    def process(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents given, in order, each with the layers of the config's ``makes`` added.

        They are the same objects. A document that has such a layer keeps its own; nothing else of it is changed, and
        offsets are those of its ``symbols``. Lazy: a document is given out before many more are asked for, so some may
        be gathered to a batch, and none is kept. The same document gets the same layers, whatever stands beside it. A
        document that lacks a layer of ``reads`` that it cannot do without raises DataError with the document's id.
        """
        ...


@attrs.frozen(kw_only=True)
class DocumentProcessorConfig(ComponentConfig, ABC):
    """Options of a document processor."""

    requirement: ClassVar[str] = ""
    """What to ``pip install`` where a module that it imports is missing: ``"papermage_core[pdf]"``."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The layers that it looks at, beside the text."""
        return ()

    @property
    @abstractmethod
    def makes(self) -> tuple[str, ...]:
        """The layers that it adds."""

    @property
    def fingerprint(self) -> str:
        """A hash of what it reads beside its options, such as a model's files: another one, other layers."""
        return ""

    def save(self: _Processor, folder: Path) -> _Processor:
        """Write to the existing ``folder`` what it reads beside its options; return the config that it keeps.

        Called for a checkpoint, which holds all that its processors need. What is returned names no path outside.
        """
        return self

    def load(self: _Processor, folder: Path) -> _Processor:
        """Return the config that a checkpoint kept, to read from ``folder`` alone what `save` wrote there.

        ``folder`` is not there if that was nothing. Whatever path stands among the options is not to be trusted.
        """
        return self

    @abstractmethod
    def build(self) -> DocumentProcessor:
        """Return a new processor."""


# Document writer -----------------------------------------------------------------------------------------------------


class DocumentWriter(Protocol):
    """Documents in, a file or a folder out."""

    def write(self, documents: Iterable[Document], target: Any) -> Mapping[str, int]:
        """Write the documents, each as it comes, and return how much the format could not hold, by kind.

        ``target`` is a file open for writing bytes, which need not be able to seek; for a config whose ``target`` is
        ``"folder"``, the path of a new folder. Closing, compressing, and that the file or folder appears whole or not
        at all, are not the writer's business. What cannot be written is never left out in silence: it is counted, as in
        ``{"boxes": 12, "overlapping entities": 3}``, or if it makes no sense to go on, DataError is raised. Documents
        are not changed, and none is kept.

        A writer of files that may be written bit by bit takes ``first``, too: a number means that only what stands for
        the documents is written, the first of them being that number, counted from 0. What ``write([], target)``
        writes, and then that for all documents, some at a time, is the file that one call makes. So several processes
        write one file, and a job that was killed goes on; files of other writers are made at the end.
        """
        ...


@attrs.frozen(kw_only=True)
class DocumentWriterConfig(ComponentConfig, ABC):
    """Options of a document writer."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """File name endings, such as ``(".csv",)``, that are its own: files of these names are written by it where the user
    names no writer. Write them out, in the module that the entry point names, as a reader does."""
    shared_suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings that other writers may use too: the user has to name one if several are installed."""
    target: ClassVar[Literal["file", "folder"]] = "file"
    """What it writes."""
    compressed: ClassVar[bool] = True
    """Whether a name such as ``a.csv.gz`` makes sense: what it writes is compressed then. Files only."""
    requirement: ClassVar[str] = ""
    """What to ``pip install`` where a module that it imports is missing: ``"papermage_core[parquet]"``."""

    @abstractmethod
    def build(self) -> DocumentWriter:
        """Return a new writer."""

    def absent(self, layers: Collection[str], labels: Collection[str]) -> Sequence[str]:
        """Return the names that its options give and of which documents of these layers and labels have nothing.

        The user is told of them. By default these are names of an option ``layers``.
        """
        given = getattr(self, "layers", ())
        return [name for name in given if name not in layers] if isinstance(given, tuple) else []


# Optimizer -----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OptimizerConfig(ComponentConfig, ABC):
    """Options of an optimizer and its schedule. Rates, weight decay and warm-up are options of the run."""

    takes_sparse_gradients: ClassVar[bool] = False
    """Whether gradients may be sparse: those of an encoder that has ``make_gradients_sparse()``."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], *, mixed: bool = False) -> torch.optim.Optimizer:
        """Return a new optimizer for groups of parameters, each a dict with ``params``, ``lr`` and ``weight_decay``.

        ``mixed`` is whether gradients come scaled (``precision=16-mixed``): Lightning does not clip those of torch's
        fused optimizers then. What it keeps is in its ``state_dict``: a run that was stopped goes on with it.
        """

    def factor(self, step: float, total: float, warmup: float) -> float:
        """Return what the learning rates are multiplied with at a step, counted from 0, of ``total``.

        The first ``warmup`` steps are there to rise. Here the rates rise, and then fall to 0, in straight lines.
        """
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (total - step) / max(1.0, total - warmup))


# Metric --------------------------------------------------------------------------------------------------------------


class Metric(Protocol):
    """Entities in, a figure out: what ``monitor=NAME`` chooses the best model by. A new one for each validation."""

    def add(self, gold: Sequence[UnitSpan], predicted: Sequence[UnitSpan], unreachable: Sequence[str] = ()) -> None:
        """Count a document: its entities, in units of the document, and what was predicted, sorted.

        ``unreachable`` are the labels of gold entities that touch no unit, so that nobody could have predicted them.
        """
        ...

    def value(self) -> float:
        """Return the figure for the documents so far. One that is no number counts as worse than any."""
        ...


@attrs.frozen(kw_only=True)
class MetricConfig(ComponentConfig, ABC):
    """Options of a metric."""

    greater_is_better: ClassVar[bool] = True

    @abstractmethod
    def build(self, labels: Sequence[str]) -> Metric:
        """Return a new metric for these labels, those of all tasks."""


# Extension -----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ExtensionConfig(ComponentConfig, ABC):
    """Options of an extension, which users type as ``extensions.NAME.key=value``.

    An extension without options needs none: its module implements the life-cycle hooks itself.
    """

    @abstractmethod
    def build(self) -> Any:
        """Return an object whose methods, decorated with ``hookimpl``, are hooks of `ExtensionHooks`."""


# Component hooks -----------------------------------------------------------------------------------------------------


class ComponentHooks:
    """One hook for each kind. ``name`` is the component's name, for a module that serves several."""

    @hookspec(firstresult=True)
    def papermage_context_encoder(self, name: str) -> type[ContextEncoderConfig]:  # type: ignore[empty-body]
        """Return the config class of the context encoder ``name``."""

    @hookspec(firstresult=True)
    def papermage_label_scheme(self, name: str) -> type[LabelSchemeConfig]:  # type: ignore[empty-body]
        """Return the config class of the label scheme ``name``."""

    @hookspec(firstresult=True)
    def papermage_model_head(self, name: str) -> type[ModelHeadConfig]:  # type: ignore[empty-body]
        """Return the config class of the model head ``name``."""

    @hookspec(firstresult=True)
    def papermage_document_reader(self, name: str) -> type[DocumentReaderConfig]:  # type: ignore[empty-body]
        """Return the config class of the document reader ``name``."""

    @hookspec(firstresult=True)
    def papermage_document_processor(self, name: str) -> type[DocumentProcessorConfig]:  # type: ignore[empty-body]
        """Return the config class of the document processor ``name``."""

    @hookspec(firstresult=True)
    def papermage_document_writer(self, name: str) -> type[DocumentWriterConfig]:  # type: ignore[empty-body]
        """Return the config class of the document writer ``name``."""

    @hookspec(firstresult=True)
    def papermage_optimizer(self, name: str) -> type[OptimizerConfig]:  # type: ignore[empty-body]
        """Return the config class of the optimizer ``name``."""

    @hookspec(firstresult=True)
    def papermage_metric(self, name: str) -> type[MetricConfig]:  # type: ignore[empty-body]
        """Return the config class of the metric ``name``."""

    @hookspec(firstresult=True)
    def papermage_extension(self, name: str) -> type[ExtensionConfig]:  # type: ignore[empty-body]
        """Return the config class of the extension ``name``, for one that has options."""


# Extension hooks -----------------------------------------------------------------------------------------------------


class ExtensionHooks:
    """Life-cycle hooks of a run, for extensions that the config names: ``extensions=mine,yours``."""

    @hookspec
    def papermage_callbacks(self, config: Any) -> Iterable[Callback]:  # type: ignore[empty-body]
        """Return Lightning callbacks to add to a training run; ``config`` is its resolved config."""

    @hookspec
    def papermage_loggers(self, config: Any) -> Iterable[Logger]:  # type: ignore[empty-body]
        """Return Lightning loggers to add to a training run."""

    @hookspec
    def papermage_evaluated(self, split: str, results: Mapping[str, Any]) -> None:
        """See the results of an evaluation; ``split`` is ``"val"``, ``"test"`` or ``"eval"``."""

    @hookspec(
        warn_on_impl_args={"decoded": DeprecationWarning("papermage_adjust_predictions: name 'decoded' now 'output'")}
    )
    def papermage_adjust_predictions(
        self, document: Document, context: Context, output: HeadOutput, decoded: HeadOutput
    ) -> HeadOutput | None:
        """Return predictions to take in place of ``output`` before they become entities, or None to leave them.

        Called once a context, in prediction and in evaluation, extension after extension in the order named. Where
        entities are changed and tags are not, the tags follow: with ``merge=no`` units show what the entities say.
        Labels that the model does not have are refused.
        ``decoded`` is what plugin API 1 called ``output``; asking for it warns.
        """

    @hookspec
    def papermage_adjust_document(
        self, document: Document, contexts: Sequence[Context], outputs: Sequence[HeadOutput]
    ) -> Sequence[HeadOutput] | None:
        """Return predictions for all contexts of a document in place of ``outputs``, or None to leave them.

        ``outputs`` are what a head says of each of ``contexts``, in their order, each in units of its context. Called
        once a document and head, after this extension's `papermage_adjust_predictions` and before the next extension.
        """


HOOKS = tuple(name for name in (*vars(ComponentHooks), *vars(ExtensionHooks)) if name.startswith("papermage_"))
"""The names of all hooks."""


if not TYPE_CHECKING:  # type checkers know the new name only

    def __getattr__(name: str) -> Any:
        if name == "Decoded":
            warnings.warn("Decoded is now HeadOutput, with the same fields", DeprecationWarning, stacklevel=2)
            return HeadOutput
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
