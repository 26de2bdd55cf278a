"""What is known of a document, a layer or an entity beside its place: keys and JSON values."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from copy import deepcopy
from typing import Any

from papermage_core.errors import DataError

__all__ = ["Metadata"]

_log = logging.getLogger(__name__)
_NOT_GIVEN: Any = object()


class Metadata:
    """Values by name, with dot access and dict-like access.

    A key that is missing reads as None, with a logged warning.

    >>> metadata = Metadata(label="Disease")
    >>> metadata.score = 0.5
    >>> metadata["label"], metadata.get("score"), "page" in metadata
    ('Disease', 0.5, False)
    """

    def __init__(self, /, **kwargs: Any) -> None:
        for key, value in kwargs.items():
            self.set(key, value)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Metadata:
        """Return metadata that takes over ``values``, whose keys are not looked at."""
        metadata = cls.__new__(cls)
        object.__setattr__(metadata, "__dict__", values)
        return metadata

    @classmethod
    def given(cls, value: Metadata | Mapping[str, Any] | None) -> Metadata:
        """Return what was given as metadata: itself, with the keys and values of a dict, or empty for None.

        Raises TypeError for anything else, DataError for a key that is no Python identifier.
        """
        if value is None:
            return cls()
        if isinstance(value, Metadata):
            return value
        if not isinstance(value, Mapping):
            raise TypeError(f"expected Metadata or a dict as metadata, got {type(value).__name__}")
        return cls.from_json(value)

    def get(self, key: str, default: Any = _NOT_GIVEN) -> Any:
        """Return the value of ``key``; for a missing key the default, or None with a logged warning."""
        if key in self.__dict__:
            return self.__dict__[key]
        if default is not _NOT_GIVEN:
            return default
        _log.warning("%s not found in metadata", key)
        return None

    def has(self, key: str) -> bool:
        """Say whether there is a value for ``key``."""
        return key in self.__dict__

    def set(self, key: str, value: Any) -> None:
        """Give ``key`` a value. Raises DataError, a ValueError too, for a key that is no Python identifier."""
        if not isinstance(key, str) or not key.isidentifier():
            raise DataError(
                f"{key!r} is not a valid variable name, so it cannot be used as key in metadata",
                value=key,
                expected="letters, digits and underscores",
            )
        self.__dict__[key] = value

    def pop(self, key: str, default: Any = _NOT_GIVEN) -> Any:
        """Remove ``key`` and return its value; for a missing key the default, else raise KeyError."""
        if key in self.__dict__:
            return self.__dict__.pop(key)
        if default is not _NOT_GIVEN:
            return default
        raise KeyError(f"{key} not found in metadata")

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self.__dict__.keys()

    def values(self) -> ValuesView[Any]:
        """Return the values."""
        return self.__dict__.values()

    def items(self) -> ItemsView[str, Any]:
        """Return pairs of key and value."""
        return self.__dict__.items()

    def to_json(self) -> dict[str, Any]:
        """Return a dict of its own, nested values copied. Raises DataError for values nested too deep."""
        return _copied(self.__dict__, {})

    @classmethod
    def from_json(cls, di: Mapping[str, Any]) -> Metadata:
        """Return metadata with the keys and values of a dict."""
        if not isinstance(di, Mapping):
            raise DataError(f"metadata should be a dict, got {type(di).__name__}", value=di, expected="dict")
        metadata = cls()
        for key, value in di.items():
            metadata.set(key, value)
        return metadata

    def __len__(self) -> int:
        return len(self.__dict__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # its values change

    def __contains__(self, key: str) -> bool:
        return key in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") and key.endswith("__"):
            raise AttributeError(key)
        return self.get(key)

    def __setattr__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delattr__(self, key: str) -> None:
        self.pop(key)

    def __repr__(self) -> str:
        try:
            return f"Metadata({self.__dict__!r})"
        except RecursionError:
            return f"Metadata({reprlib.repr(self.__dict__)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Metadata:
        return Metadata._of(_copied(self.__dict__, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return Metadata._of, (dict(self.__dict__),)


def _copied(values: dict[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
    try:
        return deepcopy(values, memo)
    except RecursionError as exc:
        raise DataError("its metadata is nested too deep to be copied") from exc
