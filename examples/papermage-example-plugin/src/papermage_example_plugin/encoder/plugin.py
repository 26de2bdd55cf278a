"""Options of ``encoder=example-plugin``, what it learns from the training data, and the hook. Torch stays behind `build`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import attrs
from papermage_core.plugin import Context, ContextEncoder, ContextEncoderConfig, hookimpl, learned, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class ExamplePluginEncoderConfig(ContextEncoderConfig):
    """Words of a list that is made from the training data, each seen with its neighbours."""

    default_learning_rate: ClassVar[float] = 5e-3

    size: int = option(64, help="size of a unit's vector", ge=1)
    fewest: int = option(2, help="times a word must occur in the training data to be in the list", ge=1)
    most: int = option(20_000, help="words in the list, the most frequent ones", ge=1)
    window: int = option(256, help="most units in a window", ge=2)

    words: tuple[str, ...] = learned(help="the list, the most frequent word first")

    def settle(self, contexts: Iterable[Context]) -> ExamplePluginEncoderConfig:
        """Return the config with the words of the training contexts. An encoder that learns none needs no `settle`."""
        counts = Counter(word.lower() for context in contexts for word in context.words)
        known = sorted((word for word in counts if counts[word] >= self.fewest), key=lambda w: (-counts[w], w))
        return attrs.evolve(self, words=tuple(known[: self.most]))

    def build(self, folder: Path | None = None) -> ContextEncoder:
        """Return a new encoder; options, words and weights are all there is, so ``folder`` holds nothing for it."""
        from papermage_example_plugin.encoder.encoder import ExamplePluginEncoder

        return ExamplePluginEncoder(self)


@hookimpl
def papermage_context_encoder() -> type[ExamplePluginEncoderConfig]:
    """Serve ``example-plugin``."""
    return ExamplePluginEncoderConfig
