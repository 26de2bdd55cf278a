"""How sure a predictor is of documents: which of them to label next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from papermage_core.document import Document
from papermage_core.prediction.predictor import EntityClassificationPredictor

__all__ = ["sureness"]


def sureness(predictor: EntityClassificationPredictor, documents: Iterable[Document]) -> Iterator[float]:
    """Yield, for each document, the mean logarithm of the scores of its units' tags: the lower, the less sure.

    Maximum normalized log-probability (Shen et al., "Deep Active Learning for Named Entity Recognition", ICLR 2018): it
    does not prefer long documents. 0 for a document without units.
    """
    for units in predictor.predict_many(documents, merge=False, mixed=True):
        scores = np.array([unit.metadata.score for unit in units], np.float64)
        yield float(np.log(np.clip(scores, 1e-6, 1.0)).mean()) if len(scores) else 0.0
