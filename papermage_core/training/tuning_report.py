"""What came of a search: a table, a page with charts, the best run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.monitor import Monitor
from papermage_core.config.space import Space
from papermage_core.errors import counted
from papermage_core.evaluation.svg import line_chart
from papermage_core.files import whole_folder, whole_text_file

__all__ = ["Trial", "TuneResult", "trial_name", "write_tuning"]

_SHOWN = 10
_STYLE = """
body { font: 15px system-ui, sans-serif; margin: 2rem; } figure { display: inline-block; }
td, th { padding: .2rem .7rem; text-align: left; } svg text { font-size: 11px; }
"""
_NEEDED = ("checkpoints", "results", "config.yaml", "metrics.csv", "report.html")
"""What of the best run's folder is in ``best``: what is of use without going on with it."""


@attrs.frozen(kw_only=True)
class Trial:
    """A run of a search."""

    number: int
    """From 0."""
    state: str
    """``complete``, ``pruned``, ``fail`` or ``running``."""
    value: float | None
    """What it is judged by, where it came to its end."""
    values: Mapping[str, Any]
    """The options that were varied."""
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def name(self) -> str:
        """What it is called wherever it is told of: the name of its folder."""
        return trial_name(self.number)

    @property
    def shown(self) -> str:
        """The options in words."""
        return " ".join(f"{key}={_number(value)}" for key, value in self.values.items())


def trial_name(number: int) -> str:
    """Return the name of a trial, and of its folder.

    >>> trial_name(7)
    '0007'
    """
    return f"{number:04}"


@attrs.frozen(kw_only=True)
class TuneResult:
    """A search as far as it is."""

    folder: Path
    monitor: Monitor
    space: Space
    trials: Sequence[Trial]

    @property
    def ranked(self) -> list[Trial]:
        """The trials that came to their end, the best first."""
        done = [trial for trial in self.trials if trial.value is not None]
        return sorted(done, key=lambda t: (t.value if self.monitor.mode == "min" else -(t.value or 0.0), t.number))

    @property
    def best(self) -> Trial | None:
        """The best trial, if one came to its end."""
        return next(iter(self.ranked), None)

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return sum(trial.state == state for trial in self.trials)

    def table(self) -> str:
        """Return the best trials for the terminal."""
        head = f"{'trial':>5} {self.monitor.metric[:16]:>16} {'epochs':>6} {'seconds':>7}  options"
        lines = [head]
        for trial in self.ranked[:_SHOWN]:
            value = self.monitor.shown(trial.value or 0)
            start = f"{trial.name:>5} {value:>16} {trial.epochs:6} {trial.seconds:7.0f}  "
            lines += textwrap.wrap(trial.shown, 80, initial_indent=start, subsequent_indent=" " * len(start)) or [start]
        told = {"complete": "to their end", "pruned": "ended early", "fail": "failed", "running": "not done"}
        counts = ", ".join(f"{self.count(state)} {words}" for state, words in told.items() if self.count(state))
        failed = [f"trial {trial.name} failed: {trial.error.splitlines()[0]}" for trial in self.trials if trial.error]
        return "\n".join([*lines, f"{counted(len(self.trials), 'trials')}: {counts}", *failed[:_SHOWN]])


def write_tuning(result: TuneResult, best: EntityClassificationTrainConfig | None) -> None:
    """Write ``trials.json`` and ``report.html``, and of the best trial the folder ``best`` and ``best.yaml``."""
    folder = result.folder
    record = folder / "trials.json"
    before = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        before = json.loads(record.read_text(encoding="utf-8"))["best"]
    if result.best is not None and best is not None and result.best.number != before:
        _link_best(folder / "trials" / result.best.name, folder / "best")
        with whole_text_file(folder / "best.yaml") as file:
            file.write(best.replace(callbacks=None).anchored().to_yaml())
    content = {
        "monitor": result.monitor.name,
        "best": None if result.best is None else result.best.number,
        "space": {dimension.key: dimension.to_json() for dimension in result.space},
        "trials": [attrs.asdict(trial) for trial in result.trials],
    }
    with whole_text_file(folder / "report.html") as file:
        file.write(_page(result))
    with whole_text_file(record) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False, default=str))


def _link_best(run: Path, target: Path) -> None:
    with whole_folder(target) as new:
        for name in _NEEDED:
            if (run / name).is_dir():
                shutil.copytree(run / name, new / name, copy_function=_link)
            elif (run / name).is_file():
                _link(str(run / name), str(new / name))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # no links here
        shutil.copy2(source, target)


def _page(result: TuneResult) -> str:
    done = sorted(result.ranked, key=lambda trial: trial.number)
    better: Callable[..., float] = min if result.monitor.mode == "min" else max
    values = [trial.value or 0.0 for trial in done]
    so_far = [better(values[: i + 1]) for i in range(len(values))]
    numbers = [float(trial.number) for trial in done]
    charts = [
        line_chart(
            f"{result.monitor.metric} of the trials",
            {
                "best so far": list(zip(numbers, so_far, strict=True)),
                "each": list(zip(numbers, values, strict=True)),
            },
            x_name="trial",
            y_name=result.monitor.metric,
        )
    ]
    for dimension in result.space:
        found = [(trial.values[dimension.key], trial.value or 0.0) for trial in done if dimension.key in trial.values]
        if dimension.kind == "choice":
            charts.append(_means(dimension.key, found))
        else:
            series = {result.monitor.metric: sorted(found)}
            y_name = result.monitor.metric
            charts.append(line_chart(dimension.key, series, x_name=dimension.key, y_name=y_name, joined=False))
    rows = "".join(
        f"<tr><td>{trial.name}<td>{trial.state}<td>{'' if trial.value is None else f'{trial.value:.4f}'}"
        f"<td>{trial.epochs}<td>{trial.seconds:.0f}<td>{escape(trial.shown)}<td>{escape(trial.error)}"
        for trial in [*result.ranked, *(trial for trial in result.trials if trial.value is None)]
    )
    return (
        f"<!DOCTYPE html><meta charset=utf-8><title>Search</title><style>{_STYLE}</style>"
        f"<h1>Search over {counted(len(result.space), 'options')}, {counted(len(result.trials), 'trials')}</h1>"
        f"{''.join(charts)}"
        f"<table><tr><th>trial<th>state<th>{escape(result.monitor.metric)}<th>epochs<th>seconds<th>options<th>{rows}</table>"
    )


def _means(key: str, found: Sequence[tuple[Any, float]]) -> str:
    """Return a table of the mean of each choice."""
    groups: dict[str, list[float]] = {}
    for choice, value in found:
        groups.setdefault(str(choice), []).append(value)
    rows = "".join(
        f"<tr><td>{escape(choice)}<td>{sum(values) / len(values):.4f}<td>{counted(len(values), 'trials')}"
        for choice, values in groups.items()
    )
    return f"<figure><figcaption>{escape(key)}</figcaption><table>{rows}</table></figure>"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
