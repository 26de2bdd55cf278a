"""Where a model comes from: a local folder, or the hub, whose models become folders too."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from papermage_core.errors import ConfigError
from papermage_core.files import download
from papermage_transformers.folder import CONFIG, TOKENIZER, TOKENIZER_CONFIG, ModelFolder

__all__ = ["base_model", "model_type", "tokenizer_files"]

_KEY = "encoder.model_name_or_path"
_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")


def base_model(name: str, revision: str | None = None) -> ModelFolder:
    """Return the folder of a model that a user names; one of the hub is downloaded, or taken from the local cache.

    Raises ConfigError for a folder that is not there or holds no model, and for a model that cannot be fetched.
    """
    return _folder(name, revision, _needed)


def model_type(name: str, revision: str | None = None) -> str:
    """Return the ``model_type`` that a model's config file states, such as ``"bert"``; fetches no more than that."""
    return _folder(name, revision, lambda files: [CONFIG]).model_type()


def tokenizer_files(name: str, revision: str | None = None) -> ModelFolder:
    """Return a folder with the config and the tokenizer of a model; fetches no more than that."""
    return _folder(name, revision, lambda files: sorted({CONFIG, TOKENIZER, TOKENIZER_CONFIG} & set(files)))


def _folder(name: str, revision: str | None, choose: Callable[[Collection[str]], Collection[str]]) -> ModelFolder:
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise ConfigError(f"{_KEY}: the folder {name!r} has no config.json; expected what save_pretrained writes")
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or "\\" in name:
        raise ConfigError(f"{_KEY}: there is no folder {name!r}")
    else:
        path = download(_KEY, name, revision, choose)
    return ModelFolder(path, is_checkpoint=False)


def _needed(files: Collection[str]) -> list[str]:
    """Return which files of a hub model to fetch: config and tokenizer, and its weights in one format."""
    weights = [name for name in files if _WEIGHTS.fullmatch(name)]
    safe = [name for name in weights if name.endswith(".safetensors")]
    texts = [name for name in files if "/" not in name and name.endswith((".json", ".txt", ".model"))]
    return sorted(texts) + (safe or weights)
