"""A search over options: trials, each a run in its folder, recorded by Optuna where any process may go on with them.

A process that takes up a trial holds a lock on it, which the system lets go when the process ends, however it does. A
trial that is said to be running and is not locked was stopped: the next process goes on with it, in its folder and with
its values, before anything new is begun. So nothing is lost, and nothing is run twice.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytorch_lightning as pl

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.booleans import check_boolean
from papermage_core.config.combinations import Combinations, with_values
from papermage_core.config.monitor import Monitor, is_figure
from papermage_core.config.space import Dimension, Space, check_tunable, declared_space, has_option
from papermage_core.errors import CheckpointError, ConfigError, DataError, DivergedError, PapermageError
from papermage_core.files import exclusive
from papermage_core.files.whole import check_folder
from papermage_core.training import EntityClassificationTrainer
from papermage_core.training.folder import RunFolder
from papermage_core.training.lightning import check_trainer
from papermage_core.training.prepare import check_read_by_several
from papermage_core.training.stopping import Stopping
from papermage_core.training.tuning_report import Trial, TuneResult, trial_name, write_tuning

if TYPE_CHECKING:
    import optuna

__all__ = ["TuneOptions", "tune"]

_log = logging.getLogger(__name__)
_STUDY = "papermage"
_MOST_ATTEMPTS = 10
"""Times that a trial is gone on with: one that ends its process each time must not do so for ever."""
_WAIT = 0.05


@attrs.frozen(kw_only=True)
class TuneOptions:
    """How a search goes."""

    n_trials: int = 20
    pruning: bool = attrs.field(default=True, validator=check_boolean)
    storage: str | None = None
    """An SQLAlchemy URL; None: ``trials.db`` in the folder."""


class _PrunedError(PapermageError):
    """A trial that is not worth its time."""


def tune(
    config: EntityClassificationTrainConfig,
    space: Space | None,
    folder: Path,
    options: TuneOptions | None = None,
    stopping: Stopping | None = None,
) -> TuneResult:
    """Run trials until there are as many as wanted, those of other processes and of earlier calls counted in.

    Each is a run of ``config`` with values of the space, in a folder below ``folder``, scored by ``monitor`` on the
    validation data. Without a space, what the options of the components declare is varied. Writes ``trials.json``,
    ``report.html``, ``best.yaml`` and the folder ``best``. Raises ConfigError where the folder holds another search.
    """
    options = options or TuneOptions()
    space = declared_space(config) if space is None else space
    check_tunable(config, space)
    config.check_paths()
    check_read_by_several(config, config.components(), "papermage-tune")
    check_trainer(config)
    with contextlib.closing(_Search(config, space, folder, options, stopping)) as search:
        while (taken := search.next()) is not None:
            with taken as trial:
                search.run(trial)
        return search.summarise()


class _Search:
    def __init__(
        self,
        config: EntityClassificationTrainConfig,
        space: Space,
        folder: Path,
        options: TuneOptions,
        stopping: Stopping | None,
    ) -> None:
        self.config, self.space, self.folder, self.options, self.stopping = config, space, folder, options, stopping
        self.combinations = Combinations.of(config, space)
        self.monitor = Monitor(config.monitor, None if is_figure(config.monitor) else config.components().metric)
        check_folder(folder)
        for name in ("best", "trials", "locks"):
            if (folder / name).exists() and not (folder / name).is_dir():
                raise ConfigError(
                    f"default_root_dir={folder}: {name} in it is a file, where a folder is to be made",
                    advice="move the file away, or choose another default_root_dir",
                )
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self.optuna = _optuna()
        self._storage: optuna.storages.RDBStorage | None = None
        self.url = options.storage or f"sqlite:///{(folder / 'trials.db').absolute()}"
        try:
            with self._alone():
                self.study = self._study()
        except ConfigError:
            self.close()
            self._leave()
            raise
        for each in self.combinations.left_out():
            _log.info("not drawn, for they do not fit: %s", each)

    def close(self) -> None:
        """Leave the database: optuna keeps a connection to it for each thread."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _leave(self) -> None:
        """Remove what was made of a folder in which nothing begins."""
        (self.folder / "locks" / "search").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what holds something stays
            (self.folder / "locks").rmdir()
            self.folder.rmdir()

    # Locks

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold a lock of this name while the block runs. Raises BlockingIOError where another has it, or waits."""
        path = self.folder / "locks" / name
        path.touch()
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(exclusive(path))
                    break
                except BlockingIOError:
                    if not wait:
                        raise
                    time.sleep(_WAIT)
            yield

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from choosing a trial, or writing a summary, at the same time."""
        return self._locked("search", wait=True)

    # The study

    def _study(self) -> optuna.Study:
        arguments = {"connect_args": {"timeout": 120}} if self.url.startswith("sqlite:") else {}
        try:
            self._storage = storage = self.optuna.storages.RDBStorage(self.url, engine_kwargs=arguments)
            study: optuna.Study = self.optuna.create_study(
                storage=storage,
                study_name=_STUDY,
                direction="minimize" if self.monitor.mode == "min" else "maximize",
                pruner=self.optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
                load_if_exists=True,
            )
            study.get_trials(deepcopy=False)  # which fails where what was drawn from is not there
        except Exception as error:  # of SQLAlchemy, and of any database
            reason = f"a trial in it cannot be read, {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ConfigError(
                f"storage={self.url}: {(reason or type(error).__name__).splitlines()[0]}",
                advice="give another storage or default_root_dir, or move the file away if it is damaged",
            ) from error
        self._check_same(study)
        return study

    def _check_same(self, study: optuna.Study) -> None:
        """Raise ConfigError where the study is of another config or space."""
        described: dict[str, dict[str, Any]] = {
            "options": {item.key: str(item.value) for item in self.config.anchored().given() if item.key not in _FREE},
            "space": {dimension.key: dimension.to_json() for dimension in self.space},
        }
        before = study.user_attrs.get("described")
        if before is None:
            study.set_user_attr("described", described)
            return
        changed = [
            f"{self.folder} holds a search with {what}: {key}={_shown(before[what].get(key))}, and now it is "
            f"{_shown(described[what].get(key))}"
            for what in ("options", "space")
            for key in sorted({*before[what], *described[what]})
            if before[what].get(key) != described[what].get(key) and key not in _FREE
        ]
        if changed:
            raise ConfigError(*changed, advice="go on with what it began with, or choose another default_root_dir")

    # Trials

    def next(self) -> contextlib.AbstractContextManager[optuna.trial.Trial] | None:
        """Return a trial that no living process has, locked while it is held; None where there is none to run."""
        with self._alone():
            trials = self.study.get_trials(deepcopy=False)
            for frozen in trials:
                if frozen.state == self.optuna.trial.TrialState.RUNNING and (lock := self._taken(frozen.number)):
                    self.study.sampler = self._sampler(frozen.number)
                    return self._held(self.optuna.trial.Trial(self.study, frozen._trial_id), lock)
            if len(trials) >= self.options.n_trials:
                return None
            lock = self._taken(len(trials))
            assert lock is not None
            self.study.sampler = self._sampler(len(trials))
            return self._held(self.study.ask(), lock)

    def _sampler(self, number: int) -> Any:
        """Return the sampler of a trial: with a seed of its own, else another process draws the same values again."""
        return self.optuna.samplers.TPESampler(seed=(self.config.seed + 7919 * number) % 2**32, n_startup_trials=5)

    def _taken(self, number: int) -> contextlib.ExitStack | None:
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(self._locked(f"{number:04}", wait=False))
        except BlockingIOError:
            return None
        return stack

    @contextlib.contextmanager
    def _held(self, trial: optuna.trial.Trial, lock: contextlib.ExitStack) -> Iterator[optuna.trial.Trial]:
        with lock:
            yield trial

    def run(self, trial: optuna.trial.Trial) -> None:
        """Run a trial, or go on with it, and record what came of it."""
        states = self.optuna.trial.TrialState
        attempts = trial.user_attrs.get("attempts", 0) + 1
        trial.set_user_attr("attempts", attempts)
        folder = self.folder / "trials" / trial_name(trial.number)
        start = time.monotonic()
        try:
            if attempts > _MOST_ATTEMPTS:
                raise PapermageError(f"it was stopped {_MOST_ATTEMPTS} times")
            values = self._suggested(trial)
            shown = ", ".join(f"{key}={_shown(value)}" for key, value in values.items())
            name, place = trial_name(trial.number), trial.number + 1
            _log.info("trial %s (%d of %d): %s", name, place, self.options.n_trials, shown)
            self._train(trial, with_values(self.config, values, default_root_dir=folder, test_data_path=()))
        except _PrunedError:
            state, error = states.PRUNED, ""
        except (ConfigError, DivergedError, CheckpointError) as exc:
            state, error = states.FAIL, str(exc)
        except Exception as exc:
            if type(exc).__name__ != "OutOfMemoryError" and attempts <= _MOST_ATTEMPTS:
                raise
            state, error = states.FAIL, f"{type(exc).__name__}: {exc}"
        else:
            state, error = states.COMPLETE, ""
        trial.set_user_attr("seconds", trial.user_attrs.get("seconds", 0.0) + time.monotonic() - start)
        rows = _rows(folder)
        history = _history(rows, self.monitor)
        if state == states.COMPLETE and not history:
            if not any(row.get("val_f1") for row in rows):
                raise DataError(f"nothing was validated, so that the trials cannot be compared: {self._remedy()}")
            state, error = states.FAIL, f"{self.monitor.metric} was no number in any epoch"
        trial.set_user_attr("epochs", len(history))
        if error:
            trial.set_user_attr("error", error)
        best = (min if self.monitor.mode == "min" else max)(history, default=None)
        self.study.tell(trial, best if state == states.COMPLETE else None, state)
        _log.info("trial %s: %s", trial_name(trial.number), error or self._told(best, pruned=state == states.PRUNED))
        self.summarise()

    def _remedy(self) -> str:
        """Return what to do where no trial was validated: that is done as an epoch ends."""
        given = [(key, self.config.lightning.get(key)) for key in ("max_steps", "max_time")]
        ends = " and ".join(f"{key}={value}" for key, value in given if value not in (None, -1))
        if not ends:
            return "give val_data_path"
        data = "" if self.config.val_data_path else "give val_data_path, and "
        return f"{data}allow trials more than {ends}, by which they end before their first epoch does"

    def _told(self, best: float | None, *, pruned: bool) -> str:
        value = "no validation" if best is None else f"{self.monitor.metric} {self.monitor.shown(best)}"
        return f"{value}, ended early: worse than most" if pruned else value

    def _suggested(self, trial: optuna.trial.Trial) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for dimension in self.space:
            if "." not in dimension.key or has_option(with_values(self.config, values).components(), dimension.key):
                values[dimension.key] = _suggest(trial, dimension, self.combinations.choices(dimension, values))
        return values

    def _train(self, trial: optuna.trial.Trial, config: EntityClassificationTrainConfig) -> None:
        folder = RunFolder(config.run_folder())
        if folder.is_done:
            return  # it was stopped between its end and our hearing of it
        callbacks = list(config.lightning.get("callbacks") or [])
        if self.options.pruning:
            callbacks.append(_Prune(trial, self.monitor))
        config = config.replace(callbacks=callbacks, **({"resume": True} if folder.can_go_on else {"overwrite": True}))
        EntityClassificationTrainer(config, stopping=self.stopping).train()

    # What is told

    def summarise(self) -> TuneResult:
        """Write what is known so far, and return it."""
        with self._alone():
            trials = [self._trial(frozen) for frozen in self.study.get_trials(deepcopy=False)]
            result = TuneResult(folder=self.folder, monitor=self.monitor, space=self.space, trials=trials)
            best = result.best
            write_tuning(result, None if best is None else with_values(self.config, best.values, default_root_dir=None))
        return result

    def _trial(self, frozen: Any) -> Trial:
        keys = {dimension.key for dimension in self.space}
        values = {name.partition(_OF)[0]: value for name, value in frozen.params.items()}
        return Trial(
            number=frozen.number,
            state=frozen.state.name.lower(),
            value=frozen.value if frozen.state.name == "COMPLETE" else None,
            values={key: value for key, value in values.items() if key in keys},
            epochs=frozen.user_attrs.get("epochs", 0),
            seconds=frozen.user_attrs.get("seconds", 0.0),
            error=frozen.user_attrs.get("error", ""),
        )


_FREE = frozenset({"num_workers", "num_threads", "cache", "offline", "accelerator", "notes", "data_notes"}) | {
    *("default_root_dir", "resume", "test_data_path", "enable_progress_bar", "wandb"),
}
"""What may be another when a search goes on."""


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError(f"papermage-tune needs {error.name}; type: pip install 'papermage_core[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


_OF = ": "
"""What stands between an option and the choices of it that there are beside what was drawn before."""


def _suggest(trial: optuna.trial.Trial, dimension: Dimension, choices: Sequence[Any]) -> Any:
    if dimension.kind == "choice":
        fewer = f"{_OF}{', '.join(map(str, choices))}" if len(choices) < len(dimension.choices) else ""
        return trial.suggest_categorical(f"{dimension.key}{fewer}", list(choices))
    if dimension.kind == "int":
        step = int(dimension.step or 1)
        return trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def _rows(folder: Path) -> Sequence[Mapping[str, str]]:
    """Return what is known of each epoch of a run."""
    try:
        return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    except OSError:
        return []


def _history(rows: Sequence[Mapping[str, str]], monitor: Monitor) -> list[float]:
    """Return what each epoch was judged by, where that is a number."""
    values = [float(row[monitor.metric]) for row in rows if row.get(monitor.metric)]
    return [value for value in values if math.isfinite(value)]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return json.dumps(value) if isinstance(value, dict) else str(value)


class _Prune(pl.Callback):
    """Ends a trial whose validations are worse than those of most others at the same epoch."""

    def __init__(self, trial: optuna.trial.Trial, monitor: Monitor) -> None:
        self._trial, self._monitor = trial, monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the epoch's value; raise where there is no use in going on."""
        value = self._monitor.of({**trainer.callback_metrics, **getattr(pl_module, "val_scores", {})})
        if value is None or not math.isfinite(value):
            return
        reported = self._trial.study.get_trials(deepcopy=False)[self._trial.number].intermediate_values
        if trainer.current_epoch not in reported:
            self._trial.report(value, trainer.current_epoch)
        if self._trial.should_prune():
            raise _PrunedError("worse than most")
