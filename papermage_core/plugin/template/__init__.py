"""Generate a distribution with a component that works, for its author to change.

The folder ``acme`` is one, with a component of each kind: its code is linted and its types are checked as they stand.
What is generated is that of one kind, by another name.
"""

from __future__ import annotations

import builtins
import datetime
import importlib.metadata
import importlib.util
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

from packaging.requirements import Requirement
from packaging.version import Version

from papermage_core.errors import ConfigError
from papermage_core.plugin.component import canonical
from papermage_core.plugin.kinds import KINDS, Kind
from papermage_core.plugin.manager import Plugins

__all__ = ["generate"]

_ACME = Path(__file__).parent / "acme"
_NAMES = {"papermage-acme": "distribution", "papermage_acme": "module", "Acme": "class_name", "acme": "name"}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_CONFIG_WORDS = frozenset(["none", "null", "true", "false", "yes", "no", "on", "off", "auto", "core", "papermage"])


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
    _refuse_confusing(name, words["module"], words["distribution"])
    _refuse_taken(name, kind, words["distribution"])
    folder = into / words["distribution"]
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another name, or another folder with --into")
    for path, content in _files(KINDS[kind], words):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return folder


def _files(kind: Kind, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield path and content of each file: those of the kind, and those that all kinds have."""
    package, test = f"src/papermage_acme/{kind.word}/", f"tests/test_{kind.word}.py"
    for file in sorted(_ACME.rglob("*")):
        path = file.relative_to(_ACME).as_posix()
        if not file.is_file() or any(part.startswith((".", "__pycache__")) for part in path.split("/")):
            continue
        text = file.read_text(encoding="utf-8")
        if not path.startswith(("src/", "tests/")):
            path = re.sub("^git", ".git", path)
        elif path.startswith(package) or path == test or path.endswith("py.typed"):
            path = path.replace(package, "src/papermage_acme/").replace(test, "tests/test_papermage_acme.py")
            text = text.replace(f"papermage_acme.{kind.word}", "papermage_acme")
        else:
            continue
        text = _renamed(text, words)
        yield _renamed(path, words), text if path.endswith(".py") else Template(text).safe_substitute(words)


def _renamed(text: str, words: Mapping[str, str]) -> str:
    return re.sub("|".join(_NAMES), lambda found: words[_NAMES[found[0]]], text)


def _refuse_taken(name: str, kind: str, distribution: str) -> None:
    others = [found for found in Plugins().named(kind, name) if canonical(found.distribution) != distribution]
    if others:
        sources = " and ".join(found.source for found in others)
        raise ConfigError(
            f"{KINDS[kind].key}={name} is given by {sources} already, and two of one name clash; choose another name"
        )


def _refuse_confusing(name: str, module: str, distribution: str) -> None:
    """Raise ConfigError for a name that means something else already, in Python or in a config."""
    stem = name.replace("-", "_")
    meaning = next((what for what, names in _taken().items() if stem in names), None)
    if meaning is None and importlib.util.find_spec(module) is not None:
        owners = [canonical(owner) for owner in importlib.metadata.packages_distributions().get(module, [])]
        meaning = f"the name of the installed package {module}" if distribution not in owners else None
    if meaning is not None:
        raise ConfigError(f"{name!r} is {meaning}, and would be mistaken for it; choose another name")


def _taken() -> dict[str, frozenset[str]]:
    requirements = map(Requirement, importlib.metadata.requires("papermage_core") or ())
    return {
        "a word of Python": frozenset(map(str.lower, [*keyword.kwlist, *keyword.softkwlist])) | set(dir(builtins)),
        "a module of Python": frozenset(sys.stdlib_module_names),
        "a library that papermage_core uses": frozenset(r.name.replace("-", "_").lower() for r in requirements),
        "a word that configs have": _CONFIG_WORDS | {word for k in KINDS.values() for word in (k.word, k.key, k.name)},
    }


def _words(name: str, kind: Kind) -> dict[str, str]:
    stem = name.replace("-", "_")
    core = Version(importlib.metadata.version("papermage_core"))
    author, account = _git("user.name"), _git("github.user")
    distribution = f"papermage-{name.replace('_', '-')}"
    return {
        "name": name,
        "distribution": distribution,
        "module": f"papermage_{stem}",
        "class_name": "".join(part.capitalize() for part in stem.split("_")),
        "kind": kind.label,
        "group": kind.group,
        "key": kind.key,
        "core_version": f"{core.major}.{core.minor}",
        "core_next": f"{core.major}.{core.minor + 1}" if core.major == 0 else f"{core.major + 1}",
        "core_exact": str(core),
        "author": author.replace("\\", "").replace('"', "") or f"the authors of {distribution}",
        "homepage": f"https://github.com/{account or 'OWNER'}/{distribution}",
        "year": str(datetime.date.today().year),
        "lowest": "\n".join(_lowest()),
    }


def _lowest() -> list[str]:
    """Return the lowest versions of what papermage_core needs, which is what a plugin imports, as pins."""
    requirements = [Requirement(line) for line in importlib.metadata.requires("papermage_core") or ()]
    return [
        f"{requirement.name}=={specifier.version}"
        for requirement in requirements
        for specifier in requirement.specifier
        if specifier.operator == ">=" and requirement.marker is None
    ]


def _git(key: str) -> str:
    """Return what git knows of the author; nothing where it knows nothing, or is not there."""
    try:
        done = subprocess.run(["git", "config", "--get", key], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return " ".join(done.stdout.split())
