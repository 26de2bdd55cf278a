"""What was typed or written: dotted key, value, and where it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml

from papermage_core.config.values import Text
from papermage_core.errors import ConfigError
from papermage_core.plugin.kinds import OPTIONED, kind_called

__all__ = [
    "COMMAND_LINE",
    "PYTHON",
    "Given",
    "check_lists",
    "from_file",
    "from_mapping",
    "from_overrides",
    "full_key",
    "read_overrides",
]

COMMAND_LINE = "command line"
PYTHON = "Python"

_MOST_BYTES = 10_000_000
_MOST_VALUES = 100_000
_DEEPEST = 50

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@attrs.frozen
class Given:
    """One value: ``head.dropout``, ``Text("0.1")``, ``config.yaml:3``."""

    key: str
    value: Any
    source: str


def from_overrides(overrides: Sequence[str]) -> list[Given]:
    """Return what ``key=value`` arguments say. Raises ConfigError for arguments of another form, all at once."""
    found, errors = read_overrides(overrides)
    if errors:
        raise ConfigError(*errors)
    return found


def read_overrides(overrides: Sequence[str]) -> tuple[list[Given], list[str]]:
    """Return what ``key=value`` arguments say, and what is wrong with those of another form or given twice.

    What was meant may be told with all else that is wrong.
    """
    cut, rest = _cut_lists(overrides)
    bad = [(argument, after) for argument, after in _with_next(rest) if not _is_override(argument)]
    pairs = (argument.split("=", 1) for argument in rest if _is_override(argument))
    found, twice = _first_of_each(Given(full_key(key.strip()), Text(value), COMMAND_LINE) for key, value in pairs)
    return found, [*cut, *_bad_overrides(bad), *twice]


def check_lists(words: Sequence[str]) -> None:
    """Raise ConfigError for a list that a space cuts in two: ``processors=tokens, sentences``."""
    errors, _ = _cut_lists(words)
    if errors:
        raise ConfigError(*errors)


def _cut_lists(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the errors of lists that a space cuts in two, and the other words."""
    errors: list[str] = []
    others: list[str] = []
    left = [*words]
    while left:
        taken = [left.pop(0)]
        while taken[-1].endswith(",") and left and "=" in taken[0] and _goes_on(left[0]):
            taken.append(left.pop(0))
        if len(taken) == 1:
            others += taken
        else:
            errors.append(f"{' '.join(taken)}: there must be no space in a list; type {''.join(taken)}")
    return errors, others


def _goes_on(word: str) -> bool:
    return bool(word) and "=" not in word and not word.startswith("-")


def from_mapping(values: Mapping[str, Any], source: str = PYTHON) -> list[Given]:
    """Return what a mapping says, nested or with dotted keys."""
    return _each_once(Given(full_key(key), value, source) for key, value in _flatten(values))


def from_file(path: Path) -> list[Given]:
    """Return what a YAML file says, each value as it was written, with its line. Raises ConfigError."""
    try:
        with path.open("rb") as handle:
            content = handle.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConfigError(f"cannot read the config file {path}: it has more than {_MOST_BYTES} bytes")
        text = content.decode("utf-8-sig")
        _check_depth(text, path)
        node = yaml.compose(text, Loader=_Loader)
    except OSError as exc:
        raise ConfigError(f"cannot read the config file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"cannot read the config file {path}: it is not UTF-8 text") from exc
    except yaml.MarkedYAMLError as exc:
        line = f":{exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise ConfigError(f"{path}{line}: not well-formed YAML: {exc.problem or exc.context}{_advice(path)}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path}: not well-formed YAML: {str(exc).splitlines()[0]}{_advice(path)}") from exc
    if node is None or (isinstance(node, yaml.ScalarNode) and _is_plain(node) and not node.value):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:{_line(node)}: expected 'key: value' lines{_advice(path)}")
    return _each_once(_File(path).values(node))


def _advice(path: Path) -> str:
    other = path.suffix.lower() in (".toml", ".ini", ".cfg", ".py")
    return f"; a config file is YAML or JSON, not {path.suffix[1:].upper()}" if other else ""


def _check_depth(text: str, path: Path) -> None:
    """Raise ConfigError for values nested so deep that they could not be walked through."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise ConfigError(f"{path}:{_line(event)}: values are nested more than {_DEEPEST} deep")


def _each_once(items: Iterable[Given]) -> list[Given]:
    """Return the values. Raises ConfigError for keys that are given twice, each with both values."""
    found, errors = _first_of_each(items)
    if errors:
        raise ConfigError(*errors)
    return found


def _first_of_each(items: Iterable[Given]) -> tuple[list[Given], list[str]]:
    """Return the values, of a key that is given twice the first, and the errors, each with both values."""
    found: dict[str, Given] = {}
    errors = []
    for item in items:
        first = found.setdefault(item.key, item)
        if first is not item:
            sources = first.source if first.source == item.source else f"{first.source} and {item.source}"
            values = " and ".join(f"{item.key}={str(value)[:80]}" for value in (first.value, item.value))
            errors.append(f"{item.key} is given twice ({sources}): {values}; give one of them")
    return list(found.values()), errors


def full_key(key: str) -> str:
    """Return the key that is meant: ``head.name`` is ``head``, and ``model_head.dropout`` is ``head.dropout``."""
    first, dot, rest = key.partition(".")
    if kind := kind_called(first):
        first = kind.key
    return first if rest == "name" and first in OPTIONED else f"{first}{dot}{rest}"


def _is_override(argument: str) -> bool:
    return "=" in argument and not argument.startswith("-") and bool(argument.split("=", 1)[0].strip())


def _with_next(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(overrides, [*overrides, ""][1:], strict=True)


def _bad_overrides(bad: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield what to type instead; the value after a ``--flag`` is part of its error, not one of its own."""
    taken = False
    for argument, after in bad:
        if taken:
            taken = False
            continue
        if argument.startswith("-") and not _is_number(argument):
            name, equals, value = argument.lstrip("-").partition("=")
            taken = (
                not equals and bool(after) and ("=" not in after) and (not after.startswith("-") or _is_number(after))
            )
            shown = f"{argument} {after}" if taken else argument
            yield f"{shown}: options have no dashes, type {name.replace('-', '_')}={after if taken else value or '...'}"
        elif argument.startswith("="):
            yield f"{argument}: the name before '=' is missing; there must be no space around '='"
        elif argument.endswith((".yaml", ".yml")):
            yield f"{argument}: expected key=value; for a config file type -c {argument}"
        elif argument.endswith((".jsonl", ".json", ".parquet")) or os.path.lexists(argument):
            yield f"{argument}: expected key=value; for the documents type data_path={argument}"
        else:
            yield f"{argument}: expected key=value"


def _is_number(argument: str) -> bool:
    return bool(re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", argument, re.IGNORECASE))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and dotted not in _MAPPING_VALUED:
            yield from _flatten(value, f"{dotted}.")
        else:
            yield dotted, value


_MAPPING_VALUED = frozenset({"max_time", "val_check_interval", "data_path"})
"""Options whose value may be a mapping itself."""


@attrs.define
class _File:
    """Walks through the nodes of a YAML file, aliases as often and as deep as they stand for something."""

    path: Path
    left: int = _MOST_VALUES

    def values(self, node: Any, prefix: str = "", above: frozenset[int] = frozenset()) -> Iterator[Given]:
        """Yield the values of a mapping node; `above` holds the nodes it stands in."""
        for key, value_node, place in self.pairs(node, prefix, above):
            dotted = f"{prefix}{key}"
            if isinstance(value_node, yaml.MappingNode) and dotted not in _MAPPING_VALUED:
                yield from self.values(value_node, f"{dotted}.", above | {id(node)})
            else:
                yield Given(full_key(dotted), self.value(value_node, dotted, place, above | {id(node)}), place)

    def pairs(self, node: Any, prefix: str, above: frozenset[int]) -> Iterator[tuple[str, Any, str]]:
        """Yield key, value node and place of a mapping node."""
        self.check(node, prefix.rstrip("."), f"{self.path}:{_line(node)}", above)
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = f"{self.path}:{_line(key_node)}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{place}: expected a name before ':'")
            key = str(key_node.value)
            if key in seen:
                raise ConfigError(f"{place}: {prefix}{key} is given twice, first in line {seen[key]}")
            seen[key] = _line(key_node)
            yield key, value_node, place

    def value(self, node: Any, key: str, place: str, above: frozenset[int]) -> Any:
        """Return the value of a node as it was written."""
        self.check(node, key, place, above)
        if isinstance(node, yaml.ScalarNode):
            return Text(node.value) if _is_plain(node) else str(node.value)
        inside = above | {id(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, key, place, inside) for item in node.value]
        pairs = self.pairs(node, f"{key}.", above)
        return {name: self.value(item, f"{key}.{name}", line, inside) for name, item, line in pairs}

    def check(self, node: Any, key: str, place: str, above: frozenset[int]) -> None:
        """Raise ConfigError for a node that contains itself, is too deep, or is one too many."""
        self.left -= 1
        if id(node) in above:
            raise ConfigError(f"{place}: {key} contains itself")
        if len(above) > _DEEPEST:
            raise ConfigError(f"{place}: values are nested more than {_DEEPEST} deep")
        if self.left < 0:
            raise ConfigError(f"{place}: with its aliases, the file holds more than {_MOST_VALUES} values")


def _is_plain(node: Any) -> bool:
    """Whether a scalar is unquoted; PyYAML's two parsers say so in different ways."""
    return not node.style


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
