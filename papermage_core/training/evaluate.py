"""A model on a corpus → how it did."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import attrs

from papermage_core import checkpoint
from papermage_core.data.corpus import Corpus, make_corpus
from papermage_core.data.issues import Issues
from papermage_core.data.pieces import make_pieces
from papermage_core.errors import ConfigError, nearest
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.inference import BatchLimits, decode_pieces, pick_device
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentReader
from papermage_core.training.prepare import Splits, read_labelled
from papermage_core.training.scoring import Evaluation, evaluate

__all__ = ["CheckpointEvaluation", "evaluate_checkpoint", "evaluate_model"]

_log = logging.getLogger(__name__)


@attrs.frozen(eq=False, kw_only=True)
class CheckpointEvaluation:
    """How a checkpoint did on labelled files."""

    blueprint: Blueprint
    splits: Splits
    """The documents, as test split, with what was odd in them."""
    evaluation: Evaluation


def evaluate_model(
    model: EntityModel, blueprint: Blueprint, corpus: Corpus, batch_size: int | None, extensions: Extensions
) -> Evaluation:
    """Return how a model does on a corpus, on the device where it is."""
    device = next(model.parameters()).device
    pieces = make_pieces(model.encoder, corpus.contexts, blueprint.stride)
    outputs = decode_pieces(model, pieces, BatchLimits.without_gradient(blueprint.encoder, batch_size, device), device)
    return evaluate(corpus, blueprint.build_tasks(), dict(enumerate(outputs)), extensions)


def evaluate_checkpoint(
    path: Path,
    data_path: Sequence[Path],
    *,
    reader: DocumentReader,
    label_fields: Sequence[str] | None = None,
    entity_name: str | None = None,
    context_name: str | None = None,
    batch_size: int | None = None,
    accelerator: str = "auto",
    plugins: Plugins | None = None,
    extensions: Extensions | None = None,
) -> CheckpointEvaluation:
    """Return how the model of a checkpoint folder does on labelled files.

    ``label_fields`` are the layers that hold the gold, in the order of the checkpoint's own, which they default to.
    """
    loaded = checkpoint.load(path, pick_device(accelerator), plugins)
    extensions = extensions if extensions is not None else Extensions()
    blueprint = attrs.evolve(
        loaded.blueprint,
        entity_name=entity_name or loaded.blueprint.entity_name,
        context_name=context_name or loaded.blueprint.context_name,
    )
    labels = blueprint.labels
    if label_fields and set(label_fields) != set(labels.fields):
        wrong = next((field for field in label_fields if field not in labels.fields), None)
        hint = nearest(wrong, labels.fields) if wrong else ""
        raise ConfigError(
            f"label_field={','.join(label_fields)}: the checkpoint {path} was trained for "
            f"{','.join(labels.fields)}; leave label_field as it was there.{hint}"
        )
    issues = Issues()
    documents = read_labelled(data_path, labels, blueprint.encoder.needs, reader, issues, keep=True)
    corpus = make_corpus(documents, blueprint.build_tasks(), issues, blueprint.overlap_policy)
    for line in issues.lines():
        _log.warning("%s", line)
    evaluation = evaluate_model(loaded.model, blueprint, corpus, batch_size, extensions)
    extensions.papermage_evaluated("eval", evaluation.scores.to_json())
    return CheckpointEvaluation(
        blueprint=blueprint, splits=Splits(train=(), test=documents, issues={"eval": issues}), evaluation=evaluation
    )
