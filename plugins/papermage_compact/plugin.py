"""The hook of the context encoder ``compact`` and its options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs
import numpy as np

from papermage_compact.gazetteer import Gazetteer, GazetteerCounts
from papermage_compact.metadata import AUTO, Column, MetadataCounts, columns_of
from papermage_core.errors import ConfigError
from papermage_core.plugin import Context, ContextEncoderConfig, ContextNeeds, hookimpl, learned, option

if TYPE_CHECKING:
    from papermage_compact.encoder import CompactEncoder

__all__ = ["CompactConfig", "papermage_context_encoder"]

papermage_api_version = 2

FONT_KEYS = ("fontname", "font", "size")
NONE = "none"
_BATCHES = 100
_SMALLEST_BATCH = 64
_FEW_SHORT_FORMS = 0.002  # share of the units, below which abbreviations are not worth the time
_FEW_LINES = 3  # a context of fewer lines, on average, is not read line by line


@attrs.frozen(kw_only=True)
class CompactConfig(ContextEncoderConfig):
    """A small network over hashed word features, trained from scratch; needs no download and no GPU."""

    width: int = option(128, help="size of a unit's vector inside the network", ge=8, search=(64, 256, "log"))
    depth: int = option(1, help="recurrent layers, each with a convolution before and after", ge=1)
    dropout: float = option(0.4, help="share of hidden values set to zero in training", ge=0, lt=1, search=(0.1, 0.6))
    word_dropout: float = option(
        0.25, help="share of word types whose identity is hidden in training", ge=0, lt=1, search=(0.0, 0.5)
    )
    rows: int = option(12_000, help="rows of the hashed word table; other tables grow with it", ge=64, le=65_535)
    layout: Literal["auto", "on", "off"] = option(
        "auto", help="use boxes, fonts and rows; auto: if training units have boxes", choices=("auto", "on", "off")
    )
    metadata: tuple[str, ...] = option(
        ("auto",),
        help="keys of the units' metadata to read; auto: those that enough training units have; none",
    )
    lines: Literal["auto", "on", "off"] = option(
        "auto",
        help="read line by line without boxes; auto: if units stand in rows, and no metadata are read",
        choices=("auto", "on", "off"),
    )
    gazetteer: Literal["on", "off"] = option(
        "off",
        help="look up how the training data label a unit's word, and it with its neighbours",
        choices=("on", "off"),
    )
    abbreviations: Literal["auto", "on", "off"] = option(
        "auto",
        help="read abbreviations with what the document says they stand for; auto: if there are some in training",
        choices=("auto", "on", "off"),
    )
    phrases: Literal["auto", "on", "off"] = option(
        "auto",
        help="read units word by word; auto: if most training units have several words",
        choices=("auto", "on", "off"),
    )
    vectors: str | None = option(
        None, help="word vectors to add: a Hugging Face model (folder or hub name), or a word2vec or GloVe text file"
    )
    vectors_size: int = option(128, help="size that given vectors are compressed to", ge=2)
    vectors_rows: int = option(200_000, help="vectors read of a text file, from its start", ge=2)
    tune_vectors: bool = option(False, help="train the given vectors too")
    pretrained: Path | None = option(None, help="folder that papermage-pretrain made, to begin with its weights")
    max_length: int = option(2048, help="units in the longest window", ge=16)
    metadata_columns: tuple[str, ...] = learned(help="what is known of each key of the metadata that is read, as JSON")

    gazetteer_table: bytes | None = learned(help="what the gazetteer counted in the training data")

    training_units: int | None = learned(help="units of the training data, by which the batch is sized")

    default_batch_size: ClassVar[int] = 64
    default_batch_cost: ClassVar[int] = 1024

    @property
    def default_learning_rate(self) -> float:  # type: ignore[override]
        """0.003, or 0.002 with given vectors: each is the better on development data."""
        return 3e-3 if self.vectors is None else 2e-3

    @property
    def training_batch_cost(self) -> int:
        """Less than `default_batch_cost` where the training data would give fewer than 100 batches an epoch."""
        units = self.default_batch_cost if self.training_units is None else self.training_units // _BATCHES
        return min(max(units, _SMALLEST_BATCH), self.default_batch_cost)

    def check(self, *, stride: int) -> None:
        """Refuse a stride that no window can keep."""
        if stride >= self.max_length:
            raise ConfigError(f"stride={stride}: expected less than encoder.max_length={self.max_length}")

    @property
    def needs(self) -> ContextNeeds:
        """Boxes, rows and fonts, unless layout is off, and the metadata that is read."""
        has_layout = self.layout != "off"
        keys = (*(FONT_KEYS if has_layout else ()), *(key for key in self.metadata if key not in (AUTO, NONE)))
        return ContextNeeds(
            boxes=has_layout,
            groups=("rows",) if has_layout or self.lines == "on" else (),
            metadata=tuple(dict.fromkeys(keys)),
            all_metadata=self.metadata == (AUTO,),
            gold=self.gazetteer == "on",
            long_forms=self.abbreviations != "off",
        )

    def settle(self, contexts: Iterable[Context]) -> CompactConfig:
        """Return the config with its automatic options decided, and the metadata known that it is to read."""
        seen, gazetteer = _Seen(), GazetteerCounts()
        for context in contexts:
            seen.add(context, counts_metadata=self.metadata not in ((), (NONE,)))
            if self.gazetteer == "on":
                gazetteer.add(context)
        layout = ("on" if seen.mostly(seen.boxed) else "off") if self.layout == AUTO else self.layout
        has_no_boxes = (self.layout, layout) == (AUTO, "off")  # unlike a layout that is not wanted
        columns: tuple[Column, ...] = ()
        if self.metadata not in ((), (NONE,)):
            columns = seen.metadata.chosen(self.metadata, without=() if has_no_boxes else FONT_KEYS)
        has_lines = has_no_boxes and seen.mostly(seen.in_rows) and seen.lines >= _FEW_LINES * seen.contexts
        lines = ("on" if has_lines and not columns else "off") if self.lines == AUTO else self.lines
        phrases = ("on" if seen.mostly(seen.of_words) else "off") if self.phrases == AUTO else self.phrases
        abbreviations = self.abbreviations
        if abbreviations == AUTO:
            abbreviations = "on" if seen.short_forms > _FEW_SHORT_FORMS * seen.units else "off"
        return attrs.evolve(
            self,
            layout=layout,
            lines=lines,
            phrases=phrases,
            abbreviations=abbreviations,
            metadata=tuple(column.key for column in columns),
            metadata_columns=tuple(column.dump() for column in columns),
            gazetteer_table=gazetteer.gazetteer().dump() if self.gazetteer == "on" else None,
            training_units=seen.units,
        )

    def settle_again(self, contexts: Iterable[Context]) -> CompactConfig:
        """Return the config with its batches sized by other training contexts."""
        return attrs.evolve(self, training_units=sum(map(len, contexts)))

    def count_windows(self, contexts: Sequence[Context], stride: int) -> list[int]:
        """Return how many windows there are of each context: of as many units as ``max_length`` says."""
        step = self.max_length - min(stride, self.max_length // 2)
        return [
            min(n, 1) if (n := len(context)) <= self.max_length else -(-(n - self.max_length + step) // step)
            for context in contexts
        ]

    def build(self, folder: Path | None = None) -> CompactEncoder:
        """Return a new encoder; of a checkpoint, with the vectors of ``folder``, which alone is read.

        Raises ConfigError for vectors that cannot be read, CheckpointError for a damaged ``folder``.
        """
        from papermage_compact.encoder import CompactEncoder
        from papermage_compact.vectors import load_vectors, restore_vectors

        vectors, table = None, self.gazetteer_table
        if self.vectors is not None and folder is None:
            vectors = load_vectors(self.vectors, self.vectors_size, self.vectors_rows)
        elif self.vectors is not None and folder is not None:
            vectors = restore_vectors(folder)
        encoder = CompactEncoder(
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
            word_dropout=self.word_dropout,
            rows=self.rows,
            with_layout=self.layout == "on",
            with_lines=self.lines == "on" and self.layout != "on",
            with_phrases=self.phrases == "on",
            with_abbreviations=self.abbreviations == "on",
            metadata=columns_of(self.metadata_columns),
            gazetteer=Gazetteer.load(table) if table is not None and self.gazetteer == "on" else None,
            vectors=vectors,
            tune_vectors=self.tune_vectors,
            max_length=self.max_length,
        )
        if self.pretrained is not None and folder is None:
            from papermage_compact.pretraining import load_pretrained

            load_pretrained(encoder, self.pretrained.expanduser(), self)
        return encoder

    def for_pretraining(self) -> CompactConfig:
        """Return the config that reads text alone where that is left to the data: the rest is learnt with labels."""
        return attrs.evolve(
            self,
            metadata=(),
            gazetteer="off",
            abbreviations="off",
            layout="off" if self.layout == AUTO else self.layout,
            lines="off" if self.lines == AUTO else self.lines,
        )

    def pretraining(self, encoder: Any) -> Any:
        """Return what predicts hidden words."""
        from papermage_compact.pretraining import Cloze

        return Cloze(encoder, self)


class _Seen:
    """What the training units have."""

    def __init__(self) -> None:
        self.contexts = self.units = self.boxed = self.in_rows = self.lines = self.of_words = self.short_forms = 0
        self.metadata = MetadataCounts()

    def add(self, context: Context, *, counts_metadata: bool) -> None:
        """Count the units of a context."""
        self.contexts += bool(len(context))
        self.units += len(context)
        self.boxed += 0 if context.boxes is None else int((~np.isnan(context.boxes[:, 0])).sum())
        rows = context.groups.get("rows")
        if rows is not None and len(rows):
            changes = int((rows[1:] != rows[:-1]).sum())
            self.lines += 1 + changes
            self.in_rows += int((rows >= 0).sum()) if 2 * (1 + changes) <= len(rows) else 0
        self.of_words += sum(" " in word for word in context.words)
        if context.long_forms:
            self.short_forms += sum(word in context.long_forms for word in context.words)
        if counts_metadata:
            self.metadata.add(context)

    def mostly(self, count: int) -> bool:
        """Whether at least half of the units are among these."""
        return self.units > 0 and 2 * count >= self.units


@hookimpl
def papermage_context_encoder() -> type[ContextEncoderConfig]:
    """Return the config class of ``compact``."""
    return CompactConfig
