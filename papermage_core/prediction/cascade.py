"""Train the stages of a cascade in order, each on what the stages before it find in documents that they did not see."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import yaml

from papermage_core import checkpoint
from papermage_core.config.cascade import CascadeConfig, CascadeStage
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.recipe import RECIPE_FILE, StageConfig
from papermage_core.config.structure import nest, unstructure
from papermage_core.config.train import EntityClassificationTrainConfig
from papermage_core.data.first_documents import check_first_documents, check_labels
from papermage_core.data.readers import iter_documents
from papermage_core.data.source import DocumentSource
from papermage_core.data.units import text_digest
from papermage_core.document import Document
from papermage_core.document.queries import units_of_contexts
from papermage_core.errors import ConfigError, PapermageError, counted
from papermage_core.files import whole_file, whole_text_file
from papermage_core.prediction.cascade_scores import CascadeScores, score_cascade
from papermage_core.prediction.recipe import Recipe, Stage, ready_stage
from papermage_core.training import EntityClassificationTrainer
from papermage_core.training.folder import RunFolder
from papermage_core.training.lightning import check_trainer
from papermage_core.training.prepare import check_read_by_several
from papermage_core.training.several import SeveralResult, going_on
from papermage_core.training.stopping import Stopping
from papermage_core.training.trainer import RunResult

__all__ = ["CascadeResult", "CascadeTrainer"]

_log = logging.getLogger(__name__)
_AT_ONCE = 64
"""Documents that a stage reads at a time."""


@attrs.frozen(kw_only=True)
class CascadeResult:
    """Where a cascade left its recipe, and how good it is."""

    folder: Path
    recipe: Path
    runs: Mapping[str, RunResult]
    """Stage → its run."""
    scores: CascadeScores | None
    """Of each stage alone and end to end; None without documents to score on."""

    def table(self) -> str:
        """Return a table for the terminal, in percent."""
        width = max(5, *map(len, self.runs))
        head = f"{'stage':{width}} {'run':>5} {'F1':>6}   {'alone':>6} {'end to end':>11} {'gold':>7}  from"
        lines = ["F1 of each stage: of its own run, alone on gold contexts, and end to end:", head]
        for name, run in self.runs.items():
            found = self.scores.stages.get(name) if self.scores is not None else None
            alone, whole = (_percent(getattr(found, key, None)) for key in ("alone", "end_to_end"))
            begin = "" if found is None or found.end_to_end is None else found.start
            gold = "" if found is None or found.end_to_end is None else str(found.end_to_end.micro.gold)
            lines.append(
                f"{name:{width}} {run.split:>5} {100 * run.scores.f1:6.1f}   {alone:>6} {whole:>11} {gold:>7}  {begin}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        found = self.scores.stages if self.scores is not None else {}
        return {
            "documents": self.scores.documents if self.scores is not None else 0,
            "stages": [
                {
                    "name": name,
                    "folder": str(run.folder.relative_to(self.folder)),
                    "split": run.split,
                    "run": run.scores.to_json(),
                    **(found[name].to_json() if name in found else {}),
                }
                for name, run in self.runs.items()
            ],
        }


def _percent(scores: Any) -> str:
    return "–" if scores is None else f"{100 * scores.f1:.1f}"


class CascadeTrainer:
    """Trains the stages that a config describes. What is done is not done again: the same config goes on.

    A stage reads what the stages before it find. In documents that one of these was trained on, what counts is what its
    model of the fold finds that did not see them; else the final model. So a stage meets the errors that it will meet.
    """

    def __init__(self, config: CascadeConfig) -> None:
        self.config = attrs.evolve(config, default_root_dir=config.default_root_dir.expanduser())
        self._stopping = Stopping()
        self._results: dict[int, RunResult] = {}
        self._folds: dict[int, SeveralResult] = {}
        self._seen: dict[int, dict[bytes, str]] = {}
        """Stage → hash of each document that it was trained on → its fold, empty where there are none."""
        self._digests: dict[tuple[Path, ...], frozenset[bytes]] = {}

    def stop(self, why: str) -> bool:
        """Have `train` save its state and raise StoppedError, as `EntityClassificationTrainer.stop` does."""
        return self._stopping.ask(why)

    def train(self) -> CascadeResult:
        """Train each stage that is not done yet, write the recipe, and score it.

        Raises what runs raise, with the name of the stage.
        """
        self.config.check_paths()
        for stage in self.config.stages:
            check_read_by_several(stage.config, stage.config.components(), "stages")
            check_trainer(stage.config)
        check_first_documents(self.config)
        check_labels(self.config)
        root = self.config.default_root_dir
        for number, stage in enumerate(self.config.stages):
            _log.info("stage %s (%d of %d): %s", stage.name, number + 1, len(self.config.stages), root / stage.name)
            try:
                self._train_stage(number, stage)
            except PapermageError as error:
                _log.error("stage %s could not be trained", stage.name)
                raise error
        recipe = root / RECIPE_FILE
        with whole_text_file(recipe) as file:
            file.write(self._recipe())
        runs = {stage.name: self._results[number] for number, stage in enumerate(self.config.stages)}
        result = CascadeResult(folder=root, recipe=recipe, runs=runs, scores=self._score(recipe))
        (root / "results").mkdir(exist_ok=True)
        with whole_text_file(root / "results" / "cascade.json") as file:
            file.write(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return result

    def _train_stage(self, number: int, stage: CascadeStage) -> None:
        folder = self.config.run_folder(number)
        changes: dict[str, Any] = {"data_path": [self._prepared(number, stage.config.data_path, "train")]}
        if stage.config.val_data_path:
            changes["val_data_path"] = [self._prepared(number, stage.config.val_data_path, "val")]
        if stage.gold_context_name:
            changes["context_name"] = stage.gold_context_name
        config = _prepared_config(stage.config, changes)
        self._results[number] = self._run(config.replace(default_root_dir=folder))
        shared = self._shared_with_later(number)
        if shared:
            _log.info(
                "stage %s: %d folds, since later stages read %s",
                stage.name,
                self.config.folds,
                counted(shared, "documents of it"),
            )
            of_folds: dict[str, Any] = {
                "val_data_path": (),
                "test_data_path": (),
                "folds": self.config.folds,
                "devices": 1,
            }
            found = self._run(config.replace(default_root_dir=folder / "folds", **of_folds))
            assert isinstance(found, SeveralResult)
            self._folds[number] = found
        self._seen[number] = dict.fromkeys(self._digests_of(stage.config), "")
        for name, run in self._folds[number].runs.items() if shared else ():
            held_out = iter_documents(run.folder / "results" / "predictions.jsonl")
            self._seen[number].update((text_digest(each.document), name) for each in held_out)

    def _run(self, config: EntityClassificationTrainConfig) -> RunResult:
        trainer = EntityClassificationTrainer(going_on(config), stopping=self._stopping)
        if (
            config.several is None
            and not config.overwrite
            and RunFolder(trainer.folder).is_done
            and not trainer._is_done()
        ):
            raise ConfigError(
                f"{trainer.folder} holds a run that is done, with other options or on other predictions: replace it "
                f"with stages.{trainer.folder.name}.overwrite=true, or choose another default_root_dir"
            )
        return trainer.train()

    def _shared_with_later(self, number: int) -> int:
        """Return how many documents of a stage later ones read through it."""
        own = self._digests_of(self.config.stages[number].config)
        return sum(
            len(own & self._digests_of(other.config))
            for later, other in enumerate(self.config.stages)
            if other.contexts == "predicted" and number in self.config.needs(later)
        )

    def _digests_of(self, config: EntityClassificationTrainConfig) -> frozenset[bytes]:
        if config.data_path not in self._digests:
            located = _documents(config, config.data_path)
            self._digests[config.data_path] = frozenset(text_digest(document) for document in located)
        return self._digests[config.data_path]

    # Documents of a stage

    def _prepared(self, number: int, paths: tuple[Path, ...], name: str) -> Path:
        """Return a file of the documents that a stage reads, with its contexts; made again when these change."""
        stage = self.config.stages[number]
        folder = self.config.run_folder(number)
        path, note = folder.parent / f"{folder.name}.{name}.jsonl", folder.parent / f"{folder.name}.{name}.json"
        needs = self.config.needs(number) if stage.contexts == "predicted" else []
        key = self._key(stage, paths, needs)
        if path.is_file() and note.is_file() and note.read_text(encoding="utf-8") == key:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        documents = _documents(stage.config, paths)
        for each in needs:
            documents = self._found(each, documents)
        context_name = stage.gold_context_name or stage.config.context_name
        with whole_file(path) as file:
            for document in documents:
                kept = _within(document, stage.config.entity_name, context_name)
                file.write(kept.to_bytes(with_images=False) + b"\n")
        with whole_text_file(note) as file:
            file.write(key)
        return path

    def _key(self, stage: CascadeStage, paths: tuple[Path, ...], needs: Sequence[int]) -> str:
        """Return what tells the documents of a stage from others."""
        components = stage.config.components()
        source = DocumentSource(paths, components.reader, (), components.processors)
        models = []
        for number in needs:
            runs = [self._results[number], *(self._folds[number].runs.values() if number in self._folds else ())]
            models.append([checkpoint.digest(run.checkpoint) for run in runs])
        names = [stage.config.entity_name, stage.config.context_name, stage.gold_context_name, stage.contexts]
        options = [unstructure(self.config.stages[number].predict) for number in needs]
        given = json.dumps([source.content, models, names, options], sort_keys=True, default=str)
        return hashlib.sha256(given.encode()).hexdigest()

    def _found(self, number: int, documents: Iterator[Document]) -> Iterator[Document]:
        """Yield documents with what a stage finds, in place of its gold: in those that it saw, out of fold."""
        stages: dict[str, Stage] = {"": self._stage(number, self._results[number])}
        if number in self._folds:
            stages |= {name: self._stage(number, run) for name, run in self._folds[number].runs.items()}
        gold = self.config.stages[number].config.label_field
        while chunk := list(islice(documents, _AT_ONCE)):
            by_model: dict[str, list[Document]] = {}
            for document in chunk:
                for name in {*gold, *self.config.stages[number].makes}:
                    document.remove_layer(name)
                by_model.setdefault(self._seen[number].get(text_digest(document), ""), []).append(document)
            for name, group in by_model.items():
                for document in group:
                    if problem := stages[name].problem(document):
                        raise problem.replace(document=document.id, stage=stages[name].name)
                stages[name].run(group)
            yield from chunk

    def _stage(self, number: int, run: RunResult) -> Stage:
        """Return a stage that reads the documents of runs: within the contexts of their own name for it."""
        config, stage = self._stage_config(number, run), self.config.stages[number]
        if stage.gold_context_name:
            options = attrs.evolve(config.options, context_name=stage.gold_context_name)
            config = attrs.evolve(config, options=options)
        return ready_stage(config, stage.config.plugins_path)

    def _stage_config(self, number: int, run: RunResult) -> StageConfig:
        stage = self.config.stages[number]
        options = attrs.evolve(
            stage.predict,
            context_name=stage.predict.context_name or (stage.config.context_name if stage.gold_context_name else None),
        )
        return StageConfig(name=stage.name, source=stage.name, predictor=run.checkpoint, options=options)

    # The whole

    def _recipe(self) -> str:
        """Return the recipe, whose paths are those of folders beside it."""
        root = self.config.default_root_dir
        stages: list[dict[str, Any]] = []
        first = self.config.stages[0].config
        processors: ProcessorChoice = first.components().processors
        for name, config in zip(processors.names, processors.configs, strict=True):
            stages.append({"processor": name, **unstructure(config)})
        usual = unstructure(type(self.config.stages[0].predict)())
        for number in range(len(self.config.stages)):
            stage = self._stage_config(number, self._results[number])
            options = {key: value for key, value in unstructure(stage.options).items() if value != usual[key]}
            folder = self._results[number].checkpoint.relative_to(root).as_posix()
            stages.append({"predictor": folder, "name": stage.name, **options})
        content: dict[str, Any] = {}
        if first.reader is not None or any(key.startswith("reader.") for key in first.options):
            own = {
                key.removeprefix("reader."): value for key, value in first.options.items() if key.startswith("reader.")
            }
            content["reader"] = {"name": first.reader, **nest(own)}
        content["stages"] = stages
        if self.config.records is not None:
            content["records"] = self.config.records
        plain = json.loads(json.dumps(content, default=str))
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))

    def _score(self, recipe: Path) -> CascadeScores | None:
        paths = self.config.test_data_path
        if not paths:
            paths = tuple(dict.fromkeys(path for stage in self.config.stages for path in stage.config.val_data_path))
        if not paths:
            _log.warning("no end-to-end score: give test_data_path, or val_data_path of the stages")
            return None
        first = self.config.stages[0].config
        ready = Recipe.from_yaml(recipe, plugins_path=first.plugins_path)
        stages = [self._stage(number, self._results[number]) for number in range(len(self.config.stages))]
        return score_cascade(ready.config, stages, self.config, lambda: _documents(first, paths))


def _prepared_config(
    config: EntityClassificationTrainConfig, changes: Mapping[str, Any]
) -> EntityClassificationTrainConfig:
    """Return the config of a run on documents that were read and processed already."""
    kept = [item for item in config.given() if item.key.partition(".")[0] not in ("reader", "processors")]
    return EntityClassificationTrainConfig.from_layers([kept]).replace(**changes)


def _documents(config: EntityClassificationTrainConfig, paths: tuple[Path, ...]) -> Iterator[Document]:
    components = config.components()
    source = DocumentSource(paths, components.reader, (), components.processors)
    return (located.document for located in source.documents())


def _within(document: Document, entity_name: str, context_name: str) -> Document:
    """Return a document without the units that lie in no context; as it is, where there are none or no contexts."""
    if not (document.has_layer(entity_name) and document.has_layer(context_name)) or context_name == "pages":
        return document
    units = document.get_layer(entity_name)
    _, inside = units_of_contexts(units, document.get_layer(context_name))
    kept = set(inside.tolist())
    if len(kept) == len(units):
        return document
    content = document.to_json()
    content["entities"][entity_name] = [e for i, e in enumerate(content["entities"][entity_name]) if i in kept]
    return Document.from_json(content)
