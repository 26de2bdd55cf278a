"""Generate a distribution with a component that works, for its author to change."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from papermage_core.errors import ConfigError
from papermage_core.plugin.component import KEYS, canonical
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import API_VERSION, GROUPS
from papermage_core.plugin.template import common, encoder, extension, head, reader, scheme

__all__ = ["generate"]

_FILES: Mapping[str, Mapping[str, str]] = {
    "context_encoder": encoder.FILES,
    "label_scheme": scheme.FILES,
    "model_head": head.FILES,
    "document_reader": reader.FILES,
    "extension": extension.FILES,
}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def generate(name: str, kind: str, into: Path) -> Path:
    """Write the folder ``papermage-NAME`` below ``into`` and return it.

    Raises ConfigError for a name that is no good, or that another installed distribution gives to its own component.
    The folder is complete: it can be installed, its tests pass, and ``tox`` runs them.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a component; expected small letters, digits, and - or _ between them"
        )
    words = _words(name, kind)
    _refuse_taken(name, kind, words["distribution"])
    folder = into / words["distribution"]
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another name, or another folder with --into")
    for path, content in {**common.FILES, **_FILES[kind]}.items():
        file = folder / Template(path).substitute(words)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(content).substitute(words), encoding="utf-8")
    return folder


def _refuse_taken(name: str, kind: str, distribution: str) -> None:
    others = [found for found in Plugins().named(kind, name) if canonical(found.distribution) != distribution]
    if others:
        sources = " and ".join(found.source for found in others)
        raise ConfigError(
            f"{KEYS[kind]}={name} is given by {sources} already, and two of one name clash; choose another name"
        )


def _words(name: str, kind: str) -> dict[str, str]:
    stem = name.replace("-", "_")
    version = importlib.metadata.version("papermage_core")
    return {
        "name": name,
        "distribution": f"papermage-{name.replace('_', '-')}",
        "module": f"papermage_{stem}",
        "class_name": "".join(part.capitalize() for part in stem.split("_")),
        "kind": kind.replace("_", " "),
        "group": GROUPS[kind],
        "key": KEYS[kind],
        "core_version": ".".join(version.split(".")[:2]),
        "api_version": str(API_VERSION),
    }
