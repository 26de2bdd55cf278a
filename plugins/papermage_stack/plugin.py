"""The hook of the context encoder ``stack`` and its options."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from papermage_core.plugin import Context, ContextEncoderConfig, ContextNeeds, hookimpl, option, part

if TYPE_CHECKING:
    from papermage_stack.encoder import StackEncoder

__all__ = ["StackConfig", "papermage_context_encoder"]

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class StackConfig(ContextEncoderConfig):
    """Another encoder with a bidirectional LSTM on its vectors (Huang et al. 2015; over a Transformer, say)."""

    inner: ContextEncoderConfig = part("compact", help="the encoder whose vectors it reads")
    size: int = option(128, help="size of the LSTM in each direction", ge=1, search=(64, 256, "log"))
    layers: int = option(1, help="layers of the LSTM", ge=1)
    dropout: float = option(0.2, help="share of the inner vectors' values set to zero in training", ge=0, lt=1)
    learning_rate_factor: float = option(
        10.0, help="the LSTM's learning rate, as a multiple of the inner encoder's", gt=0, search=(1.0, 30.0, "log")
    )

    @property
    def default_learning_rate(self) -> float:  # type: ignore[override]
        """That of the inner encoder."""
        return self.inner.default_learning_rate

    @property
    def default_batch_size(self) -> int:  # type: ignore[override]
        """That of the inner encoder."""
        return self.inner.default_batch_size

    @property
    def default_batch_cost(self) -> int:  # type: ignore[override]
        """That of the inner encoder."""
        return self.inner.default_batch_cost

    @property
    def training_batch_cost(self) -> int:
        """That of the inner encoder."""
        return self.inner.training_batch_cost

    def check(self, *, stride: int) -> None:
        """Refuse what the inner encoder refuses."""
        self.inner.check(stride=stride)

    @property
    def needs(self) -> ContextNeeds:
        """What the inner encoder needs."""
        return self.inner.needs

    def settle(self, contexts: Iterable[Context]) -> StackConfig:
        """Return the config with the inner one settled."""
        return attrs.evolve(self, inner=self.inner.settle(contexts))

    def settle_again(self, contexts: Iterable[Context]) -> StackConfig:
        """Return the config with the inner one settled again."""
        return attrs.evolve(self, inner=self.inner.settle_again(contexts))

    def build(self, folder: Path | None = None) -> StackEncoder:
        """Return a new encoder; of a checkpoint, with the inner one from the folder in ``folder``."""
        from papermage_stack.encoder import StackEncoder

        inner = self.inner.build(None if folder is None else folder / "inner")
        return StackEncoder(
            inner,
            size=self.size,
            layers=self.layers,
            dropout=self.dropout,
            learning_rate_factor=self.learning_rate_factor,
        )

    def tune_process(self) -> None:
        """Do what the inner encoder does."""
        self.inner.tune_process()


@hookimpl
def papermage_context_encoder() -> type[ContextEncoderConfig]:
    """Return the config class of ``stack``."""
    return StackConfig
