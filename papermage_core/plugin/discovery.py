"""Find components from metadata alone: nothing of a plugin is imported here."""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from papermage_core.errors import ConfigError, PluginError, nearest
from papermage_core.plugin.component import ComponentInfo, canonical
from papermage_core.plugin.distributions import NAME, Distribution, EntryLine, distributions
from papermage_core.plugin.kinds import KINDS, Kind
from papermage_core.plugin.option_types import is_none_word
from papermage_core.plugin.spec import HOOKS

__all__ = [
    "BLOCK_VARIABLE",
    "NAMES_VARIABLE",
    "components_of_file",
    "installed_components",
    "judge",
    "unknown_groups",
]

BLOCK_VARIABLE = "PAPERMAGE_BLOCK_PLUGINS"
"""Environment variable with the distributions, or component names, that are not to be used, separated by commas."""

NAMES_VARIABLE = "papermage_names"
"""Module-level dict, kind → names, in a file of ``plugins_path`` that gives other components than one of its stem."""

_VALUE = re.compile(r"(?P<module>\w+(\.\w+)*)\s*(:\s*\w+(\.\w+)*)?\s*(\[.*\])?\s*$")


def installed_components() -> list[ComponentInfo]:
    """Return the components of all installed distributions, each distribution as first found on ``sys.path``.

    What a distribution wrote wrongly makes its own components broken, and no others.
    """
    found: dict[str, list[ComponentInfo]] = {}
    for distribution in distributions():
        lines = [(line, kind) for line in distribution.entry_lines() if (kind := _kind_of(line.group)) is not None]
        if lines and distribution.is_first():
            components = [_component(kind, line, distribution) for line, kind in lines]
            found.setdefault(canonical(distribution.name), components)
    return [component for components in found.values() for component in dict.fromkeys(components)]


def unknown_groups() -> list[str]:
    """Return a sentence for each entry-point group of papermage's that is none, and like none."""
    known = ", ".join(kind.group for kind in KINDS.values())
    return [
        f"distribution {found.name!r} {found.version} has an entry-point group {group!r}, which is none; known: {known}"
        for found in distributions()
        for group in dict.fromkeys(line.group for line in found.entry_lines())
        if re.match(r"papermage\b", group, re.IGNORECASE) and _kind_of(group) is None
    ]


@functools.cache
def _kind_of(group: str) -> Kind | None:
    """Return the kind whose group is meant: ``papermage.model_heads`` is a misspelt ``papermage.model_head``."""
    groups = {kind.group: kind for kind in KINDS.values()}
    if group in groups:
        return groups[group]
    words = re.sub(r"[^a-z]+", " ", group.lower()).split()
    if words[:1] != ["papermage"]:
        close = difflib.get_close_matches(group, groups, n=1, cutoff=0.9)
    else:
        rest = "_".join(words[1:])
        exact = [kind.group for kind in KINDS.values() if rest.removesuffix("s") in (kind.word, kind.key)]
        close = exact or difflib.get_close_matches(f"papermage.{rest}", groups, n=1, cutoff=0.8)
    return groups[close[0]] if close else None


def _component(kind: Kind, line: EntryLine, distribution: Distribution) -> ComponentInfo:
    """Return the component of an entry point, broken where it cannot be named or loaded."""
    name, equals, value = (part.strip() for part in line.text.partition("="))
    component = ComponentInfo(kind.name, name, distribution.name, distribution.version, value)
    if line.group != kind.group:
        return _broken(component, f"its entry-point group is {line.group!r}, which is none; expected {kind.group!r}")
    if not equals:
        return _broken(component, f"line {line.number} of its entry_points.txt is {line.text!r}, not 'name = module'")
    if distribution.error:
        return _broken(component, distribution.error)
    return _with_module_looked_for(_with_name_checked(component))


def _with_name_checked(component: ComponentInfo) -> ComponentInfo:
    """Return the component, broken if its name could not be typed: ``head=a b``, ``head=none``."""
    if NAME.fullmatch(component.name) and not is_none_word(component.name):
        return component
    return _broken(
        component,
        f"its name {component.name!r} cannot be typed; expected letters, digits, _, and . or - within; not 'none'",
    )


def _with_module_looked_for(component: ComponentInfo) -> ComponentInfo:
    """Return the component, broken if its value is malformed or its top-level package is nowhere."""
    match = _VALUE.match(component.value)
    if component.status != "ok":
        return component
    if match is None:
        return _broken(component, f"its entry point {component.value!r} is not 'module' or 'module:object'")
    package = match["module"].partition(".")[0]
    if not _findable(package):
        return _broken(component, f"its entry point names the module {match['module']!r}, and there is no {package!r}")
    return component


def _findable(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except Exception:  # ValueError: already in sys.modules, without a spec; and whatever an import hook raises
        return True


def _broken(component: ComponentInfo, error: str) -> ComponentInfo:
    return attrs.evolve(component, status="broken", error=error)


def components_of_file(path: Path) -> list[ComponentInfo]:
    """Return the components that a file of ``plugins_path`` gives, by reading its source, not by running it.

    They are named by the file's stem, or by the dict `NAMES_VARIABLE` in it. Raises ConfigError without such a file,
    or where it is not Python or implements no hook, PluginError for a hook that is misspelt or not decorated.
    """
    try:
        content = path.read_bytes()
        tree = ast.parse(content)
    except OSError as exc:
        raise ConfigError(f"plugins_path: cannot read {str(path)!r}: {exc.strerror}") from exc
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:  # the last two for what is nested too deep
        raise ConfigError(f"plugins_path: {str(path)!r} is not a Python file: {exc}") from exc
    kinds = list(dict.fromkeys(_kinds_of_hooks(tree, path)))
    if not kinds:
        raise ConfigError(
            f"plugins_path: {str(path)!r} implements no hook of papermage; expected a function such as "
            "'papermage_model_head', decorated with @hookimpl"
        )
    names = _names_in(tree, path)
    version = f"sha256:{hashlib.sha256(content).hexdigest()[:12]}"
    return [
        _with_name_checked(ComponentInfo(kind, name, str(path), version, str(path), path=path))
        for kind in kinds
        for name in names.get(kind, [path.stem])
    ]


def _kinds_of_hooks(tree: ast.Module, path: Path) -> Iterator[str]:
    """Yield the kind of each hook that a module implements; any hook of no component kind makes it an extension."""
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        marks = [each for each in node.decorator_list if "hookimpl" in ast.unparse(each)]
        name, is_needed = _marked(node.name, marks)
        if name in HOOKS and node.decorator_list:
            kind = name.removeprefix("papermage_")
            yield kind if kind in KINDS else "extension"
        elif name in HOOKS:
            raise PluginError(
                f"plugins_path: {str(path)!r}, line {node.lineno}: the hook {name!r} lacks the decorator @hookimpl"
            )
        elif marks and is_needed:
            raise PluginError(
                f"plugins_path: {str(path)!r}, line {node.lineno}: {name!r} is no hook; known: {', '.join(HOOKS)}."
                f"{nearest(name, HOOKS)}"
            )


def _marked(name: str, marks: Iterable[ast.expr]) -> tuple[str, bool]:
    """Return the hook that a function implements, which its mark may name, and whether there need be such a hook."""
    given = {each.arg: each.value for mark in marks if isinstance(mark, ast.Call) for each in mark.keywords}
    specname = given.get("specname")
    named = specname.value if isinstance(specname, ast.Constant) and isinstance(specname.value, str) else name
    return named, "optionalhook" not in given


def _names_in(tree: ast.Module, path: Path) -> dict[str, list[str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [NAMES_VARIABLE]:
            try:
                return {
                    str(kind): [str(name) for name in names] for kind, names in ast.literal_eval(node.value).items()
                }
            except (ValueError, TypeError, AttributeError) as exc:
                expected = f'{NAMES_VARIABLE} = {{"model_head": ["one", "two"]}}'
                raise ConfigError(f"plugins_path: {str(path)!r}, line {node.lineno}: expected {expected}") from exc
    return {}


def judge(components: Iterable[ComponentInfo]) -> list[ComponentInfo]:
    """Return the components with those marked that are blocked, and those that more than one distribution gives."""
    blocked = {_block_key(item) for item in os.environ.get(BLOCK_VARIABLE, "").split(",") if item.strip()}
    judged = [_with_block(component, blocked) for component in components]
    rivals: dict[tuple[str, str], list[ComponentInfo]] = {}
    for component in judged:
        if component.status == "ok":  # what is broken can be used by nobody, and takes nobody's name
            rivals.setdefault((component.kind, component.name), []).append(component)
    return [_with_clash(component, rivals.get((component.kind, component.name), [])) for component in judged]


def _block_key(item: str) -> str:
    distribution, colon, name = item.strip().rpartition(":")
    return f"{canonical(distribution)}:{name}" if colon else item.strip()


def _with_block(component: ComponentInfo, blocked: set[str]) -> ComponentInfo:
    distribution = canonical(component.distribution)
    for item in blocked:
        if item in (component.name, f"{distribution}:{component.name}") or canonical(item) == distribution:
            return attrs.evolve(component, status="blocked", error=f"{BLOCK_VARIABLE} blocks {item!r}")
    return component


def _with_clash(component: ComponentInfo, rivals: Sequence[ComponentInfo]) -> ComponentInfo:
    others = [rival for rival in rivals if rival != component]
    if component.status != "ok" or not others:
        return component
    sources = " and ".join(rival.source for rival in others)
    error = f"also given by {sources}; choose with {KINDS[component.kind].key}={component.qualified}"
    return attrs.evolve(component, status="clash", error=error)
