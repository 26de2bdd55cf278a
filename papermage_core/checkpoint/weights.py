"""The model that the weights of a folder are for, and what is wrong with weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from papermage_core.checkpoint.blueprints import advice_for
from papermage_core.checkpoint.content import FEW, JSON, WEIGHTS, Content
from papermage_core.checkpoint.damage import damage, located_in
from papermage_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from papermage_core.model.blueprint import Blueprint
    from papermage_core.model.entity_model import EntityModel
    from papermage_core.model.weights import TensorInfo

__all__ = ["build_model", "check_labels", "check_numbers"]

_MOST_TENSORS = 2000  # of an encoder whose weights are in a graph


def build_model(folder: Path, content: Content, blueprint: Blueprint, header: Mapping[str, TensorInfo]) -> EntityModel:
    """Return the model that the weights are for, without them. Raises CheckpointError if there is no such model."""
    import torch

    from papermage_core.model.bounds import Bounds
    from papermage_core.model.onnx import check_runtime
    from papermage_core.model.weights import mismatches

    if content.onnx is not None:
        check_runtime()
    with damage(folder / JSON):
        size = sum((folder / name).stat().st_size for name in (WEIGHTS, *_graphs(content)))
    tensors = len(header) if content.onnx is None else _MOST_TENSORS
    with damage(folder, "does not fit the components that are installed", advice_for(content)):
        with Bounds(tensors, size), torch.random.fork_rng(devices=[]):
            model: EntityModel = blueprint.build_model(folder / "encoder")
        if content.onnx is not None:
            model = _with_graphs(folder, content, model)
        wrong = list(islice(mismatches(model.state_dict(), header), 4))
        if wrong:
            raise ValueError("; ".join(wrong[:3]) + (" …" if len(wrong) > 3 else ""))
    return model


def _graphs(content: Content) -> list[str]:
    """Return the files of graphs. Raises ValueError for one whose contents are not recorded."""
    names = [] if content.onnx is None else list(content.onnx.graphs.values())
    if strange := [name for name in names if name not in content.checksums]:
        raise ValueError(f"expected the name of a recorded file, got {strange[0]!r:.80}")
    return names


def _with_graphs(folder: Path, content: Content, model: EntityModel) -> EntityModel:
    from papermage_core.model.onnx import OnnxModel, Output, halves

    assert content.onnx is not None
    graphs = {precision: (folder / name).read_bytes() for precision, name in content.onnx.graphs.items()}
    outputs = [Output(each.name, each.width) for each in content.onnx.outputs]
    if len(outputs) != len(model.heads):
        raise ValueError(f"it names {len(outputs)} outputs of graphs for {len(model.heads)} heads")
    _, heads = halves(list(model.heads))  # type: ignore[arg-type]
    with located_in(folder):
        return OnnxModel(model.encoder, heads, model.labels, model.head_labels, graphs, outputs)


def check_labels(folder: Path, content: Content, header: Mapping[str, TensorInfo]) -> None:
    """Raise CheckpointError for more labels than the weights of a head can tell apart, before any scheme is built."""
    for number, task in enumerate(content.tasks):
        shapes = [found.shape for name, found in header.items() if name.startswith(f"heads.{number}.")]
        widest = max((size for shape in shapes for size in shape), default=0)
        if len(task.labels) > max(FEW, widest):
            raise CheckpointError(
                f"{folder} is damaged: it names {len(task.labels)} labels, and the weights of their head are for at "
                f"most {widest}"
            )


def check_numbers(path: Path, weights: Mapping[str, Tensor], model: EntityModel) -> None:
    """Raise CheckpointError for weights that nothing can be predicted from, also those that few documents need."""
    from papermage_core.model.weights import not_finite

    if name := not_finite(weights, model):
        raise CheckpointError(
            f"{path} holds NaN or infinity, in {name}: it was changed, or its training diverged. Copy it again, or "
            "train again with a lower learning_rate, gradient_clip_val=1 or precision=32-true"
        )
