"""Checkpoints on the Hugging Face hub: ``hf:owner/name``, or ``hf:owner/name@revision``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from functools import partial
from pathlib import Path

from papermage_core.config.naming import cache_folder
from papermage_core.errors import ConfigError
from papermage_core.files import download, whole_folder
from papermage_core.files.hub import HUB

__all__ = ["CHECKPOINT_JSON", "from_hub"]

CHECKPOINT_JSON = "papermage.json"
"""The file that makes a folder a checkpoint."""
_FETCHED: dict[str, Path] = {}


def from_hub(name: str, key: str = "model_name_or_path", *, offline: bool = False) -> Path:
    """Return the folder on this machine of a checkpoint on the hub, which is asked once in a process.

    ``key`` is the option that named it, for messages. With ``offline`` it is what was fetched before. The hub's own
    cache keeps a revision as links to files elsewhere, which no checkpoint may have: it is put together in
    `cache_folder`, by hard links where there can be some. Raises ConfigError that says what to do, and PluginError
    where the hub's client is not installed.
    """
    if name not in _FETCHED:
        _FETCHED[name] = _fetched(name, key, offline)
    return _FETCHED[name]


def _fetched(name: str, key: str, offline: bool) -> Path:
    repository, _, revision = name.removeprefix(HUB).partition("@")
    choose = partial(_chosen, key, repository)
    snapshot = download(key, repository, revision or None, choose, offline=offline)
    folder = cache_folder() / "hub" / repository.replace("/", "--") / snapshot.name
    files = [file.relative_to(snapshot) for file in snapshot.rglob("*") if file.is_file()]
    if not all((folder / file).is_file() for file in files):  # it is new, or a part of it was fetched before
        with whole_folder(folder) as new:
            for file in files:
                (new / file).parent.mkdir(parents=True, exist_ok=True)
                _put((snapshot / file).resolve(), new / file)
    return folder


def _chosen(key: str, repository: str, files: Collection[str]) -> list[str]:
    if CHECKPOINT_JSON not in files:
        what = f"{repository!r} on the Hugging Face hub is no checkpoint of papermage_core: it has no {CHECKPOINT_JSON}"
        do = f"an encoder to train with is encoder=hf encoder.model_name_or_path={repository}"
        raise ConfigError(f"{key}: {what}; {do}")
    return [CHECKPOINT_JSON, *(file for file in files if file != CHECKPOINT_JSON and not file.startswith("."))]


def _put(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:  # on another file system
        shutil.copyfile(file, place)
