"""Examples → what the heads say, and predictions in units of documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from papermage_core.data.batches import Batch, BatchLimits, LengthSampler, collate
from papermage_core.data.examples import Example, Examples, cut, make_examples
from papermage_core.data.garbage import FreeMemory
from papermage_core.data.gold import to_document
from papermage_core.data.units import ParsedDocument
from papermage_core.errors import ConfigError
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.long import LONG, decode_long
from papermage_core.model.precision import UNITS, decide
from papermage_core.plugin.spec import HeadOutput, UnitSpan

__all__ = ["decode_documents", "decode_examples", "document_spans", "pick_device"]

_BATCHES_AT_ONCE = 16
"""How many batches' worth of documents are read ahead, so that contexts of like length can run together."""
_UNITS_AT_ONCE = 30_000
"""Units of a document after which its further contexts wait until these went through the model."""


def decode_documents(
    model: EntityModel,
    documents: Iterable[ParsedDocument],
    stride: int,
    limits: BatchLimits,
    device: torch.device | str = "cpu",
    least: float | None = None,
) -> Iterator[tuple[ParsedDocument, list[list[HeadOutput]]]]:
    """Yield each document with what each head says of each of its contexts, in order, reading only a little ahead.

    With ``least``, the entities are all that have at least this probability (see `EntityModel.candidates`).
    """
    waiting: list[ParsedDocument] = []
    examples: list[Example] = []
    outputs: list[list[HeadOutput]] = []
    batches = 0.0
    free_memory = FreeMemory()
    for number, parsed in enumerate(documents):
        waiting.append(parsed)
        for part in _parts(parsed):
            if batches >= _BATCHES_AT_ONCE:  # within a long document
                outputs += decode_examples(model, examples, limits, device, least, free_memory)
                examples, batches = [], 0.0
            given: dict[str, Any] = {"heads": model.heads, "labels": model.labels}
            more = list(make_examples(model.encoder, [(number, part)], stride, **given))
            examples += more
            batches += _batches(more, limits)
        if batches >= _BATCHES_AT_ONCE or outputs:
            outputs += decode_examples(model, examples, limits, device, least, free_memory)
            yield from _of_documents(waiting, outputs)
            waiting, examples, outputs, batches = [], [], [], 0.0
    yield from _of_documents(waiting, decode_examples(model, examples, limits, device, least, free_memory))


def _parts(parsed: ParsedDocument) -> Iterator[ParsedDocument]:
    """Yield a document in parts of some contexts each, so that not all of a long one's examples are there at once."""
    first = units = 0
    for number, context in enumerate(parsed.contexts):
        units += len(context)
        if units >= _UNITS_AT_ONCE or number == len(parsed.contexts) - 1:
            some = slice(first, number + 1)
            yield attrs.evolve(parsed, contexts=parsed.contexts[some], units=parsed.units[some])
            first, units = number + 1, 0


def _batches(examples: Sequence[Example], limits: BatchLimits) -> float:
    """Return how many batches examples fill."""
    if limits.size is not None:
        return sum(len(example.windows) for example in examples) / limits.size
    return sum(example.cost for example in examples) / limits.cost


def _of_documents(
    documents: Sequence[ParsedDocument], outputs: Sequence[list[HeadOutput]]
) -> Iterator[tuple[ParsedDocument, list[list[HeadOutput]]]]:
    first = 0
    for parsed in documents:
        yield parsed, list(outputs[first : first + len(parsed.contexts)])
        first += len(parsed.contexts)


def decode_examples(
    model: EntityModel,
    examples: Sequence[Example],
    limits: BatchLimits,
    device: torch.device | str = "cpu",
    least: float | None = None,
    free_memory: FreeMemory | None = None,
) -> list[list[HeadOutput]]:
    """Return, for each example, what each head says of it. The model is put in eval mode and left there.

    Examples of like length run together; the result does not depend on which. ``free_memory`` is given back meanwhile.
    """
    model.eval()
    outputs: list[list[HeadOutput]] = [[] for _ in examples]
    long = [i for i, example in enumerate(examples) if len(example) > LONG]
    short = np.setdiff1d(np.arange(len(examples)), long)
    sampler = LengthSampler(Examples.of(examples), limits, shuffle=False, chosen=short)

    def batch_of(index: Sequence[int], some: Sequence[Example]) -> Batch:
        return collate(index, some, model.encoder.collate, limits.cost).to(device)

    with torch.inference_mode():
        if model.undecided:
            some = [batch_of(index, [examples[i] for i in index]) for index in _some(sampler, examples)]
            decide(model, some or [batch_of([i], cut(examples[i], (), limits.cost)[:1]) for i in long[:1]])
        for i in long:
            outputs[i] = decode_long(model, examples[i], limits.cost, device, least)
        for index in sampler:
            batch = batch_of(index, [examples[i] for i in index])
            for of_task in model.decode(batch) if least is None else model.candidates(batch, least):
                for i, found in zip(index, of_task, strict=True):
                    outputs[i].append(found)
            if free_memory is not None:
                free_memory.after(batch.mask.numel())
    return outputs


def _some(sampler: LengthSampler, examples: Sequence[Example]) -> list[list[int]]:
    """Return the batches, from the middle outwards, that it takes to try arithmetics on."""
    batches = list(sampler)
    middle = len(batches) // 2
    found: list[list[int]] = []
    units = 0
    for index in (*batches[middle:], *reversed(batches[:middle])):
        if units >= UNITS:
            break
        found.append(index)
        units += sum(len(examples[i]) for i in index)
    return found


def document_spans(outputs: Sequence[HeadOutput], units: NDArray[np.int64]) -> list[UnitSpan]:
    """Return what the heads found in a context, in units of its document, in order."""
    spans = [to_document(span, units) for found in outputs for span in found.spans]
    return sorted(spans) if len(outputs) > 1 else spans


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of a name: ``auto`` is the GPU where there is one, else the CPU.

    ``gpu``, and what torch calls its devices (``cpu``, ``cuda:1``), are names too. Raises ConfigError for one that is
    not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("cuda" if name == "gpu" else name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts it
        found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise ConfigError(f"no device {name!r} on this machine; there are: {', '.join(['cpu', *found])}") from error
    return device
