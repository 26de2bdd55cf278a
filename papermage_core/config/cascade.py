"""The config of a cascade: a list of stages, each a run of its own that reads what those before it find."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from papermage_core.config.errors import read_given
from papermage_core.config.given import COMMAND_LINE, Given, from_file, from_mapping, read_overrides
from papermage_core.config.paths import check_documents, missing_documents
from papermage_core.config.recipe import PredictorOptions
from papermage_core.config.structure import nest, structure
from papermage_core.config.train import EntityClassificationTrainConfig
from papermage_core.config.values import InvalidValueError, read
from papermage_core.config.writers import records_errors
from papermage_core.errors import ConfigError, nearest
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import option

__all__ = ["CascadeConfig", "CascadeStage", "load_cascade", "names_stages"]

_STAGES = "stages"
_REFUSED = ("mode", "fold", "folds", "learning_curve", "resume")
"""Options of a run that a stage cannot have."""


@attrs.frozen(kw_only=True)
class _Whole:
    """Options of the cascade, beside those of runs, which hold for every stage."""

    default_root_dir: Path = option(help="folder of the cascade: its recipe, and a folder for each stage")
    folds: int = option(
        3, help="folds for the predictions that the next stage is trained on, where they share documents", ge=2
    )
    test_data_path: tuple[Path, ...] = option(
        (), help="documents for the end-to-end score; none: val_data_path of the stages"
    )
    records: str | None = option(None, help="records that the recipe writes: bib_entries(author,title)")


@attrs.frozen(kw_only=True)
class _OfStage:
    """Options of a stage, beside those of its run and of its place in the recipe (predict.key=value)."""

    name: str | None = option(None, help="what errors and folders call it; none: its label fields")
    contexts: Literal["predicted", "gold"] = option(
        "predicted", help="train within what the stages before find, out of fold, or within the gold of its documents"
    )
    gold_context_name: str | None = option(
        None, help="layer of the contexts in its training documents, where that is another one: implies contexts=gold"
    )


@attrs.frozen(kw_only=True)
class CascadeStage:
    """A stage: the config of its run, and its place in the recipe."""

    name: str
    config: EntityClassificationTrainConfig
    contexts: Literal["predicted", "gold"]
    gold_context_name: str | None
    predict: PredictorOptions

    @property
    def makes(self) -> tuple[str, ...]:
        """The layers that it makes, as far as known before it is trained."""
        return (self.predict.layer_name,) if self.predict.layer_name else self.predict.labels or self.config.label_field


@attrs.frozen(kw_only=True)
class CascadeConfig:
    """All that decides a cascade."""

    stages: tuple[CascadeStage, ...]
    default_root_dir: Path
    folds: int = 3
    test_data_path: tuple[Path, ...] = ()
    records: str | None = None

    def needs(self, number: int) -> list[int]:
        """Return the stages before one that make what it reads, and what these read, in order.

        Documents may begin in the middle of a cascade: nothing runs before a stage that has ``gold_context_name``.
        """
        stage = self.stages[number]
        wanted = {stage.config.entity_name, *(() if stage.gold_context_name else (stage.config.context_name,))}
        found: set[int] = set()
        for other in range(number):
            if wanted.intersection(self.stages[other].makes):
                found |= {other, *self.needs(other)}
        return sorted(found)

    def check_paths(self) -> None:
        """Raise DataError for documents that are not there, ConfigError for a model; nothing is read."""
        missing = missing_documents({"test_data_path": self.test_data_path}, {"test_data_path": "of the cascade"})
        for stage in self.stages:
            missing += missing_documents(stage.config.values(), stage.config.sources)
        check_documents(list(dict.fromkeys(missing)))
        for stage in self.stages:
            stage.config.check_paths()

    def run_folder(self, number: int) -> Path:
        """Return the folder of a stage."""
        return self.default_root_dir / self.stages[number].name


def names_stages(files: Sequence[Path]) -> bool:
    """Whether config files are those of a cascade. Raises ConfigError for files that cannot be read."""
    return any(item.key == _STAGES for file in files for item in from_file(Path(file)))


def load_cascade(files: Sequence[Path], overrides: Sequence[str] = (), defaults: Sequence[Given] = ()) -> CascadeConfig:
    """Return the cascade that YAML files and ``key=value`` arguments describe. Raises ConfigError with every error.

    What stands beside ``stages`` holds for each of them; ``stages.NAME.key=value`` is typed for one.
    """
    layers = [[item for item in defaults if item.key not in _REFUSED], *(from_file(Path(file)) for file in files)]
    typed, strange = read_overrides(overrides)
    lists = [item for layer in layers for item in layer if item.key == _STAGES]
    given = {item.key: item for item in [*(item for layer in layers for item in layer), *typed]}
    known = {each.name: each for each in describe_options(_Whole)}
    values, errors = read_given(known, given)
    errors = [*strange, *errors]
    common = [_common(layer, known) for layer in layers]
    items = lists[-1].value
    if not isinstance(items, list) or not items or not all(isinstance(item, Mapping) for item in items):
        errors.append(
            f"{_STAGES} ({lists[-1].source}): expected a list, each stage 'name:', 'data_path:' … after a dash"
        )
        items = []
    for key in _REFUSED:
        if key in given and key not in known:
            errors.append(f"{key} ({given[key].source}): a cascade has no such option")
    errors += records_errors(given.get("records"), Plugins(_plugin_paths(given)))
    stages = []
    found: dict[str, list[int]] = {}
    for number, item in enumerate(items, 1):
        try:
            stages.append(_stage(item, f"{lists[-1].source}: stage {number}", common, typed, known))
        except ConfigError as exc:
            for error in exc.errors:
                found.setdefault(error, []).append(number)
    errors += _once(found, f"{lists[-1].source}: stage", len(items))
    names = [stage.name for stage in stages]
    errors += [
        f"{names.count(name)} stages are called {name!r}: name: another"
        for name in {n for n in names if names.count(n) > 1}
    ]
    errors += _strange_stages(typed, [*names, *map(_name_of, items)])
    if not errors:
        errors += _order_errors(stages)
    if errors:
        raise ConfigError(*errors)
    return CascadeConfig(stages=tuple(stages), **values)


def _once(found: Mapping[str, Sequence[int]], where: str, count: int) -> Iterator[str]:
    """Yield each error with the stages that it is of; one that all have, of what stands beside them, without."""
    for error, numbers in found.items():
        shown = f"{where}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        yield error if len(numbers) == count > 1 or where in error else f"{shown}: {error}"


def _plugin_paths(given: Mapping[str, Given]) -> tuple[Path, ...]:
    item = given.get("plugins_path")
    with contextlib.suppress(InvalidValueError):  # reported for each stage
        return () if item is None else read(item.value, tuple[Path, ...])
    return ()


def _common(layer: Sequence[Given], known: Mapping[str, Any]) -> list[Given]:
    return [item for item in layer if item.key not in known and item.key.partition(".")[0] != _STAGES]


def _name_of(item: Mapping[str, Any]) -> str:
    """Return what a stage is called: its name, or its label fields."""
    own = {each.key: each for each in from_mapping(item)}
    return str(own["name"].value) if "name" in own else "+".join(_texts(own.get("label_field"))) or "stage"


def _stage(
    item: Mapping[str, Any],
    where: str,
    common: Sequence[Sequence[Given]],
    typed: Sequence[Given],
    whole: Mapping[str, Any],
) -> CascadeStage:
    own = {each.key: each for each in from_mapping(item, where)}
    known = {each.name: each for each in describe_options(_OfStage)}
    name = _name_of(item)
    prefix = f"{_STAGES}.{name}."
    for each in typed:
        if each.key.startswith(prefix):
            key = each.key.removeprefix(prefix)
            own[key] = Given(key, each.value, COMMAND_LINE)
    values, errors = read_given(known, own)
    name = values.get("name") or name
    errors += [
        f"{key}: a stage has no such option" for key in (*_REFUSED, "default_root_dir", "test_data_path") if key in own
    ]
    if not str(name).strip() or any(sign in str(name) for sign in "/\\\0") or str(name).startswith("."):
        errors.append(f"name={name!r}: expected a name that a folder can have")
    placed = {key.removeprefix("predict."): each for key, each in own.items() if key.startswith("predict.")}
    run = [each for key, each in own.items() if key not in known and not key.startswith("predict.")]
    config = options = None
    try:
        predict = nest({key: each.value for key, each in placed.items()})
        sources = {f"predict.{key}": each.source for key, each in placed.items()}
        options = structure(PredictorOptions, predict, key="predict", name=str(name), sources=sources)
    except ConfigError as exc:
        errors += exc.errors
    try:
        typed_for_all = _common(typed, whole)
        of_stage = [each for each in run if each.source == COMMAND_LINE]
        in_file = [each for each in run if each.source != COMMAND_LINE]
        config = EntityClassificationTrainConfig.from_layers([*common, in_file, typed_for_all, of_stage], known)
        config.components()
    except ConfigError as exc:
        errors += exc.errors
    if errors:
        raise ConfigError(*errors)
    assert config is not None
    assert options is not None
    gold = values["gold_context_name"]
    return CascadeStage(
        name=str(name),
        config=config,
        contexts="gold" if gold else values["contexts"],
        gold_context_name=gold,
        predict=options,
    )


def _texts(given: Given | None) -> list[str]:
    value = given.value if given is not None else ""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else list(map(str, value))


def _strange_stages(typed: Sequence[Given], names: Sequence[str]) -> Iterator[str]:
    for item in typed:
        if item.key.startswith(f"{_STAGES}.") and not any(item.key.startswith(f"{_STAGES}.{name}.") for name in names):
            name = item.key.split(".")[1]
            yield f"{item.key} ({item.source}): there is no stage {name!r}.{nearest(name, names)}"


def _order_errors(stages: Sequence[CascadeStage]) -> Iterator[str]:
    """Yield which stage reads what a later one makes, or what it makes itself."""
    for number, stage in enumerate(stages):
        for name in (stage.config.context_name, stage.config.entity_name):
            before = any(name in other.makes for other in stages[:number])
            later = [other.name for other in stages[number:] if name in other.makes]
            if later and not before:
                what = "itself" if later[0] == stage.name else f"the stage {later[0]!r}, which comes later"
                yield f"the stage {stage.name!r} reads the layer {name!r}, which is made by {what}"
        for other in stages[:number]:
            if twice := [name for name in stage.makes if name in other.makes]:
                yield (
                    f"the stages {other.name!r} and {stage.name!r} both make the layer {twice[0]!r}: give one "
                    "predict.layer_name, or predict.labels without it"
                )
