"""A run on one page of HTML that needs nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from os import PathLike
from typing import Any

from papermage_core.evaluation.mistakes import KINDS, ErrorRecord, summarise
from papermage_core.evaluation.run import CalibrationSummary, RunSummary
from papermage_core.evaluation.scores import Counts, Scores
from papermage_core.evaluation.svg import line_chart, reliability_diagram
from papermage_core.evaluation.units import UnitScores
from papermage_core.files import whole_text_file

__all__ = ["report_html", "write_report"]

_SHOWN_PER_KIND = 40
_CURVES_FIRST = ("loss", "f1", "precision", "recall")

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.muted, figcaption { color: #5b6470; } .headline { font-size: 2.6rem; font-weight: 600; margin: .6rem 0 0; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #e3e6ea; text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #b9c0c8; }
td.text, th.text { text-align: left; } td.text { overflow-wrap: anywhere; } tr.total td { font-weight: 600; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; } svg text { font: 11px system-ui, sans-serif; }
.snippet { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere; margin: .35rem 0; }
.gold { background: #d7ecd9; } .predicted { text-decoration: underline #a8323e 2px; text-underline-offset: 3px; }
summary { cursor: pointer; font-weight: 600; margin-top: .8rem; } .bar { background: #9dbce0; height: .6rem; }
"""


def write_report(path: str | PathLike[str], run: RunSummary) -> None:
    """Write the report of ``run`` to ``path``: whole, or not at all."""
    with whole_text_file(path) as file:
        file.write(report_html(run))


def report_html(run: RunSummary) -> str:
    """Return the page. All text of the run is escaped; there is no script and no address to load from."""
    sections = [
        _scores(run.scores),
        _curves(run.history),
        _calibration(run.calibration),
        _errors(run),
        _confusions(run.units),
        _data(run),
        _config(run),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(run.title)}</title><style>{_STYLE}</style></head><body>{_opening(run)}"
        f"{''.join(sections)}</body></html>\n"
    )


# Sections ------------------------------------------------------------------------------------------------------------


def _opening(run: RunSummary) -> str:
    facts = [*(f"{kind}: {name}" for kind, name in run.components.items())]
    facts += [run.finished] if run.finished else []
    facts += [f"{run.seconds:.0f} s"] if run.seconds is not None else []
    facts += [run.machine] if run.machine else []
    headline = "".join(
        f'<p class="headline">{100 * scores.f1:.1f}</p><p class="muted">strict entity F1 on {escape(split)} '
        f"({scores.micro.gold} gold entities in {scores.documents} documents)</p>"
        for split, scores in run.scores.items()
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in (run.notes, run.data_notes) if note)
    return f'<h1>{escape(run.title)}</h1><p class="muted">{escape(" · ".join(facts))}</p>{headline}{notes}'


def _scores(scores: Mapping[str, Scores]) -> str:
    return "".join(f"<h2>Scores on {escape(split)}</h2>{_score_table(each)}" for split, each in scores.items())


def _score_table(scores: Scores) -> str:
    rows = [_counts_row(label, counts) for label, counts in scores.per_label.items()]
    rows.append(_counts_row("all (micro)", scores.micro, total=True))
    macro = scores.macro
    figures = [f"{100 * macro[name]:.1f}" for name in ("precision", "recall", "f1")]
    rows.append(_row(["all (macro)", *figures, "", ""]))
    rows += [_counts_row(name.replace("_", " "), counts) for name, counts in scores.subsets.items()]
    rows += [_counts_row(f"lenient: {name}", counts) for name, counts in scores.lenient.items()]
    table = _table(["", "precision", "recall", "F1", "gold", "predicted"], rows)
    lost = scores.gold_unreachable
    if not lost:
        return table
    parts = ", ".join(f"{label} {count}" for label, count in lost.items())
    return f"{table}<p>Counted as missed, since no prediction could have equalled them: {escape(parts)}.</p>"


def _counts_row(name: str, counts: Counts, *, total: bool = False) -> str:
    figures = [f"{100 * value:.1f}" for value in (counts.precision, counts.recall, counts.f1)]
    return _row([name, *figures, str(counts.gold), str(counts.predicted)], total=total)


def _curves(history: Sequence[Mapping[str, float]]) -> str:
    names = sorted({name for row in history for name in row} - {"epoch", "step"})
    groups: dict[str, list[str]] = {first: [] for first in _CURVES_FIRST}
    for name in names:
        groups.setdefault(re.sub(r"^(train|val|test)[_/]", "", name), []).append(name)
    charts = [
        line_chart(group.replace("_", " "), {name: _line(history, name) for name in members})
        for group, members in groups.items()
    ]
    return f"<h2>Training</h2>{''.join(charts)}" if any(charts) else ""


def _line(history: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    return [
        (float(row.get("epoch", index)), float(row[name]))
        for index, row in enumerate(history)
        if row.get(name) is not None
    ]


def _calibration(summary: CalibrationSummary | None) -> str:
    if summary is None:
        return ""
    points = {
        name: [(each.mean_score, each.share_correct) for each in bins]
        for name, bins in (("before", summary.bins_before), ("after", summary.bins_after))
        if bins
    }
    diagram = reliability_diagram("share correct over score", points) if points else ""
    return (
        f"<h2>Calibration on {escape(summary.split)}</h2><p>Expected calibration error "
        f"{100 * summary.error_before:.1f}% before, {100 * summary.error_after:.1f}% after "
        f"(fitted on {summary.calibration.fitted_on} entities).</p>{diagram}"
    )


def _errors(run: RunSummary) -> str:
    summary = summarise(run.errors) if run.error_summary is None else run.error_summary
    if not summary.total:
        return ""
    rows = [_row([label, *(str(kinds.get(kind, 0)) for kind in KINDS)]) for label, kinds in summary.by_label.items()]
    rows.append(_row(["all", *(str(summary.by_kind[kind]) for kind in KINDS)], total=True))
    confused = [_row([gold, predicted, str(n)], texts=(1,)) for gold, predicted, n in summary.confusions]
    confusions = _table(["gold label", "predicted as", "times"], confused, texts=(1,)) if confused else ""
    legend = '<p class="muted"><span class="gold">gold</span>, <span class="predicted">predicted</span></p>'
    shown = "".join(
        _kind(kind, [record for record in run.errors if record.kind == kind], summary.by_kind[kind]) for kind in KINDS
    )
    return f"<h2>Mistakes on {escape(run.errors_split)}</h2>{_table(['', *KINDS], rows)}{confusions}{legend}{shown}"


def _kind(kind: str, records: Sequence[ErrorRecord], total: int) -> str:
    if not records:
        return ""
    snippets = "".join(map(_snippet, records[:_SHOWN_PER_KIND]))
    rest = total - min(len(records), _SHOWN_PER_KIND)
    more = f'<p class="muted">and {rest} more in results/errors.jsonl</p>' if rest > 0 else ""
    return f"<details><summary>{escape(kind)} ({total})</summary>{snippets}{more}</details>"


def _snippet(record: ErrorRecord) -> str:
    labels = [f"gold {record.gold.label}"] if record.gold else []
    if record.predicted:
        score = "" if record.predicted.score is None else f" ({record.predicted.score:.2f})"
        labels.append(f"predicted {record.predicted.label}{score}")
    return (
        f'<div class="snippet">{escape(record.before)}{_highlighted(record)}{escape(record.after)}<br>'
        f'<span class="muted">{escape(", ".join(labels))} · {escape(record.document)}</span></div>'
    )


def _highlighted(record: ErrorRecord) -> str:
    """Return the text of a record, cut where an entity begins or ends, each piece marked by what covers it."""
    sides = {"gold": record.gold_chars, "predicted": record.predicted_chars}
    edges = {record.start_char, record.end_char, *(edge for chars in sides.values() for pair in chars for edge in pair)}
    cuts = sorted(edge for edge in edges if record.start_char <= edge <= record.end_char)
    pieces = []
    for start, end in pairwise(cuts):
        names = [name for name, chars in sides.items() if any(a <= start and end <= b for a, b in chars)]
        text = escape(record.text[start - record.start_char : end - record.start_char])
        pieces.append(f'<span class="{" ".join(names)}">{text}</span>' if names else text)
    return "".join(pieces)


def _confusions(units: Mapping[str, UnitScores]) -> str:
    return "".join(
        f"<h2>Tags of units on {escape(split)}</h2><p>{100 * each.accuracy:.2f}% of {each.units} right. "
        f"Most frequent mistakes:</p>{_table(['gold', 'predicted', 'units'], _unit_rows(each), texts=(1,))}"
        for split, each in units.items()
    )


def _unit_rows(units: UnitScores) -> list[str]:
    return [_row([gold, predicted, str(n)], texts=(1,)) for gold, predicted, n in units.confusions()]


def _data(run: RunSummary) -> str:
    if not (run.data or run.label_counts or run.issues):
        return ""
    parts = ["<h2>Data</h2>", _columns(run.data), _columns(run.label_counts)]
    if run.issues:
        parts.append(_table(["found in the data", "times"], [_row([k, str(n)]) for k, n in run.issues.items()]))
    return "".join(parts)


def _columns(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return a table with a column for each split and a row for whatever any of them counts."""
    if not counts:
        return ""
    names = list(dict.fromkeys(name for each in counts.values() for name in each))
    rows = [_row([name, *(str(each.get(name, 0)) for each in counts.values())]) for name in names]
    return _table(["", *counts], rows)


def _config(run: RunSummary) -> str:
    tables = [
        _table([name, "value"], [_row([key, _value(value)], texts=(1,)) for key, value in each.items()], texts=(1,))
        for name, each in (("option", run.config), ("distribution", run.versions))
        if each
    ]
    return f"<h2>Configuration</h2>{''.join(tables)}" if tables else ""


def _value(value: Any) -> str:
    return "" if value is None else str(value)


# Pieces --------------------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[str], *, texts: Sequence[int] = ()) -> str:
    return f"<table><thead>{_row(heads, texts=texts, cell='th')}</thead><tbody>{''.join(rows)}</tbody></table>"


def _row(cells: Sequence[str], *, total: bool = False, texts: Sequence[int] = (), cell: str = "td") -> str:
    body = "".join(
        f"<{cell}{' class=text' if index in texts else ''}>{escape(text)}</{cell}>" for index, text in enumerate(cells)
    )
    return f'<tr class="total">{body}</tr>' if total else f"<tr>{body}</tr>"
