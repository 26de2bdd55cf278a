"""What adds layers to documents, a model or a recipe, behind one face: loaded, and as what a process loads it from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from papermage_core import checkpoint
from papermage_core.config.booleans import check_boolean
from papermage_core.config.by_label import ByLabel, lowest_scores
from papermage_core.config.extensions import ExtensionChoice
from papermage_core.data.issues import Issues
from papermage_core.document import Document, Entity
from papermage_core.errors import ConfigError, DataError
from papermage_core.evaluation.shift import ShiftMonitor
from papermage_core.model.blueprint import Blueprint
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.prediction.predictor import EntityClassificationPredictor
from papermage_core.prediction.recipe import Recipe

__all__ = ["Annotator", "Layers", "Model", "ModelAnnotator", "ModelChoice", "RecipeAnnotator", "RecipeChoice", "Seen"]

OnError = Callable[[DataError], None]


@attrs.frozen(kw_only=True)
class Layers:
    """Where predictions go in a document."""

    name: str = "predictions"
    per_label: bool = attrs.field(default=False, validator=check_boolean)
    """Each label's entities in a layer of the label's name, in place of one layer for all."""
    overwrite: bool = attrs.field(default=False, validator=check_boolean)
    """Whether layers of these names, and a file that is there already, are replaced."""
    merge: bool = attrs.field(default=True, validator=check_boolean)
    min_score: ByLabel = None
    recall: ByLabel = None
    precision: ByLabel = None
    """What the checkpoint guarantees of the entities."""

    def options(self) -> dict[str, Any]:
        """Return what shapes the layers, by the names that a user types."""
        return {
            "layer_name": self.name,
            "layer_per_label": self.per_label,
            "merge": self.merge,
            "min_score": _sorted(self.min_score),
            "min_recall": _sorted(self.recall),
            "min_precision": _sorted(self.precision),
        }

    def names(self, predictor: EntityClassificationPredictor | Blueprint) -> tuple[str, ...]:
        """Return the layers that every document gets."""
        return tuple(predictor.labels) if self.per_label else (self.name,)

    def check(self, predictor: EntityClassificationPredictor) -> None:
        """Raise ConfigError for layers that cannot have these names, and for labels and shares that there are not."""
        for name in self.names(predictor):
            if not name.strip() or name in Document.SPECIAL_FIELDS:
                raise ConfigError(f"layer_name={name}: a layer cannot have this name")
            if name in (predictor.entity_name, predictor.context_name):
                raise ConfigError(f"layer_name={name}: this is the layer that is read; choose another name")
            if any(name in config.makes for config in predictor.blueprint.processors.configs):
                raise ConfigError(f"layer_name={name}: processors of the checkpoint make this layer; choose another")
        try:
            lowest_scores(self.min_score, predictor.labels)
            predictor.check_shares(self.recall, self.precision, self.merge)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def annotate(self, document: Document, entities: list[Entity], predictor: EntityClassificationPredictor) -> None:
        """Put the entities in their layers, an empty one where there are none."""
        groups: dict[str, list[Entity]] = {name: [] for name in self.names(predictor)}
        for entity in entities:
            if not self.per_label:
                groups[self.name].append(entity)
            elif (label := _label(entity, self.merge)) is not None:
                groups[label].append(entity)
        for name, found in groups.items():
            if name in document.layers:
                document.remove_layer(name)
            document.annotate_layer(name, found)


def _sorted(given: ByLabel) -> ByLabel:
    return dict(sorted(given.items())) if isinstance(given, Mapping) else given


def _label(entity: Entity, merge: bool) -> str | None:
    tag: str = entity.metadata.label
    return tag if merge else tag.partition("-")[2] or None


@attrs.define
class Seen:
    """What was odd in the documents that went through; can be sent from one process to another."""

    issues: dict[str, Issues] = attrs.field(factory=dict)
    """By what is said before each line."""
    shift: ShiftMonitor | None = None

    def merge(self, others: Iterable[Seen]) -> None:
        """Add what others have seen."""
        for other in others:
            for name, issues in other.issues.items():
                self.issues.setdefault(name, Issues()).merge([issues])
            if other.shift is not None:
                self.shift = self.shift or ShiftMonitor(other.shift.reference)
                self.shift.merge([other.shift])

    def lines(self) -> Iterator[str]:
        """Yield what to say at the end."""
        for name, issues in self.issues.items():
            yield from (f"{name}{line}" for line in issues.lines())
        if self.shift is not None and (told := self.shift.warning()) is not None:
            yield told


class Annotator(Protocol):
    """Adds layers to documents."""

    @property
    def makes(self) -> tuple[str, ...]:
        """The layers that every document gets."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that entities in them may have."""
        ...

    def annotate(self, located: Iterator[LocatedDocument], on_error: OnError | None) -> Iterator[Document]:
        """Yield the documents, in order, with their layers, reading only a little ahead.

        What cannot be used raises DataError, or is handed over with its place and left out.
        """
        ...

    def units(self, document: Document) -> int:
        """Return how many units of a document were looked at."""
        ...

    def seen(self) -> Seen:
        """Return what was odd in the documents so far."""
        ...


class ModelAnnotator:
    """Puts what a predictor finds in layers of documents."""

    def __init__(self, predictor: EntityClassificationPredictor, layers: Layers) -> None:
        layers.check(predictor)
        self.predictor, self.layers = predictor, layers

    @property
    def makes(self) -> tuple[str, ...]:
        """The layers that every document gets."""
        return self.layers.names(self.predictor)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the predictor knows."""
        return self.predictor.labels

    def annotate(self, located: Iterator[LocatedDocument], on_error: OnError | None) -> Iterator[Document]:
        """Yield the documents with their layers."""
        layers, waiting = self.layers, deque[LocatedDocument]()

        def handle(error: DataError) -> None:
            if on_error is None:
                raise error
            on_error(error)

        def documents() -> Iterator[Document]:
            for each in located:
                if error := self._taken(each):
                    handle(error)
                else:
                    waiting.append(each)
                    yield each.document

        def lacks_a_layer(document: Document, error: DataError) -> None:
            place = next(i for i, each in enumerate(waiting) if each.document is document)
            located = waiting[place]
            del waiting[place]
            handle(located.error(error))

        shares: dict[str, Any] = {"recall": layers.recall, "precision": layers.precision}
        found = self.predictor.predict_many(documents(), layers.merge, layers.min_score, lacks_a_layer, **shares)
        for entities in found:
            document = waiting.popleft().document
            layers.annotate(document, entities, self.predictor)
            yield document

    def _taken(self, located: LocatedDocument) -> DataError | None:
        names = [] if self.layers.overwrite else [name for name in self.makes if name in located.document.layers]
        if not names:
            return None
        return located.error(
            f"there is a layer {names[0]!r} already: choose another layer_name, or type overwrite=true"
        )

    def units(self, document: Document) -> int:
        """Return how many units a document has."""
        return len(document.get_layer(self.predictor.entity_name))

    def seen(self) -> Seen:
        """Return what was odd."""
        return Seen({"": self.predictor.issues}, self.predictor.shift)


class RecipeAnnotator:
    """Runs documents through the stages of a recipe."""

    def __init__(self, recipe: Recipe, *, overwrite: bool = False, keep: bool = False) -> None:
        self.recipe, self._overwrite, self._keep = recipe, overwrite, keep

    @property
    def makes(self) -> tuple[str, ...]:
        """The layers that the stages make."""
        return self.recipe.makes

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the stages can find."""
        return self.recipe.labels

    def annotate(self, located: Iterator[LocatedDocument], on_error: OnError | None) -> Iterator[Document]:
        """Yield the documents with their layers."""
        run = self.recipe.run(located, on_error, overwrite=self._overwrite, keep=self._keep)
        return (each.document for each in run)

    def units(self, document: Document) -> int:
        """Return how many units the first predictor looked at."""
        stage = next((each for each in self.recipe.stages if each.is_predictor), None)
        name = "tokens" if stage is None else stage.predictor.entity_name
        return len(document.get_layer(name)) if document.has_layer(name) else 0

    def seen(self) -> Seen:
        """Return what was odd, by stage."""
        ready = (each for each in self.recipe.stages if each.is_loaded)
        return Seen({f"stage {stage.name!r}: ": stage.predictor.issues for stage in ready})


@attrs.frozen(kw_only=True)
class ModelChoice:
    """A checkpoint and how it is used: what a process loads a `ModelAnnotator` from."""

    model_name_or_path: str | Path
    layers: Layers = attrs.field(factory=Layers)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Arguments of `EntityClassificationPredictor.from_pretrained`."""

    @property
    def inputs(self) -> list[str | Path]:
        """What is read, and so must not be written over."""
        return [self.model_name_or_path]

    def made(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the layers and the labels that documents may get, as the checkpoint says."""
        blueprint = checkpoint.read_blueprint(self.model_name_or_path, self._plugins())
        return self.layers.names(blueprint), blueprint.labels

    def load(self) -> ModelAnnotator:
        """Return the annotator. Raises what `EntityClassificationPredictor.from_pretrained` raises, and ConfigError."""
        predictor = EntityClassificationPredictor.from_pretrained(self.model_name_or_path, **self.options)
        return ModelAnnotator(predictor, self.layers)

    @property
    def is_undecided(self) -> bool:
        """Whether each process chooses its arithmetic itself."""
        return self.options.get("precision") == "auto"

    def overwriting(self) -> ModelChoice:
        """Return the same, which replaces layers that are there already."""
        return attrs.evolve(self, layers=attrs.evolve(self.layers, overwrite=True))

    def tune_process(self) -> None:
        """Set up the process as the encoder asks for it: for commands, not for libraries."""
        checkpoint.read_blueprint(self.model_name_or_path, self._plugins()).encoder.tune_process()

    def fingerprint(self) -> dict[str, str]:
        """Return what shapes the predictions, each under its name."""
        given = {key: value for key, value in self.options.items() if key not in ("device", "plugins_path")}
        extensions = given.pop("extensions", ())
        if isinstance(extensions, ExtensionChoice):
            extensions = [repr(config) for config in extensions.configs]
        found = {"model": checkpoint.digest(self.model_name_or_path)}
        found |= {key: repr(value) for key, value in self.layers.options().items()}
        return found | {key: repr(value) for key, value in given.items()} | {"extensions": repr(extensions)}

    def _plugins(self) -> Plugins:
        return Plugins(tuple(map(Path, self.options.get("plugins_path", ()))))


@attrs.frozen(kw_only=True)
class RecipeChoice:
    """A recipe and how it is used: what a process loads a `RecipeAnnotator` from."""

    recipe: str | Path
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Arguments of `Recipe.from_yaml`."""
    overwrite: bool = attrs.field(default=False, validator=check_boolean)
    keep: bool = attrs.field(default=False, validator=check_boolean)

    @property
    def inputs(self) -> list[str | Path]:
        """What is read, and so must not be written over."""
        recipe = self._recipe()
        predictors = (stage.config.predictor for stage in recipe.stages if stage.config.predictor is not None)
        return [recipe.config.path, *predictors]

    def made(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the layers and the labels that documents may get."""
        recipe = self._recipe()
        return recipe.makes, recipe.labels

    def load(self) -> RecipeAnnotator:
        """Return the annotator, its models loaded. Raises what `Recipe.from_yaml` and loading models raise."""
        recipe = self._recipe()
        for stage in recipe.stages:
            if stage.is_predictor:
                _ = stage.predictor
        return RecipeAnnotator(recipe, overwrite=self.overwrite, keep=self.keep)

    @property
    def is_undecided(self) -> bool:
        """Whether each process chooses the arithmetic of a stage itself."""
        return any(stage.config.options.precision == "auto" for stage in self._recipe().stages if stage.is_predictor)

    def overwriting(self) -> RecipeChoice:
        """Return the same, which replaces layers that are there already."""
        return attrs.evolve(self, overwrite=True)

    def tune_process(self) -> None:
        """Set up the process as the encoders ask for it: for commands, not for libraries."""
        self._recipe().tune_process()

    def fingerprint(self) -> dict[str, str]:
        """Return what shapes the predictions, each under its name."""
        recipe = self._recipe()
        stages: list[str] = []
        for stage in recipe.stages:
            options = repr(stage.config.options)
            if stage.config.predictor is not None:
                stages.append(f"{checkpoint.digest(stage.config.predictor)} {options}")
            elif stage.config.processor is not None:
                stages.append(f"{stage.config.processor[1]!r} {stage.config.processor[1].fingerprint}")
        given = {key: repr(self.options.get(key)) for key in ("backend", "precision")}
        given["min_score"] = repr(_sorted(self.options.get("min_score")))
        return {"recipe": "; ".join(stages), "on_error": "keep" if self.keep else "skip"} | given

    def _recipe(self) -> Recipe:
        return Recipe.from_yaml(self.recipe, **self.options)


Model = str | Path | EntityClassificationPredictor | Recipe | ModelChoice | RecipeChoice
