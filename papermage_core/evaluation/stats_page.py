"""How much there is of everything, on one page of HTML that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from os import PathLike

import numpy as np

from papermage_core.data.statistics import Stats
from papermage_core.evaluation.web import asset, policy
from papermage_core.files import whole_text_file

__all__ = ["stats_html", "write_stats"]

_BARS = 24
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 460, 180, 46, 34


def write_stats(path: str | PathLike[str], stats: Stats, title: str) -> None:
    """Write the page: whole, or not at all."""
    with whole_text_file(path) as file:
        file.write(stats_html(stats, title))


def stats_html(stats: Stats, title: str) -> str:
    """Return the page: tables, and a histogram of each length. All text is escaped; there is no script."""
    style = asset("report", "report.css")
    counts = stats.to_json()
    rows = [[name.replace("_", " "), f"{counts[name]:,}"] for name in ("documents", "characters", "units", "contexts")]
    rows.append(["documents with boxes", f"{stats.with_boxes:,}"])
    layers = [[name, f"{stats.layers[name]:,}", f"{n:,}"] for name, n in stats.with_layer.items()]
    labels = [
        [label, f"{each.entities:,}", *_spread(each.units), f"{each.discontinuous:,}", f"{each.overlapping:,}"]
        for label, each in stats.labels.items()
    ]
    charts = [_histogram("Units of a document", stats.units), _histogram("Units of a context", stats.context_units)]
    charts += [_histogram(f"Units of {label}", each.units) for label, each in stats.labels.items()]
    parts = [
        f"<h2>How much there is</h2>{_table(['', 'number'], rows)}",
        f"<h2>Layers</h2>{_table(['layer', 'entities', 'documents'], layers)}" if layers else "",
        "<h2>Labels</h2>"
        + _table(["label", "entities", "median units", "most", "discontinuous", "overlapping"], labels)
        + _shares({label: each.entities for label, each in stats.labels.items()})
        if labels
        else "",
        f"<h2>Lengths</h2>{''.join(charts)}" if any(charts) else "",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy([], [style]))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"<header><h1><bdi>{escape(title)}</bdi></h1></header><main>{''.join(parts)}</main></body></html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row"><bdi>{escape(row[0])}</bdi></th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _spread(lengths: Sequence[int]) -> list[str]:
    return [f"{np.median(lengths):g}", f"{max(lengths):,}"] if len(lengths) else ["", ""]


def _histogram(title: str, lengths: Sequence[int]) -> str:
    """Return how many there are of each length; the longest hundredth is counted with the last bar."""
    if not len(lengths):
        return ""
    values = np.asarray(lengths)
    most = max(1, int(np.quantile(values, 0.99)))
    step = max(1, -(-most // _BARS))
    edges = np.arange(0, most + step + 1, step)
    counts = np.histogram(np.minimum(values, edges[-1] - 1), edges)[0].tolist()
    names = [f"{a} to {a + step - 1}" if step > 1 else f"{a}" for a in edges[:-1].tolist()]
    names[-1] += " or more"
    return _bars(title, names, counts, "units", "number")


def _shares(counts: dict[str, int]) -> str:
    return _bars("Entities by label", list(counts), list(counts.values()), "label", "entities")


def _bars(title: str, names: Sequence[str], counts: Sequence[int], x_name: str, y_name: str) -> str:
    top, width = max(1, *counts), (_WIDTH - _LEFT) / max(1, len(counts))
    height = _HEIGHT - _BOTTOM - 14
    rects = "".join(
        f'<rect x="{_LEFT + i * width:.1f}" y="{14 + height * (1 - count / top):.1f}" width="{max(1, width - 1):.1f}" '
        f'height="{height * count / top:.1f}" fill="currentColor" opacity="0.65">'
        f"<title>{escape(name)}: {count:,}</title></rect>"
        for i, (name, count) in enumerate(zip(names, counts, strict=True))
    )
    told = ", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True) if count)
    axes = (
        f'<text x="{_LEFT - 6}" y="20" text-anchor="end" fill="currentColor">{top:,}</text>'
        f'<text x="{_LEFT - 6}" y="{_HEIGHT - _BOTTOM}" text-anchor="end" fill="currentColor">0</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 18}" fill="currentColor">{escape(names[0])}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 18}" text-anchor="end" fill="currentColor">{escape(names[-1])}</text>'
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 3}" text-anchor="middle" fill="currentColor">'
        f"{escape(x_name)}; {escape(y_name)} upwards</text>"
    )
    return (
        f'<figure><figcaption><bdi>{escape(title)}</bdi></figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(title)}: {escape(told[:2000])}">'
        f"{rects}{axes}</svg></figure>"
    )
