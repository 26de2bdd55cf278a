"""A training run, from its config to its folder."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.config.monitor import Monitor
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import Corpus
from papermage_core.data.garbage import release_free_memory
from papermage_core.data.issues import Issues
from papermage_core.data.units import ParsedDocument
from papermage_core.errors import CheckpointError, ConfigError, DataError, counted
from papermage_core.evaluation import Profile, Scores
from papermage_core.evaluation.shift import reference_of
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.inference import pick_device
from papermage_core.plugin.blame import blaming
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import Metric
from papermage_core.training.callbacks import History, KeepBest, SaveLast, SaveLastOfAll
from papermage_core.training.display import Display
from papermage_core.training.evaluate import evaluate_checkpoint, evaluate_model
from papermage_core.training.folder import (
    RunFolder,
    check_model,
    check_resumed,
    check_resumed_data,
    config_texts,
    read_last,
)
from papermage_core.training.lightning import check_trainer, interruptible, make_trainer, quiet_lightning, services
from papermage_core.training.module import EntityModule, Optimisation, Predictions, Validation
from papermage_core.training.prepare import Preparation, Splits
from papermage_core.training.process import process_of_run
from papermage_core.training.rate_finder import find_learning_rate
from papermage_core.training.record import RunRecord, SplitCounts, files_of_run, write_results
from papermage_core.training.scoring import Evaluation, calibrate
from papermage_core.training.shown import EpochLines, RunBar
from papermage_core.training.state import RunState
from papermage_core.training.stopping import Stopping
from papermage_core.training.surroundings import git_state

if TYPE_CHECKING:
    from papermage_core.config.train import PlacedTrainConfig

__all__ = ["EntityClassificationTrainer", "RunResult"]

_log = logging.getLogger(__name__)
_SAME_F1 = 0.05
"""What rounding, and another arithmetic, may do to F1 on a few entities."""
_SOME_OF_VALIDATION = frozenset({"limit_val_batches", "fast_dev_run", "overfit_batches"})
_HEAD_LEARNING_RATE = 1e-3
_LONGEST = 4
"""How many batches' cost a context may have in training before it is cut."""


@attrs.frozen(kw_only=True)
class RunResult:
    """Where a run left its model, and how good it is. Prints as three lines."""

    folder: Path
    checkpoint: Path
    split: str
    """What `scores` were counted on: ``test``, else ``val``, else ``train``; ``eval`` for mode=eval."""
    scores: Scores

    @property
    def report(self) -> Path:
        """The page to open first."""
        return self.folder / "report.html"

    def __str__(self) -> str:
        found = self.scores
        precision, recall, f1 = (f"{100 * value:.1f}" for value in (found.precision, found.recall, found.f1))
        return (
            f"{self.split} F1 {f1} (P {precision}, R {recall}) on {counted(found.micro.gold, 'entities')} of "
            f"{counted(found.documents, 'documents')}\nmodel   {self.checkpoint}\nreport  {self.report}"
        )


class EntityClassificationTrainer:
    """Trains the predictor that a config describes, or evaluates one.

    The components are found and checked when it is made, before any data is read; ``config`` is then the config with
    ``default_root_dir`` filled in; ``components`` are its own, where they have been made already. Raises ConfigError
    and PluginError there, DataError and CheckpointError in a run.
    """

    def __init__(
        self,
        config: EntityClassificationTrainConfig,
        components: ComponentConfigs | None = None,
        *,
        stopping: Stopping | None = None,
    ) -> None:
        if not isinstance(config, EntityClassificationTrainConfig):
            raise TypeError(f"expected an EntityClassificationTrainConfig, got {type(config).__name__}")
        self._plugins = Plugins(config.plugins_path)
        self._components = components if components is not None else config.components(self._plugins)
        self._extensions = self._components.extensions.load()
        self._chose_folder = config.default_root_dir is not None
        placed = config.replace(default_root_dir=config.run_folder().expanduser())
        self.config = cast("PlacedTrainConfig", placed)
        self._folder = RunFolder(self.folder)
        self._stopping = stopping or Stopping()

    @property
    def folder(self) -> Path:
        """The run's folder."""
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

        Raises ConfigError with ``mode="eval"``, and where the folder holds a run already and neither ``resume`` nor
        ``overwrite`` is set, DivergedError where the loss is no longer a number, and StoppedError where `stop` was
        called. A run that is done is not done again by ``resume="auto"``, nor in a folder that is named for its
        arguments: its result is returned. What it changes of the process is put back at the end. Folds, several seeds
        and a learning curve give a `SeveralResult`.
        """
        if self.config.mode == "eval":
            raise ConfigError("mode=eval: this config is to evaluate a checkpoint; call evaluate(), or leave mode out")
        if self.config.several is not None:
            from papermage_core.training.several import train_several

            return train_several(self.config, self._components, self._stopping)
        self.config.check_paths()
        check_trainer(self.config)
        config = self.config
        self._folder.check_documents((*config.data_path, *config.val_data_path, *config.test_data_path))
        if not self.is_first_process:
            logging.getLogger("papermage_core").setLevel(logging.ERROR)
            with self._process():
                return self._train(Display(shown=False))
        with self._process(), self._folder.taken():
            if self._is_done():
                result = self._done()
                Display(bar=False).line(f"this run is done ({self.folder}); overwrite=true trains it again")
                return result
            begun = self.config.resume == "auto" and self._folder.holds_beginning(self._config_text())
            if not self._resumes and not self.config.overwrite and not begun:
                self._folder.check_free()
            with Display(bar=self.config.lightning.get("enable_progress_bar") is not False) as display:
                return self._train(display)

    def stop(self, why: str) -> bool:
        """Have `train` save its state and raise StoppedError after the step that it is at; safe in a signal handler.

        Return whether it will: not where nothing is trained at the moment, and so nothing would be lost.
        """
        return self._stopping.ask(why)

    def _train(self, display: Display) -> RunResult:
        start, git = time.perf_counter(), git_state(Path.cwd())
        loggers = services(self.config)
        resumed = self._resumed()
        prepare = Preparation.of(self.config, self._components, display)
        splits = prepare.splits()
        contents = {name: corpus.content() for name, corpus in splits.items() if name != "test"}
        if prepare.start is not None:
            contents["start_from"] = prepare.start.digest
        if resumed is not None:
            check_resumed_data(resumed[1], contents)
        pl.seed_everything(self.config.seed, workers=True, verbose=False)
        blueprint = prepare.blueprint(splits)
        module = self._module(prepare, blueprint, splits, contents)
        for name, issues in splits.issues.items():
            _tell(name, issues)
        if self.config.find_learning_rate and resumed is None:  # a run that goes on has its rates in its state
            find_learning_rate(module, self.config)
        state = RunState(time.perf_counter() - start)
        lightning, history, best = self._lightning(state, display, loggers)
        display.line(_described(lightning, module, self.config))
        self._fit(lightning, module, None if resumed is None else resumed[0])
        if not best.saved:
            raise DataError("training made no step, so nothing was saved: check max_epochs, max_steps and max_time")
        if not self.is_first_process:
            torch.distributed.barrier()  # until the first process has written everything
            return self.result()
        self._folder.begin()  # else not yet done where a run goes on that was at its end
        profile = Profile.of(splits.train, () if splits.val is None else splits.val)
        if prepare.start is not None and prepare.start.profile is not None:
            profile = profile.after(prepare.start.profile)
        evaluations = self._evaluate(splits, display, profile)
        record = RunRecord(
            config=self.config,
            blueprint=blueprint,
            counts={name: SplitCounts.of(corpus) for name, corpus in splits.items()},
            sources=splits.train.per_file(),
            files=files_of_run(self.config, self._components),
            issues=splits.issues,
            evaluations=evaluations,
            history=history.rows,
            seconds=state.seconds,
            best_epoch=best.epoch,
            git=git,
            fingerprint=contents["train"],
            components=self._components,
        )
        scored = dict(splits.items())[record.split]
        if scored.source.is_readable_twice:
            record = attrs.evolve(record, documents=lambda: scored.parsed(keep=True))
        self._write(record, contents["train"], profile)
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
            and (there := [name for name in ("results", "report.html") if (folder / name).exists()])
            and not self.config.overwrite
        ):
            what = f"{folder} holds {there[0]} already"
            raise ConfigError(f"{what}: set overwrite=true, or choose another default_root_dir")
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
            files=files_of_run(self.config, self._components),
            git=git_state(Path.cwd()),
            components=self._components if self.config.mode == "train" else None,
            documents=found.documents,
        )
        write_results(folder, record)
        return RunResult(folder=folder, checkpoint=path, split="eval", scores=found.evaluation.scores)

    @property
    def _monitor(self) -> Monitor:
        return Monitor(self.config.monitor, self._components.metric)

    @property
    def _accelerator(self) -> str:
        return str(self.config.lightning.get("accelerator", "auto"))

    @contextmanager
    def _process(self) -> Iterator[None]:
        with process_of_run(offline=self.config.offline, num_threads=self.config.num_threads), blaming():
            yield

    @property
    def _resumes(self) -> bool:
        """Whether the run goes on with one that was stopped."""
        if self.config.resume == "auto":
            return self._folder.can_go_on
        if isinstance(self.config.resume, Path):
            return self._folder.holds_file(self.config.resume)
        return self.config.resume

    def _is_done(self) -> bool:
        """Return whether the folder holds this very run, at its end, and it is not to be trained again."""
        named_for_it = not self._chose_folder and self.config.resume is False and not self.config.overwrite
        if not (named_for_it or self.config.resume == "auto"):
            return False
        return self._folder.holds(self._config_text(), files_of_run(self.config, self._components))

    def _done(self) -> RunResult:
        """Return what the run gave whose end the folder holds, if its model is still sound."""
        try:
            checkpoint.check(self.checkpoint)
            return self.result()
        except CheckpointError as exc:
            raise CheckpointError(
                f"this run is done, but {exc}, or train it again with resume=false overwrite=true"
            ) from exc

    def _config_text(self) -> str:
        """Return the config that repeats the run, whatever was done with what stood in its folder before."""
        return self.config.anchored().replace(resume=False, overwrite=False).to_yaml(self._components)

    def _resumed(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the file that the run goes on from and its state, once it is known to be of a run like this."""
        if not self._resumes and not isinstance(self.config.resume, Path):
            return None
        chosen = self.config.resume
        paths = [chosen] if isinstance(chosen, Path) else [self._folder.last, self._folder.previous]
        path, state = read_last(paths)
        check_resumed(state, config_texts(self.config, self._components))
        check_model(state, path)
        return path, {"papermage_data": state["papermage_data"]}

    def _module(
        self, prepare: Preparation, blueprint: Blueprint, splits: Splits, contents: dict[str, str]
    ) -> EntityModule:
        model = prepare.build_model(blueprint)
        limits = BatchLimits.of(blueprint.encoder, self.config.batch_size, self.config.batch_tokens)
        most = _LONGEST * blueprint.encoder.default_batch_cost
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

    def _score(
        self, blueprint: Blueprint, model: EntityModel, val: Corpus
    ) -> Callable[[Predictions, Metric | None], Scores]:
        """Return how to score a validation; extensions that look at predictions get the documents, read once more."""
        if not self._extensions.adjust():
            return lambda predictions, metric: predictions.scores(blueprint.labels, metric)

        def score(predictions: Predictions, metric: Metric | None) -> Scores:
            documents, size = val.parsed(keep=True), self.config.batch_size
            return evaluate_model(model, blueprint, documents, size, self._extensions, metric=metric).scores

        return score

    def _optimisation(self, blueprint: Blueprint) -> Optimisation:
        given = self.config.learning_rate
        rate = given or blueprint.encoder.default_learning_rate
        return Optimisation(
            learning_rate=rate,
            head_learning_rate=self.config.head_learning_rate or given or max(_HEAD_LEARNING_RATE, rate),
            weight_decay=self.config.weight_decay,
            warmup_steps=self.config.warmup_steps,
            optimizer=self._components.optimizer,
        )

    def _lightning(
        self, state: RunState, display: Display, loggers: Sequence[Logger]
    ) -> tuple[pl.Trainer, History, KeepBest]:
        """Return Lightning's trainer, with the callbacks that a run is asked about when it is over."""
        best, history = KeepBest(self._save_best, self._monitor), History(self._folder, state)
        callbacks: list[pl.Callback] = [state, best, history, EpochLines(display, state, best)]
        if display.has_bar and not self.config.lightning.get("barebones"):
            callbacks.append(RunBar(display, state, best))
        if self.config.patience is not None:
            metric, mode, patience = self._monitor.metric, self._monitor.mode, self.config.patience
            finite = self._monitor.config is None  # a metric that is no number is worse than any, and may be one later
            callbacks.append(
                pl.callbacks.EarlyStopping(metric, mode=mode, patience=patience, strict=False, check_finite=finite)
            )
        callbacks += self._extensions.papermage_callbacks(self.config)
        save_last = SaveLast if self.config.lightning.get("barebones") else SaveLastOfAll
        callbacks.append(save_last(self._folder, self.config.checkpoint_every, self._stopping))
        loggers = [*self._extensions.papermage_loggers(self.config), *loggers]
        with quiet_lightning():
            return make_trainer(self.config, callbacks, loggers), history, best

    def _save_best(self, module: pl.LightningModule, f1: float | None) -> None:
        assert isinstance(module, EntityModule)
        self._folder.begin(keep_model=True)
        card = "The scores of this model stand here once its training is over.\n"
        checkpoint.save(self.checkpoint, module.blueprint, module.model, card=card, val_f1=f1)

    def _fit(self, lightning: pl.Trainer, module: EntityModule, resumed: Path | None) -> None:
        self._folder.expect(self._config_text(), resumed)
        with quiet_lightning(), interruptible(lightning):
            self._stopping.is_fitting = True
            try:
                lightning.fit(module, ckpt_path=resumed, weights_only=resumed is not None)
            except ValueError as exc:
                if "`val_check_interval`" in str(exc):  # what only the number of batches decides
                    interval = self.config.lightning.get("val_check_interval")
                    raise ConfigError(
                        f"val_check_interval={interval}: an epoch has no more than {lightning.num_training_batches} "
                        "batches; give fewer, a share of an epoch, or check_val_every_n_epoch=null too"
                    ) from exc
                raise
            finally:
                self._stopping.is_fitting = False

    def _evaluate(self, splits: Splits, display: Display, profile: Profile) -> dict[str, Evaluation]:
        """Return how the best model, as it was saved, does on what it did not see; else on what it saw."""
        loaded = checkpoint.load(self.checkpoint, pick_device(self._accelerator), self._plugins)
        chosen = {name: corpus for name, corpus in splits.items() if name != "train"}
        if not chosen:
            _log.warning("no validation or test data: the scores are those on the training data, and so optimistic")
            chosen = {"train": splits.train}
        found: dict[str, Evaluation] = {}
        for name, corpus in chosen.items():
            with display.work(f"scoring {name}", len(corpus), "documents") as watch:
                documents = _watched(corpus.parsed(keep=self._extensions.adjust()), watch)
                found[name] = evaluate_model(
                    loaded.model,
                    loaded.blueprint,
                    documents,
                    self.config.batch_size,
                    self._extensions,
                    seen=profile.count,
                    unknown=profile.unknown,
                )
            release_free_memory()
            if name == "test":
                _tell(name, found[name].issues)
                splits.issues[name].merge([found[name].issues])
            self._extensions.papermage_evaluated(name, found[name].scores.to_json())
        if "val" in found and not _SOME_OF_VALIDATION & self.config.lightning.keys():
            self._compare(checkpoint.read_json(self.checkpoint).get("val_f1"), found["val"].scores.f1)
        return found

    def _compare(self, trained: float | None, saved: float) -> None:
        """Warn where the model that was saved is not the one that was trained: some of it was not saved."""
        if trained is not None and abs(trained - saved) > _SAME_F1:
            _log.warning(
                "F1 on the validation data was %.1f in training, and is %.1f with what was saved: a component uses "
                "more than it saves, such as weights that are no parameters or buffers; papermage-plugins check NAME "
                "says which",
                100 * trained,
                100 * saved,
            )

    def result(self) -> RunResult:
        """Return what the run that is done in the folder gave."""
        scores = checkpoint.read_json(self.checkpoint)["scores"]
        split = next(name for name in ("test", "val", "train") if name in scores)
        return RunResult(
            folder=self.folder, checkpoint=self.checkpoint, split=split, scores=Scores.from_json(scores[split])
        )

    def _write(self, record: RunRecord, fingerprint: str, profile: Profile) -> None:
        calibration = calibrate(record.evaluations["val"], "val") if "val" in record.evaluations else None
        if calibration is not None:
            record = attrs.evolve(record, calibration=calibration.summary)
        reference = None
        if calibration is not None:
            val = record.evaluations["val"]
            scores = calibration.entity.apply(val.entity_scores)
            reference = reference_of(val.scores, val.unknown, val.document_of, scores)
        checkpoint.update(
            self.checkpoint,
            card=record.card(),
            profile=profile,
            reference=None if reference is None else reference.to_json(),
            calibration=None if calibration is None else calibration.to_json(),
            data_fingerprint=fingerprint,
            scores={name: found.scores.to_json() for name, found in record.evaluations.items()},
            versions=record.versions,
        )
        write_results(self.folder, record)
        self._folder.finish()


def _described(lightning: pl.Trainer, module: EntityModule, config: EntityClassificationTrainConfig) -> str:
    """Return what is about to be trained, in a line."""
    weights = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    accelerator = type(lightning.accelerator).__name__.removesuffix("Accelerator").lower()
    where = f"{lightning.world_size} × {accelerator}" if lightning.world_size > 1 else accelerator
    threads = f" ({counted(torch.get_num_threads(), 'threads')})" if accelerator == "cpu" else ""
    begun = "" if config.start_from is None else f", from {config.start_from}"
    return f"training {config.encoder} + {config.head}{begun}: {weights:,} weights, on {where}{threads}"


def _tell(split: str, issues: Issues) -> None:
    for line in issues.lines():
        _log.warning("%s: %s", split, line)


def _watched(documents: Iterable[ParsedDocument], watch: Callable[[int], None]) -> Iterator[ParsedDocument]:
    for number, parsed in enumerate(documents):
        watch(number)
        yield parsed


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
