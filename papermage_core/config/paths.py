"""Whether what a config names is there: files and folders, and the services that a run is logged to."""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from papermage_core.errors import ConfigError, DataError
from papermage_core.files import find_files
from papermage_core.files.hub import is_on_hub

__all__ = [
    "check_documents",
    "check_paths",
    "check_services",
    "missing_documents",
    "no_such_path",
    "service_missing",
]

_SERVICES = {"wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",)}
"""Options, and the modules of which Lightning needs one for each."""
_NONE = ("none", "null")
"""How an option that may be left out is typed where it is."""


def check_paths(values: Mapping[str, Any], sources: Mapping[str, str]) -> None:
    """Raise DataError for documents that are not there, ConfigError for such a model or run: of each kind all at once.

    ``values`` are those of a config by key, ``sources`` where they were given. Nothing is read.
    """
    check_documents(missing_documents(values, sources))
    errors = [f"{key}={value} ({sources.get(key, 'default')}): no such {what}" for key, value, what in _others(values)]
    if errors:
        raise ConfigError(*errors)


def missing_documents(values: Mapping[str, Any], sources: Mapping[str, str]) -> list[str]:
    """Return an error for each of the documents that are not there."""
    return [
        f"{key}={path} ({sources.get(key, 'default')}): no such file or folder{hint}"
        for key in ("data_path", "val_data_path", "test_data_path")
        for path, hint in _missing([getattr(value, "path", value) for value in values.get(key, ())])
    ]


def check_documents(errors: Sequence[str]) -> None:
    """Raise the errors of documents that are not there, if there are any, as one DataError."""
    if errors:
        raise DataError("\n".join(errors), expected="files, folders, globs or - for standard input")


def check_services(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for services whose libraries are not installed. None is imported."""
    wanted = {name: modules for name, modules in _SERVICES.items() if values[name]}
    missing = [name for name, modules in wanted.items() if not any(map(_is_installed, modules))]
    if missing:
        raise ConfigError(*map(service_missing, missing))


def service_missing(name: str) -> str:
    """Return what to say of a service whose library is not installed."""
    return f"{name}=true needs {name}; type: pip install 'papermage_core[{name}]'"


def _is_installed(module: str) -> bool:
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None  # no folder that happens to have the name


def no_such_path(parts: Sequence[str], at: int) -> str:
    """Return what to say more of a path in a list that is not there: a comma of its name may have cut it.

    >>> no_such_path(["a.jsonl"], 0)
    ''
    """
    name = _name_with_commas(parts, at)
    if name is None:
        return ""
    listed = shlex.quote(json.dumps([name, "..."], ensure_ascii=False))
    return f"; a comma separates paths: for the file {name!r} type the list as {listed}"


def _name_with_commas(parts: Sequence[str], at: int) -> str | None:
    """Return the file there is whose name holds the part ``at`` of a list and its neighbours, cut at commas."""
    for first in range(at, -1, -1):
        for last in range(max(at, first + 1), len(parts)):
            for comma in (",", ", "):
                name = comma.join(parts[first : last + 1])
                if os.path.lexists(os.path.expanduser(name)):  # noqa: PTH111 - lexists is of os.path
                    return name
    return None


def _missing(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    for at, path in enumerate(paths):
        found = str(path) == "-" or _is_there(path) or (glob.has_magic(str(path)) and find_files(str(path)))
        if not found:
            yield path, no_such_path([*map(str, paths)], at)


def _others(values: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and kind of what is missing beside documents; a hub's name is not looked up."""
    resume, evaluates = values["resume"], values["mode"] == "eval"
    has_weights = values.get("start_from") is not None  # what those were made from is not read again
    for key in ("model_name_or_path", "encoder.model_name_or_path"):
        model = values.get(key)
        if has_weights or not isinstance(model, str) or (_is_there(path := Path(model).expanduser()) and path.is_dir()):
            continue
        if _is_there(path) and path.is_file():
            yield key, model, f"folder: it is a file; name the folder that it is in, {path.parent}"
            break
        if _is_path(model) or (evaluates and key == "model_name_or_path" and not is_on_hub(model)):
            yield key, model, "folder"
            break  # the first may have been put into the second
    pretrained = values.get("encoder.pretrained")
    if isinstance(pretrained, (str, Path)) and str(pretrained) not in _NONE and not (evaluates or has_weights):
        path = Path(pretrained).expanduser()
        if not (_is_there(path) and path.is_dir()):
            yield "encoder.pretrained", pretrained, "folder"
    for key, model in values.items():
        if key.startswith("processors.") and key.endswith(".model_name_or_path"):
            path = Path(model).expanduser()
            if not (_is_there(path) and path.is_dir()) and not is_on_hub(model):
                yield key, model, "folder"
        if key == "processors.terms.path" and not _is_there(Path(model).expanduser()):
            yield key, model, "file"
    if isinstance(resume, Path) and not _is_there(resume):
        yield "resume", resume, "file; expected true, false, auto or the last.ckpt of a run"


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def _is_path(model: str) -> bool:
    """Whether a name can only be a folder's: a hub has ``name`` and ``owner/name``."""
    return Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
