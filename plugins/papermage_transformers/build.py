"""Config → encoder: the model and tokenizer loaded, checked, and set up."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from papermage_core.errors import ConfigError
from papermage_transformers.batch import Collator
from papermage_transformers.encoder import TransformerEncoder
from papermage_transformers.layout import LAYOUT_MODELS
from papermage_transformers.plugin import TransformerEncoderConfig
from papermage_transformers.processor import CpuPrecision, choose_precision, has_accelerator, tune_allocator
from papermage_transformers.source import explained, origin
from papermage_transformers.tuning import add_lora, freeze, freeze_unreached
from papermage_transformers.windows import WindowMaker
from papermage_transformers.wordpieces import WordpieceTable, bare

__all__ = ["build_encoder"]

logger = logging.getLogger(__name__)

_USUAL_LENGTH = 512
_ONLY_FLOAT32 = ("deberta",) if int(transformers.__version__.split(".")[0]) >= 5 else ("deberta", "modernbert")
"""Kinds of model that mask with the least number of float32, which is too large for what autocast computes in."""
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
_DROPOUTS = ("hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "embedding_dropout", "mlp_dropout")


def build_encoder(options: TransformerEncoderConfig, folder: Path | None) -> TransformerEncoder:
    """Return the encoder with pretrained weights, or, given the ``folder`` of a checkpoint, with random ones."""
    kept = options.tune_allocator and tune_allocator()
    if folder is None:
        source, keywords = origin(options.model_name_or_path, options.revision)
    else:
        source, keywords = str(folder), {"local_files_only": True}
    with _quiet(), explained(options.model_name_or_path if folder is None else source):
        config = _adjusted(AutoConfig.from_pretrained(source, **keywords), options)
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, **keywords)
        model = _load(source, config, keywords) if folder is None else _model_class(config).from_config(config)
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(
            f"encoder.model_name_or_path: {source!r} has no fast tokenizer (tokenizer.json), only a slow one"
        )
    precision = _precision(options, config)
    _prepare_processor(options, precision, kept=kept)
    model = _set_up(model.float().train(), options)  # from_pretrained leaves eval mode: no dropout in training
    return _assemble(options, model, config, tokenizer, autocast=precision == "bfloat16")


def _precision(options: TransformerEncoderConfig, config: PretrainedConfig) -> CpuPrecision:
    """Return the arithmetic to use on a CPU."""
    precision = choose_precision(options.cpu_precision)
    if precision == "bfloat16" and config.model_type in _ONLY_FLOAT32:
        if options.cpu_precision == "bfloat16":
            raise ConfigError(
                f"encoder.cpu_precision: transformers' {config.model_type} models fail in bfloat16; "
                "expected auto, medium or float32"
            )
        return "medium"
    return precision


def _prepare_processor(options: TransformerEncoderConfig, precision: CpuPrecision, *, kept: bool) -> None:
    if has_accelerator():
        return
    if precision == "medium":
        torch.set_float32_matmul_precision("medium")
    logger.info(
        "CPU: %s arithmetic, attention dropout %s, large memory blocks %s, %d threads (override with "
        "encoder.cpu_precision, encoder.attention_dropout, encoder.tune_allocator, num_threads)",
        precision,
        options.attention_dropout or 0,
        "kept" if kept else "as the system does",
        torch.get_num_threads(),
    )


def _adjusted(config: PretrainedConfig, options: TransformerEncoderConfig) -> PretrainedConfig:
    """Return the config with the dropouts asked for and without parts that text does not use."""
    attention = options.attention_dropout
    if attention is None and not has_accelerator():
        attention = 0.0  # any other rate takes the CPU's slow attention, several times the time at length 512
    _set(config, _ATTENTION_DROPOUTS, attention)
    _set(config, _DROPOUTS, options.dropout)
    if config.model_type == "layoutlmv3":
        config.visual_embed = False
    if hasattr(config, "use_cache"):
        config.use_cache = False
    return config


def _set(config: PretrainedConfig, names: tuple[str, ...], value: float | None) -> None:
    for name in names:
        if value is not None and hasattr(config, name):
            setattr(config, name, value)


def _model_class(config: PretrainedConfig) -> Any:
    """Return the auto class: for encoder-decoders the one of their encoder alone, where there is one."""
    return AutoModelForTextEncoding if type(config) in AutoModelForTextEncoding._model_mapping else AutoModel


def _load(source: str, config: PretrainedConfig, keywords: dict[str, Any]) -> nn.Module:
    model, report = _model_class(config).from_pretrained(source, config=config, output_loading_info=True, **keywords)
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing:
        logger.warning("%s: %d weights are not in the files and start at random: %s", source, len(missing), missing[:5])
    return model  # type: ignore[no-any-return]


def _set_up(model: nn.Module, options: TransformerEncoderConfig) -> nn.Module:
    if model.config.is_encoder_decoder and hasattr(model, "get_decoder"):  # type: ignore[union-attr]
        model = model.get_encoder()  # type: ignore[operator]
    if isinstance(getattr(model, "pooler", None), nn.Module):
        model.pooler = nn.Identity()  # sentence vectors are not used; without weights, nothing is left untrained
    freeze_unreached(model, model.config.model_type)  # type: ignore[union-attr, arg-type]
    freeze(model, options.freeze_layers)
    adapted = add_lora(model, options.lora) if options.lora.rank else model
    if options.gradient_checkpointing:
        _checkpoint_activations(model)
    return adapted


def _checkpoint_activations(model: Any) -> None:
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 6 on
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    if getattr(model, "_require_grads_hook", None) is not None:  # for reentrant checkpoints; could not be pickled
        model.disable_input_require_grads()


def _assemble(
    options: TransformerEncoderConfig, model: nn.Module, config: PretrainedConfig, tokenizer: Any, *, autocast: bool
) -> TransformerEncoder:
    backend = tokenizer.backend_tokenizer
    prefix, suffix = _special_ids(backend)
    style = None
    if options.boxes is not False:
        style = LAYOUT_MODELS.get(config.model_type)
        if options.boxes and style is None:
            known = ", ".join(sorted(LAYOUT_MODELS))
            raise ConfigError(f"encoder.boxes: a {config.model_type} model takes no boxes; those that do: {known}")
    capacity = _max_length(options, model, tokenizer) - len(prefix) - len(suffix)
    separator = _first_known(tokenizer.sep_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id)
    filler = _first_known(tokenizer.unk_token_id, tokenizer.mask_token_id, separator)
    maker = WindowMaker(
        table=WordpieceTable(backend, filler),
        capacity=capacity,
        specials=len(prefix) + len(suffix),
        indicator_layer=options.layout_indicator,
        indicator=separator,
        box_style=style,
    )
    padding = _first_known(tokenizer.pad_token_id, config.pad_token_id, 0)
    shaped_by = (backend.to_str(), filler, separator, capacity, options.layout_indicator, style)
    return TransformerEncoder(
        model,
        tokenizer,
        maker,
        Collator(capacity=capacity, prefix=prefix, suffix=suffix, padding=padding, box_style=style),
        pooling=options.pooling,
        layer_decay=options.layer_decay,
        autocast=autocast,
        checkpointing=options.gradient_checkpointing,
        fingerprint=hashlib.sha256(repr(shaped_by).encode()).hexdigest(),
    )


def _special_ids(backend: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special wordpieces that the tokenizer puts before and after a text."""
    probe = bare(backend.to_str()).encode("a", add_special_tokens=True)
    text = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
    return tuple(probe.ids[: text[0]]), tuple(probe.ids[text[-1] + 1 :])


def _max_length(options: TransformerEncoderConfig, model: nn.Module, tokenizer: Any) -> int:
    most = min([limit for limit in (_positions(model), tokenizer.model_max_length) if limit], default=_USUAL_LENGTH)
    if options.max_length and options.max_length > most:
        raise ConfigError(
            f"encoder.max_length: expected at most {most}, which the model takes, got {options.max_length}"
        )
    return options.max_length or min(most, _USUAL_LENGTH)


def _positions(model: nn.Module) -> int | None:
    """Return how many wordpieces the model has positions for; None where positions are relative."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and "_position" not in name:
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    limit = getattr(model.config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _first_known(*ids: int | None) -> int:
    return next((i for i in ids if i is not None), 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing reports and progress while it loads a model."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
