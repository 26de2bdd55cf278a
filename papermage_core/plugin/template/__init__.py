"""Generate a distribution with a component that works, for its author to change."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from string import Template

from papermage_core.errors import ConfigError
from papermage_core.plugin.component import canonical
from papermage_core.plugin.kinds import KINDS, Kind
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import API_VERSION
from papermage_core.plugin.template import common

__all__ = ["generate"]

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
    words = _words(name, KINDS[kind])
    _refuse_taken(name, kind, words["distribution"])
    folder = into / words["distribution"]
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another name, or another folder with --into")
    for path, content in {**common.FILES, **KINDS[kind].template_files()}.items():
        file = folder / Template(path).substitute(words)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(content).substitute(words), encoding="utf-8")
    return folder


def _refuse_taken(name: str, kind: str, distribution: str) -> None:
    others = [found for found in Plugins().named(kind, name) if canonical(found.distribution) != distribution]
    if others:
        sources = " and ".join(found.source for found in others)
        raise ConfigError(
            f"{KINDS[kind].key}={name} is given by {sources} already, and two of one name clash; choose another name"
        )


def _words(name: str, kind: Kind) -> dict[str, str]:
    stem = name.replace("-", "_")
    version = importlib.metadata.version("papermage_core")
    return {
        "name": name,
        "distribution": f"papermage-{name.replace('_', '-')}",
        "module": f"papermage_{stem}",
        "class_name": "".join(part.capitalize() for part in stem.split("_")),
        "kind": kind.label,
        "group": kind.group,
        "key": kind.key,
        "core_version": ".".join(version.split(".")[:2]),
        "api_version": str(API_VERSION),
    }
