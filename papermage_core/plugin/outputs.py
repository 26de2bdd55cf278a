"""What heads say, and extensions make of it, seen to be what the specification says before anything relies on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from papermage_core.plugin.spec import HeadOutput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["check_outputs"]

_MOST = 1 + 1e-4
"""Probabilities may be rounded."""


def check_outputs(outputs: Sequence[Any], lengths: Sequence[int], labels: Collection[str] | None = None) -> None:
    """Raise TypeError or ValueError unless there is a sound `HeadOutput` for each of contexts of these lengths.

    With ``labels``, entities have one of these.
    """
    import numpy as np  # here, so that commands which only list plugins start fast

    if len(outputs) != len(lengths):
        raise ValueError(f"expected {len(lengths)} outputs, one a context, got {len(outputs)}")
    for output, n in zip(outputs, lengths, strict=True):
        if not isinstance(output, HeadOutput):
            raise TypeError(f"expected a HeadOutput for each context, got {output!r:.100}")
        if np.shape(output.tags) != (n,) or np.shape(output.scores) != (n,):
            raise ValueError(
                f"expected a tag and a score for each of {n} units, got tags of shape {np.shape(output.tags)} and "
                f"scores of shape {np.shape(output.scores)}"
            )
        for span in output.spans:
            if not 0 <= span.start < span.stop <= n:
                raise ValueError(f"expected entities inside a context of {n} units, got {span}")
            if labels is not None and span.label not in labels:
                raise ValueError(f"expected entities of the labels {', '.join(sorted(labels)):.200}, got {span}")
            if span.score is not None and not 0 <= span.score <= _MOST:
                raise ValueError(f"expected probabilities, from 0 to 1, as scores of entities, got {span}")
    if outputs:
        known = np.repeat([len(each.tag_names) for each in outputs], lengths)
        _check_units(np.concatenate([np.asarray(each.tags) for each in outputs]), known)
        _check_scores(np.concatenate([np.asarray(each.scores) for each in outputs]))


def _check_units(whole: NDArray[Any], known: NDArray[np.int64]) -> None:
    if whole.dtype.kind not in "iu":
        raise TypeError(f"expected tags as whole numbers, indices of tag_names, got {whole.dtype}")
    wrong = (whole < 0) | (whole >= known)
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"expected tags from 0 to {known[at] - 1}, indices of tag_names, got {whole[at]}")


def _check_scores(whole: NDArray[Any]) -> None:
    if whole.dtype.kind not in "fiu":
        raise TypeError(f"expected scores as numbers, got {whole.dtype}")
    if len(whole) and not (whole.min() >= 0 and whole.max() <= _MOST):  # NaN is neither
        raise ValueError(f"expected probabilities, from 0 to 1, as scores, got {whole.min()} to {whole.max()}")
