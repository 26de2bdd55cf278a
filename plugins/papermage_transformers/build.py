"""A folder and options → the encoder: model and tokenizer loaded, checked, and set up."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForTextEncoding, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from papermage_core.errors import ConfigError
from papermage_core.plugin import Context
from papermage_transformers.batch import Collator
from papermage_transformers.cpu import choose_precision, has_accelerator, prepare
from papermage_transformers.encoder import TransformerEncoder, model_inputs
from papermage_transformers.folder import CONFIG, TOKENIZER, TOKENIZER_CONFIG, ModelFolder
from papermage_transformers.layout import LAYOUT_MODELS, BoxStyle
from papermage_transformers.size import check_size
from papermage_transformers.tokenizer import FastTokenizer
from papermage_transformers.tuning import add_lora, freeze, freeze_unreached
from papermage_transformers.windows import WindowMaker
from papermage_transformers.wordpieces import WordpieceTable, bare

__all__ = ["build_encoder"]

logger = logging.getLogger(__name__)

_USUAL_LENGTH = 512
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
_DROPOUTS = ("hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "embedding_dropout", "mlp_dropout")
_PROBE = ["a", "b", "The", "protein", "BRCA1", "12", "(", "é", "本", "∆", "\ue000", "\ue001", "", "", "\n", " "]
"""Words known and unknown, even ones after a space and odd ones without, that a tokenizer must bear."""
_TOKENIZERS = (TOKENIZER, "vocab.txt", "vocab.json", "*.model", "*.vocab", "tekken.json")


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
    with _quiet():
        config = _read_config(folder)
        _adjust(config, dropout, attention_dropout)
        precision = choose_precision(cpu_precision, config.model_type)
        _check_size(folder, config)
        tokenizer = FastTokenizer.read(folder) if folder.is_checkpoint else _load_tokenizer(folder, config)
        model = _new(folder, config) if folder.is_checkpoint else _load(folder, config)
    if not has_accelerator():
        prepare(precision)
        logger.info(
            "CPU: %s arithmetic, attention dropout %s, %d threads (override with encoder.cpu_precision, "
            "encoder.attention_dropout, num_threads)",
            precision,
            attention_dropout,
            torch.get_num_threads(),
        )
    model = _without_unused(model.float().train())  # from_pretrained leaves eval mode: no dropout in training
    maker, collator = _windowing(folder, model, tokenizer, max_length, layout_indicator, _box_style(config, boxes))
    output_size = _output_size(folder, model, maker, collator)
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
        fingerprint=_fingerprint(maker, tokenizer),
    )


def _read_config(folder: ModelFolder) -> PretrainedConfig:
    found = folder.read_config()
    kind = found.get("model_type")
    if kind is None and not folder.is_checkpoint:  # as transformers guesses for models older than the key
        kind = next((k for k in sorted(CONFIG_MAPPING, key=len, reverse=True) if k in str(folder.path)), None)
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise folder.error(
            CONFIG, f"has model_type={kind!r}, no kind of model of transformers {transformers.__version__}"
        )
    with folder.using(CONFIG):
        config: PretrainedConfig = CONFIG_MAPPING[kind].from_dict(found)
    return config


def _adjust(config: PretrainedConfig, dropout: float | None, attention_dropout: float | None) -> None:
    """Set the dropouts asked for, and leave out parts that text does not use."""
    for names, value in ((_ATTENTION_DROPOUTS, attention_dropout), (_DROPOUTS, dropout)):
        for name in names:
            if value is not None and hasattr(config, name):
                setattr(config, name, value)
    if config.model_type == "layoutlmv3":
        config.visual_embed = False
    if hasattr(config, "use_cache"):
        config.use_cache = False


def _auto_class(config: PretrainedConfig) -> Any:
    """Return the auto class: for encoder-decoders the one of their encoder alone, where there is one."""
    return AutoModelForTextEncoding if type(config) in AutoModelForTextEncoding._model_mapping else AutoModel


def _check_size(folder: ModelFolder, config: PretrainedConfig) -> None:
    """Raise where a config describes a model far larger than its weights."""
    limits = folder.limits()
    with folder.using(CONFIG):
        auto = _auto_class(config)
        _ = auto._model_mapping[type(config)]  # imports its module
        check_size(lambda: _new(folder, config), limits)


def _new(folder: ModelFolder, config: PretrainedConfig) -> nn.Module:
    with folder.using(CONFIG):
        return _auto_class(config).from_config(config, trust_remote_code=False)  # type: ignore[no-any-return]


def _load(folder: ModelFolder, config: PretrainedConfig) -> nn.Module:
    if folder.has("adapter_config.json"):
        raise folder.error(
            "adapter_config.json", "says that this is an adapter: merge it into its model, and save that"
        )
    files = folder.weight_files()
    with folder.using(files[0].name):
        model, report = _auto_class(config).from_pretrained(
            str(folder.path),
            config=config,
            ignore_mismatched_sizes=True,  # told below, with names
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    for name, kept, made in sorted(report["mismatched_keys"]):
        raise folder.damaged(
            CONFIG, f"does not fit the weights: {name} is {tuple(made)} by it, and {tuple(kept)} in the file"
        )
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing:
        logger.warning(
            "%s: %d weights are not in the files and start at random: %s", folder.path, len(missing), missing[:5]
        )
    return model  # type: ignore[no-any-return]


def _load_tokenizer(folder: ModelFolder, config: PretrainedConfig) -> FastTokenizer:
    if not any(any(folder.path.glob(pattern)) for pattern in _TOKENIZERS):
        raise folder.damaged(TOKENIZER, "is missing")
    for name in sorted({path.name for path in folder.path.glob("*token*.json")} - {TOKENIZER}):
        folder.refuse_code(name, folder.read_object(name))
    with folder.using(TOKENIZER):
        found = AutoTokenizer.from_pretrained(
            str(folder.path), config=config, use_fast=True, local_files_only=True, trust_remote_code=False
        )
        if not getattr(found, "is_fast", False):
            raise folder.error(TOKENIZER, "is missing, and what is there makes a slow tokenizer only")
        return FastTokenizer.of(found)


def _without_unused(model: Any) -> nn.Module:
    """Return the encoder of a model that decodes too, without what unit vectors do not depend on."""
    if model.config.is_encoder_decoder and hasattr(model, "get_decoder"):
        model = model.get_encoder()
    if isinstance(getattr(model, "pooler", None), nn.Module):
        model.pooler = nn.Identity()  # sentence vectors are not used; without weights, nothing is left untrained
    freeze_unreached(model, model.config.model_type)
    return model  # type: ignore[no-any-return]


def _checkpoint_activations(model: Any) -> None:
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 6 on
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
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
    rows = model.get_input_embeddings().weight.shape[0]
    tokenizer.check(folder, rows)
    separator = _first_known(tokenizer.id("sep", "eos", "cls"))
    filler = _first_known(tokenizer.id("unk", "mask"), separator)
    padding = _first_known(tokenizer.id("pad"), model.config.pad_token_id)
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


def _output_size(folder: ModelFolder, model: nn.Module, maker: WindowMaker, collator: Collator) -> int:
    """Return the size of a wordpiece's vector, as the model gives it for a short text.

    A model that wants images or sound, or gives no vector for each wordpiece, fails here and not in training.
    """
    text = Context(words=["a", "b"], space_before=np.ones(2, np.bool_), boxes=np.ones((2, 4), np.float32))
    inputs = model_inputs(collator([maker.windows([text], 0)[0][0]]))
    with folder.using(CONFIG), torch.random.fork_rng(devices=[]), torch.no_grad():
        found = model.eval()(**inputs).last_hidden_state
        if found.shape[:-1] != inputs["input_ids"].shape:
            raise ValueError(
                f"the model gives vectors of shape {tuple(found.shape)} for {inputs['input_ids'].shape[1]} wordpieces"
            )
    model.train()
    return int(found.shape[-1])


_loading = threading.RLock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing reports and progress while it loads a model; one thread at a time."""
    library = logging.getLogger("transformers")
    with _loading:
        transformers_logging.get_verbosity()  # sets the level, once a process
        level, bars = library.level, transformers_logging._tqdm_active
        library.setLevel(logging.ERROR)
        transformers_logging._tqdm_active = False  # its public function changes huggingface_hub's bars too
        try:
            yield
        finally:
            library.setLevel(level)
            transformers_logging._tqdm_active = bars
