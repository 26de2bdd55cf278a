"""What was typed or written: dotted key, value, and where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml

from papermage_core.config.values import Text
from papermage_core.errors import ConfigError
from papermage_core.plugin.kinds import IN_CONFIG

__all__ = ["COMMAND_LINE", "PYTHON", "Given", "from_file", "from_mapping", "from_overrides"]

COMMAND_LINE = "command line"
PYTHON = "Python"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@attrs.frozen
class Given:
    """One value: ``head.dropout``, ``Text("0.1")``, ``config.yaml:3``."""

    key: str
    value: Any
    source: str


def from_overrides(overrides: Sequence[str]) -> list[Given]:
    """Return what ``key=value`` arguments say. Raises ConfigError for arguments of another form, all at once."""
    bad = [(argument, after) for argument, after in _with_next(overrides) if not _is_override(argument)]
    if bad:
        raise ConfigError(*_bad_overrides(bad))
    pairs = (argument.split("=", 1) for argument in overrides)
    return [Given(key.strip(), Text(value), COMMAND_LINE) for key, value in pairs]


def from_mapping(values: Mapping[str, Any], source: str = PYTHON) -> list[Given]:
    """Return what a mapping says, nested or with dotted keys."""
    return [Given(key, value, source) for key, value in _flatten(values)]


def from_file(path: Path) -> list[Given]:
    """Return what a YAML file says, each value as it was written, with its line. Raises ConfigError."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except OSError as exc:
        raise ConfigError(f"cannot read the config file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"cannot read the config file {path}: it is not UTF-8 text") from exc
    except yaml.MarkedYAMLError as exc:
        line = f":{exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise ConfigError(f"{path}{line}: not well-formed YAML: {exc.problem or exc.context}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path}: not well-formed YAML: {str(exc).splitlines()[0]}") from exc
    if node is None or (isinstance(node, yaml.ScalarNode) and _is_plain(node) and not node.value):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:{_line(node)}: expected 'key: value' lines")
    return list(_nodes(node, path, "", frozenset()))


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
        elif argument.endswith((".jsonl", ".json", ".parquet")):
            yield f"{argument}: expected key=value; for the documents type data_path={argument}"
        else:
            yield f"{argument}: expected key=value"


def _is_number(argument: str) -> bool:
    return bool(re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", argument, re.IGNORECASE))


def _flatten(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and key not in _MAPPING_VALUED:
            for inner, item in _flatten(value):
                yield (key if inner == "name" and key in IN_CONFIG else f"{key}.{inner}"), item
        else:
            yield key, value


_MAPPING_VALUED = frozenset({"max_time", "val_check_interval"})
"""Lightning's parameters whose value may be a mapping itself."""


def _nodes(node: Any, path: Path, prefix: str, above: frozenset[int]) -> Iterator[Given]:
    """Yield the values of a mapping node; `above` holds the nodes it stands in, to stop at a cycle of aliases."""
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        place = f"{path}:{_line(key_node)}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{place}: expected a name before ':'")
        key = str(key_node.value)
        if key in seen:
            raise ConfigError(f"{place}: {prefix}{key} is given twice, first in line {seen[key]}")
        seen[key] = _line(key_node)
        dotted = prefix.rstrip(".") if key == "name" and prefix.rstrip(".") in IN_CONFIG else f"{prefix}{key}"
        if isinstance(value_node, yaml.MappingNode) and dotted not in _MAPPING_VALUED:
            if id(value_node) in above:
                raise ConfigError(f"{place}: {dotted} contains itself")
            yield from _nodes(value_node, path, f"{dotted}.", above | {id(value_node)})
        else:
            yield Given(dotted, _value(value_node, place, above), place)


def _value(node: Any, place: str, above: frozenset[int]) -> Any:
    if id(node) in above:
        raise ConfigError(f"{place}: the value contains itself")
    if isinstance(node, yaml.ScalarNode):
        return Text(node.value) if _is_plain(node) else str(node.value)
    above |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, place, above) for item in node.value]
    return {_value(key, place, above): _value(item, place, above) for key, item in node.value}


def _is_plain(node: Any) -> bool:
    """Whether a scalar is unquoted; PyYAML's two parsers say so in different ways."""
    return not node.style


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
