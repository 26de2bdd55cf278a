"""Counts of each document, and what they say of other documents like these: intervals by the bootstrap."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DocumentCounts", "DocumentTable", "Interval", "f1_of", "resampled"]

_MOST_GROUPS = 5_000
"""Documents above which some are drawn together, so that drawing takes no longer."""
_BLOCK = 8_000_000
"""Numbers that are drawn at once."""
Interval = tuple[float, float]
_COUNTS = ("gold", "predicted", "right")


@attrs.frozen(eq=False)
class DocumentCounts:
    """Gold, predicted and right entities by document and label; rows for what occurs only. Shapes (rows,)."""

    labels: tuple[str, ...]
    documents: int
    document: NDArray[np.int64]
    label: NDArray[np.int64]
    gold: NDArray[np.int64]
    predicted: NDArray[np.int64]
    right: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Gold, predicted and right. Shape (rows, 3)."""
        return np.stack([self.gold, self.predicted, self.right], 1)

    def per_document(self) -> NDArray[np.int64]:
        """Return gold, predicted and right of each document, all labels together. Shape (documents, 3)."""
        return _summed(self.document, self.counts, self.documents)

    def of_label(self, number: int) -> NDArray[np.int64]:
        """Return gold, predicted and right of each document for one label. Shape (documents, 3)."""
        some = self.label == number
        return _summed(self.document[some], self.counts[some], self.documents)

    def intervals(self, *, level: float = 0.95, samples: int = 1000, seed: int = 0) -> dict[str, dict[str, Interval]]:
        """Return where precision, recall and F1 lie in most samples of as many documents, drawn with replacement.

        By ``micro``, ``macro`` and label; percentiles of the bootstrap over documents (Efron and Tibshirani, "An
        Introduction to the Bootstrap", 1993, section 13.3), since entities of one document are not independent.
        """
        if not self.documents:
            return {}
        present = np.unique(self.label[(self.gold > 0) | (self.predicted > 0)])
        tables = {self.labels[number]: self.of_label(number) for number in present.tolist()}
        whole = np.concatenate([self.per_document(), *tables.values()], 1)  # (documents, 3 + 3 * labels)
        drawn = np.concatenate(list(resampled(whole, samples, seed)))  # (samples, 3 + 3 * labels)
        figures = _figures(drawn.reshape(len(drawn), -1, 3))  # (samples, 1 + labels, 3)
        sides = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2], axis=0)
        rows = {"micro": sides[:, 0]}
        if tables:
            rows["macro"] = np.quantile(figures[:, 1:].mean(1), [(1 - level) / 2, (1 + level) / 2], axis=0)
        rows |= {f"label:{label}": sides[:, i] for i, label in enumerate(tables, start=1)}
        return {
            name: {
                figure: (float(row[0, k]), float(row[1, k])) for k, figure in enumerate(("precision", "recall", "f1"))
            }
            for name, row in rows.items()
        }

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield, for each document, its name, its counts and figures, and its counts by label."""
        order = np.argsort(self.document, kind="stable")
        bounds = np.searchsorted(self.document[order], np.arange(self.documents + 1)).tolist()
        figures, counts = _figures(self.per_document()[:, None])[:, 0].tolist(), self.counts.tolist()
        for number, (name, total) in enumerate(zip(names, self.per_document().tolist(), strict=True)):
            per_label: dict[str, dict[str, int]] = {}
            for row in order[bounds[number] : bounds[number + 1]].tolist():  # of a label there may be several
                of_label = per_label.setdefault(self.labels[self.label[row]], dict.fromkeys(_COUNTS, 0))
                for count, value in zip(_COUNTS, counts[row], strict=True):
                    of_label[count] += value
            yield {
                "document": name,
                **dict(zip(_COUNTS, total, strict=True)),
                **dict(zip(("precision", "recall", "f1"), figures[number], strict=True)),
                "per_label": per_label,
            }


class DocumentTable:
    """Takes the counts of documents, block by block."""

    def __init__(self) -> None:
        self._rows = array("q")

    def add(self, rows: NDArray[np.int64]) -> None:
        """Add rows (n, 5): document, label, gold, predicted and right."""
        self._rows.frombytes(np.ascontiguousarray(rows, np.int64).tobytes())

    def counts(self, labels: Mapping[str, int], documents: int) -> DocumentCounts:
        """Return all that was added."""
        columns = np.array(self._rows, np.int64).reshape(-1, 5).T
        return DocumentCounts(tuple(labels), documents, *columns)


def _summed(document: NDArray[np.int64], counts: NDArray[np.int64], documents: int) -> NDArray[np.int64]:
    columns = [np.bincount(document, weights=column, minlength=documents) for column in counts.T]
    return np.stack(columns, 1).astype(np.int64)


def resampled(values: NDArray[Any], samples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield the sums of samples of documents, drawn with replacement; ``values`` (documents, k), blocks (some, k).

    Beyond some thousand documents, ones are summed at random beforehand and the sums are drawn: that changes the spread
    of a sum by no more than chance.
    """
    rng = np.random.default_rng(seed)
    groups = values.astype(np.float64)
    if len(groups) > _MOST_GROUPS:
        part = rng.permutation(len(groups)) % _MOST_GROUPS
        groups = np.stack([np.bincount(part, column, minlength=_MOST_GROUPS) for column in groups.T], 1)
    size = max(1, _BLOCK // len(groups))
    for first in range(0, samples, size):
        some = min(size, samples - first)
        weights = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=some)
        yield weights.astype(np.float64) @ groups


def _figures(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return precision, recall and F1 for gold, predicted and right. Shapes (..., 3)."""
    gold, predicted, right = (counts[..., k].astype(np.float64) for k in range(3))

    def share(part: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.divide(part, of, out=np.zeros_like(part), where=of > 0)

    return np.stack([share(right, predicted), share(right, gold), share(2 * right, gold + predicted)], -1)


def f1_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return F1 for gold, predicted and right, 0 where there is neither; shape (..., 3) to (...)."""
    return _figures(counts)[..., 2]
