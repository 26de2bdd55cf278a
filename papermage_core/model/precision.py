"""Which arithmetic a model predicts in, and which of them is the fastest here that finds the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from papermage_core.data.batches import Batch
from papermage_core.errors import ConfigError, counted
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.onnx import ONNX_PRECISIONS, OnnxModel, onnx_model
from papermage_core.plugin.blame import calling, component_of
from papermage_core.plugin.spec import ContextNeeds, HeadOutput

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "UNITS",
    "Backend",
    "Precision",
    "PrecisionChoice",
    "Trial",
    "choose_precision",
    "decide",
    "use_precision",
    "with_backend",
]

Backend = Literal["torch", "onnx"]
BACKENDS: tuple[Backend, ...] = ("torch", "onnx")
Precision = Literal["fp32", "bf16", "int8", "auto"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8", "auto")
UNITS = 500
"""How many units `choose_precision` wants to see."""
_LEAST = 0.99
"""Least share of entities that must be those of fp32."""
_REPEATS = 3
_log = logging.getLogger(__name__)


def use_precision(model: EntityModel, precision: Precision | None) -> None:
    """Have a model predict in an arithmetic: ``auto`` chooses at the first windows; None leaves it as it is.

    Raises ConfigError where it cannot.
    """
    _check(precision)
    if precision == "auto":
        model.undecided = len(_possible(model)) > 1
    elif precision is not None:
        _compute_in(model, precision)
        model.undecided = False


def with_backend(
    model: EntityModel, needs: ContextNeeds, backend: Backend | None, precision: Precision | None
) -> EntityModel:
    """Return a model that predicts by a backend, in a precision; None leaves either as it is.

    Raises ConfigError for what cannot be had.
    """
    if backend not in (None, *BACKENDS):
        raise ConfigError(f"backend={backend}: expected one of {', '.join(BACKENDS)}")
    if backend == "torch" and isinstance(model, OnnxModel):
        raise ConfigError("backend=torch: this checkpoint was exported to ONNX, and has no weights for torch")
    if backend == "onnx" and not isinstance(model, OnnxModel):
        _check(precision)
        use_precision(model, "fp32")
        precisions = ONNX_PRECISIONS if precision == "auto" else (precision or "fp32",)
        model = onnx_model(model, needs, precisions)
    use_precision(model, precision)
    return model


def _check(precision: str | None) -> None:
    if precision not in (None, *PRECISIONS):
        raise ConfigError(f"precision={precision}: expected one of {', '.join(PRECISIONS)}")


def _compute_in(model: EntityModel, precision: str) -> None:
    own = getattr(model if isinstance(model, OnnxModel) else model.encoder, "compute_in", None)
    if own is None:
        if precision != "fp32":
            name = component_of(model.encoder) or type(model.encoder).__name__
            raise ConfigError(f"precision={precision}: the {name} computes in fp32 alone")
        return
    with calling(model.encoder, "compute_in"):
        own(precision)


def _possible(model: EntityModel) -> list[str]:
    """Return the arithmetics that a model can predict in; the last one is set."""
    found = []
    for precision in ("bf16", "int8", "fp32"):
        try:
            _compute_in(model, precision)
        except ConfigError:
            continue
        found.append(precision)
    return found


@attrs.frozen
class Trial:
    """How one arithmetic did."""

    seconds: float
    same: int
    """Entities that are those of fp32: label and both ends."""
    entities: int
    """Entities that either found."""

    @property
    def share(self) -> float:
        """Share of entities that are the same; 1 where there are none."""
        return self.same / self.entities if self.entities else 1.0


@attrs.frozen
class PrecisionChoice:
    """What `choose_precision` chose, and why."""

    precision: str
    trials: Mapping[str, Trial]
    units: int

    def __str__(self) -> str:
        base = self.trials["fp32"].seconds
        told = ", ".join(
            f"{name} {base / trial.seconds:.2f} times as fast as fp32 with {trial.same} of {trial.entities} entities "
            "the same"
            for name, trial in self.trials.items()
            if name != "fp32"
        )
        return f"precision=auto: {self.precision} ({told}; measured on {counted(self.units, 'units')})"


def choose_precision(model: EntityModel, batches: Sequence[Batch]) -> PrecisionChoice:
    """Have a model predict in the fastest arithmetic that finds on these batches what fp32 finds.

    At least 99 in 100 entities of either must be the same. The choice depends on the machine, and on what else it does.
    """
    names = _possible(model)
    found = {name: _spans(model, name, batches) for name in names}
    seconds = dict.fromkeys(names, float("inf"))
    for _ in range(_REPEATS):
        for name in names:
            _compute_in(model, name)
            start = time.perf_counter()
            for batch in batches:
                model(batch)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    base = found["fp32"]
    trials = {
        name: Trial(seconds[name], len(found[name] & base), len(found[name] | base)) for name in ("fp32", *names[:-1])
    }
    chosen = min((name for name in trials if trials[name].share >= _LEAST), key=lambda name: trials[name].seconds)
    _compute_in(model, chosen)
    model.undecided = False
    choice = PrecisionChoice(chosen, trials, sum(int(batch.mask.sum()) for batch in batches))
    _log.info("%s", choice)
    return choice


def _spans(model: EntityModel, precision: str, batches: Sequence[Batch]) -> set[object]:
    """Return all entities of all contexts, each with its place."""
    _compute_in(model, precision)
    found: set[object] = set()
    for number, batch in enumerate(batches):
        outputs: list[list[HeadOutput]] = model.decode(batch)
        found.update(
            (number, head, context, span.place)
            for head, of_head in enumerate(outputs)
            for context, output in enumerate(of_head)
            for span in output.spans
        )
    return found


def decide(model: EntityModel, batches: Sequence[Batch]) -> None:
    """Choose the precision of a model that is undecided, if these batches hold enough units."""
    if sum(int(batch.mask.sum()) for batch in batches) >= UNITS:
        choose_precision(model, batches)
