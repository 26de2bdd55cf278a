"""Scores over entities and units, the mistakes behind them, calibration, and the report of a run."""

from papermage_core.evaluation.calibration import (
    Calibration,
    ReliabilityBin,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from papermage_core.evaluation.card import model_card
from papermage_core.evaluation.mistakes import (
    ErrorLog,
    ErrorRecord,
    ErrorSummary,
    UnitText,
    document_errors,
    errors,
    summarise,
)
from papermage_core.evaluation.report import write_error_page, write_report
from papermage_core.evaluation.run import CalibrationSummary, PreviousRun, RunSummary
from papermage_core.evaluation.scores import Counts, Scorer, Scores, score
from papermage_core.evaluation.units import UnitScorer, UnitScores, score_units

__all__ = [
    "Calibration",
    "CalibrationSummary",
    "Counts",
    "ErrorLog",
    "ErrorRecord",
    "ErrorSummary",
    "PreviousRun",
    "ReliabilityBin",
    "RunSummary",
    "Scorer",
    "Scores",
    "UnitScorer",
    "UnitScores",
    "UnitText",
    "document_errors",
    "errors",
    "expected_calibration_error",
    "fit_calibration",
    "model_card",
    "reliability",
    "score",
    "score_units",
    "summarise",
    "write_error_page",
    "write_report",
]
