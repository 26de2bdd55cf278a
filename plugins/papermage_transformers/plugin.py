"""The hook and the options of the context encoder ``hf``; imports neither torch nor transformers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from papermage_core.errors import CheckpointError, ConfigError
from papermage_core.plugin import Context, ContextEncoderConfig, ContextNeeds, hookimpl, option
from papermage_transformers.extra import require

if TYPE_CHECKING:
    from papermage_transformers.encoder import TransformerEncoder

_log = logging.getLogger(__name__)

__all__ = ["LoraOptions", "TransformerEncoderConfig", "papermage_context_encoder"]

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class LoraOptions:
    """Low-rank adaptation (Hu et al. 2022): the model's weights stay, small matrices beside them are trained."""

    rank: int = option(0, help="rank of the trained matrices; 0 trains the whole model (needs peft)", ge=0, le=1024)
    alpha: int = option(16, help="the matrices' product is scaled by alpha / rank", ge=1)
    dropout: float = option(0.0, help="dropout before the matrices", ge=0, lt=1)
    targets: tuple[str, ...] = option((), help="names of the modules to adapt; default those peft knows for the model")

    @property
    def is_idle(self) -> bool:
        """Whether something is said of matrices that are not made."""
        return not self.rank and self != LoraOptions()


@attrs.frozen(kw_only=True)
class TransformerEncoderConfig(ContextEncoderConfig):
    """Options of ``hf``: any Hugging Face ``AutoModel`` that encodes text, with or without boxes."""

    default_batch_size: ClassVar[int] = 16
    default_batch_cost: ClassVar[int] = 512

    model_name_or_path: str = option(help="folder that save_pretrained wrote, or a name on the Hugging Face hub")
    revision: str | None = option(None, help="branch, tag or commit of the hub model")
    pooling: Literal["first", "mean", "max", "last"] = option(
        "mean", help="how the wordpieces of a unit become its vector", choices=("first", "mean", "max", "last")
    )
    max_length: int | None = option(
        None, help="wordpieces in a window, special ones included; default what the model takes, at most 512", ge=8
    )
    layout_indicator: str | None = option(
        None, help="layer, such as rows or blocks, at whose boundaries a separator wordpiece is put (I-VILA)"
    )
    boxes: bool | None = option(None, help="give the units' boxes to the model; default: if it is a layout model")
    freeze_layers: int = option(
        0, help="embeddings and this many layers are not trained; -1: nothing of the model", ge=-1
    )
    layer_decay: float = option(
        1.0, help="each layer's learning rate, as a share of the one above", gt=0, le=1, search=(0.7, 1.0)
    )
    gradient_checkpointing: bool = option(False, help="compute activations twice to save memory in training")
    dropout: float | None = option(None, help="dropout outside the attention; default the model's own", ge=0, lt=1)
    attention_dropout: float | None = option(
        None, help="dropout of attention weights; default 0 where only a CPU is, else the model's own", ge=0, lt=1
    )
    lora: LoraOptions = attrs.field(factory=LoraOptions, metadata={"help": "low-rank adaptation"})
    cpu_precision: Literal["auto", "float32", "medium", "bfloat16"] = option(
        "auto",
        help="arithmetic on a CPU; auto: bfloat16 where the CPU has instructions for it, else medium",
        choices=("auto", "float32", "medium", "bfloat16"),
    )
    tune_allocator: bool = option(True, help="in commands, keep glibc from handing large blocks back (CPU, Linux)")

    @property
    def default_learning_rate(self) -> float:  # type: ignore[override]
        """5e-5, as BERT is tuned; with LoRA ten times as much, about its best (Schulman et al., 2025)."""
        return 5e-4 if self.lora.rank else 5e-5

    def check(self, *, stride: int) -> None:
        """Refuse a stride that no window can keep."""
        if self.max_length is not None and stride >= self.max_length:
            raise ConfigError(f"stride={stride}: expected less than encoder.max_length={self.max_length}")

    @property
    def needs(self) -> ContextNeeds:
        """Boxes where the model is a layout model, and the groups that get indicators.

        Looks the model's type up in its config file when `boxes` is not set; `settle` sets it.
        """
        require("transformers", "the encoder hf")
        groups = (self.layout_indicator,) if self.layout_indicator else ()
        return ContextNeeds(boxes=self._wants_boxes(), groups=groups)

    def settle(self, contexts: Iterable[Context]) -> TransformerEncoderConfig:
        """Return the config with `boxes` set, so that a checkpoint does not need the original model."""
        return attrs.evolve(self, boxes=self._wants_boxes())

    def build(self, folder: Path | None = None) -> TransformerEncoder:
        """Return the encoder with pretrained weights, or with random ones and the files of ``folder`` alone.

        Raises ConfigError for a model that cannot be found, loaded or used, CheckpointError for a damaged ``folder``.
        """
        require("transformers", "the encoder hf")
        from papermage_transformers.build import build_encoder
        from papermage_transformers.folder import ModelFolder
        from papermage_transformers.source import base_model

        if folder is None:
            if self.lora.is_idle:
                _log.warning("encoder.lora.rank is 0: the whole model is trained, and no other option of lora is used")
            source = base_model(self.model_name_or_path, self.revision)
        elif self.boxes is not None:
            source = ModelFolder(folder, is_checkpoint=True)
        else:
            raise CheckpointError(f"{folder}: the checkpoint's encoder has boxes=null; expected true or false")
        return build_encoder(
            source,
            pooling=self.pooling,
            max_length=self.max_length,
            layout_indicator=self.layout_indicator,
            boxes=self.boxes,
            freeze_layers=self.freeze_layers,
            layer_decay=self.layer_decay,
            gradient_checkpointing=self.gradient_checkpointing,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            lora=attrs.asdict(self.lora),
            cpu_precision=self.cpu_precision,
        )

    def count_windows(self, contexts: Sequence[Context], stride: int) -> list[int] | None:
        """Return how many windows there are of each context; reads tokenizer and config of the model, no weights.

        None for a model that has no fast tokenizer in a file.
        """
        require("transformers", "the encoder hf")
        from papermage_transformers.counting import window_counter

        count = window_counter(self.model_name_or_path, self.revision, self.max_length, self.layout_indicator)
        return None if count is None else count(contexts, stride)

    def tune_process(self) -> None:
        """Let glibc keep large blocks, and backward passes too multiply in the arithmetic that forward passes do."""
        require("transformers", "the encoder hf")
        from papermage_transformers import cpu

        if not cpu.has_accelerator():
            cpu.tune_process(allocator=self.tune_allocator)

    def _wants_boxes(self) -> bool:
        if self.boxes is not None:
            return self.boxes
        from papermage_transformers.layout import LAYOUT_MODELS
        from papermage_transformers.source import model_type

        return model_type(self.model_name_or_path, self.revision) in LAYOUT_MODELS


@hookimpl
def papermage_context_encoder() -> type[ContextEncoderConfig]:
    """Return the config class of ``hf``."""
    return TransformerEncoderConfig
