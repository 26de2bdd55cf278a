"""Options of ``encoder=vocabulary``, what it learns from the training data, and its hook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import attrs
from papermage_core.plugin import Context, ContextEncoder, ContextEncoderConfig, hookimpl, learned, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class VocabularyConfig(ContextEncoderConfig):
    """Reads units as words of a list that it makes from the training data, then their neighbours."""

    default_learning_rate: ClassVar[float] = 3e-3

    size: int = option(64, help="size of a unit's vector", ge=2)
    fewest: int = option(2, help="times a word must occur in the training data to be in the list", ge=1)
    most: int = option(20_000, help="words in the list, the most frequent ones", ge=1)
    window: int = option(256, help="most units in a window", ge=2)

    words: tuple[str, ...] = learned(help="the list, the most frequent word first")

    def settle(self, contexts: Iterable[Context]) -> VocabularyConfig:
        """Return the config with the words of the training contexts."""
        counts = Counter(word for context in contexts for word in context.words)
        known = sorted(
            (word for word, count in counts.items() if count >= self.fewest), key=lambda word: (-counts[word], word)
        )
        return attrs.evolve(self, words=tuple(known[: self.most]))

    def build(self, folder: Path | None = None) -> ContextEncoder:
        """Return a new encoder; options, words and weights are all there is, so ``folder`` holds nothing for it."""
        from papermage_example.vocabulary_encoder import VocabularyEncoder

        return VocabularyEncoder(self.words, size=self.size, window=self.window)


@hookimpl
def papermage_context_encoder() -> type[VocabularyConfig]:
    """Serve ``vocabulary``."""
    return VocabularyConfig
