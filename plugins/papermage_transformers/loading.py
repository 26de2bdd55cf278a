"""A folder → the model and the tokenizer of transformers that it holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForTextEncoding, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from papermage_core.errors import counted
from papermage_transformers.folder import CONFIG, TOKENIZER, ModelFolder
from papermage_transformers.size import check_size
from papermage_transformers.tokenizer import FastTokenizer

__all__ = ["is_text_encoder", "load_model"]

logger = logging.getLogger(__name__)

_TOKENIZERS = (TOKENIZER, "vocab.txt", "vocab.json", "*.model", "*.vocab", "tekken.json")


def load_model(folder: ModelFolder, adjust: Callable[[PretrainedConfig], None]) -> tuple[nn.Module, FastTokenizer]:
    """Return the model, with its config adjusted, and the tokenizer; the weights of a checkpoint's are random.

    Raises CheckpointError or ConfigError, which name the file, for what cannot be used.
    """
    with _quiet():
        config = _read_config(folder)
        adjust(config)
        _check_size(folder, config)
        if folder.is_checkpoint:
            return _new(folder, config), FastTokenizer.read(folder)
        tokenizer = _load_tokenizer(folder, config)
        return _load(folder, config), tokenizer


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


def _auto_class(config: PretrainedConfig) -> Any:
    """Return the auto class: for encoder-decoders the one of their encoder alone, where there is one."""
    return AutoModelForTextEncoding if is_text_encoder(config) else AutoModel


def is_text_encoder(config: PretrainedConfig) -> bool:
    """Whether transformers has a class for the encoder alone of this kind of model."""
    return type(config) in AutoModelForTextEncoding._model_mapping


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
            "%s: %s not in the files, and random: %s", folder.path, counted(len(missing), "weights", "are"), missing[:5]
        )
    model.config.name_or_path = ""  # of this machine; transformers 4 would save it
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
