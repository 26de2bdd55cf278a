"""What a component of each kind gives for the samples, as plain values: the same in every process.

A probe is called here and in another process, so that the two can be compared; it also goes through all that the
component's methods do, so that what is printed, opened and changed meanwhile is seen.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from papermage_core.config.extensions import ExtensionChoice
from papermage_core.config.structure import learned_values, structure, unstructure
from papermage_core.data.readers import companions_of
from papermage_core.document import Document
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.loading import load_module_extension
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import LabelScheme, LocatedDocument, UnitSpan
from papermage_core.testing.elsewhere import ComponentReference
from papermage_core.testing.head_calls import decode_of, knows_needs, loss_of
from papermage_core.testing.samples import (
    LABELS,
    SIZE,
    adjusted_samples,
    many_words,
    sample_contexts,
    sample_results,
    typical,
)
from papermage_core.testing.tensors import seeded

MANY = tuple(f"label {letter}" for letter in "abcdefghijkl")
"""A dozen labels."""


def config_of(reference: ComponentReference, options: Mapping[str, Any]) -> Any:
    """Return the config of these options."""
    return structure(reference.found(), options, key=reference.kind, name=reference.name)


def context_encoder(reference: ComponentReference, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an encoder learns and makes of contexts, how its weights are named, and its vectors."""
    config = config_of(reference, options)
    contexts = [*sample_contexts(config.needs), many_words(config.needs, 50)]
    settled = config.settle(contexts)
    with seeded(0), tempfile.TemporaryDirectory() as folder:
        encoder = settled.build(None)
        windows = [window for of_one in encoder.windows(contexts, stride=2) for window in of_one]
        vectors = encoder(encoder.collate(windows[:3]))
        if vectors.requires_grad:
            vectors.sum().backward()
        encoder.save(Path(folder))
        settled.build(Path(folder))
        encoder.eval()
        with torch.no_grad():
            alone = [encoder(encoder.collate([window]))[0].float().numpy() for window in windows[:8]]
    return {
        "things learned by settle": _learned(settled),
        "windows": [(w.start, w.stop, w.cost, {k: np.asarray(v) for k, v in w.features.items()}) for w in windows],
        "weights": _weights(encoder),
        "vectors": alone,
    }


def label_scheme(reference: ComponentReference, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags of a scheme for a dozen labels, and what it makes of entities."""
    scheme = config_of(reference, options).build(MANY)
    spans = [UnitSpan.of(label, 3 * i, 3 * i + 2) for i, label in enumerate(MANY)]
    target = scheme.encode(spans, 3 * len(MANY) + 1)
    found = {"labels": list(scheme.labels), "tags": list(scheme.tags), "targets": _plain_target(target)}
    if scheme.tags:
        names = ("start_allowed", "end_allowed", "transition_allowed")
        found |= {"tables": [np.asarray(getattr(scheme, name)) for name in names]}
    return {**found, "entities": _spans(scheme.decode(target))}


def model_head(reference: ComponentReference, options: Mapping[str, Any], schemes: Sequence[str]) -> dict[str, Any]:
    """Return what a head learns, how its weights are named, its losses and predictions, under each scheme."""
    config = config_of(reference, options)
    learned, weights, losses, predictions = [], [], [], []
    for scheme in (scheme_of(name) for name in schemes):
        batch = typical(scheme, 0)
        targets = [scheme.encode(spans, n) for spans, n in zip(batch.spans, batch.lengths, strict=True)]
        settled = config.settle(targets, scheme)
        with seeded(0):
            head = knows_needs(settled.build(SIZE, scheme), settled.needs)
        head.eval()
        loss = loss_of(head, batch)
        if loss.requires_grad:
            loss.backward()
        outputs = decode_of(head, batch)
        learned.append(_learned(settled))
        weights.append(_weights(head))
        losses.append(loss.detach().float().numpy())
        predictions += [(_spans(output.spans), output.tags, output.scores) for output in outputs]
    return {"things learned by settle": learned, "weights": weights, "losses": losses, "predictions": predictions}


def scheme_of(name: str, labels: Sequence[str] = LABELS) -> LabelScheme:
    """Return an installed scheme for these labels."""
    scheme: LabelScheme = _installed(tuple(sys.path)).config_class("label_scheme", name)().build(tuple(labels))
    return scheme


@functools.lru_cache(maxsize=8)
def _installed(path: tuple[str, ...]) -> Plugins:
    return Plugins()


def document_reader(
    reference: ComponentReference, options: Mapping[str, Any], samples: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return the documents of files; begin with each file once, and leave it before its end."""
    config = config_of(reference, options)
    reader = config.build()
    with written(samples) as every:
        paths = to_read(every, config)
        for path in paths:
            reading = reader.read(path)
            if hasattr(reading, "close"):
                with closing(reading):
                    list(itertools.islice(reading, 1))
        return {"documents": [_json(given) for path in paths for given in reader.read(path)]}


def document_processor(
    reference: ComponentReference, options: Mapping[str, Any], documents: Sequence[bytes]
) -> dict[str, Any]:
    """Return the documents with the layers that a processor adds."""
    config = config_of(reference, options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "processor"
        folder.mkdir()
        config.save(folder).load(folder)
    processor = config.build()
    made = processor.process(Document.from_bytes(each) for each in documents)
    return {"documents": [document.to_json() for document in made]}


def fingerprint(reference: ComponentReference, options: Mapping[str, Any]) -> str:
    """Return the fingerprint of a processor."""
    return str(config_of(reference, options).fingerprint)


def document_writer(
    reference: ComponentReference, options: Mapping[str, Any], documents: Sequence[bytes]
) -> dict[str, Any]:
    """Return what a writer writes, and what it counts as lost."""
    config = config_of(reference, options)
    given = [Document.from_bytes(each) for each in documents]
    if config.target == "file":
        file = io.BytesIO()
        losses = config.build().write(iter(given), file)
        return {"bytes": file.getvalue(), "losses": dict(losses)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "written"
        folder.mkdir()
        losses = config.build().write(iter(given), folder)
        files = {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    return {"files": files, "losses": dict(losses)}


def extension(reference: ComponentReference, options: Mapping[str, Any], run_folder: str) -> dict[str, Any]:
    """Return the predictions that an extension adjusts; call its other hooks."""
    from papermage_core.config import EntityClassificationTrainConfig

    found = extension_of(reference, options)
    config = EntityClassificationTrainConfig(
        data_path="train.jsonl", label_field="Disease", default_root_dir=run_folder
    )
    found.papermage_callbacks(config)
    found.papermage_loggers(config)
    for split in ("val", "test", "eval"):
        found.papermage_evaluated(split, sample_results())
    samples = adjusted_samples()
    adjusted = [each for document, context, output in samples for each in found.adjusted(document, [context], [output])]
    return {"predictions": [(_spans(output.spans), output.tags, output.scores) for output in adjusted]}


def metric(reference: ComponentReference, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figure of a few documents."""
    found = config_of(reference, options).build(MANY)
    spans = [UnitSpan.of(label, 3 * i, 3 * i + 2, 0.9) for i, label in enumerate(MANY)]
    for count in range(0, len(spans), 3):
        found.add(spans, spans[:count], MANY[:1])
    return {"figures": [found.value()]}


def optimizer(reference: ComponentReference, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights after a few steps, and the factors of the learning rates."""
    config = config_of(reference, options)
    with seeded(0):
        model = torch.nn.Linear(4, 2)
        steps = config.build([{"params": list(model.parameters()), "lr": 0.05, "weight_decay": 0.01}])

        def loss() -> torch.Tensor:
            steps.zero_grad()
            value: torch.Tensor = model(torch.ones(3, 4)).square().sum()
            torch.autograd.backward(value)
            return value

        for _ in range(5):
            steps.step(loss)
    weights = [value.detach().numpy() for value in model.parameters()]
    return {"weights": weights, "factors": [config.factor(step, 20.0, 4.0) for step in range(20)]}


def extension_of(reference: ComponentReference | None, options: Mapping[str, Any]) -> Extensions:
    """Return the extension that a reference names, with these options."""
    assert reference is not None
    if reference.source is None:
        own = {reference.name: dict(options)} if options else {}
        paths = [Path(path) for path in reference.paths]
        choice = ExtensionChoice(names=(reference.name,), options=own, plugins_path=tuple(paths))
        return choice.load().unchecked()
    component = ComponentInfo("extension", reference.name, "this test", "", reference.name)
    return Extensions([(component, load_module_extension(component, reference.found()))]).unchecked()


@contextmanager
def written(files: Mapping[str, str | bytes]) -> Iterator[list[Path]]:
    """Write files to a folder of their own, while the block runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "files"  # a document may be named for its folder
        folder.mkdir()
        paths = []
        for name, content in files.items():
            path = folder / name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            paths.append(path)
        yield paths


def to_read(paths: Sequence[Path], config: Any) -> list[Path]:
    """Return the files that are no companions of another one, by the reader's config."""
    beside = {other for path in paths for other in companions_of(path, config) if other != path}
    return [path for path in paths if path not in beside]


def _json(given: Any) -> Any:
    document = given.document if isinstance(given, LocatedDocument) else given
    return document.to_json()


def _learned(config: Any) -> Any:
    return json.loads(json.dumps([unstructure(config), learned_values(config)], default=repr))


def _weights(module: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(value.shape)) for name, value in module.state_dict().items()]


def _spans(spans: Sequence[UnitSpan]) -> list[tuple[Any, ...]]:
    return [(span.label, span.segments, None if span.score is None else round(span.score, 3)) for span in spans]


def _plain_target(target: Any) -> Any:
    return np.asarray(target) if not isinstance(target, list) else _spans(target)
