"""A config as YAML."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import yaml

from papermage_core.config.components import ComponentConfigs
from papermage_core.config.structure import unstructure
from papermage_core.config.values import is_none_word

if TYPE_CHECKING:
    from papermage_core.config.train import EntityClassificationTrainConfig
from papermage_core.plugin.kinds import IN_CONFIG

__all__ = ["annotated_yaml", "plain_values", "to_yaml"]


def to_yaml(config: EntityClassificationTrainConfig, components: ComponentConfigs) -> str:
    """Return the YAML text that `load_config` reads back to an equal run."""
    values, left_out = plain_values(config, components)
    return "".join([_dump(values), *_comments(left_out)])


def annotated_yaml(config: EntityClassificationTrainConfig, components: ComponentConfigs) -> str:
    """Return the same text with a comment on each line: where the value was given."""
    values, left_out = plain_values(config, components)
    lines = list(_annotated(config, values, prefix="", indent=""))
    width = min(max(len(text) for text, _ in lines), 60)
    return "".join(
        [*(f"{text:{width}}  # {source}\n" if source else f"{text}\n" for text, source in lines), *_comments(left_out)]
    )


def _annotated(
    config: EntityClassificationTrainConfig, values: Mapping[str, Any], *, prefix: str, indent: str
) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        dotted = prefix.rstrip(".") if key == "name" and prefix.rstrip(".") in IN_CONFIG else f"{prefix}{key}"
        if isinstance(value, Mapping) and dotted not in config.lightning:
            yield f"{indent}{key}:", ""
            yield from _annotated(config, value, prefix=f"{dotted}.", indent=f"{indent}  ")
        else:
            yield f"{indent}{_dump({key: value}).rstrip()}", config.source(dotted)


def _dump(values: Mapping[str, Any]) -> str:
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf")))


def _comments(left_out: Iterable[str]) -> list[str]:
    return [f"# {name}: made in Python, not kept here\n" for name in left_out]


def plain_values(
    config: EntityClassificationTrainConfig, components: ComponentConfigs
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the config as plain values, each component a mapping with its name, and the names of what has none."""
    named = components.by_key()
    values: dict[str, Any] = {}
    for field in attrs.fields(type(config)):
        if field.name in named:
            values[field.name] = {"name": getattr(config, field.name), **unstructure(named[field.name])}
        elif field.name not in ("lightning", "options", "sources"):
            values[field.name] = getattr(config, field.name)
    left_out = tuple(name for name, value in config.lightning.items() if not _is_plain(value))
    values |= {name: value for name, value in config.lightning.items() if name not in left_out}
    return {name: _plain(value) for name, value in values.items()}, left_out


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float, Path, timedelta))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, timedelta):
        return {"seconds": int(value.total_seconds())}
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return value


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Writes lists in one line, and quotes texts that would be read as None."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=_style(value))


def _style(value: str) -> str | None:
    """Quote what would be read as None, and what YAML would spread over lines."""
    if "\n" in value or "\r" in value:
        return '"'
    return "'" if is_none_word(value) else None


def _list(dumper: _Dumper, value: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
