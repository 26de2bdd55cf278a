"""A training run, from its config to its folder."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.config.monitor import Monitor
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import Corpus
from papermage_core.errors import ConfigError, DataError
from papermage_core.evaluation import Scores
from papermage_core.files import whole_text_file
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.inference import pick_device
from papermage_core.plugin.manager import Plugins
from papermage_core.training.callbacks import History, KeepBest, SaveLast
from papermage_core.training.evaluate import evaluate_checkpoint, evaluate_model
from papermage_core.training.folder import RunFolder, check_resumed, check_resumed_data, config_texts, read_last
from papermage_core.training.lightning import interruptible, make_trainer, quiet_lightning
from papermage_core.training.module import EntityModule, Optimisation, Predictions, Validation
from papermage_core.training.prepare import Preparation, Splits
from papermage_core.training.process import process_of_run
from papermage_core.training.record import RunRecord, SplitCounts, write_results
from papermage_core.training.scoring import Evaluation, adjusts, calibrate

__all__ = ["EntityClassificationTrainer", "RunResult"]

_log = logging.getLogger(__name__)
_HEAD_LEARNING_RATE = 1e-3
_LONGEST = 4
"""How many batches' cost a context may have in training before it is cut."""


@attrs.frozen(kw_only=True)
class RunResult:
    """Where a run left its model, and how good it is."""

    folder: Path
    checkpoint: Path
    split: str
    """What `scores` were counted on: ``test``, else ``val``, else ``train``; ``eval`` for mode=eval."""
    scores: Scores


class EntityClassificationTrainer:
    """Trains the predictor that a config describes, or evaluates one.

    The components are found and checked when it is made, before any data is read; ``config`` is then the config with
    ``default_root_dir`` filled in; ``components`` are its own, where they have been made already. Raises ConfigError
    and PluginError there, DataError and CheckpointError in a run.
    """

    def __init__(self, config: EntityClassificationTrainConfig, components: ComponentConfigs | None = None) -> None:
        self._plugins = Plugins(config.plugins_path)
        self._components = components if components is not None else config.components(self._plugins)
        self._extensions = self._plugins.extensions(config.extensions)
        self._chose_folder = config.default_root_dir is not None
        self.config = config.replace(default_root_dir=config.run_folder().expanduser())
        self._folder = RunFolder(self.folder)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        assert self.config.default_root_dir is not None
        return self.config.default_root_dir

    @property
    def is_first_process(self) -> bool:
        """Whether this is the process that writes and prints, of a run with several."""
        return int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0

    @property
    def checkpoint(self) -> Path:
        """The folder of the best model."""
        return self.folder / "checkpoints"

    def train(self) -> RunResult:
        """Train, keep the best model, score it, write the run's folder.

        Raises ConfigError where the folder holds a run already and neither ``resume`` nor ``overwrite`` is set, and
        DivergedError where the loss is no longer a number. What it changes of the process is put back at the end.
        Folds, several seeds and a learning curve give a `SeveralResult`.
        """
        if self.config.several is not None:
            from papermage_core.training.several import train_several

            return train_several(self.config, self._components)
        self.config.check_paths()
        if not self.is_first_process:
            logging.getLogger("papermage_core").setLevel(logging.ERROR)
            with self._process():
                return self._train()
        with self._process(), self._folder.taken():
            if self.config.resume is False and not self.config.overwrite:
                self._folder.check_free()
            return self._train()

    def _train(self) -> RunResult:
        start = time.perf_counter()
        state = self._resumed()
        prepare = Preparation(config=self.config, components=self._components)
        splits = prepare.splits()
        contents = {name: corpus.content() for name, corpus in splits.items() if name != "test"}
        if state is not None:
            check_resumed_data(state, contents)
        pl.seed_everything(self.config.seed, workers=True, verbose=False)
        blueprint = prepare.blueprint(splits)
        module = self._module(prepare, blueprint, splits, contents)
        for name, issues in splits.issues.items():
            for line in issues.lines():
                _log.warning("%s: %s", name, line)
        lightning, history, best = self._lightning()
        self._fit(lightning, module, None if state is None else self._last)
        if not best.saved:
            raise DataError("training made no step, so nothing was saved: check max_epochs, max_steps and max_time")
        if not self.is_first_process:
            torch.distributed.barrier()  # until the first process has written everything
            return self.result()
        evaluations = self._evaluate(splits)
        seconds = time.perf_counter() - start
        record = RunRecord(
            config=self.config,
            blueprint=blueprint,
            counts={name: SplitCounts.of(corpus) for name, corpus in splits.items()},
            sources=splits.train.per_file(),
            issues=splits.issues,
            evaluations=evaluations,
            history=history.rows,
            seconds=seconds,
        )
        self._write(record, contents["train"])
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        return self.result()

    def evaluate(self) -> RunResult:
        """Score a checkpoint on ``data_path``; write ``results/`` and ``report.html``.

        The checkpoint is the one that ``model_name_or_path`` names with ``mode=eval``; else the run's own, whose scores
        go to the folder ``evaluation`` in that of the run.
        """
        given = self.config.model_name_or_path if self.config.mode == "eval" else self.checkpoint
        if given is None:
            raise ConfigError("mode=eval needs model_name_or_path=...: the folder of the checkpoint to evaluate")
        with self._process():
            return self._evaluate_checkpoint(Path(given))

    def _evaluate_checkpoint(self, path: Path) -> RunResult:
        start = time.perf_counter()
        folder = self.folder if self.config.mode == "eval" else self.folder / "evaluation"
        if (
            self.config.mode == "eval"
            and self._chose_folder
            and (folder / "results").exists()
            and not self.config.overwrite
        ):
            raise ConfigError(f"{folder} holds results already: set overwrite=true, or choose another default_root_dir")
        ignored = [key for key in ("encoder", "label_scheme", "head", "overlap_policy") if key in self.config.sources]
        if ignored and self.config.mode == "eval":
            _log.warning("mode=eval: %s ignored, the checkpoint has its own", ", ".join(ignored))
        found = evaluate_checkpoint(
            path,
            self.config.data_path,
            label_fields=self.config.label_field,
            entity_name=self.config.entity_name if "entity_name" in self.config.sources else None,
            context_name=self.config.context_name if "context_name" in self.config.sources else None,
            reader=self._components.reader,
            batch_size=self.config.batch_size,
            accelerator=self._accelerator,
            plugins=self._plugins,
            extensions=self._extensions,
        )
        seconds = time.perf_counter() - start
        record = RunRecord(
            config=self.config,
            blueprint=found.blueprint,
            counts={"test": SplitCounts(counts=found.evaluation.counts, labels=found.evaluation.entities)},
            issues={"eval": found.issues},
            evaluations={"eval": found.evaluation},
            seconds=seconds,
        )
        write_results(folder, record)
        return RunResult(folder=folder, checkpoint=path, split="eval", scores=found.evaluation.scores)

    @property
    def _monitor(self) -> Monitor:
        return Monitor(self.config.monitor)

    @property
    def _accelerator(self) -> str:
        return str(self.config.lightning.get("accelerator", "auto"))

    def _process(self) -> AbstractContextManager[None]:
        return process_of_run(offline=self.config.offline, num_threads=self.config.num_threads)

    @property
    def _last(self) -> Path:
        """The file that a run goes on from."""
        return Path(self.config.resume) if isinstance(self.config.resume, Path) else self._folder.last

    def _resumed(self) -> dict[str, Any] | None:
        """Return the state that the run goes on from, once it is known to be of a run with these options."""
        if self.config.resume is False:
            return None
        state = read_last(self._last)
        check_resumed(state, config_texts(self.config, self._components))
        return {"papermage_data": state["papermage_data"]}

    def _module(
        self, prepare: Preparation, blueprint: Blueprint, splits: Splits, contents: dict[str, str]
    ) -> EntityModule:
        model = blueprint.build_model()
        limits = BatchLimits.of(blueprint.encoder, self.config.batch_size, self.config.batch_tokens)
        most = _LONGEST * limits.cost
        train = prepare.examples(splits.train, blueprint, model, splits.issues["train"], most)
        val = None
        if splits.val is not None:
            examples = prepare.examples(splits.val, blueprint, model, splits.issues["val"])
            score = self._score(blueprint, model, splits.val)
            val = Validation(corpus=splits.val, examples=examples, score=score, monitor=self._monitor)
        return EntityModule(
            blueprint,
            model,
            train=train,
            chosen=_weighted(splits.train, train.document, self.config.seed),
            val=val,
            limits=limits,
            optimisation=self._optimisation(blueprint),
            seed=self.config.seed,
            corpus=splits.train,
            resumable={
                "papermage_config": json.dumps(config_texts(self.config, self._components)),
                "papermage_data": contents,
            },
        )

    def _score(self, blueprint: Blueprint, model: EntityModel, val: Corpus) -> Callable[[Predictions], Scores]:
        """Return how to score a validation; extensions that look at predictions get the documents, read once more."""
        if not adjusts(self._extensions):
            return lambda predictions: predictions.scores(blueprint.labels)

        def score(predictions: Predictions) -> Scores:
            documents = val.parsed(keep=True)
            return evaluate_model(model, blueprint, documents, self.config.batch_size, self._extensions).scores

        return score

    def _optimisation(self, blueprint: Blueprint) -> Optimisation:
        given = self.config.learning_rate
        rate = given or blueprint.encoder.default_learning_rate
        return Optimisation(
            learning_rate=rate,
            head_learning_rate=self.config.head_learning_rate or given or max(_HEAD_LEARNING_RATE, rate),
            weight_decay=self.config.weight_decay,
            warmup_steps=self.config.warmup_steps,
        )

    def _lightning(self) -> tuple[pl.Trainer, History, KeepBest]:
        """Return Lightning's trainer, with the callbacks that a run is asked about when it is over."""
        best, history = KeepBest(self._save_best, self._monitor), History(self.folder / "metrics.csv")
        callbacks: list[pl.Callback] = [best, history]
        if self.config.patience is not None:
            metric, mode, patience = self._monitor.metric, self._monitor.mode, self.config.patience
            callbacks.append(pl.callbacks.EarlyStopping(metric, mode=mode, patience=patience, strict=False))
        callbacks += self._extensions.papermage_callbacks(self.config)
        callbacks.append(SaveLast(self._folder.last))  # the last, so that it keeps the others' new states
        with quiet_lightning():
            return make_trainer(self.config, callbacks, self._extensions.papermage_loggers(self.config)), history, best

    def _save_best(self, module: pl.LightningModule, f1: float | None) -> None:
        assert isinstance(module, EntityModule)
        card = "The scores of this model stand here once its training is over.\n"
        checkpoint.save(self.checkpoint, module.blueprint, module.model, card=card, val_f1=f1)

    def _fit(self, lightning: pl.Trainer, module: EntityModule, resume: Path | None) -> None:
        if self.is_first_process:
            if resume is None:
                self._folder.clear()
            text = self.config.anchored().to_yaml(self._components)
            with whole_text_file(self.folder / "config.yaml") as file:
                file.write(text)
        with quiet_lightning(), interruptible(lightning):
            lightning.fit(module, ckpt_path=resume, weights_only=resume is not None)

    def _evaluate(self, splits: Splits) -> dict[str, Evaluation]:
        """Return how the best model, as it was saved, does on what it did not see; else on what it saw."""
        loaded = checkpoint.load(self.checkpoint, pick_device(self._accelerator), self._plugins)
        chosen = {name: corpus for name, corpus in splits.items() if name != "train"}
        if not chosen:
            _log.warning("no validation or test data: the scores are those on the training data, and so optimistic")
            chosen = {"train": splits.train}
        found: dict[str, Evaluation] = {}
        for name, corpus in chosen.items():
            documents = corpus.parsed(keep=adjusts(self._extensions))
            found[name] = evaluate_model(
                loaded.model, loaded.blueprint, documents, self.config.batch_size, self._extensions
            )
            if name == "test":
                splits.issues[name].merge([found[name].issues])
            self._extensions.papermage_evaluated(name, found[name].scores.to_json())
        return found

    def result(self) -> RunResult:
        """Return what the run that is done in the folder gave."""
        scores = checkpoint.read_json(self.checkpoint)["scores"]
        split = next(name for name in ("test", "val", "train") if name in scores)
        return RunResult(
            folder=self.folder, checkpoint=self.checkpoint, split=split, scores=Scores.from_json(scores[split])
        )

    def _write(self, record: RunRecord, fingerprint: str) -> None:
        calibration = calibrate(record.evaluations["val"], "val") if "val" in record.evaluations else None
        if calibration is not None:
            record = attrs.evolve(record, calibration=calibration.summary)
        checkpoint.update(
            self.checkpoint,
            card=record.card(),
            calibration=None if calibration is None else calibration.to_json(),
            data_fingerprint=fingerprint,
            scores={name: found.scores.to_json() for name, found in record.evaluations.items()},
            versions=record.versions,
        )
        write_results(self.folder, record)


def _weighted(corpus: Corpus, document: NDArray[np.int64], seed: int) -> NDArray[np.int64] | None:
    """Return the examples of an epoch, each as often as its document's weight says; None for each once.

    The part of a weight below 1 is the share of the documents that stand once more, chosen by the seed. ``document`` is
    the document of each example.
    """
    weight = corpus.weight
    if (weight == 1).all():
        return None
    times = np.floor(weight).astype(np.int64)
    times += np.random.default_rng((seed, 1)).random(len(weight)) < weight - times
    return np.repeat(np.arange(len(document)), times[document])
