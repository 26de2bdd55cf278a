"""Train a model with a component, move its checkpoint, use it in another process: what becomes of a user's model."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core import checkpoint
from papermage_core.config.extensions import ExtensionChoice
from papermage_core.document import Document, Entity
from papermage_core.errors import PluginError
from papermage_core.evaluation import Scores
from papermage_core.plugin.kinds import KINDS, kind_called
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing.checks import require
from papermage_core.testing.component import is_input
from papermage_core.testing.elsewhere import ComponentReference, Report, call_elsewhere
from papermage_core.testing.made_up import make_documents, write_jsonl
from papermage_core.testing.probes import config_of, document_writer, to_read, written
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.evaluate import evaluate_checkpoint

__all__ = ["Trained", "train_predict"]

_SHIM = """\
from papermage_core.plugin import hookimpl
from papermage_core.testing.elsewhere import ComponentReference

papermage_names = {{"{kind}": ["{name}"]}}

@hookimpl
def papermage_{kind}():
    return ComponentReference(kind="{kind}", name="{name}", source={source!r}).found()
"""


@attrs.frozen(eq=False, kw_only=True)
class Trained:
    """What training a model said of documents, and what the model finds in them here and in another process.

    There, strings have other hashes, the checkpoint is in another folder, and the files that options named are gone.
    """

    scores: Scores
    """What training said of the documents."""
    documents: Sequence[Document]
    entities: Sequence[Sequence[Entity]]
    """What the predictor finds in each document, here."""
    found: Mapping[str, Any]
    """The same as plain values, and the tags of all units: label, spans and score of each."""
    there: Report
    """What the other process gives: `found` of its own, and the ``scores`` that it counts, in ``value``."""
    checkpoint: Path
    """Where the checkpoint was moved to. It is there as long as this object is."""
    plugins_path: Sequence[Path] = ()
    """Files of plugins that it needs."""

    def check(self) -> None:
        """Raise AssertionError unless the other process finds what is found here, with the scores of training."""
        remedy = (
            "let windows, build, save and decode look at options, learned fields, weights and the folder of save() "
            "alone: no hash() of strings, no order of a set, no state, no file elsewhere"
        )
        require(not self.there.error, f"the moved checkpoint fails in another process: {self.there.error}", remedy)
        for what in ("entities", "units"):
            for document, one, other in zip(self.documents, self.found[what], self.there.value[what], strict=True):
                here, there = _brief(one, other), _brief(other, one)
                seen = f"in {document.id!r}, another process finds {there} where {here} is found here"
                require(_equal(one, other), seen, remedy)
        said, counted = self.scores.to_json()["micro"], self.there.value["scores"]["micro"]
        require(said == counted, f"training said {_figures(said)}, another process counts {_figures(counted)}", remedy)

    def check_moved(self) -> None:
        """Raise AssertionError where a file was read that is not in the checkpoint."""
        opened = ", ".join(self.there.opened)
        require(
            not opened,
            f"once the checkpoint was moved, {opened} was read, which is not in it",
            "have save(folder) write a copy of what is read, and build(folder) read it from that folder alone",
        )


def train_predict(
    component: str | type[Any],
    documents: Sequence[Document] | None = None,
    *,
    label_field: str | Sequence[str] = "Disease",
    options: Mapping[str, Any] | None = None,
    plugins_path: Sequence[str | Path] = (),
    **config: Any,
) -> Trained:
    """Train a few steps with a component, and use the model here and in another process; see `Trained`.

    ``component`` is ``"head=mine"``, a name that only one component has, or a config class; ``options`` are its own.
    ``documents`` are trained on and predicted, `make_documents` if there are none; ``config`` is for the training
    config. The other parts of the model are as small as can be. Raises what training raises.
    """
    plugins = Plugins([Path(path).absolute() for path in plugins_path])
    folder = Path(tempfile.mkdtemp(prefix="papermage-")).resolve()
    try:
        kind, name, paths = _found(component, plugins, folder)
        trained = _train_predict(
            kind,
            name,
            make_documents(12) if documents is None else documents,
            folder,
            options=options or {},
            label_field=label_field,
            paths=paths,
            config=config,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(trained, shutil.rmtree, folder, ignore_errors=True)
    return trained


def _train_predict(
    kind: str,
    name: str,
    documents: Sequence[Document],
    folder: Path,
    *,
    options: Mapping[str, Any],
    label_field: str | Sequence[str],
    paths: Sequence[Path],
    config: Mapping[str, Any],
) -> Trained:
    data = write_jsonl(documents, folder / "documents.jsonl")
    given = {**_small(kind, name, paths, folder), **config}
    paths = given["plugins_path"] = [*paths, folder / "tiny.py"] if given.get("encoder") == "tiny" else list(paths)
    with _inputs(options if kind != "extension" else {}, folder) as copied:
        copied = copied or dict(options)
        extensions = {name: copied} if kind == "extension" else {}
        chosen = EntityClassificationTrainConfig(
            data_path=data,
            val_data_path=data,
            label_field=label_field,
            default_root_dir=folder / "run",
            **given,
            **{f"{KINDS[kind].prefix(name)}{key}": value for key, value in _dotted(copied)},
        )
        with _quiet():
            result = EntityClassificationTrainer(chosen).train()
        predictor = EntityClassificationPredictor.from_pretrained(
            result.checkpoint, device="cpu", plugins_path=paths, extensions=extensions
        )
        entities = list(predictor.predict_many(documents))
        here = found(predictor, documents)
    moved = folder / "elsewhere" / "checkpoint"
    moved.parent.mkdir()
    checkpoint.copy(result.checkpoint, moved)
    shutil.rmtree(result.folder)
    there = call_elsewhere(
        f"{__name__}:predict",
        str(moved),
        str(data),
        list(map(str, paths)),
        extensions,
        may_read=[moved, data, *paths, *_paths(extensions.get(name, {}))],
    )
    return Trained(
        scores=result.scores,
        documents=documents,
        entities=entities,
        found=here,
        there=there,
        checkpoint=moved,
        plugins_path=paths,
    )


def predict(
    checkpoint: str, data: str, paths: Sequence[str], extensions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a checkpoint finds in a file of documents, and how right it is. Called in the other process."""
    from papermage_core.data import read_documents

    plugins = Plugins([Path(path) for path in paths])
    documents = list(read_documents(Path(data)))
    predictor = EntityClassificationPredictor.from_pretrained(
        checkpoint, device="cpu", plugins_path=paths, extensions=extensions
    )
    said = found(predictor, documents)
    with _quiet():
        evaluated = evaluate_checkpoint(
            Path(checkpoint),
            [Path(data)],
            accelerator="cpu",
            plugins=plugins,
            extensions=ExtensionChoice.of(extensions, plugins.paths).load(),
        )
    return {**said, "scores": evaluated.evaluation.scores.to_json()}


@functools.cache
def small_model() -> Trained:
    """Return a small model that has been trained, for what reads and writes its predictions."""
    return train_predict("head=linear")


def read_predict(
    reference: ComponentReference,
    options: Mapping[str, Any],
    samples: Mapping[str, bytes],
    model: tuple[str, list[str]],
) -> list[Any]:
    """Return what a model finds in files, by the reader of these options."""
    config = config_of(reference, options)
    reader, predictor = config.build(), _predictor(model)
    with written(samples) as paths:
        read = [[_document(given) for given in reader.read(path)] for path in to_read(paths, config)]
        return [found(predictor, documents, mixed=True, on_error=lambda *_: None) for documents in read]


def predict_write(
    reference: ComponentReference, options: Mapping[str, Any], model: tuple[str, list[str]]
) -> dict[str, Any]:
    """Return the file that a writer makes of documents with what a model finds in them."""
    documents = make_documents(6)
    for document, entities in zip(documents, _predictor(model).predict_many(make_documents(6)), strict=True):
        document.remove_layer("Disease")
        copies = [Entity(spans=e.spans, boxes=e.boxes, metadata=e.metadata) for e in entities]
        document.annotate_layer("Disease", copies)
    return document_writer(reference, options, [document.to_bytes() for document in documents])


def _predictor(model: tuple[str, list[str]]) -> EntityClassificationPredictor:
    return EntityClassificationPredictor.from_pretrained(
        model[0], device="cpu", plugins_path=model[1], processors="tokens"
    )


def _document(given: Any) -> Document:
    return given.document if isinstance(given, LocatedDocument) else given


def found(
    predictor: EntityClassificationPredictor,
    documents: Sequence[Document],
    *,
    mixed: bool = False,
    on_error: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Return the entities of each document, and the tags of its units, as plain values."""
    return {
        what: [
            [(entity.label, [(span.start, span.end) for span in entity.spans], entity.score) for entity in of_document]
            for of_document in predictor.predict_many(documents, merge=merge, on_error=on_error, mixed=mixed)
        ]
        for what, merge in (("entities", True), ("units", False))
    }


def _found(component: str | type[Any], plugins: Plugins, folder: Path) -> tuple[str, str, list[Path]]:
    """Return kind and name of a component, and the files of plugins that give it."""
    if not isinstance(component, str):
        kind = next(kind.name for kind in KINDS.values() if kind.base and issubclass(component, kind.base))
        return kind, "under_test", [_shim(kind, "under_test", component, folder), *plugins.paths]
    word, _, name = component.partition("=")
    called = kind_called(word) if name else None
    if called is not None:
        found = plugins.find(called.name, name)
        alone = len(plugins.named(called.name, found.name)) == 1
        return called.name, found.name if alone else name, list(plugins.paths)
    kinds = list(dict.fromkeys(info.kind for kind in KINDS for info in plugins.named(kind, component)))
    if len(kinds) != 1:
        choices = " or ".join(f"{KINDS[kind].key}={component}" for kind in kinds)
        raise PluginError(f"write {choices}") if kinds else plugins.unknown(component)
    return kinds[0], component, list(plugins.paths)


def _shim(kind: str, name: str, config_class: type[Any], folder: Path) -> Path:
    """Write a plugin that gives a class."""
    reference = ComponentReference.of_object(kind, config_class)
    if reference is None:
        raise PluginError(f"{config_class.__qualname__} cannot be trained with: define it at the top level of a module")
    path = folder / f"{name}.py"
    path.write_text(_SHIM.format(kind=kind, name=name, source=reference.source), encoding="utf-8")
    return path


def _small(kind: str, name: str, paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Return a config of a small model, trained for seconds, that has the component in it."""
    from papermage_core.testing.encoder import TinyEncoderConfig

    plugins, key = Plugins(paths), KINDS[kind].key
    given: dict[str, Any] = {key: name} if kind != "document_writer" else {}
    if kind in ("model_head", "label_scheme") and plugins.config_class(kind, name).targets == "spans":
        given.setdefault("head", "span")
        given.setdefault("label_scheme", "span")
    if kind != "context_encoder":
        given["encoder"] = "tiny"
        _shim("context_encoder", "tiny", TinyEncoderConfig, folder)
    return given | {
        "max_epochs": 8,
        "batch_size": 4,
        "head_learning_rate": 0.02,
        "num_workers": 0,
        "cache": False,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "check_val_every_n_epoch": 8,
        "checkpoint_every": "none",
    }


def _paths(options: Mapping[str, Any]) -> list[Path]:
    return [Path(value) for value in options.values() if isinstance(value, (str, Path)) and is_input(value)]


def _dotted(options: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


@contextlib.contextmanager
def _inputs(options: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """Give options whose files are copies, which are gone when the block is left."""
    place = folder / "inputs"
    copied = dict(options)
    for key, value in options.items():
        if isinstance(value, (str, Path)) and is_input(value):
            source = Path(value).absolute()
            place.mkdir(exist_ok=True)
            target = place / source.name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)
            copied[key] = str(target)
    yield copied
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Show nothing of a run."""
    logger = logging.getLogger("papermage_core")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _equal(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(
        a[:2] == b[:2] and abs((a[2] or 0) - (b[2] or 0)) < 2e-3 for a, b in zip(one, other, strict=True)
    )


def _brief(entities: Sequence[Any], others: Sequence[Any]) -> str:
    """Return those that are not among the others, three at most."""
    apart = [each for each in entities if not any(_equal([each], [other]) for other in others)]
    return ", ".join(f"{label} {spans} ({score:.3f})" for label, spans, score in apart[:3]) or "nothing"


def _figures(counts: Mapping[str, Any]) -> str:
    return f"F1 {counts['f1']:.3f} ({counts['predicted']} found, {counts['right']} right)"
