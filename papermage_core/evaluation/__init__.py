"""Scores over entities and units, the mistakes behind them, calibration, and the report of a run."""

from papermage_core.evaluation.adjudication import Adjudicated, Adjudication, Vote, votes
from papermage_core.evaluation.alpha import Alpha, krippendorff_alpha
from papermage_core.evaluation.calibration import (
    Calibration,
    ReliabilityBin,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from papermage_core.evaluation.card import model_card
from papermage_core.evaluation.comparison import Change, Comparison, Difference, compare, document_changes
from papermage_core.evaluation.documents import DocumentCounts
from papermage_core.evaluation.evaluator import EntityEvaluator
from papermage_core.evaluation.files import FileEvaluation, evaluate_files
from papermage_core.evaluation.mistakes import (
    ErrorLog,
    ErrorRecord,
    ErrorSummary,
    UnitText,
    document_errors,
    errors,
    summarise,
)
from papermage_core.evaluation.partial import Credit
from papermage_core.evaluation.profile import Profile
from papermage_core.evaluation.report import write_error_page, write_report
from papermage_core.evaluation.run import CalibrationSummary, PreviousRun, RunSummary
from papermage_core.evaluation.scorer import Scorer, score
from papermage_core.evaluation.scores import Counts, Scores
from papermage_core.evaluation.tag_rows import score_tags
from papermage_core.evaluation.thresholds import Thresholds, thresholds_of
from papermage_core.evaluation.units import UnitScorer, UnitScores, score_units

__all__ = [
    "Adjudicated",
    "Adjudication",
    "Alpha",
    "Calibration",
    "CalibrationSummary",
    "Change",
    "Comparison",
    "Counts",
    "Credit",
    "Difference",
    "DocumentCounts",
    "EntityEvaluator",
    "ErrorLog",
    "ErrorRecord",
    "ErrorSummary",
    "FileEvaluation",
    "PreviousRun",
    "Profile",
    "ReliabilityBin",
    "RunSummary",
    "Scorer",
    "Scores",
    "Thresholds",
    "UnitScorer",
    "UnitScores",
    "UnitText",
    "Vote",
    "compare",
    "document_changes",
    "document_errors",
    "errors",
    "evaluate_files",
    "expected_calibration_error",
    "fit_calibration",
    "krippendorff_alpha",
    "model_card",
    "reliability",
    "score",
    "score_tags",
    "score_units",
    "summarise",
    "thresholds_of",
    "votes",
    "write_error_page",
    "write_report",
]
