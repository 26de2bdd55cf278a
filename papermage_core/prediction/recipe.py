"""Recipes: processors and predictors in order, each reading what those before it made."""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from papermage_core import checkpoint
from papermage_core.config.booleans import booleans_only
from papermage_core.config.by_label import check_labels, lowest_scores
from papermage_core.config.recipe import RECIPE_FILE, PredictorOptions, RecipeConfig, StageConfig, read_recipe
from papermage_core.data.garbage import release_free_memory
from papermage_core.data.processors import processed
from papermage_core.document import Document, Entity
from papermage_core.errors import CheckpointError, ConfigError, DataError, PapermageError, nearest
from papermage_core.files import check_output, whole_folder
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.prediction.joining import joined
from papermage_core.prediction.pages import failing_page
from papermage_core.prediction.predictor import EntityClassificationPredictor, as_document

if TYPE_CHECKING:
    from papermage_core.data.readers import OnError

__all__ = ["Recipe", "Stage", "ready_stage"]

_log = logging.getLogger(__name__)
_CHARACTERS = 250_000
"""Characters of the documents that go through the stages together: some five papers."""
_DOCUMENTS = 256
"""Most of these documents, however short they are."""
_OPTIONAL = "pages"
"""The layer of contexts without which documents are read whole."""
Given = TypeVar("Given", bound="Document | LocatedDocument | str")


@attrs.frozen(kw_only=True, slots=False)
class Stage:
    """A stage that is ready to run: a processor, or a predictor with its layers."""

    config: StageConfig
    reads: tuple[str, ...]
    """The layers that documents must have."""
    makes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """What a predictor can find."""
    plugins_path: tuple[Path, ...] = ()
    device: str | None = None

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.config.name

    @property
    def is_predictor(self) -> bool:
        """Whether it is no processor."""
        return self.config.predictor is not None

    @property
    def is_loaded(self) -> bool:
        """Whether it is a predictor that has been asked for."""
        return "predictor" in self.__dict__

    @cached_property
    def predictor(self) -> EntityClassificationPredictor:
        """The predictor, loaded when it is first asked for."""
        options = self.config.options
        assert self.config.predictor is not None
        how: dict[str, Any] = {"backend": options.backend, "precision": options.precision}
        return EntityClassificationPredictor.from_pretrained(
            self.config.predictor,
            options.entity_name,
            options.context_name,
            options.batch_size,
            self.device,
            plugins_path=self.plugins_path,
            **how,
        )

    def run(self, documents: Sequence[Document], overwrite: bool = False) -> None:
        """Add the layers to documents. Those that have them all keep them, unless told to overwrite."""
        if self.config.processor is not None:
            deque(processed(documents, [self.config.processor[1]]), maxlen=0)
            return
        todo = [each for each in documents if overwrite or not all(map(each.has_layer, self.makes))]
        former = [each.layer_names for each in todo]
        for each in documents:
            if not overwrite and all(map(each.has_layer, self.makes)):
                self.predictor.issues.add("layers_kept", each.id or "(unnamed)", ", ".join(self.makes))
        options = self.config.options
        within = options.within and self.predictor.context_name != _OPTIONAL
        try:
            found = list(self.predictor.predict_many(todo, min_score=options.min_score, mixed=True, within=within))
        finally:
            for document, names in zip(todo, former, strict=True):
                _restore(document, names)  # without what the checkpoint's own processors made
        for document, entities in zip(todo, found, strict=True):
            self._annotate(document, entities)

    def _annotate(self, document: Document, entities: Sequence[Entity]) -> None:
        options = self.config.options
        groups: dict[str, list[Entity]] = {name: [] for name in self.makes}
        for entity in entities:
            if not options.labels or entity.label in options.labels:
                groups[options.layer_name or entity.label].append(entity)
        if options.join_across is not None:
            between = [entity for entity in entities if entity.label in options.join_across]
            groups = {name: joined(document, found, between) for name, found in groups.items()}
        for name, found in groups.items():
            document.remove_layer(name)
            document.annotate_layer(name, found)

    def problem(self, document: Document, overwrite: bool = False) -> DataError | None:
        """Return what keeps a document from going through, as far as its layers tell."""
        names = document.layer_names
        return self.problem_of(names, overwrite)

    def problem_of(self, names: Sequence[str], overwrite: bool = False) -> DataError | None:
        """Return what is wrong with the layers of a document that comes to this stage."""
        if missing := [name for name in self.reads if name not in names]:
            hint = nearest(missing[0], names)
            return DataError(
                f"there is no layer {missing[0]!r}, which it reads.{hint} Layers here: {', '.join(names) or 'none'}",
                expected=f"a layer {missing[0]!r}",
                advice=None if hint else _maker(missing[0]),
            )
        there = [name for name in self.makes if name in names]
        if self.is_predictor and there and len(there) < len(self.makes) and not overwrite:
            return DataError(
                f"there is a layer {there[0]!r} already, and others that it makes are not there",
                expected=f"a document without the layer {there[0]!r}",
                advice="remove it, choose other names (layer_name), or replace it with overwrite=true",
            )
        return None


def _maker(name: str) -> str | None:
    return f"the processor {name} makes it" if Plugins().named("document_processor", name) else None


class Recipe:
    """A cascade: documents go through its stages in order, many at a time and never more than a few.

    ``stages`` are what runs, ``config`` is what the file says. Nothing is loaded before documents come.
    """

    def __init__(self, config: RecipeConfig, stages: Sequence[Stage]) -> None:
        self.config = config
        self.stages = tuple(stages)

    @classmethod
    def from_yaml(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        plugins_path: Sequence[str | Path] = (),
        **options: Any,
    ) -> Recipe:
        """Return the recipe in a YAML file, or of a folder that has ``recipe.yaml``.

        ``options``, such as ``batch_size=8`` or ``min_score=0.5``, hold for all predictors that do not state their own;
        ``min_score={"Disease": 0.8}`` for those that have the label.
        Raises ConfigError with everything that is wrong in the file, and for stages that read what only later ones
        make; CheckpointError for a folder that holds no predictor, PluginError for a component that is missing.
        """
        paths = tuple(map(Path, plugins_path))
        config = read_recipe(path, paths)
        stages = [ready_stage(each, paths, device, options) for each in config.stages]
        recipe = cls(config, stages)
        try:
            check_labels("min_score", options.get("min_score"), recipe.labels)
        except ValueError as exc:
            raise ConfigError(f"{path}: {exc}") from exc
        if errors := [*recipe._order_errors()]:
            raise ConfigError(*errors)
        return recipe

    @property
    def makes(self) -> tuple[str, ...]:
        """The layers that documents get."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.makes))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the stages can find."""
        return tuple(dict.fromkeys(label for stage in self.stages for label in stage.labels))

    def _order_errors(self) -> Iterator[str]:
        """Yield which stage reads what only a later one makes, and which make the same."""
        for number, stage in enumerate(self.stages):
            before = {name for each in self.stages[:number] for name in each.makes}
            for name in stage.reads:
                later = [each.name for each in self.stages[number:] if name in each.makes]
                if name not in before and later:
                    what = "itself" if later[0] == stage.name else f"the stage {later[0]!r}, which comes later"
                    yield f"{stage.config.source}: stage {stage.name!r} reads {name!r}, which is made by {what}"
            for each in self.stages[:number]:
                twice = [name for name in stage.makes if name in each.makes]
                if twice and stage.is_predictor:
                    yield (
                        f"{stage.config.source}: the stages {each.name!r} and {stage.name!r} both make the layer "
                        f"{twice[0]!r}: give one of them layer_name, or labels without it"
                    )

    @booleans_only
    def run(
        self, docs: Iterable[Given], on_error: OnError | None = None, *, overwrite: bool = False, keep: bool = False
    ) -> Iterator[Any]:
        """Yield the documents, in order and lazily, with the layers that the stages make; for a text its document.

        Stage by stage, some documents at a time go through. A document that a stage cannot use, or fails at, raises
        DataError that names stage, document and page, once those before it have come out; with ``on_error`` it is
        handed over, and the document is left out, or with ``keep`` comes out with the layers of the stages that did not
        need what failed.
        """
        if isinstance(docs, (str, Document)):
            raise TypeError(f"run takes several documents, and got one {type(docs).__name__}: put it in a list")
        given = ((each.document if isinstance(each, LocatedDocument) else as_document(each), each) for each in docs)
        for chunk in _chunks(given):
            failed: dict[int, set[str]] = {}
            errors: dict[int, DataError] = {}
            for number, stage in enumerate(self.stages, 1):
                for place, error in self._run_stage(number, stage, chunk, failed, overwrite, keep):
                    errors.setdefault(place, error)
                    if on_error is not None:
                        on_error(error)
            for place, (document, each) in enumerate(chunk):
                if on_error is None and place in errors:
                    raise errors[place]
                if keep or place not in failed:
                    yield document if isinstance(each, str) else each
            chunk.clear()  # before the next ones are read
            if gc.isenabled():
                gc.collect()  # documents and their layers know each other
            release_free_memory()

    def _run_stage(
        self,
        number: int,
        stage: Stage,
        chunk: Sequence[tuple[Document, Any]],
        failed: dict[int, set[str]],
        overwrite: bool,
        keep: bool,
    ) -> Iterator[tuple[int, DataError]]:
        """Run a stage on documents; yield the place of each that fails, with the error.

        ``failed`` holds the places of those that failed so far, and the layers that they lack therefore.
        """

        def fail(place: int, error: DataError) -> tuple[int, DataError]:
            failed.setdefault(place, set()).update(stage.makes)
            document, each = chunk[place]
            error = error.replace(stage=stage.name, document=error.document or document.id or "(unnamed)")
            if isinstance(each, LocatedDocument):
                page = error.page if error.page is not None else each.page
                error = each.error(error).replace(page=page, document=error.document)
            return place, error

        ready: dict[int, list[str]] = {}
        for place, (document, _) in enumerate(chunk):
            lacks = failed.get(place)
            if lacks is not None and (not keep or lacks.intersection(stage.reads)):
                lacks.update(stage.makes)
            elif problem := stage.problem(document, overwrite):
                yield fail(place, problem)
            else:
                ready[place] = document.layer_names
        if not ready:
            return
        try:
            stage.run([chunk[place][0] for place in ready], overwrite)
        except Exception as exc:
            if isinstance(exc, PapermageError) and not isinstance(exc, DataError):
                raise  # the stage itself, whatever the document
            for place, names in ready.items():
                document = chunk[place][0]
                _restore(document, names)
                try:
                    stage.run([document], overwrite)
                except Exception as error:
                    _restore(document, names)
                    yield fail(place, _as_data_error(error, stage, document, f"{number} of {len(self.stages)}"))

    def tune_process(self) -> None:
        """Set up the process as the encoders ask for it: for commands, not for libraries."""
        for stage in self.stages:
            if stage.config.predictor is not None:
                plugins = Plugins(stage.plugins_path)
                checkpoint.read_blueprint(stage.config.predictor, plugins).encoder.tune_process()

    @booleans_only
    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the recipe with copies of all that it needs into one folder, and return it.

        Raises ConfigError for a place where nothing is written, DataError for what is there already.
        """
        inputs = [self.config.path, *(s.config.predictor for s in self.stages if s.config.predictor is not None)]
        check_output(folder, inputs=inputs, overwrite=overwrite, folder=True)
        with whole_folder(folder) as place:
            stages = [_saved(stage.config, number, place) for number, stage in enumerate(self.stages, 1)]
            (place / RECIPE_FILE).write_text(self.config.to_yaml(stages), encoding="utf-8")
        return Path(folder)


def ready_stage(
    config: StageConfig,
    plugins_path: tuple[Path, ...] = (),
    device: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Stage:
    """Return a stage as its checkpoint says; ``options`` hold where its own are not given.

    Raises CheckpointError where there is none, ConfigError for layers and labels that do not fit.
    """
    options = options or {}
    if config.processor is not None:
        made = config.processor[1].makes
        return Stage(config=config, reads=(), makes=made)
    assert config.predictor is not None
    if strange := options.keys() - {field.name for field in attrs.fields(PredictorOptions)}:
        raise TypeError(f"a recipe's predictors have no option {min(strange)!r}")
    unset = {name: value for name, value in options.items() if getattr(config.options, name) is None}
    own = attrs.evolve(config.options, **unset)
    try:
        blueprint = checkpoint.read_blueprint(config.predictor, Plugins(plugins_path))
    except CheckpointError as exc:
        raise CheckpointError(f"{config.source}: stage {config.name!r}: {exc}") from exc
    blueprint = blueprint.reading(own.entity_name, own.context_name)
    for label in own.labels:
        if label not in blueprint.labels:
            hint, known = nearest(label, blueprint.labels), ", ".join(blueprint.labels)
            raise ConfigError(
                f"{config.source}: stage {config.name!r}: it has no label {label!r}.{hint} Labels: {known}"
            )
    if isinstance(own.min_score, Mapping):
        if config.options.min_score is None:  # said of all stages
            own = attrs.evolve(own, min_score={k: v for k, v in own.min_score.items() if k in blueprint.labels})
        try:
            lowest_scores(own.min_score, blueprint.labels)
        except ValueError as exc:
            raise ConfigError(f"{config.source}: stage {config.name!r}: {exc}") from exc
    labelling = blueprint.labelling
    wanted = dict.fromkeys((labelling.entity_name, labelling.context_name))
    inner = {name for each in blueprint.processors.configs for name in each.makes}
    makes = (own.layer_name,) if own.layer_name else own.labels or blueprint.labels
    for name in makes:
        if not name.strip() or name in Document.SPECIAL_FIELDS:
            raise ConfigError(f"{config.source}: stage {config.name!r}: a layer cannot be called {name!r}")
        if name in wanted:
            raise ConfigError(
                f"{config.source}: stage {config.name!r} makes the layer {name!r}, which it reads; give it layer_name"
            )
    return Stage(
        config=attrs.evolve(config, options=own),
        reads=tuple(name for name in wanted if name != _OPTIONAL and name not in inner),
        makes=makes,
        labels=tuple(own.labels or blueprint.labels),
        plugins_path=plugins_path,
        device=device,
    )


def _saved(config: StageConfig, number: int, place: Path) -> dict[str, Any]:
    """Return a stage as the recipe in a folder says it; copy there what it reads."""
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in config.name)
    own = place / f"{number}-{safe}"
    own.mkdir()
    if config.predictor is not None:
        checkpoint.copy(config.predictor, own)
        said: dict[str, Any] = {"predictor": own.name, "name": config.name}
        return said | _given(config.options, PredictorOptions())
    assert config.processor is not None
    name, processor = config.processor
    kept = processor.save(own)
    said = {"processor": name, "name": config.name, **_given(kept, None)}
    if any(own.iterdir()):
        return said | {"kept": own.name}
    own.rmdir()
    return said


def _given(config: Any, default: Any) -> dict[str, Any]:
    from papermage_core.config.structure import unstructure

    values = unstructure(config)
    usual = {} if default is None else unstructure(default)
    return {name: value for name, value in values.items() if name not in usual or value != usual[name]}


def _restore(document: Document, names: Sequence[str]) -> None:
    """Leave a document the layers of these names only."""
    for name in set(document.layer_names).difference(names):
        document.remove_layer(name)


def _as_data_error(error: Exception, stage: Stage, document: Document, place: str) -> DataError:
    """Return what went wrong in a stage as an error of the document, with the page where it can be told."""
    page = error.page if isinstance(error, DataError) else None
    page = failing_page(stage.run, document, error) if page is None else page
    if isinstance(error, DataError):
        return error.replace(page=page)
    found = DataError(f"(stage {place}) {type(error).__name__}: {error}", document=document.id, page=page)
    found.__cause__ = error
    return found


def _chunks(given: Iterator[tuple[Document, Any]]) -> Iterator[list[tuple[Document, Any]]]:
    """Yield documents in lists that hold about as much text each; what reading them raises comes after the last."""
    while True:
        chunk: list[tuple[Document, Any]] = []
        size = 0
        error: Exception | None = None
        while size < _CHARACTERS and len(chunk) < _DOCUMENTS:
            try:
                chunk.append(next(given))
            except StopIteration:
                break
            except Exception as exc:
                error = exc
                break
            size += len(chunk[-1][0].symbols or "")
        is_last = error is not None or not (size >= _CHARACTERS or len(chunk) >= _DOCUMENTS)
        if chunk:
            yield chunk
        if error is not None:
            raise error
        if is_last:
            return
