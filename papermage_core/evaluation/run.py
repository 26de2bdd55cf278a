"""What a finished run has to tell: the input of the report and of the model card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.data.units import ParsedDocument
from papermage_core.evaluation.calibration import Calibration, ReliabilityBin
from papermage_core.evaluation.mistakes import ErrorRecord, ErrorSummary
from papermage_core.evaluation.scores import Scores
from papermage_core.evaluation.units import UnitScores

__all__ = ["CalibrationSummary", "PreviousRun", "RunSummary"]


@attrs.frozen(kw_only=True)
class CalibrationSummary:
    """How well scores fit how often they are right, before and after calibration."""

    split: str
    """Where it was measured: on the split it was fitted on, the error after is an optimistic figure."""
    calibration: Calibration
    error_before: float
    """Expected calibration error, from 0 to 1."""
    error_after: float
    bins_before: Sequence[ReliabilityBin] = ()
    bins_after: Sequence[ReliabilityBin] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the figures, without the bins."""
        return {
            "split": self.split,
            "calibration": self.calibration.to_json(),
            "expected_calibration_error": {"before": self.error_before, "after": self.error_after},
        }


@attrs.frozen(kw_only=True)
class PreviousRun:
    """Another run on the same gold, to hold this one against."""

    name: str
    """What its folder is called."""
    f1: float
    finished: str = ""
    """Date and time."""


@attrs.frozen(eq=False, kw_only=True)
class RunSummary:
    """A run, told. Everything but the title may be left out; what is left out is not shown."""

    title: str
    labels: Sequence[str] = ()
    components: Mapping[str, str] = attrs.field(factory=dict)
    """Kind of component → its name with its options and the distribution it is from."""
    config: Mapping[str, Any] = attrs.field(factory=dict)
    """Dotted key → value of the resolved config, all of it."""
    sources: Mapping[str, str] = attrs.field(factory=dict)
    """Dotted key → where its value was given; others are defaults."""
    command: str = ""
    """What to type to repeat the run."""
    data: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    """Split → what is counted (documents, contexts, units, entities …) → how many."""
    label_counts: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    """Split → label → gold entities."""
    issues: Mapping[str, int] = attrs.field(factory=dict)
    """What was found odd in the data (gold cut by a context, say) → how often."""
    history: Sequence[Mapping[str, float]] = ()
    """The metrics of each epoch, in order; ``epoch`` is the x axis, a missing or NaN value leaves a gap."""
    scores: Mapping[str, Scores] = attrs.field(factory=dict)
    """Split → scores of the best model, that which counts most first."""
    previous: PreviousRun | None = None
    units: Mapping[str, UnitScores] = attrs.field(factory=dict)
    """Split → confusion of the tags of single units."""
    errors: Iterable[ErrorRecord] = ()
    """The mistakes; may be gone through more than once."""
    error_summary: ErrorSummary | None = None
    """Counts of all mistakes; None: those of `errors`."""
    documents: Callable[[], Iterable[ParsedDocument]] | None = None
    """Reads the documents of the mistakes once more, to show their pages."""
    errors_split: str = "val"
    calibration: CalibrationSummary | None = None
    entity_name: str = "tokens"
    context_name: str = "pages"
    finished: str = ""
    """Date and time, as it is to be shown."""
    seconds: float | None = None
    """How long the run took."""
    machine: str = ""
    versions: Mapping[str, str] = attrs.field(factory=dict)
    """Distribution → version."""
    files: Mapping[str, str] = attrs.field(factory=dict)
    """File of documents → hash of its bytes."""
    fingerprint: str | None = None
    """Hash of the texts and the gold of the training documents."""
    base_model: str | None = None
    """The pretrained model that it began with."""
    notes: str = ""
    data_notes: str = ""
