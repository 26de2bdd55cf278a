"""Counts and times in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from papermage_core.serving.messages import Answer

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
_UNITS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
_HELP = {
    "papermage_requests_total": "Requests by path and status.",
    "papermage_request_seconds": "Time from the first byte of a request's head to the last of its answer.",
    "papermage_documents_total": "Documents that were answered.",
    "papermage_units_total": "Units, such as tokens, of these documents.",
    "papermage_entities_total": "Entities that were found in them.",
    "papermage_batch_requests": "Requests that went to a process together.",
    "papermage_batch_units": "Units that went through the model together.",
    "papermage_batch_seconds": "Time from giving a batch to a process to its answers.",
    "papermage_process_ends_total": "Processes that ended, or were ended, before they had answered.",
    "papermage_queue_requests": "Requests that wait for a process.",
    "papermage_requests_in_hand": "Requests that are being read or answered.",
    "papermage_bytes_in_hand": "Bytes of their bodies.",
    "papermage_memory_bytes": "Resident memory of the processes.",
}
Labels = tuple[tuple[str, str], ...]


class _Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        total = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield _line(f"{name}_bucket", (*labels, ("le", bound)), total)
        yield _line(f"{name}_sum", labels, self.sum)
        yield _line(f"{name}_count", labels, total)


class Metrics:
    """What happened since the start."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[Labels, _Histogram]] = defaultdict(dict)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._counters[name][tuple(labels.items())] += amount

    def observe(self, name: str, value: float, bounds: Sequence[float] = _SECONDS, **labels: str) -> None:
        """Add a value to a histogram."""
        of_name, key = self._histograms[name], tuple(labels.items())
        if key not in of_name:
            of_name[key] = _Histogram(bounds)
        of_name[key].add(value)

    def batch(self, role: str, seconds: float, answers: Sequence[Answer]) -> None:
        """Take in a batch."""
        self.observe("papermage_batch_seconds", seconds, role=role)
        self.observe("papermage_batch_requests", len(answers), _COUNTS, role=role)
        if role == "model":
            self.observe("papermage_batch_units", sum(answer.units for answer in answers), _UNITS)
            for kind in ("documents", "units", "entities"):
                self.count(f"papermage_{kind}_total", sum(getattr(answer, kind) for answer in answers))

    def text(self, gauges: Mapping[str, Mapping[Labels, float]]) -> str:
        """Return all that is counted, and gauges, as they are now."""
        lines: list[str] = []
        for name, values in self._counters.items():
            lines += [*_head(name, "counter"), *(_line(name, *each) for each in values.items())]
        for name, histograms in self._histograms.items():
            lines += _head(name, "histogram")
            for labels, histogram in histograms.items():
                lines += histogram.lines(name, labels)
        for name, of_gauge in gauges.items():
            lines += [*_head(name, "gauge"), *(_line(name, *each) for each in of_gauge.items())]
        return "\n".join(lines) + "\n"


def resident(ids: Iterable[int]) -> float:
    """Return the resident memory of processes in bytes; 0 where the system does not tell."""
    pages = 0
    for number in ids:
        try:
            pages += int(Path(f"/proc/{number}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return pages * 4096.0


def _head(name: str, kind: str) -> list[str]:
    return [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(said)}"' for key, said in labels)
    return f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
