"""Which reader or writer a file belongs to, by the ending of its name.

The endings that a component states are read in the source of its module, as those of a file of ``plugins_path`` are:
only the components that have the ending of a file at hand are imported.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from papermage_core.errors import PluginError
from papermage_core.files import compression
from papermage_core.plugin.blame import calling
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.source import module_source

__all__ = ["Endings", "has_ending", "stated_endings"]

_log = logging.getLogger(__name__)
_OWN, _SHARED = "suffixes", "shared_suffixes"
_OF_DOCUMENTS = ".jsonl"
"""The ending of papermage's own JSON, which its owner reads under every ending that it shares."""
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"
"""A byte order mark and white space."""


class Endings:
    """The readers, or the writers, by the endings of their files. A compressed file is known by the ending within.

    An ending has one owner, who states it in ``suffixes``; others that use it state it in ``shared_suffixes``, and get
    the files that their ``recognises`` takes for theirs.
    """

    def __init__(self, plugins: Plugins, kind: str) -> None:
        self._plugins = plugins
        self._kind = kind
        self._classes: dict[str, type[Any]] = {}

    @cached_property
    def _known(self) -> dict[str, list[ComponentInfo]]:
        known: dict[str, list[ComponentInfo]] = {}
        for component in self._plugins.components(self._kind):
            if component.status != "blocked":
                for ending in stated_endings(component):
                    known.setdefault(ending, []).append(component)
        return known

    def ending(self, path: Path) -> str | None:
        """Return the longest known ending of a file's name, or None. Imports nothing."""
        names = [path.name.lower()]
        if packed := compression(path):
            names.append(names[0].removesuffix(packed))
        endings = (name[at:] for name in names for at, sign in enumerate(name) if sign == ".")
        return next((ending for ending in endings if ending in self._known), None)

    def named(self, path: Path) -> list[str]:
        """Return the names of the components that may have a file. Imports nothing."""
        return [component.name for component in self._known.get(self.ending(path) or "", ())]

    def all(self) -> list[str]:
        """Return every ending that is known. Imports nothing."""
        return list(self._known)

    def claimants(self, path: Path) -> list[tuple[str, type[Any]]]:
        """Return the components that have the ending of a file, by the name to type, with their config classes.

        A plugin that is broken counts only where no other has the ending: its PluginError is raised.
        """
        found, errors = [], []
        candidates = self._known.get(self.ending(path) or "", ())
        for component in candidates:
            try:
                config_class = self._config_class(component)
            except PluginError as exc:
                errors.append(exc)
                continue
            if has_ending(config_class, path) or has_ending(config_class, path, shared=True):
                twice = sum(other.name == component.name for other in candidates) > 1
                found.append((component.qualified if twice else component.name, config_class))
        if errors and not found:
            raise errors[0]
        return found

    def owner(self, path: Path, head: Callable[[bool], bytes]) -> tuple[str, type[Any]] | None:
        """Return whose a file is, by the name to type, with its config class; None where nobody can say.

        ``head`` returns how the file begins, decompressed, for those who share its ending with others: given false, its
        first bytes; given true, the outline of JSON, which is looked at where the first bytes tell nothing. JSON of
        papermage's own is nobody else's, whatever its layers are called.
        """
        ending, claimants = self.ending(path), self.claimants(path)
        owners = [each for each in claimants if has_ending(each[1], path)]
        sharers = [each for each in claimants if each not in owners]
        for outlined in (False, True) if sharers else ():
            begin = head(outlined)
            is_json = begin.lstrip(_BEFORE_JSON)[:1] in (b"{", b"[")
            if is_json and b'"symbols"' in begin:
                ending, owners = _OF_DOCUMENTS, [each for each in claimants if _OF_DOCUMENTS in each[1].suffixes]
                break
            found = [each for each in sharers if _recognises(*each, path, begin)]
            if len(found) == 1:
                return found[0]
            if found or not is_json:
                break
        if len(owners) > 1:
            owners = [each for each in owners if f".{each[0]}" == ending]
        return owners[0] if len(owners) == 1 else None

    def _config_class(self, component: ComponentInfo) -> type[Any]:
        if component.qualified not in self._classes:
            self._classes[component.qualified] = self._plugins.config_class(self._kind, component.qualified)
        return self._classes[component.qualified]

    def __str__(self) -> str:
        """Return the components with their endings, for messages: ``jsonl (.jsonl), parquet (.parquet)``."""
        names: dict[tuple[str, ...], list[str]] = {}
        for ending, components in self._known.items():
            names.setdefault(tuple(sorted({component.name for component in components})), []).append(ending)
        return ", ".join(f"{' or '.join(found)} ({', '.join(endings)})" for found, endings in sorted(names.items()))


def _recognises(name: str, config_class: type[Any], path: Path, head: bytes) -> bool:
    """Whether a component takes a file for its own: not where it fails at it, for the file may be another's."""
    try:
        with calling(config_class, "recognises"):
            return bool(config_class.recognises(path, head))
    except PluginError as exc:
        _log.warning("%s is not read by %s: %s", path, name, exc)
        return False


def has_ending(config: Any, path: Path, *, shared: bool = False) -> bool:
    """Whether a file has one of the endings of a config, or of its class: of its own, or of those that it shares."""
    endings = tuple(config.shared_suffixes if shared else config.suffixes)
    name, packed = path.name.lower(), compression(path) if config.compressed else ""
    return name.endswith(endings) or (bool(packed) and name.removesuffix(packed).endswith(endings))


def stated_endings(component: ComponentInfo) -> Sequence[str]:
    """Return the endings in the source of a component's module; that of its name where none can be read there.

    >>> stated_endings(Plugins().find("document_reader", "parquet"))
    ['.parquet']
    """
    path = component.path or module_source(component.value.partition(":")[0].strip())
    try:
        status = path.stat() if path else None
        found = _stated_in(path, component.kind, status.st_size, status.st_mtime_ns) if path and status else ()
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last two for what is nested too deep
        found = ()
    return list(found) or [f".{component.name}"]


def _stated_in(path: Path, kind: str, size: int, changed: int) -> tuple[str, ...]:
    """Return the endings that classes of a file state, those of another kind of config left out."""
    base = KINDS[kind].base
    others = {each.base.__name__ for each in KINDS.values() if each.base is not None and each.base is not base}
    stated = (endings for bases, endings in _classes_in(path, size, changed) if not others & bases)
    return tuple(dict.fromkeys(chain.from_iterable(stated)))


@lru_cache(maxsize=1024)
def _classes_in(path: Path, size: int, changed: int) -> tuple[tuple[frozenset[str], tuple[str, ...]], ...]:
    """Return of each class of a file its bases, and the endings that it states; parsed again when it has changed."""
    found = []
    for node in _classes(ast.parse(path.read_bytes()).body):
        endings: list[str] = []
        for statement in node.body:
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if {ast.unparse(target) for target in targets} & {_OWN, _SHARED}:
                    endings += _texts(statement.value)
        if endings:
            bases = frozenset(ast.unparse(each).rpartition(".")[2] for each in node.bases)
            found.append((bases, tuple(endings)))
    return tuple(found)


def _classes(body: Iterable[ast.AST]) -> Iterator[ast.ClassDef]:
    """Yield the classes among statements and in them; expressions, of which most of a file is, hold none."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _classes(getattr(node, name, ()))


def _texts(value: ast.expr | None) -> list[str]:
    try:
        found = ast.literal_eval(value) if value is not None else ()
    except ValueError:  # made at run time
        return []
    return [text for text in found if isinstance(text, str)] if isinstance(found, (tuple, list)) else []
