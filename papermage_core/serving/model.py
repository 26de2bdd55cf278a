"""What the process with the model does: requests → documents, through the model together → answers."""

from __future__ import annotations

import gc
import io
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

import attrs
import msgspec

from papermage_core import checkpoint
from papermage_core.config.by_label import check_labels
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.garbage import release_free_memory
from papermage_core.data.processors import processed
from papermage_core.document import Document, Entity
from papermage_core.errors import DataError
from papermage_core.evaluation.shift import ShiftMonitor
from papermage_core.evaluation.view import ViewOptions, write_view
from papermage_core.plugin.manager import Plugins
from papermage_core.prediction.annotators import ModelChoice, RecipeChoice
from papermage_core.prediction.predictor import EntityClassificationPredictor
from papermage_core.prediction.recipe import Recipe
from papermage_core.serving.bodies import data_problem, documents_of
from papermage_core.serving.child import INTERNAL
from papermage_core.serving.label_studio import Project, project_of, results_of
from papermage_core.serving.messages import Answer, Request, RequestError
from papermage_core.serving.settings import Settings

__all__ = ["ModelWorker"]

_log = logging.getLogger(__name__)
_UNIT = re.compile(r"\w+|[^\w\s]")
_BETWEEN_COLLECTIONS = 8_000_000
"""Bytes of requests after which garbage is collected: documents and their layers know each other."""
Found = list[tuple[str, list[Entity]]]
"""The layers that a document gets, each with its entities."""
OnError = Callable[[Document, DataError], None]


class _LateError(Exception):
    """Time is up."""


class _Finder(Protocol):
    """A predictor or a recipe."""

    labels: tuple[str, ...]
    makes: tuple[str, ...]
    entity_name: str
    version: str
    """What changes with what is found."""

    def check(self, request: Request) -> None: ...
    def find(self, documents: Sequence[Document], like: Request, on_error: OnError) -> dict[int, Found]: ...
    def tell_before_batches(self, told: Callable[..., None]) -> None: ...


class ModelWorker:
    """Answers requests for entities."""

    def __init__(self, settings: Settings) -> None:
        self._options = settings.options
        if settings.options.num_threads is not None:
            import torch

            torch.set_num_threads(settings.options.num_threads)
        self._finder: _Finder = _OfPredictor(settings) if settings.options.recipe is None else _OfRecipe(settings)
        self._finder.tell_before_batches(self._check_time)
        self._deadline = float("inf")
        self._bytes = 0
        logging.disable()  # what is odd about this text is of no interest
        self.answer([Request(kind="text", body=b"A text", seconds=60)])  # what is slow but once is slow now
        logging.disable(logging.NOTSET)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model finds."""
        return self._finder.labels

    def answer(self, requests: list[Request]) -> list[Answer]:
        """Return an answer to each request; those of like options go through the model together."""
        self._deadline = time.monotonic() + max(request.seconds for request in requests)
        jobs = [_Job(request) for request in requests]
        for job in jobs:
            job.try_to(self._read)
        groups: dict[tuple[Any, ...], list[_Job]] = {}
        for job in (job for job in jobs if job.answer is None):
            groups.setdefault((job.request.merge, repr(job.request.min_score)), []).append(job)
        for group in groups.values():
            self._predict(group)
        for job in jobs:
            job.try_to(self._write)
        self._collect(sum(len(request.body) for request in requests))
        return [job.answer or INTERNAL.answer() for job in jobs]

    def _read(self, job: _Job) -> None:
        self._finder.check(job.request)
        if job.request.kind in ("tasks", "setup"):
            job.project = project_of(job.request)
        if job.request.kind == "setup":
            job.answer = Answer(status=200, body=msgspec.json.encode({"model_version": self._finder.version}))
            return
        received = documents_of(job.request, self._options)
        job.documents, job.places = [each.document for each in received], [each.where for each in received]
        if job.request.output != "entities":
            for document, where in received:
                if there := [name for name in self._finder.makes if document.has_layer(name)]:
                    what = f"there is a layer {there[0]!r} already"
                    raise RequestError(422, what, where, "leave it out, or ask for output=entities")
        units = sum(self._units(document) for document in job.documents)
        if units > self._options.max_units:
            what = f"there are {units} {self._finder.entity_name}; {self._options.max_units} are allowed"
            raise RequestError(413, what, do="send several requests")

    def _units(self, document: Document) -> int:
        """Return how many units a document has; about, where they are not made yet."""
        if document.has_layer(self._finder.entity_name):
            return len(document.get_layer(self._finder.entity_name))
        return sum(1 for _ in _UNIT.finditer(document.symbols or ""))

    def _predict(self, jobs: Sequence[_Job]) -> None:
        """Find what is in the documents of jobs; where that fails, of each job alone, to see which fails."""
        documents = [document for job in jobs for document in job.documents]
        errors: dict[int, DataError] = {}

        def fail(document: Document, error: DataError) -> None:
            errors[id(document)] = error

        try:
            found = self._finder.find(documents, jobs[0].request, fail)
        except Exception as exc:
            if len(jobs) == 1:
                jobs[0].answer = _failed(exc)
            else:
                for job in jobs:
                    self._predict([job])
            return
        for job in jobs:
            for document, where in zip(job.documents, job.places, strict=True):
                if (error := errors.get(id(document))) is not None:
                    job.answer = data_problem(error, where).answer()
                    break
            else:
                job.found = [found[id(document)] for document in job.documents]

    def _write(self, job: _Job) -> None:
        assert len(job.found) == len(job.documents)
        output = job.request.output
        if output == "entities":
            written = [_written(document, found) for document, found in zip(job.documents, job.found, strict=True)]
            body, kind = msgspec.json.encode({"documents": written}), "application/json"
        else:
            for document, found in zip(job.documents, job.found, strict=True):
                for name, entities in found:
                    if not document.has_layer(name):
                        document.annotate_layer(name, entities)
            if job.project is not None:
                body = results_of(job.documents, self._finder.makes, job.project, self._finder.version)
                kind = "application/json"
            elif output == "documents":
                body = b'{"documents":[%s]}' % b",".join(document.to_bytes() for document in job.documents)
                kind = "application/json"
            else:
                body, kind = _page(job.documents, self._finder.makes), "text/html; charset=utf-8"
        layer = self._finder.entity_name
        job.answer = Answer(
            status=200,
            body=body,
            content_type=kind,
            documents=len(job.documents),
            units=sum(len(each.get_layer(layer)) for each in job.documents if each.has_layer(layer)),
            entities=sum(len(entities) for found in job.found for _, entities in found),
        )

    def _check_time(self, *_: Any) -> None:
        if time.monotonic() > self._deadline:
            raise _LateError

    def _collect(self, size: int) -> None:
        self._bytes += size
        if self._bytes > _BETWEEN_COLLECTIONS:
            gc.collect()
            release_free_memory()
            self._bytes = 0


@attrs.define(eq=False)
class _Job:
    request: Request
    documents: list[Document] = attrs.field(factory=list)
    places: list[str] = attrs.field(factory=list)
    """What errors call each document."""
    project: Project | None = None
    """Of a request of Label Studio."""
    found: list[Found] = attrs.field(factory=list)
    answer: Answer | None = None

    def try_to(self, step: Callable[[_Job], None]) -> None:
        """Take a step, unless there is an answer; a failure becomes the answer."""
        if self.answer is None:
            try:
                step(self)
            except Exception as exc:
                self.answer = _failed(exc)


def _failed(error: BaseException) -> Answer:
    if isinstance(error, RequestError):
        return error.answer()
    if isinstance(error, DataError):
        return data_problem(error).answer()
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _LateError):
            return RequestError(503, "time is up", do="send less at once, or try again later").answer()
        if isinstance(cause, MemoryError):
            return RequestError(413, "there is not enough memory for this", do="send less at once").answer()
        cause = cause.__cause__
    _log.error("a request failed", exc_info=error)
    return INTERNAL.answer()


def _written(document: Document, found: Found) -> dict[str, Any]:
    entities = [_entity(entity, layer) for layer, entities in found for entity in entities]
    return {"id": document.id, "entities": entities}


def _entity(entity: Entity, layer: str) -> dict[str, Any]:
    known = entity.metadata
    written: dict[str, Any] = {"label": known.get("label", layer), "text": entity.text}
    if (score := known.get("score", None)) is not None:
        written["score"] = score
    written["spans"] = [[span.start, span.end] for span in entity.spans]
    if entity.boxes:
        written["boxes"] = [box.to_json() for box in entity.boxes]
    return written


def _page(documents: Sequence[Document], layers: tuple[str, ...]) -> bytes:
    target = io.BytesIO()
    shown = tuple(name for name in layers if any(document.has_layer(name) for document in documents))
    write_view(documents, target, ViewOptions(layers=shown or None, title="Entities"))
    return target.getvalue()


class _OfPredictor:
    def __init__(self, settings: Settings) -> None:
        options = settings.options
        assert options.model_name_or_path is not None
        plugins = Plugins(options.plugins_path)
        checkpoint.read_blueprint(options.model_name_or_path, plugins).encoder.tune_process()
        self._predictor = EntityClassificationPredictor.from_pretrained(
            options.model_name_or_path,
            options.entity_name,
            options.context_name,
            options.batch_size,
            options.device,
            plugins_path=options.plugins_path,
            processors=settings.processors,
        )
        self.labels = self._predictor.labels
        self.entity_name = self._predictor.entity_name
        self.makes: tuple[str, ...] = (options.layer_name,)
        self.version = _version(ModelChoice(model_name_or_path=options.model_name_or_path).fingerprint())
        made = {
            name
            for choice in (settings.processors, self._predictor.blueprint.processors)
            for config in choice.configs
            for name in config.makes
        }
        known = plugins.named("document_processor", self.entity_name)
        names = (self.entity_name,) if known and self.entity_name not in made else ()
        self._of_text = ProcessorChoice(names=names, plugins_path=options.plugins_path).configs
        """What makes the units of plain text, where neither the checkpoint nor whoever starts the server says it."""

    def check(self, request: Request) -> None:
        """Raise RequestError for a label that there is not."""
        try:
            check_labels("min_score", request.min_score, self.labels)
        except ValueError as exc:
            raise RequestError(400, str(exc), "query") from exc

    def find(self, documents: Sequence[Document], like: Request, on_error: OnError) -> dict[int, Found]:
        """Return the entities of each document that nothing is wrong with, by its `id`."""
        wrong: set[int] = set()

        def fail(document: Document, error: DataError) -> None:
            wrong.add(id(document))
            on_error(document, error)

        if bare := [each for each in documents if not each.layer_names]:
            deque(processed(bare, self._of_text), maxlen=0)
        found = list(self._predictor.predict_many(documents, like.merge, like.min_score, fail, mixed=True))
        self._predictor.shift = ShiftMonitor(None)  # it counts as long as it lives
        right = [id(document) for document in documents if id(document) not in wrong]
        layer = self.makes[0]
        return {key: [(layer, entities)] for key, entities in zip(right, found, strict=True)}

    def tell_before_batches(self, told: Callable[..., None]) -> None:
        """Have a function called before each batch."""
        _tell(self._predictor, told)


class _OfRecipe:
    def __init__(self, settings: Settings) -> None:
        options = settings.options
        assert options.recipe is not None
        given = {"batch_size": options.batch_size}
        self._recipe = Recipe.from_yaml(
            options.recipe, device=options.device, plugins_path=options.plugins_path, **given
        )
        self._recipe.tune_process()
        self._processors = settings.processors
        stages = [stage for stage in self._recipe.stages if stage.is_predictor]
        self._predictors = [stage.predictor for stage in stages]
        self.labels = tuple(dict.fromkeys(label for each in self._predictors for label in each.labels))
        self.makes = tuple(dict.fromkeys(name for stage in stages for name in stage.makes))
        self.entity_name = self._predictors[0].entity_name if self._predictors else "tokens"
        choice = RecipeChoice(recipe=options.recipe, options={"plugins_path": options.plugins_path})
        self.version = _version(choice.fingerprint())

    def check(self, request: Request) -> None:
        """Raise RequestError for options that each stage has for itself."""
        if not request.merge or request.min_score is not None:
            do = "leave out merge and min_score: the recipe says them for each stage"
            raise RequestError(422, "this server runs a recipe", "query", do)

    def find(self, documents: Sequence[Document], like: Request, on_error: OnError) -> dict[int, Found]:
        """Return the entities of each document that nothing is wrong with, by its `id`."""
        found = self._run(documents, lambda error: None)
        for document in documents:
            if id(document) not in found:  # again, alone: an error does not say which of like names it is about
                found |= self._run([document], partial(on_error, document))
        for predictor in self._predictors:
            predictor.shift = ShiftMonitor(None)
        return found

    def _run(self, documents: Sequence[Document], on_error: Callable[[DataError], None]) -> dict[int, Found]:
        done = self._recipe.run(list(processed(documents, self._processors)), on_error)
        layers = self.makes
        return {id(d): [(name, list(d.get_layer(name))) for name in layers if d.has_layer(name)] for d in done}

    def tell_before_batches(self, told: Callable[..., None]) -> None:
        """Have a function called before each batch."""
        for predictor in self._predictors:
            _tell(predictor, told)


def _version(fingerprint: dict[str, str]) -> str:
    return f"papermage {sha256(repr(fingerprint).encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _tell(predictor: EntityClassificationPredictor, told: Callable[..., None]) -> None:
    encoder: Any = predictor.model.encoder  # a ContextEncoder is a Module, which a Protocol cannot say
    encoder.register_forward_pre_hook(told)
