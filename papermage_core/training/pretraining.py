"""Pretraining: an encoder learns from the text of documents, without labels."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import nn

from papermage_core.config.naming import cache_folder
from papermage_core.config.pretrain import EncoderPretrainConfig
from papermage_core.data.batches import BatchLimits, ExampleBatches, LengthSampler
from papermage_core.data.corpus import Corpus, read_corpus
from papermage_core.data.examples import Examples, build_examples
from papermage_core.data.labelling import Labelling
from papermage_core.data.source import DocumentSource
from papermage_core.errors import ConfigError, DataError, DivergedError, StoppedError, counted
from papermage_core.files import checked_file, exclusive, whole_folder, whole_text_file
from papermage_core.files.whole import made_folder
from papermage_core.model.inference import pick_device
from papermage_core.plugin.spec import OptimizerConfig
from papermage_core.training.display import Display, duration
from papermage_core.training.module import clip_gradients
from papermage_core.training.process import process_of_run
from papermage_core.training.state import read_state, write_state
from papermage_core.training.stopping import Stopping

__all__ = ["EncoderPretrainer", "PretrainResult"]

_LONGEST = 4  # batches' cost that a context may have before it is cut
_CLIP = 1.0
_STATE = {
    **dict.fromkeys(("facts", "task", "optimizer", "random"), dict),
    **dict.fromkeys(("content", "state"), str),
}
"""What a run cannot go on without."""


@attrs.frozen(kw_only=True)
class PretrainResult:
    """Where a pretraining left what an encoder begins with, and how well it predicts."""

    folder: Path
    pretrained: Path
    """The folder that ``encoder.pretrained`` takes."""
    loss: float
    """The mean of the last epoch."""

    def __str__(self) -> str:
        return f"loss    {self.loss:.3f}\nuse it  encoder.pretrained={self.pretrained}\nfolder  {self.folder}"


@attrs.define
class _State:
    """Where a run is."""

    epoch: int = 0
    batches: int = 0
    """Batches of the epoch that are done."""
    total: float = 0.0
    """The sum of their losses."""
    history: list[list[float]] = attrs.field(factory=list)
    """Epoch, loss and seconds of each epoch."""
    seconds: float = 0.0


class EncoderPretrainer:
    """Does what a config says; nothing is read before `pretrain`.

    <folder>/
      pretrained/   what encoder.pretrained takes, as of the last epoch
      last.ckpt     where a run that was stopped goes on
      metrics.csv   the loss of each epoch
    """

    def __init__(self, config: EncoderPretrainConfig) -> None:
        self.config = config
        self.folder = config.run_folder()
        self.encoder_config = config.encoder_config()
        self._optimizer = config.optimizer_config()
        self._source = DocumentSource(config.data_path, config.reader_choice(), (), config.processor_choice())
        self._stopping = Stopping()

    def stop(self, why: str) -> bool:
        """Have `pretrain` save its state and raise StoppedError after its step; return whether it is at one."""
        return self._stopping.ask(why)

    def pretrain(self) -> PretrainResult:
        """Run it, or go on with it. Raises ConfigError for a folder that holds another run."""
        config = self.config
        _ = self._source.files  # raises where they are not there, before a folder is made
        with (
            made_folder(self.folder),
            self._alone(),
            process_of_run(offline=config.offline, num_threads=config.num_threads),
        ):
            resumed = self._resumed()
            with Display() as display:
                return self._pretrain(display, resumed)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with exclusive(self.folder):
                yield
        except BlockingIOError as error:
            raise ConfigError(f"another run writes in {self.folder}; choose another default_root_dir") from error

    def _resumed(self) -> dict[str, Any] | None:
        """Return the state that the run goes on from. Raises ConfigError where what is there is not to be touched."""
        last = self.folder / "last.ckpt"
        is_there = last.is_file() or self._result.exists()
        if self.config.resume is True and not last.is_file():
            raise ConfigError(f"resume=true: there is no {last}; a run can be resumed once it was saved")
        if not self.config.resume or not last.is_file():
            if is_there and not self.config.overwrite:
                raise ConfigError(
                    f"{self.folder} holds a run already: set resume=auto to go on, overwrite=true to replace it, or "
                    "choose another default_root_dir"
                )
            return None
        advice = "Copy it again if it was copied; else start over with overwrite=true"
        state = read_state(last, _STATE, advice)
        known, facts = state["facts"], self.config.facts()
        if other := sorted(key for key in known.keys() | facts.keys() if known.get(key) != facts.get(key)):
            raise ConfigError(
                *(f"{key}={facts.get(key)}: the run in {self.folder} was begun with {known.get(key)}" for key in other)
            )
        return state

    @property
    def _result(self) -> Path:
        return self.folder / "pretrained"

    def _pretrain(self, display: Display, resumed: dict[str, Any] | None) -> PretrainResult:
        config = self.config
        corpus = self._corpus(display)
        content = corpus.content()
        if resumed is not None and resumed["content"] != content:
            raise ConfigError(f"the documents are not those that the run in {self.folder} was begun with")
        torch.manual_seed(config.seed)
        settled = self.encoder_config.for_pretraining()
        with display.work("looking through the documents", len(corpus), "documents") as watch:
            settled = settled.settle(corpus.contexts(watch))
        encoder = settled.build()
        device = pick_device(config.device)
        task: nn.Module = settled.pretraining(encoder).to(device)
        with display.work("making examples", len(corpus), "documents") as watch:
            examples, _ = build_examples(
                corpus,
                encoder,
                (),
                stride=config.stride,
                max_cost=_LONGEST * settled.default_batch_cost,
                spool=cache_folder() / "spool",
                num_workers=config.num_workers,
                watch=watch,
            )
        run = _Run(
            config=config,
            task=task,
            examples=examples,
            collate=encoder.collate,
            limits=BatchLimits(None, max(settled.default_batch_cost, config.batch_tokens or 0), config.batch_tokens),
            rate=config.learning_rate or settled.default_learning_rate,
            optimizer=self._optimizer,
            device=device,
        )
        if resumed is not None:
            run.load(resumed)
        self._loop(run, display, {"facts": config.facts(), "content": content})
        return PretrainResult(folder=self.folder, pretrained=self._result, loss=run.state.history[-1][1])

    def _corpus(self, display: Display) -> Corpus:
        config = self.config
        labelling = Labelling(entity_name=config.entity_name, context_name=config.context_name)
        needs = self.encoder_config.for_pretraining().needs
        with display.work(
            f"reading {', '.join(map(str, config.data_path))}", None, "documents", announced=True
        ) as watch:
            corpus = read_corpus(
                self._source,
                labelling,
                needs,
                spool=cache_folder() / "spool",
                num_workers=config.num_workers,
                watch=watch,
            )
        units = int(corpus.n_units.sum())
        if not units:
            raise DataError(f"the documents have no units in the layer {config.entity_name!r}")
        counts = {"documents": len(corpus), "contexts": int(corpus.n_contexts.sum()), "units": units}
        display.line(f"  {', '.join(counted(count, name) for name, count in counts.items())}")
        return corpus

    def _loop(self, run: _Run, display: Display, facts: dict[str, Any]) -> None:
        """Train to the end, saving the state now and then."""
        every, saved, started = self.config.checkpoint_every, time.monotonic(), time.monotonic() - run.state.seconds
        self._stopping.is_fitting = True
        try:
            while run.state.epoch < self.config.max_epochs:
                what = f"epoch {run.state.epoch + 1} of {self.config.max_epochs}"
                with display.work(what, len(run.sampler), "batches") as watch:
                    for _ in run.steps():
                        watch(run.state.batches)
                        now = time.monotonic()
                        run.state.seconds = now - started
                        is_due = every is not None and (
                            run.state.batches % every.steps == 0 if every.steps else now - saved > every.seconds
                        )
                        if is_due or self._stopping.why is not None:
                            self._save(run, facts)
                            saved = now
                        if self._stopping.why is not None:
                            raise StoppedError(
                                f"stopped by {self._stopping.why} in {what}; its state is saved", self._stopping.why
                            )
                loss, took = run.end_epoch(), duration(run.state.seconds)
                display.line(f"  {run.state.epoch}/{self.config.max_epochs}  loss {loss:.3f}  {took}")
                self._keep(run)
                self._save(run, facts)
                saved = time.monotonic()
        finally:
            self._stopping.is_fitting = False

    def _keep(self, run: _Run) -> None:
        with whole_folder(self._result) as new:
            run.task.save_pretrained(new)  # type: ignore[operator]
        with whole_text_file(self.folder / "metrics.csv") as file:
            csv.writer(file, lineterminator="\n").writerows([["epoch", "loss", "seconds"], *run.state.history])

    def _save(self, run: _Run, facts: dict[str, Any]) -> None:
        with checked_file(self.folder / "last.ckpt") as file:
            write_state({**facts, **run.dump()}, file)


class _Run:
    """The steps of a run, and all that decides what the next one does."""

    def __init__(
        self,
        *,
        config: EncoderPretrainConfig,
        task: nn.Module,
        examples: Examples,
        collate: Callable[[Any], dict[str, torch.Tensor]],
        limits: BatchLimits,
        rate: float,
        optimizer: OptimizerConfig,
        device: torch.device,
    ) -> None:
        self.state, self.task = _State(), task
        self._device = device
        self.sampler = LengthSampler(examples, limits, shuffle=True, seed=config.seed, epoch=lambda: self.state.epoch)
        self._batches = ExampleBatches(examples, collate)
        self._parameters = [p for p in task.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in self._parameters if p.ndim >= 2], "lr": rate, "weight_decay": config.weight_decay},
            {"params": [p for p in self._parameters if p.ndim < 2], "lr": rate, "weight_decay": 0.0},
        ]
        self._optimizer = optimizer.build(groups)
        total = config.max_epochs * len(self.sampler)
        warmup = config.warmup_steps * (total if config.warmup_steps <= 1 else 1)
        self._rate: Callable[[int], float] = lambda step: rate * optimizer.factor(step, total, warmup)

    def steps(self) -> Iterator[None]:
        """Take the steps that are left of the epoch, one a turn."""
        self.task.train()
        self.sampler.skip = self.state.batches
        for index in self.sampler:
            step = self.state.epoch * len(self.sampler) + self.state.batches
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate(step)
            batch = self._batches[index].to(self._device)
            self.state.total += self._step(batch.features, step)
            self.state.batches += 1
            yield

    def _step(self, runs: tuple[dict[str, torch.Tensor], ...], step: int) -> float:
        self._optimizer.zero_grad()
        total = 0.0
        for features in runs:
            loss: torch.Tensor = self.task.loss(features) / len(runs)  # type: ignore[operator]
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            raise DivergedError(f"pretraining diverged at step {step}: the loss is {total}; try a lower learning_rate")
        clip_gradients(self._parameters, _CLIP)
        self._optimizer.step()
        return total

    def end_epoch(self) -> float:
        """Return the mean loss of the epoch, and go on to the next."""
        state = self.state
        loss = state.total / max(state.batches, 1)
        state.history.append([state.epoch + 1, loss, round(state.seconds, 1)])
        state.epoch, state.batches, state.total = state.epoch + 1, 0, 0.0
        return loss

    def dump(self) -> dict[str, Any]:
        """Return plain values and tensors, which `load` takes back."""
        random = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self._device)
        return {
            "task": self.task.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": random,
            "state": json.dumps(attrs.asdict(self.state)),
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Go on where `dump` was called."""
        self.task.load_state_dict(dumped["task"])
        self._optimizer.load_state_dict(dumped["optimizer"])
        torch.set_rng_state(dumped["random"]["cpu"])
        if self._device.type == "cuda" and "cuda" in dumped["random"]:
            torch.cuda.set_rng_state(dumped["random"]["cuda"], self._device)
        self.state = _State(**json.loads(dumped["state"]))
