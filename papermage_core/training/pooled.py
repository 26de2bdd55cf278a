"""What the models of folds find in the documents that they did not see, as a file of documents."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papermage_core import checkpoint
from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.several import PREDICTIONS
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import Corpus
from papermage_core.data.entities import merged_entities
from papermage_core.document import Document
from papermage_core.evaluation import Calibration
from papermage_core.files import whole_file
from papermage_core.model.adjusting import adjusted
from papermage_core.model.inference import decode_documents, document_spans, pick_device
from papermage_core.plugin.manager import Plugins

__all__ = ["pool", "write_predictions"]

_log = logging.getLogger(__name__)


def write_predictions(path: Path, model: Path, held_out: Corpus, config: EntityClassificationTrainConfig) -> None:
    """Write documents with what a model finds in them as the layer ``predictions``, one JSON line each, in order.

    Entities have label and calibrated score in their metadata; ``metadata.fold`` of a document names its fold, where
    the documents had no such key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        for document in _predicted(model, held_out, config):
            if "fold" not in document.metadata:
                document.metadata.set("fold", config.fold)
            file.write(document.to_bytes(with_images=bool(document.images)) + b"\n")


def _predicted(model: Path, held_out: Corpus, config: EntityClassificationTrainConfig) -> Iterator[Document]:
    plugins = Plugins(config.plugins_path)
    extensions = config.components(plugins).extensions.load()
    loaded = checkpoint.load(model, pick_device(str(config.lightning.get("accelerator", "auto"))), plugins)
    device = loaded.model.device
    limits = BatchLimits.without_gradient(loaded.blueprint.encoder, config.batch_size, device)
    calibration = Calibration.from_json((loaded.calibration or {}).get("entity", Calibration().to_json()))
    found = decode_documents(loaded.model, held_out.parsed(keep=True), loaded.blueprint.stride, limits, device)
    for parsed, outputs in found:
        document = parsed.document
        assert document is not None
        said = adjusted(extensions, parsed, outputs, loaded.blueprint.built_tasks)
        spans = sorted(itertools.chain.from_iterable(map(document_spans, said, parsed.units)))
        scores = calibration.apply(np.array([1.0 if span.score is None else span.score for span in spans]))
        entities = merged_entities(spans, document.get_layer(config.entity_name), scores.tolist(), parsed.order)
        if PREDICTIONS in document.layers:
            _log.warning("%s: the layer %r is left out of %s", parsed.name, PREDICTIONS, "what the folds predict")
            document.remove_layer(PREDICTIONS)
        document.annotate_layer(PREDICTIONS, entities)
        yield document


def pool(path: Path, files: Sequence[Path], part: NDArray[np.int64]) -> None:
    """Write the lines of files as one, in the order of the documents; ``part`` is the file of each document."""
    with whole_file(path) as file, ExitStack() as stack:
        lines = [stack.enter_context(each.open("rb")) for each in files]
        for number in part.tolist():
            file.write(next(lines[number]))
