"""Recipes: a YAML file with reader, processors and predictors in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml

from papermage_core.config.by_label import ByLabel
from papermage_core.config.errors import read_given, unknown
from papermage_core.config.given import Given, from_file
from papermage_core.config.hub import from_hub
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.structure import nest, structure, unstructure
from papermage_core.config.values import InvalidValueError, Text, read
from papermage_core.config.writers import records_errors
from papermage_core.errors import ConfigError, PluginError, nearest
from papermage_core.files.hub import is_on_hub
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import ComponentConfig, DocumentProcessorConfig, option

__all__ = ["RECIPE_FILE", "PredictorOptions", "RecipeConfig", "StageConfig", "read_recipe", "recipe_file"]

RECIPE_FILE = "recipe.yaml"
"""The file that makes a folder a recipe."""
_PROCESSOR, _PREDICTOR, _RECIPE = _KINDS = ("processor", "predictor", "recipe")
_OWN = ("name", "kept")


@attrs.frozen(kw_only=True)
class PredictorOptions(ComponentConfig):
    """Options of a stage that is a predictor."""

    entity_name: str | None = option(None, help="layer of the units; none: as in training")
    context_name: str | None = option(None, help="layer that it reads within; none: as in training")
    labels: tuple[str, ...] = option((), help="labels whose entities are kept; none given: all")
    layer_name: str | None = option(
        None, help="one layer for all its entities; none: a layer of its name for each label"
    )
    within: bool = option(
        True, help="read what lies in a context only, pages excepted; no: what lies in none as contexts of its own, too"
    )
    join_across: tuple[str, ...] | None = option(
        None,
        help="make one entity of neighbours of one label that have nothing between them, or only entities of these "
        "labels, such as page,footnote; none: leave them as they are",
    )
    min_score: ByLabel = option(
        None, help="leave out entities scored below; min_score.Disease=0.8: of one label", ge=0, le=1
    )
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    precision: str | None = option(
        None, help="arithmetic; none: as the encoder chooses", choices=("fp32", "bf16", "int8", "auto")
    )
    backend: str | None = option(None, help="torch, or onnx for ONNX Runtime", choices=("torch", "onnx"))


@attrs.frozen(kw_only=True)
class StageConfig:
    """A stage: a processor by its config, or a predictor by its folder and options."""

    name: str
    source: str
    """Where it was given: ``references.yaml:4``."""
    processor: tuple[str, DocumentProcessorConfig] | None = None
    """Its name as a component, and its config."""
    predictor: Path | None = None
    options: PredictorOptions = attrs.field(factory=PredictorOptions)


@attrs.frozen(kw_only=True)
class RecipeConfig:
    """What a recipe says."""

    path: Path
    stages: tuple[StageConfig, ...]
    reader: ReaderChoice = attrs.field(factory=ReaderChoice)
    records: str | None = None
    plugins_path: tuple[Path, ...] = ()

    def to_yaml(self, stages: Sequence[Mapping[str, Any]]) -> str:
        """Return the recipe as a file says it, with other stages."""
        content: dict[str, Any] = {}
        if self.reader.name is not None or self.reader.options:
            content["reader"] = {"name": self.reader.name, **nest(_plain(self.reader.options))}
        content["stages"] = _plain(stages)
        if self.records is not None:
            content["records"] = self.records
        return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


@attrs.frozen(kw_only=True)
class _Top:
    """What stands in a recipe, beside the stages and components' options."""

    reader: str | None = option(None, help="document reader; none: by the ending of each file")
    processors: tuple[str, ...] = option((), help="processors that run before the stages")
    records: str | None = option(None, help="records to write: bib_entries(author,title)")


def recipe_file(path: str | Path) -> Path:
    """Return the file of a recipe; of a folder the ``recipe.yaml`` in it. Raises ConfigError where there is none."""
    place = Path(path).expanduser()
    if place.is_dir():
        if not (place / RECIPE_FILE).is_file():
            raise ConfigError(f"recipe={path}: this folder is no recipe: there is no {RECIPE_FILE} in it")
        return place / RECIPE_FILE
    if not place.exists():
        raise ConfigError(f"recipe={path}: no such file or folder")
    return place


def read_recipe(path: str | Path, plugins_path: Sequence[Path] = ()) -> RecipeConfig:
    """Return what a recipe says. Raises ConfigError with every error, PluginError where only components are missing.

    Paths in it are looked for beside it, so that a folder with recipe and checkpoints can be moved.
    """
    return _read(recipe_file(path), tuple(plugins_path), ())


def _read(path: Path, plugins_path: tuple[Path, ...], above: tuple[Path, ...]) -> RecipeConfig:
    real = path.resolve()
    if real in above:
        chain = " → ".join(each.name for each in (*above[above.index(real) :], real))
        raise ConfigError(f"{above[-1]}: a recipe that contains itself: {chain}")
    given = {item.key: item for item in from_file(path)}
    stages = given.pop("stages", None)
    if stages is None and not any(key == "processors" for key in given):
        raise ConfigError(f"{path}: expected a recipe, with 'stages:' and a list of processors and predictors in order")
    own = {key: item for key, item in given.items() if "." not in key}
    known = {each.name: each for each in describe_options(_Top)}
    values, errors = read_given(known, own)
    errors += [
        unknown(key, item.source, "unknown option of a recipe", [*known, "stages"])
        for key, item in given.items()
        if key not in known and not (key.partition(".")[0] in ("reader", "processors") and "." in key)
    ]
    errors += records_errors(given.get("records"), Plugins(plugins_path))
    reader = {key.removeprefix("reader."): item for key, item in given.items() if key.startswith("reader.")}
    choice = ReaderChoice(
        name=values.get("reader"),
        options={key: item.value for key, item in reader.items()},
        plugins_path=plugins_path,
        sources={f"reader.{key}": item.source for key, item in reader.items()},
    )
    found, missing = list[StageConfig](), list[PluginError]()
    items = [*_named_processors(values.get("processors", ()), given, errors), *_items(stages, errors)]
    for number, item in enumerate(items, 1):
        try:
            found += _stages(item, number, path, plugins_path, (*above, real))
        except ConfigError as exc:
            errors += exc.errors
        except PluginError as exc:
            missing.append(exc)
    try:
        _ = choice.named
    except ConfigError as exc:
        errors += exc.errors
    except PluginError as exc:
        missing.append(exc)
    names = [stage.name for stage in found]
    errors += [
        f"{path}: {names.count(name)} stages are called {name!r}; give each a name of its own: name: ..."
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if not items and not errors:
        errors.append(f"{path}: expected at least one stage")
    if errors:
        raise ConfigError(*errors, *(f"{path}: {exc}" for exc in missing))
    if missing:
        raise PluginError("\n".join(f"{path}: {exc}" for exc in missing)) from missing[0]
    return RecipeConfig(
        path=path, stages=tuple(found), reader=choice, records=values["records"], plugins_path=plugins_path
    )


def _named_processors(names: Sequence[str], given: Mapping[str, Given], errors: list[str]) -> Iterator[Given]:
    """Yield the processors that stand in ``processors``, as stages with their options."""
    options: dict[str, dict[str, Any]] = {key.split(".", 2)[1]: {} for key in given if key.startswith("processors.")}
    for key, item in given.items():
        if key.startswith("processors."):
            _, name, *rest = key.split(".", 2)
            if name not in names or not rest:
                errors.append(f"{key} ({item.source}): no processor of this name is used: {', '.join(names) or 'none'}")
            else:
                options[name][rest[0]] = item.value
    for name in names:
        yield Given("processors", {_PROCESSOR: name, **options.get(name, {})}, given["processors"].source)


def _items(stages: Given | None, errors: list[str]) -> Iterator[Given]:
    """Yield each stage as it was written: the name of a processor, or a mapping."""
    if stages is None:
        return
    if not isinstance(stages.value, list):
        errors.append(f"stages ({stages.source}): expected a list, each stage after a dash")
        return
    for number, item in enumerate(stages.value, 1):
        if isinstance(item, str) and item:
            yield Given(stages.key, {_PROCESSOR: item}, stages.source)
        elif isinstance(item, Mapping):
            yield Given(stages.key, item, stages.source)
        else:
            errors.append(f"stages ({stages.source}): stage {number}: expected {_expected()}, got {item!r:.80}")


def _expected() -> str:
    return "the name of a processor, or one of processor, predictor and recipe"


def _stages(
    item: Given, number: int, path: Path, plugins_path: tuple[Path, ...], above: tuple[Path, ...]
) -> Iterator[StageConfig]:
    """Yield the stage, or those of the recipe, that an item stands for. Raises ConfigError."""
    options = dict(item.value)
    kinds = [kind for kind in _KINDS if kind in options]
    where = f"{item.source}: stage {number}"
    if len(kinds) != 1:
        strange = next(iter(options), "")
        hint = "" if kinds else nearest(str(strange), _KINDS)
        raise ConfigError(
            f"{where}: expected {_expected()}, got {', '.join(map(str, kinds or options)) or 'nothing'}.{hint}"
        )
    (kind,) = kinds
    value = options.pop(kind)
    try:
        target = read(value, str if kind == _PROCESSOR else Path)
        name = read(options.pop("name", Text("none")), str | None)
        kept = read(options.pop("kept", Text("none")), Path | None)
    except InvalidValueError as exc:
        raise ConfigError(f"{where}: {kind}={value!r:.80}: expected {exc}") from exc
    if kind == _RECIPE:
        if options:
            raise ConfigError(f"{where}: recipe={target}: it has no options; got {', '.join(options)}")
        yield from _read(recipe_file(path.parent / target), plugins_path, above).stages
        return
    own = f"stage {number}" + (f" ({name})" if name else "")
    sources = {f"{own}.{key}": item.source for key in options}
    if kind == _PROCESSOR:
        config_class = Plugins(plugins_path).config_class("document_processor", target)
        config = structure(config_class, nest(options), key=own, name=target, sources=sources)
        config = _beside(config, path.parent) if kept is None else config.load(path.parent / kept)
        yield StageConfig(name=name or target, source=item.source, processor=(target, config))
        return
    folder = from_hub(str(target), f"{where}: predictor") if is_on_hub(target) else path.parent / target
    if not folder.is_dir():
        what = "this is no folder" if folder.exists() else "no such folder"
        beside = "" if target.is_absolute() else f"; it is looked for beside the recipe: {folder.absolute()}"
        raise ConfigError(f"{where}: predictor={target}: {what}{beside}")
    named = Path(str(target).partition("@")[0]) if is_on_hub(target) else folder.resolve()
    name = name or (named.parent.name if named.name == "checkpoints" else named.name)
    found = structure(PredictorOptions, nest(options), key=own, name=name, sources=sources)
    yield StageConfig(name=name, source=item.source, predictor=folder, options=found)


def _beside(config: DocumentProcessorConfig, folder: Path) -> DocumentProcessorConfig:
    """Return a config whose paths are looked for beside the recipe."""
    values = attrs.asdict(config, recurse=False)
    paths = {name: value for name, value in values.items() if isinstance(value, Path) and not is_on_hub(value)}
    return attrs.evolve(config, **{name: folder / value for name, value in paths.items()})


def _plain(value: Any) -> Any:
    """Return plain values, as YAML has them."""
    if isinstance(value, ComponentConfig):
        return _plain({name: each for name, each in unstructure(value).items() if each != getattr(type(value)(), name)})
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, (str, Path)) else value
