"""A folder and options → the encoder: model and tokenizer loaded, checked, and set up."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig

from papermage_core.errors import ConfigError, counted
from papermage_core.plugin import Context
from papermage_transformers.batch import Collator
from papermage_transformers.cpu import choose_precision, has_accelerator, prepare
from papermage_transformers.encoder import TransformerEncoder, model_inputs
from papermage_transformers.folder import CONFIG, TOKENIZER, TOKENIZER_CONFIG, ModelFolder
from papermage_transformers.layout import LAYOUT_MODELS, BoxStyle
from papermage_transformers.loading import is_text_encoder, load_model
from papermage_transformers.tokenizer import FastTokenizer
from papermage_transformers.tuning import add_lora, freeze, freeze_unreached
from papermage_transformers.windows import WindowMaker
from papermage_transformers.wordpieces import WordpieceTable, bare

__all__ = ["build_encoder"]

logger = logging.getLogger(__name__)

_USUAL_LENGTH = 512
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
_DROPOUTS = ("hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "embedding_dropout", "mlp_dropout")
_ROUNDING = 1e-4
"""Share of the largest number in two vectors by which they may differ though they are the same."""
_PROBE = ["a", "b", "The", "protein", "BRCA1", "12", "(", "é", "本", "∆", "\ue000", "\ue001", "", "", "\n", " "]
"""Words known and unknown, with and without a space before, that a tokenizer must handle."""


@cache
def _tell_of_cpu(precision: str, attention_dropout: float | None, threads: int) -> None:
    """Say how a model is computed here: once, however many models are built so."""
    logger.info(
        "CPU: %s arithmetic, attention dropout %s, %s (override with encoder.cpu_precision, "
        "encoder.attention_dropout, num_threads)",
        precision,
        attention_dropout,
        counted(threads, "threads"),
    )


def build_encoder(
    folder: ModelFolder,
    *,
    pooling: str,
    max_length: int | None,
    layout_indicator: str | None,
    boxes: bool | None,
    freeze_layers: int,
    layer_decay: float,
    gradient_checkpointing: bool,
    dropout: float | None,
    attention_dropout: float | None,
    lora: Mapping[str, Any],
    cpu_precision: str,
) -> TransformerEncoder:
    """Return the encoder that a folder holds: with its weights, or, of a checkpoint, with random ones.

    Raises CheckpointError for a checkpoint that is damaged, ConfigError for a model or an option that cannot be used.
    """
    if attention_dropout is None and not has_accelerator():
        attention_dropout = 0.0  # any other rate takes the CPU's slow attention, several times the time at length 512
    model, tokenizer = load_model(folder, partial(_adjust, dropout=dropout, attention_dropout=attention_dropout))
    config: Any = model.config
    precision = choose_precision(cpu_precision, config.model_type)
    if not has_accelerator():
        prepare(precision)
        _tell_of_cpu(precision, attention_dropout, torch.get_num_threads())
    model = _without_unused(model.float().train())  # from_pretrained leaves eval mode: no dropout in training
    maker, collator = _windowing(folder, model, tokenizer, max_length, layout_indicator, _box_style(config, boxes))
    output_size, sees_padding = _probed(folder, model, maker, collator)
    freeze(model, freeze_layers)
    adapted = add_lora(model, **lora) if lora["rank"] else model
    if gradient_checkpointing:
        _checkpoint_activations(model)
    return TransformerEncoder(
        adapted,
        tokenizer,
        maker,
        collator,
        output_size=output_size,
        pooling=pooling,
        layer_decay=layer_decay,
        precision=precision,
        checkpointing=gradient_checkpointing,
        sees_padding=sees_padding,
        fingerprint=_fingerprint(maker, tokenizer),
    )


def _adjust(config: PretrainedConfig, *, dropout: float | None, attention_dropout: float | None) -> None:
    """Set the dropouts asked for, and leave out parts that text does not use."""
    for names, value in ((_ATTENTION_DROPOUTS, attention_dropout), (_DROPOUTS, dropout)):
        for name in names:
            if value is not None and hasattr(config, name):
                setattr(config, name, value)
    if config.model_type == "layoutlmv3":
        config.visual_embed = False
    if hasattr(config, "use_cache"):
        config.use_cache = False


def _without_unused(model: Any) -> nn.Module:
    """Return the encoder of a model that decodes too, without what unit vectors do not depend on."""
    if model.config.is_encoder_decoder and not is_text_encoder(model.config) and hasattr(model, "get_decoder"):
        model = model.get_encoder()
    if isinstance(getattr(model, "pooler", None), nn.Module):
        model.pooler = nn.Identity()  # sentence vectors are not used; without weights, nothing is left untrained
    if "attention_mask" not in inspect.signature(model.forward).parameters:  # FNet, before transformers 5
        model.register_forward_pre_hook(_unmasked, with_kwargs=True)
    return model  # type: ignore[no-any-return]


def _unmasked(model: nn.Module, arguments: tuple[Any, ...], inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return arguments, {name: value for name, value in inputs.items() if name != "attention_mask"}


def _checkpoint_activations(model: Any) -> None:
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 6 on
    try:
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    except ValueError as error:
        raise ConfigError(f"encoder.gradient_checkpointing: {error} Expected false") from error
    if getattr(model, "_require_grads_hook", None) is not None:  # for reentrant checkpoints; could not be pickled
        model.disable_input_require_grads()


def _box_style(config: PretrainedConfig, boxes: bool | None) -> BoxStyle | None:
    style = LAYOUT_MODELS.get(config.model_type)
    if boxes and style is None:
        known = ", ".join(sorted(LAYOUT_MODELS))
        raise ConfigError(f"encoder.boxes: a {config.model_type} model takes no boxes; those that do: {known}")
    return None if boxes is False else style


def _windowing(
    folder: ModelFolder,
    model: Any,
    tokenizer: FastTokenizer,
    max_length: int | None,
    layout_indicator: str | None,
    box_style: BoxStyle | None,
) -> tuple[WindowMaker, Collator]:
    with folder.using(CONFIG):
        rows: int = model.get_input_embeddings().weight.shape[0]
    tokenizer.check(folder, rows)
    separator = _first_known(tokenizer.id("sep", "eos", "cls"))
    filler = _first_known(tokenizer.id("unk", "mask"), separator)
    padding = _first_known(tokenizer.id("pad"), getattr(model.config, "pad_token_id", None))
    with folder.using(TOKENIZER):
        prefix, suffix = _special_ids(tokenizer.backend)
        table = WordpieceTable(tokenizer.backend, filler)
        ids, _ = table.encode(_PROBE, np.arange(len(_PROBE)) % 2 == 0)
        if not all(0 <= i < rows for i in (*prefix, *suffix, separator, filler, padding, *ids.tolist())):
            raise ValueError(f"has wordpieces beyond the model's {rows:,} embeddings")
    length = _max_length(max_length, model, tokenizer)
    capacity = length - len(prefix) - len(suffix)
    if capacity < 1:
        room = f"a window of {length} wordpieces has room for the {length - capacity} special ones alone"
        if max_length is None:
            raise folder.damaged(TOKENIZER_CONFIG, f"or {CONFIG} limits the model too much: {room}")
        raise ConfigError(f"encoder.max_length: {room}; expected {length - capacity + 1} at least")
    maker = WindowMaker(
        table=table,
        capacity=capacity,
        specials=length - capacity,
        indicator_layer=layout_indicator,
        indicator=separator,
        box_style=box_style,
    )
    return maker, Collator(capacity=capacity, prefix=prefix, suffix=suffix, padding=padding, box_style=box_style)


def _fingerprint(maker: WindowMaker, tokenizer: FastTokenizer) -> str:
    shaped_by = (
        tokenizer.backend.to_str(),
        maker.table.filler,
        maker.indicator,
        maker.capacity,
        maker.indicator_layer,
        maker.box_style,
    )
    return hashlib.sha256(repr(shaped_by).encode()).hexdigest()


def _special_ids(backend: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special wordpieces that the tokenizer puts before and after a text."""
    probe = bare(backend.to_str()).encode("a", add_special_tokens=True)
    text = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
    if not text:
        raise ValueError("it makes no wordpiece of a text")
    return tuple(probe.ids[: text[0]]), tuple(probe.ids[text[-1] + 1 :])


def _max_length(wanted: int | None, model: Any, tokenizer: FastTokenizer) -> int:
    most = min([limit for limit in (_positions(model), tokenizer.max_length) if limit], default=None)
    if wanted and most and wanted > most:
        raise ConfigError(f"encoder.max_length: expected at most {most}, which the model takes, got {wanted}")
    return wanted or min(most or _USUAL_LENGTH, _USUAL_LENGTH)


def _positions(model: Any) -> int | None:
    """Return how many wordpieces the model has positions for; None where positions are relative."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and "_position" not in name:
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    limit = getattr(model.config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _first_known(*ids: int | None) -> int:
    return next((i for i in ids if i is not None), 0)


def _probed(folder: ModelFolder, model: Any, maker: WindowMaker, collator: Collator) -> tuple[int, bool]:
    """Return the size of a wordpiece's vector, and whether padding beside a text changes it.

    Weights that the vectors of a text do not depend on are not trained. A model that wants images or sound, or gives no
    vector for each wordpiece, fails here and not in training. One that reads in one direction is warned of.
    """
    long, short = (
        Context(words=["a", "b"] * n, space_before=np.ones(2 * n, np.bool_), boxes=np.ones((2 * n, 4), np.float32))
        for n in (4, 1)
    )
    one, two = (
        model_inputs(collator([maker.windows([text], 0)[0][0] for text in texts])) for texts in ([short], [long, short])
    )
    model.eval()
    with folder.using(CONFIG), torch.random.fork_rng(devices=[]):
        with torch.enable_grad():
            found = model(**one).last_hidden_state
        if found.shape[:-1] != one["input_ids"].shape:
            raise ValueError(
                f"the model gives vectors of shape {tuple(found.shape)} for {one['input_ids'].shape[1]} wordpieces"
            )
        with torch.no_grad():
            longer, beside = model(**two).last_hidden_state[:, : found.shape[1]]
    model.train()
    freeze_unreached(model, found)
    alone = found.detach()[0]
    text = len(alone) - len(collator.suffix)
    if not folder.is_checkpoint and _are_same(alone[:text], longer[:text]):
        logger.warning(
            "%s: a %s model reads from left to right, and knows nothing of what comes after a word. encoder=stack "
            "encoder.inner=hf reads what it gives in both directions",
            folder.path,
            model.config.model_type,
        )
    return int(found.shape[-1]), not _are_same(alone, beside)


def _are_same(vectors: torch.Tensor, others: torch.Tensor) -> bool:
    return bool((vectors - others).abs().max() <= _ROUNDING * vectors.abs().max())
