"""A checkpoint whose encoder is an ONNX graph, and whether it finds what the checkpoint finds."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from papermage_core import checkpoint
from papermage_core.config.booleans import booleans_only
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import parse_documents
from papermage_core.data.issues import Issues
from papermage_core.data.readers import AnyReader
from papermage_core.data.source import DocumentSource
from papermage_core.data.units import ParsedDocument
from papermage_core.errors import CheckpointError, ConfigError, DataError, counted
from papermage_core.files import check_output
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.inference import decode_documents, document_spans
from papermage_core.model.onnx import ONNX_PRECISIONS, OnnxModel, halves, make_graphs
from papermage_core.model.precision import Precision, use_precision
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import HeadOutput
from papermage_core.training.scoring import Evaluator

__all__ = ["Agreement", "Variant", "agreement", "export_checkpoint"]

_log = logging.getLogger(__name__)
_LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime")
_DOCUMENTS_AT_ONCE = 50


@booleans_only
def export_checkpoint(
    model_name_or_path: str | Path,
    output_path: str | Path,
    precision: Precision = "fp32",
    *,
    overwrite: bool = False,
    plugins_path: Sequence[str | Path] = (),
) -> Path:
    """Write a checkpoint whose encoder and emissions are an ONNX graph to a folder; return it.

    ``precision`` is ``fp32``, ``int8``, or ``auto`` for a graph of each. `EntityClassificationPredictor` and all
    commands take the folder as they take other checkpoints, on the CPU. Raises ConfigError for a model that cannot be
    exported and DataError for what is there already, before anything is written; CheckpointError where there is no
    checkpoint.
    """
    folder, source = Path(output_path).expanduser(), Path(model_name_or_path).expanduser()
    if overwrite and _is_export(folder):
        check_output(folder.parent / f"{folder.name}.new", inputs=[source], folder=True)
    else:
        check_output(folder, inputs=[source], overwrite=overwrite, folder=True)
    precisions = ONNX_PRECISIONS if precision == "auto" else (precision,)
    loaded = checkpoint.load(source, "cpu", Plugins([Path(path) for path in plugins_path]))
    if isinstance(loaded.model, OnnxModel):
        raise ConfigError(f"{model_name_or_path} is an export already: name the checkpoint that it was made from")
    use_precision(loaded.model, "fp32")
    start = time.monotonic()
    graphs, outputs = make_graphs(loaded.model, loaded.blueprint.needs, precisions)
    _, heads = halves(list(loaded.model.heads))  # type: ignore[arg-type]
    decoders = torch.nn.Module()
    decoders.heads = torch.nn.ModuleList(heads)  # type: ignore[arg-type]
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    checkpoint.export(source, folder, decoders, graphs, outputs, exported_by=versions)
    sizes = ", ".join(f"{name} {len(content) / 1e6:.1f} MB" for name, content in graphs.items())
    _log.info("exported to %s in %.0f s: %s", folder, time.monotonic() - start, sizes)
    return folder


def _is_export(folder: Path) -> bool:
    try:
        return "onnx" in checkpoint.read_json(folder) and (folder / "papermage.json").is_file()
    except (CheckpointError, OSError):
        return False


@attrs.frozen(kw_only=True)
class Variant:
    """A way to predict: backend and precision, and how it did beside the reference."""

    name: str
    units_per_second: float
    entities: int
    """Entities found."""
    same: int
    """Those of the reference, too: document, label and both ends."""
    found_by_either: int
    tags_same: float
    """Share of units with the tag that the reference gives them."""
    score_difference: float
    """Largest difference of the score of an entity that both found."""
    f1: float | None
    """On labelled documents."""

    @property
    def agreement(self) -> float:
        """Share of the entities that either found which both found; 1 where there are none."""
        return self.same / self.found_by_either if self.found_by_either else 1.0


@attrs.frozen(kw_only=True)
class Agreement:
    """How ways to predict agree on documents. The first is the reference."""

    documents: int
    units: int
    variants: tuple[Variant, ...]

    def table(self) -> str:
        """Return a table for the terminal."""
        width = max(len(each.name) for each in self.variants)
        lines = [
            f"{counted(self.documents, 'documents')}, {counted(self.units, 'units')}; "
            f"entities beside those of {self.variants[0].name}:",
            f"{'':{width}}  entities    same  agreement    tags  score ±     F1   units/s",
        ]
        for each in self.variants:
            f1 = "–" if each.f1 is None else f"{100 * each.f1:.2f}"
            lines.append(
                f"{each.name:{width}} {each.entities:9} {each.same:7} {100 * each.agreement:9.2f}% "
                f"{100 * each.tags_same:6.2f}% {each.score_difference:8.4f} {f1:>6} {each.units_per_second:9,.0f}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "documents": self.documents,
            "units": self.units,
            "variants": [{**attrs.asdict(each), "agreement": each.agreement} for each in self.variants],
        }


def agreement(
    model_name_or_path: str | Path,
    data_path: Sequence[str | Path],
    exported: str | Path | None = None,
    *,
    reader: AnyReader = None,
    batch_size: int | None = None,
    plugins_path: Sequence[str | Path] = (),
) -> Agreement:
    """Return how what was ``exported`` from a checkpoint agrees on documents with the checkpoint in fp32.

    Without ``exported``, all backends and precisions that it can have here are compared. Scored are the label fields
    that it was trained for, where the documents have them. Variants take turns at some documents at a time.
    """
    plugins = Plugins([Path(path) for path in plugins_path])
    loaded = checkpoint.load(model_name_or_path, "cpu", plugins)
    blueprint = loaded.blueprint
    variants: dict[str, tuple[EntityModel, str]] = {}
    for precision in ("fp32", "bf16", "int8") if exported is None else ("fp32",):
        try:
            use_precision(loaded.model, precision)
        except ConfigError as error:
            _log.info("torch %s is left out: %s", precision, error)
        else:
            variants[f"torch {precision}"] = loaded.model, precision
    try:
        how: dict[str, Any] = {"backend": "onnx", "precision": "auto"} if exported is None else {}
        other = checkpoint.load(exported or model_name_or_path, "cpu", plugins, **how).model
    except ConfigError as error:
        if exported is not None:
            raise
        _log.info("onnx is left out: %s", error)
    else:
        assert isinstance(other, OnnxModel)
        variants |= {f"onnx {precision}": (other, precision) for precision in other.precisions}
    source = DocumentSource(tuple(map(Path, data_path)), reader, processors=blueprint.processors)
    documents = parse_documents(source, blueprint.labelling, blueprint.needs, Issues(), unlabelled=True)
    limits = BatchLimits.without_gradient(blueprint.encoder, batch_size, "cpu")
    tallies = {name: _Tally(Evaluator(blueprint, Extensions())) for name in variants}
    count = units = 0
    while some := list(islice(documents, _DOCUMENTS_AT_ONCE)):
        count += len(some)
        units += sum(len(each) for parsed in some for each in parsed.units)
        reference: list[_Found] | None = None
        for name, (model, precision) in variants.items():
            use_precision(model, precision)  # type: ignore[arg-type]
            start = time.perf_counter()
            outputs = list(decode_documents(model, some, blueprint.stride, limits))
            tallies[name].seconds += time.perf_counter() - start
            found = [_Found.of(parsed, said) for parsed, said in outputs]
            reference = found if reference is None else reference
            tallies[name].add(outputs, found, reference)
    if not count:
        raise DataError("there are no documents", path=data_path[0])
    return Agreement(
        documents=count, units=units, variants=tuple(each.variant(name, units) for name, each in tallies.items())
    )


@attrs.frozen(eq=False)
class _Found:
    """What was found in a document."""

    spans: Mapping[Any, float]
    """Entity → score."""
    tags: list[Any]

    @classmethod
    def of(cls, parsed: ParsedDocument, outputs: Sequence[Sequence[HeadOutput]]) -> _Found:
        spans = {
            span: 1.0 if span.score is None else span.score
            for of_tasks, units in zip(outputs, parsed.units, strict=True)
            for span in document_spans(of_tasks, units)
        }
        return cls(spans, [output.tags for of_tasks in outputs for output in of_tasks])


@attrs.define(eq=False)
class _Tally:
    """Counts one variant."""

    evaluator: Evaluator
    seconds: float = 0.0
    entities: int = 0
    same: int = 0
    either: int = 0
    tags_same: int = 0
    tags: int = 0
    difference: float = 0.0

    def add(self, outputs: Sequence[Any], found: Sequence[_Found], reference: Sequence[_Found]) -> None:
        for (parsed, said), own, wanted in zip(outputs, found, reference, strict=True):
            both = own.spans.keys() & wanted.spans.keys()
            self.entities += len(own.spans)
            self.same += len(both)
            self.either += len(own.spans.keys() | wanted.spans.keys())
            self.difference = max([self.difference, *(abs(own.spans[s] - wanted.spans[s]) for s in both)])
            for mine, theirs in zip(own.tags, wanted.tags, strict=True):
                self.tags_same += int(np.count_nonzero(mine == theirs))
                self.tags += len(theirs)
            if any(gold is not None for gold in parsed.gold):
                self.evaluator.add(parsed, said)

    def variant(self, name: str, units: int) -> Variant:
        evaluation = self.evaluator.evaluation()
        return Variant(
            name=name,
            units_per_second=units / max(self.seconds, 1e-9),
            entities=self.entities,
            same=self.same,
            found_by_either=self.either,
            tags_same=self.tags_same / self.tags if self.tags else 1.0,
            score_difference=self.difference,
            f1=evaluation.scores.f1 if evaluation.counts["documents"] else None,
        )
