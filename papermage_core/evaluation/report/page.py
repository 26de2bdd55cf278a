"""What is told of a run → the page."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from papermage_core.evaluation.mistakes import KINDS, ErrorLog, ErrorRecord, ErrorSummary, summarise
from papermage_core.evaluation.report.browser import MOST_SHOWN, Documents, browser_data
from papermage_core.evaluation.run import CalibrationSummary, RunSummary
from papermage_core.evaluation.scores import Counts, Scores
from papermage_core.evaluation.svg import line_chart, reliability_diagram
from papermage_core.evaluation.units import UnitScores
from papermage_core.evaluation.web import asset, policy
from papermage_core.files import whole_text_file

if TYPE_CHECKING:
    import jinja2

__all__ = ["report_html", "write_error_page", "write_report"]

_SCORES = ("f1", "precision", "recall")
_NO_CURVES = {"epoch", "step", "seconds"}
_MOST_LABELS = 30
"""Rows of a table of labels that are shown at once."""
_MOST_CONFUSED = 20
"""Labels of a matrix of confusions."""


def write_report(path: str | PathLike[str], run: RunSummary) -> None:
    """Write the report of ``run`` to ``path``: whole, or not at all."""
    with whole_text_file(path) as file:
        file.writelines(_report(run))


def report_html(run: RunSummary) -> str:
    """Return the page: nothing of the run's text is markup or code, and there is no address to load from."""
    return "".join(_report(run))


def _report(run: RunSummary) -> Iterator[str]:
    summary = summarise(run.errors, limit=None) if run.error_summary is None else run.error_summary
    scores = run.scores.get(run.errors_split)
    data = browser_data(
        run.errors if summary.total else (),
        run.documents,
        total=summary.total,
        entity_name=run.entity_name,
        labels=None if scores is None else scores.per_label,
        folders=list(dict.fromkeys(Path(file).parent for file in run.files)),
    )
    return _render(
        "report.html.jinja",
        data,
        run=run,
        title=run.title or "Run",
        main=next(iter(run.scores.items()), None),
        facts=_facts(run),
        scores={split: _score_rows(each) for split, each in run.scores.items()},
        charts=_curves(run.history),
        reliability=_reliability(run.calibration),
        summary=summary,
        mistakes=_mistake_rows(summary),
        matrix=None if scores is None else _matrix(scores, summary),
        unit_rows={split: _unit_rows(each) for split, each in run.units.items()},
        most_shown=MOST_SHOWN,
        columns=_columns,
        config=_config(run),
    )


def write_error_page(
    path: str | PathLike[str],
    records: ErrorLog | Iterable[ErrorRecord],
    *,
    title: str,
    about: str = "",
    documents: Documents | None = None,
    order_name: str = "model's score",
    entity_name: str = "tokens",
    total: int | None = None,
    folders: Sequence[Path] = (),
    labels: Iterable[str] | None = None,
) -> None:
    """Write a page with the error browser alone: the records of highest score, at most 20,000.

    ``documents`` reads the documents once more, each with its `Document`; the pages of those that have boxes are drawn.
    ``order_name`` says what the score is, ``total`` how many records there are where ``records`` are some of them, and
    ``folders`` where PDF files may be that are named for the documents: their pages are shown as they look. ``labels``
    are those that count: gold of others is not drawn on pages.
    """
    found = records if isinstance(records, ErrorLog) else list(records)
    total = len(found) if total is None else total
    data = browser_data(
        found,
        documents,
        total=total,
        order_name=order_name,
        entity_name=entity_name,
        labels=labels,
        folders=folders,
    )
    with whole_text_file(path) as file:
        values = {"title": title, "about": about, "total": total, "most_shown": MOST_SHOWN}
        file.writelines(_render("errors.html.jinja", data, **values))


@functools.cache
def _environment() -> jinja2.Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    own = files("papermage_core.evaluation.report")
    made = Environment(
        autoescape=True,
        loader=FunctionLoader(lambda name: (own / name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"percent": lambda value: f"{100 * value:.1f}", "number": lambda value: f"{value:,}"}
    return made


def _render(name: str, data: Iterable[bytes], **values: Any) -> Iterator[str]:
    """Return the pieces of a page: each element of ``data`` is one, since a text of several megabytes takes more."""
    style, script = asset("report", "report.css"), asset("report", "browser.js")
    return (
        _environment()
        .get_template(name)
        .generate(
            **values,
            kinds=KINDS,
            link=_link,
            style=style,
            script=script,
            policy=policy([script], [style]),
            data=data,
        )
    )


def _link(**values: str) -> str:
    """Return the address of the mistakes of these labels or of this kind."""
    return f"#{urlencode(values, errors='replace')}"


# What the sections hold ----------------------------------------------------------------------------------------------


def _facts(run: RunSummary) -> list[str]:
    facts = [f"{kind}: {name}" for kind, name in run.components.items()]
    facts += [run.finished] if run.finished else []
    facts += [f"{run.seconds:,.0f} s"] if run.seconds is not None else []
    return facts + ([run.machine] if run.machine else [])


_Row = tuple[str, Counts, bool]
"""Name, counts, and whether it is the name of a label."""


def _score_rows(scores: Scores) -> tuple[list[_Row], list[_Row], list[_Row]]:
    """Return the rows of the first labels, of the others, and of all together."""
    labels = list(scores.per_label.items())
    if len(labels) > _MOST_LABELS:
        labels.sort(key=lambda each: -each[1].gold)
    rows: list[_Row] = [(label, counts, True) for label, counts in labels]
    rest: list[_Row] = [(name.replace("_", " "), counts, False) for name, counts in scores.subsets.items()]
    rest += [(f"lenient: {name}", counts, False) for name, counts in scores.lenient.items()]
    return rows[:_MOST_LABELS], rows[_MOST_LABELS:], rest


def _curves(history: Sequence[Mapping[str, float]]) -> list[str]:
    names = sorted({name for row in history for name in row} - _NO_CURVES)
    groups: dict[str, list[str]] = {"loss": [], "scores": []}
    for name in names:
        bare = re.sub(r"^(train|val|test)[_/]", "", name)
        groups.setdefault("scores" if bare in _SCORES else bare, []).append(name)
    charts = [
        line_chart(
            group.replace("_", " "),
            {name.replace("_", " "): _line(history, name) for name in members},
            x_name="epoch",
            y_name=group.replace("_", " "),
        )
        for group, members in groups.items()
    ]
    return [chart for chart in charts if chart]


def _line(history: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    """Return the values by epoch, which people count from 1."""
    return [
        (1 + float(row.get("epoch", index)), float(row[name]))
        for index, row in enumerate(history)
        if row.get(name) is not None
    ]


def _reliability(summary: CalibrationSummary | None) -> str:
    if summary is None:
        return ""
    points = {
        name: [(each.mean_score, each.share_correct) for each in bins]
        for name, bins in (("before calibration", summary.bins_before), ("after", summary.bins_after))
        if bins
    }
    if not points:
        return ""
    return reliability_diagram("Reliability", points, x_name="score of an entity", y_name="share that is right")


def _mistake_rows(summary: ErrorSummary) -> list[tuple[str, list[int]]]:
    rows = [(label, [kinds.get(kind, 0) for kind in KINDS]) for label, kinds in summary.by_label.items()]
    return sorted(rows, key=lambda row: -sum(row[1]))


def _matrix(scores: Scores, summary: ErrorSummary) -> dict[str, Any] | None:
    """Return the confusions of entities' labels, the labels with most mistakes; None where there is no gold.

    A row is a gold label: how often it was right, taken for each label, right but for its boundary, and missed; the
    last one what was found where there is no gold.
    """
    counted = {label: each for label, each in scores.per_label.items() if each.gold or each.predicted}
    if not counted:
        return None
    wrong = {label: sum(kinds.values()) for label, kinds in summary.by_label.items()}
    labels = sorted(counted, key=lambda label: (-wrong.get(label, 0), label))[:_MOST_CONFUSED]
    labels = [label for label in counted if label in set(labels)]
    confused = {(gold, predicted): count for gold, predicted, count in summary.confusions}

    def of_kind(label: str, kind: str) -> int:
        return summary.by_label.get(label, {}).get(kind, 0)

    rows = []
    for gold in labels:
        counts = [counted[gold].right if gold == other else confused.get((gold, other), 0) for other in labels]
        others = sum(n for (one, other), n in confused.items() if one == gold and other not in set(labels))
        rest = {"wrong boundary": of_kind(gold, "wrong boundary"), "missed": of_kind(gold, "missed")}
        rows.append((gold, counts, others, list(rest.items()), max(sum(counts) + others + sum(rest.values()), 1)))
    spurious = [of_kind(label, "spurious") for label in labels]
    return {
        "labels": labels,
        "rows": rows,
        "spurious": spurious,
        "left_out": len(counted) - len(labels),
    }


def _unit_rows(units: UnitScores) -> list[tuple[str, str, int]]:
    return [(gold, predicted, count) for gold, predicted, count in units.confusions()]


def _columns(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, list[int]]]:
    """Return a row for whatever any of the splits counts."""
    names = list(dict.fromkeys(name for each in counts.values() for name in each))
    return [(name, [each.get(name, 0) for each in counts.values()]) for name in names]


def _config(run: RunSummary) -> list[tuple[str, str, str]]:
    """Return key, value and origin of each option, those that were given first."""
    rows = [
        (key, "" if value is None else str(value), run.sources.get(key, "default")) for key, value in run.config.items()
    ]
    return sorted(rows, key=lambda row: row[2] == "default")
