"""What the entities of a layer hold beside their places: metadata, and keys that nobody here knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import msgspec

from papermage_core.document.json.explain import not_json

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ColumnRows", "JsonRows", "JsonSource", "PlainRows", "Rows"]

_KNOWN = ("spans", "boxes", "metadata")


class Rows(Protocol):
    """Metadata and unknown keys of the entities of a layer, one dict each."""

    @property
    def metadata(self) -> list[dict[str, Any]]:
        """The metadata of each entity. Whoever makes an entity hands its dict over."""
        ...

    @property
    def extras(self) -> list[dict[str, Any]] | None:
        """The unknown keys of each entity; None if no entity has any."""
        ...

    def json(self) -> msgspec.Raw | None:
        """Return the layer's JSON as it was read, if it may be written as it is."""
        ...

    def may_mention(self, key: str) -> bool:
        """Say false only if no metadata has ``key``."""
        ...


@attrs.frozen(eq=False)
class PlainRows:
    """Rows that are at hand."""

    metadata: list[dict[str, Any]]
    extras: list[dict[str, Any]] | None

    def json(self) -> None:
        """Return None: there is no JSON."""

    def may_mention(self, key: str) -> bool:
        """Say whether some entity has the key."""
        return any(key in row for row in self.metadata)


@attrs.frozen(eq=False, slots=False)
class ColumnRows:
    """Rows of metadata that is kept in columns, key → the value of each entity, None where it has none."""

    entities: int
    columns: Mapping[str, Sequence[Any]]
    extras: None = None

    @cached_property
    def metadata(self) -> list[dict[str, Any]]:
        """The metadata of each entity."""
        if not self.columns:
            return [{} for _ in range(self.entities)]
        rows = (zip(self.columns, values, strict=True) for values in zip(*self.columns.values(), strict=True))
        return [{key: value for key, value in row if value is not None} for row in rows]

    def column(self, key: str) -> list[Any] | None:
        """Return the values of a key; None if no entity has it."""
        values = self.columns.get(key)
        return None if values is None or all(value is None for value in values) else list(values)

    def keys(self) -> list[str]:
        """Return the keys that entities have, the frequent ones first, and of these those of the first entities."""
        found: list[tuple[int, int, str]] = []
        for key, values in self.columns.items():
            if (missing := sum(value is None for value in values)) < len(values):
                found.append((missing, next(i for i, value in enumerate(values) if value is not None), key))
        return [key for *_, key in sorted(found, key=lambda each: each[:2])]

    def json(self) -> None:
        """Return None: there is no JSON."""

    def may_mention(self, key: str) -> bool:
        """Say whether there is a column of the key."""
        return key in self.columns


class _Layers(msgspec.Struct, gc=False):
    entities: dict[str, msgspec.Raw]


class _MetadataRow(msgspec.Struct, gc=False):
    metadata: dict[str, Any] = {}


_find_layers = msgspec.json.Decoder(_Layers).decode
_decode_metadata = msgspec.json.Decoder(list[_MetadataRow]).decode
_decode_everything = msgspec.json.Decoder(list[dict[str, Any]]).decode


@attrs.define(eq=False, slots=False)
class JsonSource:
    """The JSON of a document that has been checked, in which layers are found when first asked for."""

    data: bytes

    @cached_property
    def layers(self) -> dict[str, msgspec.Raw]:
        """The JSON of each layer."""
        return _find_layers(self.data).entities

    @cached_property
    def has_lines(self) -> bool:
        """Whether the JSON stands on several lines."""
        return b"\n" in self.data.rstrip() or b"\r" in self.data.rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        return JsonSource, (self.data,)


@attrs.frozen(eq=False, slots=False)
class JsonRows:
    """Rows that are decoded when first asked for."""

    source: JsonSource
    name: str
    has_extras: bool

    def _decoded(self, decode: Callable[[msgspec.Raw], Any]) -> Any:
        try:
            return decode(self.source.layers[self.name])
        except msgspec.ValidationError as exc:  # a number out of range, which was skipped when the document was read
            raise not_json(self.source.data, str(exc)) from exc

    @cached_property
    def _everything(self) -> list[dict[str, Any]]:
        return self._decoded(_decode_everything)  # type: ignore[no-any-return]

    @cached_property
    def metadata(self) -> list[dict[str, Any]]:
        """The metadata of each entity. Raises DataError for a number that is too large for one."""
        if self.has_extras:
            return [row.get("metadata", {}) for row in self._everything]
        return [row.metadata for row in self._decoded(_decode_metadata)]

    @cached_property
    def extras(self) -> list[dict[str, Any]] | None:
        """The unknown keys of each entity; None if no entity has any."""
        if not self.has_extras:
            return None
        return [{k: v for k, v in row.items() if k not in _KNOWN} for row in self._everything]

    def json(self) -> msgspec.Raw | None:
        """Return the layer's JSON, unless it stands on several lines."""
        return None if self.source.has_lines else self.source.layers[self.name]

    def may_mention(self, key: str) -> bool:
        """Say false only if the key does not stand in the layer's JSON."""
        return f'"{key}"'.encode() in bytes(memoryview(self.source.layers[self.name])) or self._has_escapes

    @cached_property
    def _has_escapes(self) -> bool:
        return b"\\u" in bytes(memoryview(self.source.layers[self.name]))

    def __reduce__(self) -> tuple[Any, ...]:
        return JsonRows, (self.source, self.name, self.has_extras)
