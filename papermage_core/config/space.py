"""What a search may vary: options with ranges or choices, given in YAML or declared by the options themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from papermage_core.config.combinations import PARTS, errors_of
from papermage_core.config.components import ComponentConfigs
from papermage_core.config.dimension import Dimension
from papermage_core.config.errors import invalid, read_option, unknown
from papermage_core.config.given import Given
from papermage_core.config.train import EntityClassificationTrainConfig, lightning_parameters, own_options
from papermage_core.config.values import InvalidValueError, read
from papermage_core.errors import ConfigError, PluginError, nearest
from papermage_core.plugin.kinds import IN_CONFIG
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import OptionType, option_type
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = ["Dimension", "Space", "check_space", "check_tunable", "declared_space", "has_option", "read_space"]

_ENDS = ("low", "high", "log", "step")
_MODEL = ("encoder", "label_scheme", "head")
_FIXED = frozenset(
    {
        *("data_path", "label_field", "val_data_path", "test_data_path", "val_split", "entity_name", "context_name"),
        *("mode", "monitor", "seed", "folds", "fold", "learning_curve", "train_share", "resume", "overwrite"),
        *("default_root_dir", "notes", "data_notes", "reader", "processors", "plugins_path", "label_attribute"),
    }
)
"""Options that say what is learnt and by what it is judged: results for several values could not be compared."""


Space = Sequence[Dimension]


@attrs.frozen
class _Known:
    """The options that there are, by dotted key."""

    options: Mapping[str, OptionDescription]

    @classmethod
    def of(cls, config: EntityClassificationTrainConfig, items: Iterable[Given]) -> _Known:
        """Return those of the components of a config, and of the components that a space may choose."""
        named = {key: {str(getattr(config, key)): ""} for key in PARTS}
        for item in items:
            if item.key in named and isinstance(item.value, (list, str)):
                named[item.key] |= {str(name): f"{item.key} ({item.source}): " for name in _listed(item.value)}
        plugins, options = Plugins(config.plugins_path), {**own_options(), **lightning_parameters()}
        for key, names in named.items():
            for name, where in sorted(names.items()):
                try:
                    described = describe_options(plugins.config_class(IN_CONFIG[key].name, name))
                except PluginError as exc:
                    raise PluginError(f"{where}{exc}") from exc
                options |= {f"{key}.{each.name}": each for each in described}
        return cls(options)


def read_space(config: EntityClassificationTrainConfig, items: Sequence[Given], named: Sequence[str] = ()) -> Space:
    """Return the space that a file gives, and the options ``named``, whose ranges are those that they declare.

    ``learning_rate: {low: 1e-4, high: 1e-2, log: true}``, ``head: [linear, crf]``. Raises ConfigError with all errors.
    """
    known = _Known.of(config, items)
    errors: list[str] = []
    found: dict[str, Dimension] = {}
    ends: dict[str, dict[str, Given]] = {}
    for item in items:
        key, _, last = item.key.rpartition(".")
        if item.key not in known.options and (last in _ENDS or key in known.options.keys() - {*PARTS}):
            ends.setdefault(key, {})[last] = item
        elif (error := _refusal(item.key, item.source, known)) is not None:
            errors.append(error)
        else:
            _keep(found, errors, item.key, lambda item=item: _of_choices(item, known.options[item.key]))
    for key, of_key in ends.items():
        first = next(iter(of_key.values()))
        if (error := _refusal(key, first.source, known)) is not None:
            errors.append(error)
        else:
            _keep(found, errors, key, lambda key=key, of_key=of_key: _of_ends(key, of_key, known.options[key]))
    for key in named:
        if (error := _refusal(key, "search", known)) is not None:
            errors.append(error)
        elif key not in found:
            _keep(found, errors, key, lambda key=key: _declared(key, known.options[key], config, by_limits=True))
    if not errors and not found:
        errors.append("the space holds no option to vary")
    if errors:
        raise ConfigError(*errors)
    return _ordered(found.values())


def declared_space(config: EntityClassificationTrainConfig) -> Space:
    """Return the learning rate and what the options of the chosen components declare to be worth a search."""
    known = _Known.of(config, ()).options
    own = {key: option for key, option in known.items() if key == "learning_rate" or key.partition(".")[0] in _MODEL}
    found = (_declared(key, option, config) for key, option in own.items() if key not in config.options)
    return _ordered(dimension for dimension in found if dimension is not None)


def _keep(found: dict[str, Dimension], errors: list[str], key: str, make: Any) -> None:
    try:
        dimension = make()
    except InvalidValueError as exc:
        errors.append(str(exc))
    else:
        found[key] = dimension


def _refusal(key: str, source: str, known: _Known) -> str | None:
    if key in _FIXED:
        return f"{key} ({source}): it decides what is learnt and how it is judged, so that it cannot be varied"
    if key not in known.options:
        return unknown(key, source, "no such option to vary", known.options)
    return None


def _listed(value: Any) -> list[Any]:
    return list(read(value, tuple[str, ...])) if isinstance(value, str) else list(value)


def _of_choices(item: Given, option: OptionDescription) -> Dimension:
    values = _listed(item.value)
    if len(values) < 2:
        raise InvalidValueError(
            f"{item.key} ({item.source}): expected two choices or more, [a, b], or low and high; got {item.value!r}"
        )
    choices = tuple(_value(item.key, value, item.source, option) for value in values)
    return Dimension(key=item.key, kind="choice", choices=tuple(_plain(choice) for choice in choices))


def _value(key: str, value: Any, source: str, option: OptionDescription) -> Any:
    try:
        return read_option(value, option)
    except InvalidValueError as exc:
        raise InvalidValueError(invalid(key, value, source, str(exc))) from None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _of_ends(key: str, ends: Mapping[str, Given], option: OptionDescription) -> Dimension:
    source = next(iter(ends.values())).source
    if strange := [name for name in ends if name not in _ENDS]:
        expected = f"expected {', '.join(_ENDS[:-1])} or {_ENDS[-1]}, got {strange[0]!r}.{nearest(strange[0], _ENDS)}"
        raise InvalidValueError(f"{key} ({ends[strange[0]].source}): {expected}".rstrip("."))
    if missing := [name for name in ("low", "high") if name not in ends]:
        raise InvalidValueError(f"{key} ({source}): {' and '.join(missing)} missing; type low: ..., high: ...")
    kind = _number(option_type(option.type))
    if kind is None:
        raise InvalidValueError(f"{key} ({source}): it is no number; give its choices as a list")
    low, high = (_value(f"{key}.{name}", ends[name].value, ends[name].source, option) for name in ("low", "high"))
    more: dict[str, Any] = {}
    for name, wanted in (("log", bool), ("step", int if kind == "int" else float)):
        if name in ends:
            try:
                more[name] = read(ends[name].value, wanted)
            except InvalidValueError as exc:
                raise InvalidValueError(
                    invalid(f"{key}.{name}", ends[name].value, ends[name].source, str(exc))
                ) from None
    log, step = more.get("log", False), more.get("step")
    for wrong, message in (
        (not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or low >= high, "low below high"),
        (log and not low > 0, "low above 0, for log"),
        (log and step is not None, "log or step, not both"),
        (step is not None and step <= 0, "a step above 0"),
    ):
        if wrong:
            raise InvalidValueError(f"{key} ({source}): expected {message}; got low={low}, high={high}")
    return Dimension(key=key, kind=kind, low=low, high=high, log=log, step=step)


def _number(wanted: OptionType) -> Literal["int", "float"] | None:
    """Return the kind of number that an option is, one that may be left out included."""
    kinds = {part.declared for part in wanted.parts} if wanted.shape == "union" else {wanted.declared}
    return "float" if float in kinds else "int" if int in kinds and bool not in kinds else None


def _declared(
    key: str, option: OptionDescription, config: EntityClassificationTrainConfig, *, by_limits: bool = False
) -> Any:
    """Return the range that an option declares; with ``by_limits`` that of its limits or choices where it has none.

    None, or with ``by_limits`` an InvalidValueError, where there is none.
    """
    wanted = option_type(option.type)
    if key == "learning_rate":
        usual = config.components().encoder.default_learning_rate
        return Dimension(key=key, kind="float", low=usual / 5, high=usual * 5, log=True)
    kind = _number(wanted)
    if option.search and kind is not None:
        low, high, *log = option.search
        return Dimension(key=key, kind=kind, low=low, high=high, log=bool(log))
    if not by_limits:
        return None
    if wanted.shape == "choice" or wanted.declared is bool or "choices" in option.limits:
        choices = option.limits.get("choices") or wanted.choices or (False, True)
        return Dimension(key=key, kind="choice", choices=tuple(map(_plain, choices)))
    low, high = (option.limits.get(a, option.limits.get(b)) for a, b in (("ge", "gt"), ("le", "lt")))
    if kind is None or low is None or high is None:
        raise InvalidValueError(f"{key} (search): it declares no range; give it one in a file, space=FILE.yaml")
    if kind == "float":
        margin = 0.05 * (high - low)
        low, high = low + margin * ("gt" in option.limits), high - margin * ("lt" in option.limits)
    return Dimension(key=key, kind=kind, low=low, high=high)


def _ordered(found: Iterable[Dimension]) -> Space:
    """Return dimensions with the components first, whose choice decides which options there are."""
    return sorted(found, key=lambda dimension: dimension.key not in PARTS)


def has_option(components: ComponentConfigs, key: str) -> bool:
    """Whether the component that was chosen has an option; those of the run always are there."""
    first, dot, rest = key.partition(".")
    if not dot:
        return True
    config = components.by_key()[first]
    return rest in {option.name for option in describe_options(type(config))}


def check_tunable(config: EntityClassificationTrainConfig, space: Space) -> None:
    """Raise ConfigError or PluginError for options, and values of the space, that do not go with a search."""
    errors = []
    if config.several is not None or config.fold is not None:
        errors.append("papermage-tune scores single runs: leave out folds, fold, learning_curve and several seeds")
    if config.mode == "eval":
        errors.append("papermage-tune trains: leave out mode=eval")
    if config.resume not in (False, "auto") or config.overwrite:
        errors.append(
            "papermage-tune goes on with the search in its folder by itself: leave out resume and overwrite; for "
            "another search choose another default_root_dir"
        )
    if not config.val_data_path and config.val_split == 0:
        errors.append("papermage-tune needs something to validate on: give val_data_path, or a val_split above 0")
    if errors:
        raise ConfigError(*errors)
    check_space(config, space)


def check_space(config: EntityClassificationTrainConfig, space: Space) -> None:
    """Raise ConfigError or PluginError for values that the config could not have, with any choice of components."""
    errors = dict.fromkeys(_errors(config, space))
    if errors:
        raise ConfigError(*errors)


def _errors(config: EntityClassificationTrainConfig, space: Space) -> Iterator[str]:
    chosen = [dimension for dimension in space if dimension.key in PARTS]
    for dimension in space:
        if "." in dimension.key and not has_option(config.components(), dimension.key):
            continue  # of a component that another dimension chooses
        others = [each for each in chosen if each.key != dimension.key and "." not in dimension.key]
        for value in dimension.choices or (dimension.low, dimension.high):
            errors: list[str] = []
            for choice in itertools.product(*(each.choices for each in others)):
                given = {each.key: name for each, name in zip(others, choice, strict=True)}
                found = errors_of(config, {**given, dimension.key: value})
                if not found:
                    break
                errors = errors or found
            else:
                yield from (f"space: {dimension.key}={value}: {error}" for error in errors)
