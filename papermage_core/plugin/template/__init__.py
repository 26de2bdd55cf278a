"""Generate a distribution with components that work, for their author to change.

The folder ``acme`` is one, with a component of each kind: its code is linted and its types are checked as they stand.
What is generated is that of some kinds, by another name. The example plugin of the repository is that of all.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template

from packaging.requirements import Requirement
from packaging.version import Version

from papermage_core.errors import ConfigError
from papermage_core.files import whole_folder
from papermage_core.plugin.component import canonical
from papermage_core.plugin.kinds import KINDS, OPTIONED, Kind
from papermage_core.plugin.manager import Plugins

__all__ = ["generate"]

_ACME = Path(__file__).parent / "acme"
_NAMES = {"papermage-acme": "distribution", "papermage_acme": "module", "Acme": "class_name", "acme": "name"}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_CONFIG_WORDS = frozenset(["none", "null", "true", "false", "yes", "no", "on", "off", "auto", "core", "papermage"])


def generate(name: str, kind: str | Sequence[str], into: Path) -> Path:
    """Write the folder ``papermage-NAME`` below ``into`` and return it.

    Of several kinds, each has a component of this name, in a folder of its own. What is written is complete: it can be
    installed, its tests pass, and ``tox`` runs them. Raises ConfigError for a name that is no good, or that another
    installed distribution gives to its own component.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a component; expected small letters, digits, and - or _ between them"
        )
    wanted = [kind] if isinstance(kind, str) else kind
    kinds = [known for known in KINDS.values() if known.name in wanted]
    words = _words(name, kinds)
    _refuse_confusing(name, words["module"], words["distribution"])
    for one in kinds:
        _refuse_taken(name, one.name, words["distribution"])
    folder = into / words["distribution"]
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another name, or another folder with --into")
    with whole_folder(folder) as new:
        for path, content in _files(kinds, words):
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
    return folder


def _files(kinds: Sequence[Kind], words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield path and content of each file: those of the kinds, and those that all kinds have."""
    others = [kind.word for kind in KINDS.values() if kind not in kinds]
    unwanted = {part for word in others for part in (f"src/papermage_acme/{word}", f"tests/test_{word}.py")}
    for file in sorted(_ACME.rglob("*")):
        path = file.relative_to(_ACME).as_posix()
        if not file.is_file() or any(part.startswith((".", "__pycache__")) for part in path.split("/")):
            continue
        if path in unwanted or path.rpartition("/")[0] in unwanted:
            continue
        if len(kinds) == 1 and path == "src/papermage_acme/__init__.py":
            continue  # that of the kind takes its place
        text = file.read_text(encoding="utf-8")
        if len(kinds) == 1:
            (kind,) = kinds
            path = path.replace(f"/{kind.word}/", "/").replace(f"test_{kind.word}.py", "test_papermage_acme.py")
            text = text.replace(f"papermage_acme.{kind.word}", "papermage_acme")
        text = _renamed(text, words)
        if not path.endswith(".py"):
            text = _filled(text, kinds, words)
        yield _renamed(re.sub("^git", ".git", path), words), text


def _filled(text: str, kinds: Sequence[Kind], words: Mapping[str, str]) -> str:
    """Return the text with the words in their places, the paragraph of a kind once for each of them."""
    filled = []
    for paragraph in text.split("\n\n"):
        template = Template(paragraph)
        if "$group" in paragraph:
            for kind in kinds:
                plugin = f"{words['module']}.{kind.word}.plugin" if len(kinds) > 1 else f"{words['module']}.plugin"
                filled.append(template.safe_substitute(words, group=kind.group, key=kind.key, plugin=plugin))
        else:
            filled.append(template.safe_substitute(words))
    return "\n\n".join(filled)


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


def _words(name: str, kinds: Sequence[Kind]) -> dict[str, str]:
    stem = name.replace("-", "_")
    core = Version(importlib.metadata.version("papermage_core"))
    author, account = _git("user.name"), _git("github.user")
    distribution = f"papermage-{name.replace('_', '-')}"
    labels = [kind.label for kind in kinds]
    return {
        "name": name,
        "distribution": distribution,
        "module": f"papermage_{stem}",
        "class_name": "".join(part.capitalize() for part in stem.split("_")),
        "kind": " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]])),
        "keywords": '", "'.join(labels),
        "usage": "\n    ".join(_usage(name, kinds)),
        "place": "plugin.py" if len(kinds) == 1 else "*/plugin.py",
        "core_version": f"{core.major}.{core.minor}",
        "core_next": f"{core.major}.{core.minor + 1}" if core.major == 0 else f"{core.major + 1}",
        "core_exact": str(core),
        "author": author.replace("\\", "").replace('"', "") or f"the authors of {distribution}",
        "homepage": f"https://github.com/{account or 'OWNER'}/{distribution}",
        "year": str(datetime.date.today().year),
        "lowest": "\n".join(_lowest()),
    }


def _usage(name: str, kinds: Sequence[Kind]) -> Iterator[str]:
    """Yield the commands that the README shows."""
    reader, writer = KINDS["document_reader"], KINDS["document_writer"]
    trained = " ".join(f"{kind.key}={name}" for kind in kinds if kind.key in OPTIONED and kind is not reader)
    if trained:
        yield f"papermage-train data_path=train.jsonl label_field=Disease {trained} default_root_dir=run"
    used = [f"reader={name}"] * (reader in kinds) + [f"output_path=found writer={name}"] * (writer in kinds)
    if used:
        yield f"papermage-predict model_name_or_path=run data_path=new.txt {' '.join(used)}"


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
