"""The extension ``tidy``: each of the life-cycle hooks, once."""

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
def papermage_callbacks() -> list[Callback]:
    """Stop a run whose loss is not a number."""
    from papermage_example.tidy_callback import StopAtNan

    return [StopAtNan()]


@hookimpl
def papermage_loggers(config: Any) -> list[Logger]:
    """Log the metrics to ``tidy/`` in the run's folder too."""
    from pytorch_lightning.loggers import CSVLogger

    return [CSVLogger(config.run_folder(), name="tidy", version="")]


@hookimpl
def papermage_evaluated(split: str, results: Mapping[str, Any]) -> None:
    """Warn of labels of which nothing was found."""
    missed = [label for label, scores in results.get("per_label", {}).items() if scores["recall"] == 0]
    if missed:
        _log.warning("tidy: on %s, nothing was found of %s", split, ", ".join(missed))


@hookimpl
def papermage_adjust_predictions(context: Context, output: HeadOutput) -> HeadOutput | None:
    """Veto entities that hold no letter."""
    kept = [span for span in output.spans if _has_letter(context.words[span.start : span.stop])]
    return None if len(kept) == len(output.spans) else attrs.evolve(output, spans=kept)


def _has_letter(words: Any) -> bool:
    return any(letter.isalpha() for word in words for letter in word)
