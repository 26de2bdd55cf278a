"""A config as YAML."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from papermage_core.plugin.kinds import OPTIONED
from papermage_core.plugin.option_types import Readable, is_none_word
from papermage_core.terminal import printable

__all__ = ["to_yaml"]


def to_yaml(values: Mapping[str, Any], source: Callable[[str], str] | None = None) -> str:
    """Return values, those of a component as a mapping, as the YAML text that `load_config` reads back.

    With ``source``, which says of a dotted key where its value was given, each line has that as a comment. What only
    Python can make (callbacks) is named in a comment.
    """
    left_out = [name for name, value in values.items() if not _is_plain(value)]
    plain = {name: _plain(value) for name, value in values.items() if name not in left_out}
    comments = [f"# {name}: made in Python, not kept here\n" for name in left_out]
    if source is None:
        return "".join([_dump(plain), *comments])
    lines = list(_annotated(plain, source))
    width = min(max(len(text) for text, _ in lines), 60)
    return "".join([*(f"{text:{width}}  # {note}\n" if note else f"{text}\n" for text, note in lines), *comments])


def _annotated(values: Mapping[str, Any], source: Callable[[str], str], prefix: str = "") -> Iterator[tuple[str, str]]:
    indent = "  " * prefix.count(".")
    for key, value in values.items():
        dotted = prefix.rstrip(".") if key == "name" and prefix.rstrip(".") in OPTIONED else f"{prefix}{key}"
        if isinstance(value, Mapping) and (prefix or key in OPTIONED):
            yield f"{indent}{key}:", ""
            yield from _annotated(value, source, f"{dotted}.")
        else:
            yield f"{indent}{_dump({key: value}).rstrip()}", source(dotted)


def _dump(values: Mapping[str, Any]) -> str:
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf")))


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float, Path, timedelta, enum.Enum, Readable))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Readable):
        return _plain(value.plain())
    if isinstance(value, timedelta):
        seconds, microseconds = divmod(value // timedelta(microseconds=1), 1_000_000)
        return {"seconds": seconds, **({"microseconds": microseconds} if microseconds else {})}
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return value


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Writes lists in one line, and quotes texts that would be read as None."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """Write a quoted text in ASCII: then it is the same wherever it is printed."""
        self.allow_unicode = False
        super().write_double_quoted(text, split)
        self.allow_unicode = True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=_style(value))


def _style(value: str) -> str | None:
    """Quote what would be read as None, and what YAML would spread over lines or a terminal not show."""
    if "\n" in value or "\r" in value or printable(value) != value:
        return '"'
    return "'" if is_none_word(value) else None


def _list(dumper: _Dumper, value: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
