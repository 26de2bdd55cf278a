"""The extension ``example-plugin``: each of the life-cycle hooks once. Leave out those that you do not need."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from papermage_core.plugin import Context, HeadOutput, hookimpl

if TYPE_CHECKING:
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger

papermage_api_version = 2

_log = logging.getLogger(__name__)


@hookimpl
def papermage_callbacks(config: Any) -> list[Callback]:
    """Measure how long an epoch takes."""
    from pytorch_lightning.callbacks import Timer

    return [Timer(interval="epoch", verbose=False)]


@hookimpl
def papermage_loggers(config: Any) -> list[Logger]:
    """Keep the metrics in a second place, beside those of the run."""
    from pytorch_lightning.loggers import CSVLogger

    return [CSVLogger(config.run_folder(), name="example-plugin")]


@hookimpl
def papermage_evaluated(split: str, results: Mapping[str, Any]) -> None:
    """Warn of labels of which nothing was found."""
    missed = [label for label, scores in results.get("per_label", {}).items() if scores["recall"] == 0]
    if missed:
        _log.warning("example-plugin: on %s, nothing was found of %s", split, ", ".join(missed))


@hookimpl
def papermage_adjust_predictions(context: Context, output: HeadOutput) -> HeadOutput | None:
    """Veto entities that are nothing but punctuation."""
    kept = [s for s in output.spans if any(c.isalnum() for word in context.words[s.start : s.stop] for c in word)]
    return None if len(kept) == len(output.spans) else attrs.evolve(output, spans=kept)
