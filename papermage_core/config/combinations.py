"""Which of the components that a space may choose go together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.config.dimension import Dimension
from papermage_core.config.train import EntityClassificationTrainConfig
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.options import describe_options

__all__ = ["PARTS", "Combinations", "errors_of", "with_values"]

PARTS = ("encoder", "label_scheme", "head", "optimizer")
"""The components of a run that a space may choose, each with options to vary."""


@attrs.frozen
class Combinations:
    """The choices of components of which all fit each other, in the order of the dimensions."""

    dimensions: tuple[Dimension, ...]
    fitting: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, config: EntityClassificationTrainConfig, space: Sequence[Dimension]) -> Combinations:
        """Return those of a space: each combination is tried as a config, nothing is built."""
        parts = tuple(dimension for dimension in space if dimension.key in PARTS)
        keys = [dimension.key for dimension in parts]
        drawn = itertools.product(*(dimension.choices for dimension in parts))
        fitting = (each for each in drawn if not errors_of(config, dict(zip(keys, each, strict=True))))
        return cls(parts, tuple(fitting))

    @property
    def count(self) -> int:
        """How many there are, those that do not fit counted in."""
        count = 1
        for dimension in self.dimensions:
            count *= len(dimension.choices)
        return count

    def choices(self, dimension: Dimension, drawn: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the choices of a dimension that go with what was drawn before; all where none does."""
        if dimension not in self.dimensions:
            return dimension.choices
        place = self.dimensions.index(dimension)
        before = tuple(drawn.get(each.key) for each in self.dimensions[:place])
        left = {each[place] for each in self.fitting if each[:place] == before}
        return tuple(choice for choice in dimension.choices if choice in left) or dimension.choices

    def left_out(self) -> list[str]:
        """Return which are not drawn, in words, a line for each choice of a component that does not go with all.

        >>> head = Dimension(key="head", kind="choice", choices=("crf", "span"))
        >>> scheme = Dimension(key="label_scheme", kind="choice", choices=("bio", "io", "span"))
        >>> Combinations((head, scheme), (("crf", "bio"), ("crf", "io"), ("span", "span"))).left_out()
        ['head=crf with label_scheme=span', 'head=span with label_scheme=bio or io']
        """
        lines = [*self._pairs()]
        if not lines and len(self.fitting) < self.count:
            lines.append(f"{self.count - len(self.fitting)} of {self.count} combinations")
        return lines

    def _pairs(self) -> Iterator[str]:
        for (a, first), (b, second) in itertools.combinations(enumerate(self.dimensions), 2):
            met = {(each[a], each[b]) for each in self.fitting}
            for choice in first.choices:
                strange = [str(other) for other in second.choices if (choice, other) not in met]
                if strange:
                    yield f"{first.key}={choice} with {second.key}={' or '.join(strange)}"


def with_values(
    config: EntityClassificationTrainConfig, values: Mapping[str, Any], **more: Any
) -> EntityClassificationTrainConfig:
    """Return the config with values of a space; what was given of a component stays for others that have the option.

    ``head.dropout=0.3`` holds with any head that may be drawn, as it would have been typed for each of them.
    """
    named = {key: getattr(config, key) for key in values if key in PARTS}
    changed = config.replace(**named).replace(**values, **more)  # the options of a default that was not named stay
    gone = {key: value for key, value in config.options.items() if key not in changed.options and key not in values}
    kept = {key: value for key, value in gone.items() if _has(changed, key)}
    return changed.replace(**kept) if kept else changed


def _has(config: EntityClassificationTrainConfig, key: str) -> bool:
    first, _, rest = key.partition(".")
    try:
        component = config.components().by_key().get(first)
    except (ConfigError, PluginError):
        return False
    return first in PARTS and rest in {option.name for option in describe_options(type(component))}


def errors_of(config: EntityClassificationTrainConfig, values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a config that has these values."""
    try:
        with_values(config, values).components()
    except ConfigError as exc:
        return list(exc.errors)
    except PluginError as exc:
        return [str(exc)]
    return []
