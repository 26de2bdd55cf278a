"""The model as Lightning trains it."""

from __future__ import annotations

import contextlib
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from papermage_core.config.monitor import Monitor
from papermage_core.data.batches import Batch, BatchLimits, ExampleBatches, LengthSampler, ListedBatches
from papermage_core.data.corpus import Corpus
from papermage_core.data.examples import Examples
from papermage_core.data.garbage import FreeMemory
from papermage_core.data.gold import to_document
from papermage_core.data.spans import SpanTable
from papermage_core.errors import CheckpointError, DivergedError
from papermage_core.evaluation import Scorer, Scores
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.plugin.blame import built, calling, claim, component_of
from papermage_core.plugin.spec import HeadOutput, Metric, OptimizerConfig, UnitSpan
from papermage_core.training.schedule import learning_rate_factor
from papermage_core.training.shared_memory import average_in_shared_memory

__all__ = ["EntityModule", "Optimisation", "Predictions", "Validation", "clip_gradients", "parameter_groups"]


_STEPS_A_LOOK = 20
"""Steps after which the loss is looked at on a GPU, which must be waited for."""


@attrs.frozen(kw_only=True)
class Optimisation:
    """The optimizer, and the rates that it begins with; its schedule changes them a step at a time."""

    learning_rate: float
    """Peak rate of the encoder's parameters."""
    head_learning_rate: float
    """Peak rate of the heads' parameters."""
    weight_decay: float
    """Share of each matrix that a step at a learning rate of 1 would take away."""
    warmup_steps: float
    """Up to 1 a share of all steps, above 1 their number."""
    optimizer: OptimizerConfig

    def factor(self, step: int, total: int) -> float:
        """Return what the learning rates are multiplied with at a step, counted from 0."""
        warmup = self.warmup_steps if self.warmup_steps > 1 else self.warmup_steps * total
        with calling(self.optimizer, "factor"):
            return float(self.optimizer.factor(step, total, warmup))


class Predictions:
    """What a model found in the contexts of a corpus, as arrays, in whatever order they come."""

    def __init__(self, corpus: Corpus, examples: Examples) -> None:
        self._corpus, self._examples = corpus, examples
        self._found = SpanTable()
        self._index = array("q")

    def add(self, index: int, outputs: Sequence[HeadOutput]) -> None:
        """Keep what heads say of an example; those whose fields nobody labelled there are to be left out."""
        self._found.append(self._in_document(index, span) for found in outputs for span in found.spans)
        self._index.append(index)

    def _in_document(self, index: int, span: UnitSpan) -> UnitSpan:
        first = int(self._examples.first[index])
        if first >= 0:
            return span.shifted(first) if first else span
        document, context = int(self._examples.document[index]), int(self._examples.context[index])
        return to_document(span, self._corpus[document].units[context])

    def gather(self) -> None:
        """Take in what the other processes found."""
        parts: list[Any] = [None] * torch.distributed.get_world_size()
        own = (self._index, list(self._found.names), self._found.to_arrays())
        torch.distributed.all_gather_object(parts, own)
        tables = [SpanTable.from_arrays(names, arrays) for _, names, arrays in parts]
        self._found = SpanTable.joined(tables, np.arange(sum(map(len, tables))))
        self._index = array("q", itertools.chain.from_iterable(index for index, _, _ in parts))

    def scores(self, labels: Sequence[str], metric: Metric | None = None) -> Scores:
        """Return strict scores, counted in documents; a metric is given the same to count."""
        row = np.full(len(self._examples), -1, np.int64)
        row[np.array(self._index, np.int64)] = np.arange(len(self._index))
        bounds = np.searchsorted(self._examples.document, np.arange(len(self._corpus) + 1)).tolist()
        scorer, lost = Scorer(labels), self._corpus.unreachable_by_document()
        for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
            rows = row[start:stop]
            predicted = [span for i in rows[rows >= 0].tolist() for span in self._found[i]]
            gold, unreachable = self._corpus.gold_of(number), lost.get(number, [])
            scorer.add(gold, predicted, unreachable)
            if metric is not None:
                with calling(metric, "add"):
                    metric.add(sorted(gold), sorted(predicted), unreachable)
        return scorer.scores()


@attrs.frozen(eq=False, kw_only=True)
class Validation:
    """What is validated on, and by which scores."""

    corpus: Corpus
    examples: Examples
    score: Callable[[Predictions, Metric | None], Scores]
    monitor: Monitor


def advice(learning_rate: float) -> str:
    """Return what to try where training diverges."""
    return (
        f"Try a lower learning_rate (now {learning_rate:g}), more warmup_steps, a lower gradient_clip_val, or "
        "precision=32-true; the best model so far, if there was one, stays"
    )


def parameter_groups(model: EntityModel, options: Optimisation) -> list[dict[str, Any]]:
    """Return the optimizer's groups. An encoder without its own, and the heads, have weight decay on matrices only."""
    own = getattr(model.encoder, "parameter_groups", None)
    if own is not None:
        with calling(model.encoder, "parameter_groups"):
            groups: list[dict[str, Any]] = list(own(options.learning_rate, options.weight_decay))
    else:
        groups = _groups(model.encoder, options.learning_rate, options.weight_decay)  # type: ignore[arg-type]
    return [g for g in groups + _groups(model.heads, options.head_learning_rate, options.weight_decay) if g["params"]]


def _groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "lr": learning_rate, "weight_decay": 0.0},
    ]


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale gradients down to a joint norm of ``max_norm`` where it is greater, as torch does; return the norm.

    torch multiplies by one where it is not, which writes every gradient once more: a twentieth of a small model's step.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()  # a row that stands in it twice has the sum of both
            gradients.append(parameter.grad.values())
        elif parameter.grad is not None:
            gradients.append(parameter.grad)
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    if not norm + 1e-6 <= max_norm:  # a norm that is no number spreads, as in torch
        torch._foreach_mul_(gradients, max_norm / (norm + 1e-6))
    return norm


class EntityModule(pl.LightningModule):
    """Trains an `EntityModel`, and validates it."""

    def __init__(
        self,
        blueprint: Blueprint,
        model: EntityModel,
        *,
        train: Examples,
        chosen: NDArray[np.int64] | None,
        val: Validation | None,
        limits: BatchLimits,
        optimisation: Optimisation,
        seed: int,
        corpus: Corpus,
        resumable: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.model = model
        self._train, self._chosen, self._val = train, chosen, val
        self._limits, self.optimisation, self._seed = limits, optimisation, seed
        self._corpus, self._resumable = corpus, resumable
        self._position: dict[str, int] | None = None
        self._predictions: Predictions | None = None
        self._free_memory = FreeMemory()
        self._may_diverge = False
        self._batch: Batch | None = None
        """The batch that is trained on."""
        self._val_loss = torch.zeros(2)  # the sum over units, and their number
        self.val_scores: dict[str, float] = {}
        """What the last validation logged, kept here as well: with ``barebones=true`` Lightning logs nothing."""

    # Data

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training batches, shuffled anew each epoch."""
        loader = self._loader(self._train, self._chosen, shuffle=True)
        if self._position is not None:
            loader.load_state_dict(self._position)  # type: ignore[attr-defined]
            self._position = None
        return loader

    def val_dataloader(self) -> list[DataLoader[Batch]] | DataLoader[Batch]:
        """Return the validation batches, each example once."""
        return self._loader(self._val.examples, None, shuffle=False) if self._val is not None else []

    def _loader(self, examples: Examples, chosen: NDArray[np.int64] | None, *, shuffle: bool) -> DataLoader[Batch]:
        sampler = LengthSampler(
            examples,
            self._limits,
            chosen=chosen,
            shuffle=shuffle,
            seed=self._seed,
            epoch=lambda: self.trainer.current_epoch,  # Lightning's set_epoch misses the first epoch of a resumed run
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        max_cost = None if shuffle else self._limits.cost
        dataset = ExampleBatches(examples, self.model.encoder.collate, max_cost)
        given: dict[str, Any] = {"dataset": dataset, "sampler": sampler}
        if getattr(self.trainer, "overfit_batches", 0):  # Lightning wants a sampler in sequence then, and ours is none
            given = {"dataset": ListedBatches(dataset, list(sampler))}
        own = torch.Generator()  # else each pass draws from the global one, at times that a resumed run does not repeat
        loader = (ResumableLoader if shuffle else DataLoader)(**given, batch_size=None, collate_fn=_same, generator=own)
        if isinstance(loader, ResumableLoader):
            loader.batches = lambda: self.trainer.num_training_batches
        return loader

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch, which Lightning does not know how to."""
        return batch.to(device, non_blocking=True)

    # Training

    def on_train_start(self) -> None:
        """Have several processes of one machine share gradients as memory, unless a way of their own was asked for."""
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy) and strategy._ddp_comm_hook is None:
            average_in_shared_memory(strategy.model, self.trainer.num_nodes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | dict[str, Tensor]:
        """Return the loss of a batch, and the parts that heads name beside it."""
        losses, self._batch = self.model.losses_of(self.model(batch), batch), batch
        loss = losses.pop("loss")
        if loss.device.type == "cpu" or self.global_step % _STEPS_A_LOOK == 0:
            self._check(loss, batch)
        if self.trainer.loggers:  # a twentieth of a small model's step; `RunState` keeps the mean of the epoch
            self.log("loss", loss.detach(), on_step=True, on_epoch=False, batch_size=1)
            for name, part in losses.items():
                self.log(f"loss_{name}", part, on_step=True, on_epoch=False, batch_size=1)
        return {"loss": loss, **losses} if losses else loss

    def units_of(self, batch: Batch) -> int:
        """Return how many units a batch of the training data holds."""
        return int(self._train.units[list(batch.index)].sum())

    @contextlib.contextmanager
    def diverging(self) -> Iterator[None]:
        """Let the loss be no number while the block runs: a learning rate is looked for."""
        self._may_diverge = True
        try:
            yield
        finally:
            self._may_diverge = False

    def _check(self, loss: Tensor, batch: Batch) -> None:
        """Raise DivergedError for a loss that is no number."""
        if not (self._may_diverge or torch.isfinite(loss)):
            raise self._diverged(f"the loss is {loss.item()}", batch, self._train, self._corpus)

    def _diverged(self, what: str, batch: Batch, examples: Examples, corpus: Corpus) -> DivergedError:
        numbers = dict.fromkeys(int(examples.document[i]) for i in batch.index)
        names = [corpus[number].name for number in list(numbers)[:3]]
        more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
        where = self.model.not_finite(batch)
        return DivergedError(
            f"training diverged at step {self.global_step}, in epoch {self.current_epoch}: {what} (documents "
            f"{', '.join(names)}{more}){where and f'; {where}'}. {advice(self.optimisation.learning_rate)}"
        )

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm without a needless pass on the CPU; all else as Lightning does."""
        plain = type(self.trainer.strategy).__name__ in ("SingleDeviceStrategy", "DDPStrategy")
        if self.device.type == "cpu" and plain and gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            norm = clip_gradients(self.parameters(), gradient_clip_val)
            if not (self._may_diverge or torch.isfinite(norm)) and self._batch is not None:
                what = f"the loss is a number, and its gradients are none (their norm is {norm.item()})"
                raise self._diverged(what, self._batch, self._train, self._corpus)
        elif isinstance(self.trainer.strategy, FSDPStrategy) and gradient_clip_algorithm in (None, "norm"):
            if gradient_clip_val:  # Lightning refuses to: each process has a part of the gradients alone
                self.trainer.strategy.model.clip_grad_norm_(gradient_clip_val)  # type: ignore[union-attr,operator]
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule."""
        config, mixed = self.optimisation.optimizer, str(self.trainer.precision).endswith("mixed")
        own = getattr(self.model.encoder, "make_gradients_sparse", None)
        if own is not None and config.takes_sparse_gradients and self._may_be_sparse():
            with calling(self.model.encoder, "make_gradients_sparse"):
                own()
        with calling(config, "build"):
            optimizer = config.build(parameter_groups(self.model, self.optimisation), mixed=mixed)
            if not isinstance(optimizer, Optimizer):
                raise TypeError(f"expected a torch.optim.Optimizer, got {optimizer!r:.100}")
        claim(optimizer, component_of(config))
        factor = learning_rate_factor(self.trainer, self.optimisation)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _may_be_sparse(self) -> bool:
        """Whether nobody but `clip_gradients` and the optimizer reads gradients."""
        trainer: Any = self.trainer
        return (
            type(trainer.strategy).__name__ == "SingleDeviceStrategy"
            and trainer.strategy.root_device.type == "cpu"
            and not str(trainer.precision).endswith("mixed")
            and trainer.gradient_clip_algorithm in (None, "norm")
            and not any(
                getattr(type(callback), name) is not getattr(pl.Callback, name)
                for callback in trainer.callbacks
                for name in ("on_after_backward", "on_before_optimizer_step", "on_before_zero_grad")
            )
        )

    # Validation

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        assert self._val is not None
        self._predictions = Predictions(self._val.corpus, self._val.examples)
        self._val_loss = torch.zeros(2, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep what the heads say of a batch, and its loss."""
        assert self._predictions is not None
        assert self._val is not None
        vectors = self.model(batch)
        loss = self.model.loss_of(vectors, batch)
        if loss.device.type == "cpu" and torch.isnan(loss) and not self._may_diverge:
            what = "the loss of validation documents is nan"
            raise self._diverged(what, batch, self._val.examples, self._val.corpus)
        n_units = batch.mask.sum().clamp(min=1).to(loss)  # what the loss is a mean over
        self._val_loss += torch.stack([loss * n_units, n_units])
        of_tasks = self.model.decode_of(vectors, batch)
        for row, index in enumerate(batch.index):
            known = (_is_labelled(targets, row) for targets in batch.targets)
            outputs = [found[row] for found, labelled in zip(of_tasks, known, strict=True) if labelled]
            self._predictions.add(index, outputs)
        self._free_memory.after(batch.mask.numel())

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the predictions of all processes."""
        assert self._val is not None
        assert self._predictions is not None
        if self.trainer.world_size > 1:
            self._predictions.gather()
            torch.distributed.all_reduce(self._val_loss)
        config = self._val.monitor.config
        metric: Metric | None = None if config is None else built(config, self.blueprint.labels)
        scores = self._val.score(self._predictions, metric)
        self._predictions = None
        figures = self._val.monitor.figures(scores)
        if metric is not None:
            with calling(metric, "value"):
                figures = {self._val.monitor.metric: float(metric.value())}
        self.val_scores = {
            "val_loss": float(self._val_loss[0] / self._val_loss[1]),
            "val_f1": scores.f1,
            "val_precision": scores.precision,
            "val_recall": scores.recall,
            **figures,
        }
        for name, value in self.val_scores.items():
            self.log(name, value)

    # Resuming

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a run that goes on is held against: its options, and hashes of its data."""
        checkpoint.update(self._resumable)

    def load_state_dict(self, state_dict: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
        """Take the weights of a run that goes on. Raises CheckpointError where they are those of another model."""
        try:
            return super().load_state_dict(state_dict, *arguments, **options)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:500]
            raise CheckpointError(
                f"resume: the weights of the run do not fit the model that its options make now: {reason}. Go on with "
                "the versions of papermage_core and plugins that it began with, or start over with overwrite=true"
            ) from error

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the position in the data: Lightning forgets it, for the schedule asks for the data before."""
        self._position = next(iter(checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])), None)


class ResumableLoader(DataLoader[Batch]):
    """Knows how many batches of a pass it gave, and goes on behind them."""

    batches: Callable[[], float] = float
    """How many batches are taken of a pass."""
    _given = _skipped = 0

    def __iter__(self) -> Any:
        """Yield the batches of a pass, or those that are left of the one that a run goes on with."""
        self._given, self._skipped = self._skipped, 0
        skipped = self._given
        if isinstance(self.sampler, LengthSampler):
            self.sampler.skip, skipped = skipped, 0
        for batch in itertools.islice(super().__iter__(), skipped, None):
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return where in a pass this is: at its start where one is over."""
        return {"given": self._given if self._given < self.batches() else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Have the next pass begin there."""
        self._skipped = state_dict["given"]


def _same(batch: Any) -> Any:
    return batch


def _is_labelled(targets: Any, row: int) -> bool:
    """Return whether somebody labelled an example of a batch for the task of these targets."""
    return targets[row] is not None if isinstance(targets, list) else bool((targets[row] >= 0).any())
