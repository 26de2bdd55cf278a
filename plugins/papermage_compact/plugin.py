"""The hook of the context encoder ``compact`` and its options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs
import numpy as np

from papermage_core.errors import ConfigError
from papermage_core.plugin import Context, ContextEncoderConfig, ContextNeeds, hookimpl, option

if TYPE_CHECKING:
    from papermage_compact.encoder import CompactEncoder

__all__ = ["CompactConfig", "papermage_context_encoder"]

papermage_api_version = 2


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
    vectors: str | None = option(
        None, help="word vectors to add: a Hugging Face model (folder or hub name), or a word2vec or GloVe text file"
    )
    vectors_size: int = option(128, help="size that given vectors are compressed to", ge=2)
    vectors_rows: int = option(200_000, help="vectors read of a text file, from its start", ge=2)
    tune_vectors: bool = option(False, help="train the given vectors too")
    max_length: int = option(2048, help="units in the longest window", ge=16)

    default_batch_size: ClassVar[int] = 64
    default_batch_cost: ClassVar[int] = 1024

    @property
    def default_learning_rate(self) -> float:  # type: ignore[override]
        """0.003, or 0.002 with given vectors: each is the better on development data."""
        return 3e-3 if self.vectors is None else 2e-3

    def check(self, *, stride: int) -> None:
        """Refuse a stride that no window can keep."""
        if stride >= self.max_length:
            raise ConfigError(f"stride={stride}: expected less than encoder.max_length={self.max_length}")

    @property
    def needs(self) -> ContextNeeds:
        """Boxes, rows and fonts, unless layout is off."""
        if self.layout == "off":
            return ContextNeeds()
        return ContextNeeds(boxes=True, groups=("rows",), metadata=("fontname", "font", "size"))

    def settle(self, contexts: Iterable[Context]) -> CompactConfig:
        """Return the config with ``layout`` decided: on when at least half the units have a box."""
        if self.layout != "auto":
            return self
        units = boxed = 0
        for context in contexts:
            units += len(context)
            boxed += 0 if context.boxes is None else int((~np.isnan(context.boxes[:, 0])).sum())
        return attrs.evolve(self, layout="on" if units and 2 * boxed >= units else "off")

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

        vectors = None
        if self.vectors is not None and folder is None:
            vectors = load_vectors(self.vectors, self.vectors_size, self.vectors_rows)
        elif self.vectors is not None and folder is not None:
            vectors = restore_vectors(folder)
        return CompactEncoder(
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
            word_dropout=self.word_dropout,
            rows=self.rows,
            with_layout=self.layout == "on",
            vectors=vectors,
            tune_vectors=self.tune_vectors,
            max_length=self.max_length,
        )


@hookimpl
def papermage_context_encoder() -> type[ContextEncoderConfig]:
    """Return the config class of ``compact``."""
    return CompactConfig
