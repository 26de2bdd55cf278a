"""Where a model comes from: a local folder or the hub, and what to say when it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from papermage_core.errors import ConfigError

__all__ = ["explained", "model_type", "origin"]

_KEY = "encoder.model_name_or_path"


def origin(name: str, revision: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return what ``from_pretrained`` takes for a folder or a hub name: its first argument and the keywords.

    Raises ConfigError for a folder that is not there or holds no model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(f"{_KEY}: the folder {name!r} has no config.json; expected what save_pretrained writes")
        return str(folder), {"local_files_only": True}
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or "\\" in name:
        raise ConfigError(f"{_KEY}: there is no folder {name!r}")
    return name, {"revision": revision or "main", "local_files_only": _offline()}


def model_type(name: str, revision: str | None = None) -> str:
    """Return the ``model_type`` that a model's config file states, such as ``"bert"``."""
    from transformers import PretrainedConfig

    source, keywords = origin(name, revision)
    with explained(name):
        found, _ = PretrainedConfig.get_config_dict(source, **keywords)
    return str(found.get("model_type", ""))


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what transformers raises while a model is loaded into a ConfigError that says what to do."""
    try:
        yield
    except ConfigError:
        raise
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"{_KEY}: cannot load {name!r}: {cause.rstrip('.')}. {_advice(name)}") from error


def _advice(name: str) -> str:
    if Path(name).expanduser().is_dir():
        return "Expected config.json, tokenizer files and weights of one model, as save_pretrained writes them."
    if _offline():
        return (
            f"Offline mode is on and the model is not in the local cache. Fetch it once where there is a network "
            f"(`hf download {name}`), or give the folder of a model."
        )
    return "Check the name and the network, or give the folder of a model that save_pretrained wrote."


def _offline() -> bool:
    """Whether the environment forbids the network, now and not when huggingface_hub was imported."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"} for name in names)
