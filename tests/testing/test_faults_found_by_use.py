"""Faults of plugins as strangers write them: each is caught by its check, and what is odd but right passes."""

from __future__ import annotations

import decimal
import gc
import json
import multiprocessing
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import torch

from papermage_core import Document, Entity, Span
from papermage_core.document import Metadata
from papermage_core.plugin import (
    DocumentProcessorConfig,
    DocumentReaderConfig,
    DocumentWriterConfig,
    MetricConfig,
    OptimizerConfig,
    hookimpl,
)
from papermage_core.testing import (
    ContextEncoderSuite,
    DocumentProcessorSuite,
    DocumentReaderSuite,
    DocumentWriterSuite,
    ExtensionSuite,
    TinyEncoderConfig,
)
from papermage_core.testing.metric_suite import MetricSuite
from papermage_core.testing.optimizer_suite import OptimizerSuite
from papermage_core.testing.process_state import changes, process_state
from papermage_core.testing.runner import run_suite
from papermage_schemes.bio import BioScheme
from tests.testing.helpers import SoundEncoder, fault, suite_of


def error_of(suite: type, check: str) -> str:
    (found,) = run_suite(suite, only=check)  # type: ignore[arg-type]
    return "" if found.passed else found.error


def suite(base: Any, config_base: Any, **members: Any) -> Any:
    """A suite for a config whose ``build`` and other members are given."""
    files = {name: members.pop(name) for name in ("samples", "broken") if name in members}
    config = attrs.frozen(kw_only=True)(type("Config", (config_base,), members))
    return type("Suite", (base,), {"config_class": config, "component": "", **files})


# Schemes


class SortsItsLabels(BioScheme):
    def __init__(self, labels: Any) -> None:
        super().__init__(tuple(sorted(labels)))


class ForgetsCase(BioScheme):
    def encode(self, spans, n_units):
        known = {label.lower(): label for label in reversed(self.labels)}
        return super().encode([attrs.evolve(span, label=known.get(span.label.lower(), "")) for span in spans], n_units)


class InBytes(BioScheme):
    def encode(self, spans, n_units):
        return super().encode(spans, n_units).astype("int8").astype("int64")


class OfShortContexts(BioScheme):
    def decode(self, target):
        return [span for span in super().decode(target) if span.stop <= 4096]


@pytest.mark.parametrize(
    ("scheme", "check"),
    [
        (SortsItsLabels, "the scheme states its targets and labels"),
        (ForgetsCase, "one label and a dozen are kept apart"),
        (InBytes, "one label and a dozen are kept apart"),
        (OfShortContexts, "long entities at every place come back"),
    ],
)
def test_a_scheme_for_some_labels_and_lengths_is_caught(scheme: type[BioScheme], check: str) -> None:
    assert fault(suite_of(scheme), check)


# Encoders


class OfOneCost(SoundEncoder):
    def _windows(self, context, stride):
        return [attrs.evolve(window, cost=1) for window in super()._windows(context, stride)]


@attrs.frozen(kw_only=True)
class CountsOne(TinyEncoderConfig):
    def count_windows(self, contexts, stride):
        return [1] * len(contexts)


@attrs.frozen(kw_only=True)
class CountsThem(TinyEncoderConfig):
    def count_windows(self, contexts, stride):
        return list(map(len, self.build().windows(contexts, stride=stride)))


@attrs.frozen(kw_only=True)
class LearnsNothing(TinyEncoderConfig):
    default_learning_rate = 0.0


def test_an_encoder_whose_windows_all_cost_one_is_caught() -> None:
    found = fault(suite_of(OfOneCost), "windows hold numbers of the same names and types")
    assert "batches are filled by it" in found


@pytest.mark.parametrize(
    ("config", "check", "message"),
    [
        (CountsThem, "counted windows are those that are made", ""),
        (CountsOne, "counted windows are those that are made", "by the rule that windows follows"),
        (LearnsNothing, "the encoder says its size", "default_learning_rate is 0.0"),
    ],
)
def test_what_an_encoder_s_config_says(config: type[TinyEncoderConfig], check: str, message: str) -> None:
    members = {"config_class": config, "options": ({"size": 8, "rows": 300, "window": 6},)}
    found = error_of(type("Suite", (ContextEncoderSuite,), members), check)
    assert bool(found) == bool(message)
    assert message in found


# Metrics


class Share:
    """How many of the documents are wholly right."""

    def __init__(self, labels: Any = ()) -> None:
        self.counts = [0, 0]

    def add(self, gold: Any, predicted: Any, unreachable: Any = ()) -> None:
        self.counts[0] += set(gold) == set(predicted) and not unreachable
        self.counts[1] += 1

    def value(self) -> Any:
        return self.counts[0] / self.counts[1] if self.counts[1] else 0.0


class OfTwoLabels(Share):
    def add(self, gold: Any, predicted: Any, unreachable: Any = ()) -> None:
        super().add(gold, predicted, unreachable)
        [{"Disease": 0, "Gene": 1}[span.label] for span in gold]


class Fading(Share):
    def add(self, gold: Any, predicted: Any, unreachable: Any = ()) -> None:
        self.counts[1] = 1
        self.counts[0] = self.counts[0] / 2 + (set(gold) == set(predicted)) / 2  # type: ignore[assignment]


class YesOrNo(Share):
    def value(self) -> Any:
        return self.counts[0] > 0


ANY = "labels of any number and order are taken"


@pytest.mark.parametrize(
    ("metric", "check", "message"),
    [
        (Share, ANY, ""),
        (Share, "documents count the same in every order", ""),
        (OfTwoLabels, ANY, "KeyError"),
        (Fading, "documents count the same in every order", "add up counts"),
        (YesOrNo, "a figure is a number", "return a float"),
    ],
)
def test_metrics(metric: type[Share], check: str, message: str) -> None:
    found = error_of(suite(MetricSuite, MetricConfig, build=lambda self, labels: metric(labels)), check)
    assert bool(found) == bool(message)
    assert message in found


# Optimizers


def sgd(self: Any, groups: Any, *, mixed: bool = False) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups)


SPARSE = "sparse gradients are stepped by"


def without_decay(self: Any, groups: Any, *, mixed: bool = False) -> torch.optim.Optimizer:
    return torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups])


COUNT = [0]


def counting(self: Any, step: float, total: float, warmup: float) -> float:
    COUNT[0] += 1
    return 1 / COUNT[0]


def of_whole_steps(self: Any, step: float, total: float, warmup: float) -> float:
    return ([1.0] * (int(total) + 1))[step]  # type: ignore[call-overload,no-any-return]


def momentum(self: Any, groups: Any, *, mixed: bool = False) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups)


class LastOfEachRow(torch.optim.SGD):
    """Takes of a row that stands twice in a gradient the last alone."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and weight.grad.is_sparse:
                    rows, values = weight.grad._indices()[0], weight.grad._values()
                    weight.grad = torch.zeros_like(weight).index_copy(0, rows, values)
        return super().step(closure)


def last_of_each_row(self: Any, groups: Any, *, mixed: bool = False) -> torch.optim.Optimizer:
    return LastOfEachRow([{**group, "weight_decay": 0.0} for group in groups])


@pytest.mark.parametrize(
    ("members", "check", "message"),
    [
        ({"build": sgd, "takes_sparse_gradients": False}, SPARSE, ""),
        ({"build": momentum, "takes_sparse_gradients": True}, SPARSE, "leave takes_sparse_gradients False"),
        ({"build": last_of_each_row, "takes_sparse_gradients": True}, SPARSE, "coalesce"),
        ({"build": sgd}, "what it builds is an optimizer of torch", ""),
        ({"build": sgd}, "the schedule is made of shares", ""),
        ({"build": without_decay}, "what it builds is an optimizer of torch", "weight decay became [0.0, 0.0]"),
        ({"build": sgd, "factor": counting}, "the schedule is made of shares", "compute it from its arguments"),
        ({"build": sgd, "factor": of_whole_steps}, "the schedule is made of shares", "no whole numbers"),
    ],
)
def test_optimizers(members: dict[str, Any], check: str, message: str) -> None:
    found = error_of(suite(OptimizerSuite, OptimizerConfig, **members), check)
    assert bool(found) == bool(message)
    assert message in found


# Readers

LINES = "Ein Satz über Öl.\nThe second one.\n"


class Lines:
    errors = "strict"

    def read(self, path: Any) -> Iterator[Document]:
        with path.open(encoding="utf-8", errors=self.errors) as file:
            for number, line in enumerate(file, 1):
                yield Document(line.rstrip("\n"), metadata=Metadata(**self.metadata(path, number)))

    def metadata(self, path: Any, number: int) -> dict[str, Any]:
        return {"doc_id": f"{path.stem}-{number}"}


class DropsBytes(Lines):
    errors = "ignore"


class ShowsBytes(Lines):
    errors = "replace"


class OfOneName(Lines):
    def metadata(self, path, number):
        return {"doc_id": path.stem}


class NamesItsFile(Lines):
    def metadata(self, path, number):
        return {"doc_id": f"{path}-{number}", "source": str(path)}


class OfItsFolder(Lines):
    def read(self, path):
        for document in super().read(path):
            yield Document(f"{path.parent}: {document.symbols}", metadata=document.metadata)


class OfAscii(Lines):
    def metadata(self, path, number):
        return {"doc_id": str(path).encode("ascii") and str(number)}


class KeepsAPath(Lines):
    def metadata(self, path, number):
        return {"doc_id": str(number), "where": path}


class LeavesACopy(Lines):
    def read(self, path):
        path.with_suffix(".bak").write_bytes(path.read_bytes())
        yield from super().read(path)


BYTES = "bytes that are no text are not dropped"
ELSEWHERE = "a file is the same wherever it lies"


@pytest.mark.parametrize(
    ("reader", "check", "message"),
    [
        *((Lines, check, "") for check in (BYTES, ELSEWHERE, "documents are read one by one")),
        (ShowsBytes, BYTES, ""),
        (DropsBytes, BYTES, "open without errors="),
        (OfOneName, "documents are read one by one", "are called 'a'"),
        (OfItsFolder, ELSEWHERE, "not from where it lies"),
        (NamesItsFile, ELSEWHERE, ""),
        (OfAscii, ELSEWHERE, "letters beyond ASCII"),
        (LeavesACopy, ELSEWHERE, "reading a.lines changed ['a.bak']"),
        (KeepsAPath, "documents can be written and read again", "metadata of plain values"),
    ],
)
def test_readers(reader: type[Lines], check: str, message: str) -> None:
    members = {"build": lambda self: reader(), "samples": {"a.lines": LINES}}
    found = error_of(suite(DocumentReaderSuite, DocumentReaderConfig, **members), check)
    assert bool(found) == bool(message)
    assert message in found


# Writers


class Writer:
    """JSON lines of text and entities' places."""

    def write(self, documents: Any, target: Any) -> dict[str, int]:
        for number, document in enumerate(documents):
            self.put(target, number, document)
        return {}

    def put(self, target: Any, number: int, document: Document) -> None:
        target.write(json.dumps(self.held(document)).encode() + b"\n")

    def held(self, document: Document) -> Any:
        return document.to_json()


class DropsTheNameless(Writer):
    def put(self, target, number, document):
        if document.metadata.get("doc_id"):
            super().put(target, number, document)


class DropsCopies(Writer):
    def write(self, documents, target):
        return super().write({document.symbols: document for document in documents}.values(), target)


class InLatin1(Writer):
    def put(self, target, number, document):
        target.write(json.dumps(self.held(document), ensure_ascii=False).encode("latin-1", "replace") + b"\n")


class TextAlone(Writer):
    def held(self, document):
        return document.symbols


class Counting(TextAlone):
    def write(self, documents, target):
        lost = []
        super().write((lost.append(document.to_json()) or document for document in documents), target)
        return {"all but texts": sum(len(str(each)) for each in lost)}


class Named(Writer):
    def put(self, target, number, document):
        (target / f"{document.metadata.get('doc_id', number)}.json").write_text(json.dumps(self.held(document)))


class Numbered(Writer):
    def put(self, target, number, document):
        (target / f"{number}.json").write_text(json.dumps(self.held(document)))


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (Writer, ""),
        (Counting, ""),
        (Numbered, ""),
        (DropsTheNameless, "a document without a name, and none"),
        (DropsCopies, "a document, and two of one text"),
        (InLatin1, "documents of the texts '文' and '中'"),
        (TextAlone, "documents with and without an entity"),
        (Named, "a document, and two of one name"),
    ],
)
def test_writers(writer: type[Writer], message: str) -> None:
    members: dict[str, Any] = {"build": lambda self: writer(), "suffixes": (".x",)}
    if writer in (Named, Numbered):
        members["target"] = "folder"
    check = "documents that differ make files that differ"
    found = error_of(suite(DocumentWriterSuite, DocumentWriterConfig, **members), check)
    assert bool(found) == bool(message)
    assert message in found


# Processors


class Words:
    def process(self, documents: Any) -> Iterator[Document]:
        for document in documents:
            words = [] if document.has_layer("words") else self.words(document)
            if not document.has_layer("words"):
                document.annotate_layer("words", words)
            if self.passes(document):
                yield document

    def words(self, document: Document) -> list[Entity]:
        text = document.symbols or ""
        return [Entity(spans=[Span(i, i + 1)]) for i, each in enumerate(text) if each.isalnum()]

    def passes(self, document: Document) -> bool:
        return True


class DropsTheWordless(Words):
    def passes(self, document):
        return len(document.get_layer("words")) > 0


@pytest.mark.parametrize("processor", [Words, DropsTheWordless])
def test_documents_without_a_word_come_back_too(processor: type[Words]) -> None:
    members = {"build": lambda self: processor(), "makes": ("words",)}
    made = suite(DocumentProcessorSuite, DocumentProcessorConfig, **members)
    assert bool(error_of(made, "every document comes back in order")) == (processor is DropsTheWordless)


# Extensions


def extension(name: str, function: Callable[..., Any]) -> Any:
    module = types.ModuleType("faulty_extension")
    named = types.FunctionType(function.__code__, globals(), name)
    setattr(module, name, hookimpl(named))
    return type("Suite", (ExtensionSuite,), {"module": module})


def changed_config(config):
    object.__setattr__(config, "max_epochs", 99)
    return []


SEVERAL = "documents of several contexts are adjusted"
WHOLE = "adjusted predictions are whole"
OF_DOCUMENT, OF_CONTEXT = "papermage_adjust_document", "papermage_adjust_predictions"


@pytest.mark.parametrize(
    ("hook", "function", "check", "message"),
    [
        (OF_DOCUMENT, lambda outputs: outputs, SEVERAL, ""),
        (OF_DOCUMENT, lambda outputs: (each for each in outputs), SEVERAL, ""),
        (OF_DOCUMENT, lambda outputs: outputs[:1], SEVERAL, "one for each context"),
        (OF_DOCUMENT, lambda outputs: outputs and outputs[0], SEVERAL, "expected a list of"),
        (OF_DOCUMENT, lambda outputs: outputs[:1] * len(outputs), SEVERAL, "inside the context"),
        (OF_DOCUMENT, lambda contexts: contexts[0].words and None, SEVERAL, "IndexError"),
        (OF_CONTEXT, lambda output: attrs.evolve(output, spans=output.spans[:1]), WHOLE, ""),
        (OF_CONTEXT, lambda output: attrs.evolve(output, tags=output.tags * 0), WHOLE, "from which the tags follow"),
        (OF_CONTEXT, lambda output: attrs.evolve(output, tag_names=output.tag_names[::-1]), WHOLE, "the scheme's"),
        ("papermage_callbacks", changed_config, "callbacks are those of lightning", "change nothing in it"),
    ],
)
def test_extensions(hook: str, function: Callable[..., Any], check: str, message: str) -> None:
    found = error_of(extension(hook, function), check)
    assert bool(found) == bool(message)
    assert message in found


# The process


def with_patched_json() -> Callable[[], None]:
    original = json.dumps
    json.dumps = lambda *arguments, **more: original(*arguments, **more)
    return lambda: setattr(json, "dumps", original)


def with_global_hook() -> Callable[[], None]:
    return torch.nn.modules.module.register_module_forward_hook(lambda module, given, found: None).remove


def with_start_method() -> Callable[[], None]:
    former = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    return lambda: multiprocessing.set_start_method(former, force=True)


def with_alarm() -> Callable[[], None]:
    former = signal.signal(signal.SIGABRT, lambda number, frame: None)
    return lambda: signal.signal(signal.SIGABRT, former) and None


def setting(owner: Any, name: str, value: Any) -> Callable[[], Callable[[], None]]:
    def change() -> Callable[[], None]:
        former = getattr(owner, name)
        setattr(owner, name, value)
        return lambda: setattr(owner, name, former)

    return change


def calling(function: Callable[[Any], None], value: Any, former: Any) -> Callable[[], Callable[[], None]]:
    def change() -> Callable[[], None]:
        function(value)
        return lambda: function(former)

    return change


def collecting(on: bool) -> None:
    (gc.enable if on else gc.disable)()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (with_patched_json, "attributes of json (dumps)"),
        (with_global_hook, "hooks of all torch modules"),
        (with_start_method, "the start method of processes"),
        (with_alarm, "signal handlers (SIGABRT)"),
        (setting(decimal.getcontext(), "prec", 50), "the context of decimal numbers"),
        (setting(sys, "unraisablehook", print), "sys.unraisablehook"),
        (setting(threading, "excepthook", print), "threading.excepthook"),
        (setting(warnings, "showwarning", print), "warnings.showwarning"),
        (calling(socket.setdefaulttimeout, 7, None), "the default timeout of sockets"),
        (calling(sys.setswitchinterval, 0.5, sys.getswitchinterval()), "the switch interval of threads"),
        (calling(collecting, False, True), "garbage collection"),
    ],
)
def test_what_is_changed_of_the_process_is_seen(change: Callable[[], Callable[[], None]], what: str) -> None:
    before = process_state()
    undo = change()
    try:
        after = process_state()
    finally:
        undo()
    assert changes(before, after) == [what]
    assert changes(before, process_state()) == []
