"""Lightning's ``Trainer`` as a run wants it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.strategies import DDPStrategy

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.paths import service_missing
from papermage_core.errors import BrokenRunError, ConfigError
from papermage_core.training.callbacks import CheckedFiles, is_broken_connection

__all__ = ["check_trainer", "interruptible", "make_trainer", "quiet_lightning", "services"]

_log = logging.getLogger(__name__)

_EXPECTED = (
    r".*does not have many workers.*",  # batches are made of arrays that lie ready
    r".*number of training batches.*is smaller than the logging interval.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # inside Lightning, of torch
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*GPU available but not used.*",
    r".*Total length of `list` across ranks is zero.*",  # a run without validation
    r".*It is recommended to use `self\.log\(.*sync_dist=True\)`.*",  # what is logged is that of all processes already
    r".*trying to `self\.log\(\)` but `Trainer\(barebones=True\)` is configured.*",
)


_REFUSALS = (MisconfigurationException, TypeError, ValueError, RuntimeError, ImportError)
"""What Lightning raises for parameters that it does not take, on this machine, or without what they need installed."""


def check_trainer(config: EntityClassificationTrainConfig) -> None:
    """Raise ConfigError for parameters that Lightning does not take, before anything is read or written.

    Objects made in Python would belong to the trainer that is made here: nothing is said of parameters beside them.
    """
    given = {name: value for name, value in config.lightning.items() if name != "callbacks"}
    if all(map(_is_plain, given.values())):
        with quiet_lightning(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run tells them
            _built(_arguments(config, given, [pl.Callback()], []))


def _is_plain(value: Any) -> bool:
    parts = value if isinstance(value, (list, tuple)) else [value]
    return all(part is None or isinstance(part, (bool, int, float, str, dict, timedelta)) for part in parts)


def make_trainer(
    config: EntityClassificationTrainConfig, callbacks: Sequence[pl.Callback], loggers: Sequence[Logger]
) -> pl.Trainer:
    """Return the trainer: what the config gives by Lightning's names wins over our defaults; callbacks are joined.

    The last of ``callbacks`` stays the last. Raises ConfigError for what Lightning does not take.
    """
    return _built(_arguments(config, config.lightning, callbacks, loggers))


def _arguments(
    config: EntityClassificationTrainConfig,
    parameters: Mapping[str, Any],
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
) -> dict[str, Any]:
    given = dict(parameters)
    own = given.pop("callbacks", None) or []
    own = list(own) if isinstance(own, (list, tuple)) else [own]
    given.pop("enable_progress_bar", None)  # whoever has it on finds ours among the callbacks
    if any(isinstance(callback, pl.callbacks.ProgressBar) for callback in own):
        callbacks = [callback for callback in callbacks if not isinstance(callback, pl.callbacks.ProgressBar)]
    all_callbacks = [*callbacks[:-1], *own, callbacks[-1]]
    all_loggers = [*_loggers(given.pop("logger", None), config.default_root_dir), *loggers]
    bare = bool(given.get("barebones"))  # Lightning refuses to log then, or to show a bar
    defaults: dict[str, Any] = {
        "enable_model_summary": False,
        "gradient_clip_val": 1.0,
        "log_every_n_steps": 0 if bare else 1,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,  # our sampler shares batches out itself
    }
    plugins = given.pop("plugins", None) or []
    plugins = list(plugins) if isinstance(plugins, (list, tuple)) else [plugins]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(CheckedFiles())
    fixed = {
        "plugins": plugins,
        "callbacks": all_callbacks,
        "default_root_dir": config.default_root_dir,
        "enable_checkpointing": not bare,  # `SaveLastOfAll` is a checkpoint callback, so Lightning adds none of its own
        "enable_progress_bar": any(isinstance(callback, pl.callbacks.ProgressBar) for callback in all_callbacks),
        "logger": all_loggers or False,
        "max_epochs": config.max_epochs,
    }
    return defaults | given | fixed


def _built(arguments: dict[str, Any]) -> pl.Trainer:
    try:
        trainer = pl.Trainer(**arguments)
        if isinstance(trainer.strategy, DDPStrategy):  # spares each step two copies of all gradients
            trainer.strategy._ddp_kwargs.setdefault("gradient_as_bucket_view", True)
        # Signals are the command's: Lightning's own handler would talk to other processes in the middle of a step.
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        # With max_steps Lightning takes the end of an epoch for its middle, and ends a resumed one a second time.
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        return trainer
    except _REFUSALS as error:
        raise ConfigError(f"Lightning's Trainer: {error}") from error


def services(config: EntityClassificationTrainConfig) -> list[Logger]:
    """Return the loggers of services that were asked for. Raises ConfigError for one that is not installed."""
    folder = config.default_root_dir
    makers: dict[str, Callable[[], Logger]] = {
        "wandb": lambda: WandbLogger(name=config.run_name(), project="papermage", save_dir=str(folder)),
        "tensorboard": lambda: TensorBoardLogger(str(folder), name="tensorboard", version=""),
        "mlflow": lambda: MLFlowLogger(
            "papermage",
            config.run_name(),
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"file:{folder and folder.absolute()}/mlruns",
        ),
    }
    found = []
    for name, make in makers.items():
        if getattr(config, name):
            try:
                found.append(make())
            except ModuleNotFoundError as error:
                raise ConfigError(service_missing(name)) from error
    return found


def _loggers(given: Any, folder: Path | None) -> list[Logger]:
    if given is None or given is False:
        return []
    if given is True:
        return [pl.loggers.CSVLogger(folder or Path(), name="lightning_logs")]
    return list(given) if isinstance(given, (list, tuple)) else [given]


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice on what we chose on purpose off the terminal; warnings of substance stay."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    watcher = logging.getLogger("lightning_fabric.strategies.launchers.subprocess_script")
    watcher.setLevel(logging.INFO)  # says which process of several died, before it ends the others
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        watcher.setLevel(logging.NOTSET)


def _who_died(trainer: pl.Trainer) -> str:
    """Return which of several processes ended, and how; Lightning's watcher need not end this one any more."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._run = lambda: True  # type: ignore[attr-defined]
    for rank, process in enumerate(getattr(trainer.strategy.launcher, "procs", None) or [], start=1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=1)
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            return f"process {rank} of {trainer.world_size} (PID {process.pid}) {how}"
    return f"another of the {trainer.world_size} processes ended"


@contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Turn Lightning's exit on Ctrl-C back into KeyboardInterrupt, and give the signal its handler back.

    What Lightning finds wrong with its arguments is a ConfigError, as any other wrong option.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    except RuntimeError as error:
        if not is_broken_connection(trainer, error):
            raise
        raise BrokenRunError(
            f"{_who_died(trainer)}, so that the run cannot go on. What it saved is in {trainer.default_root_dir}; "
            "the same command with resume=auto goes on from there"
        ) from error
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise error.__context__ from None  # with the place where it was raised, which may be a callback's code
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
