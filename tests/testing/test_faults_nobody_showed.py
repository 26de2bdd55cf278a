"""Faults of kinds that nobody had shown to the kit: each is caught by its check, and what is odd but right passes."""

from __future__ import annotations

import csv
import datetime
import json
import logging
import random
import subprocess
import sys
import time
from collections import deque
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from papermage_core import Document, Entity, Span
from papermage_core.errors import ConfigError, DataError
from papermage_core.plugin import (
    ContextNeeds,
    DocumentProcessorConfig,
    DocumentReaderConfig,
    DocumentWriterConfig,
    HeadOutput,
    LocatedDocument,
    MetricConfig,
    ModelHeadConfig,
    OptimizerConfig,
    UnitSpan,
    hookimpl,
    learned,
    option,
)
from papermage_core.testing import (
    ContextEncoderSuite,
    DocumentProcessorSuite,
    DocumentReaderSuite,
    DocumentWriterSuite,
    ExtensionSuite,
    ModelHeadSuite,
    TinyEncoder,
    TinyEncoderConfig,
)
from papermage_core.testing.metric_suite import MetricSuite
from papermage_core.testing.optimizer_suite import OptimizerSuite
from papermage_core.testing.process_state import changes, process_state
from papermage_core.testing.runner import run_suite
from papermage_schemes.bio import BioScheme
from tests.testing.helpers import SoundEncoder, SoundHead, fault, suite_of


def error_of(suite: type[Any], check: str) -> str:
    (found,) = run_suite(suite, only=check)
    return "" if found.passed else found.error


# Encoders


class More(SoundEncoder):
    """Adds a row of a table, by a number of each unit."""

    rows = 3

    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.more = nn.Embedding(self.rows, 8)

    def numbers(self, context):
        return np.zeros(len(context), np.int64)

    def windows(self, contexts, *, stride):
        found = super().windows(contexts, stride=stride)
        for context, of_one in zip(contexts, found, strict=True):
            numbers = self.numbers(context)
            for window in of_one:
                window.features["more"] = numbers[window.start : window.stop]
        return found

    def collate(self, windows):
        more = [torch.from_numpy(np.asarray(window.features["more"], np.int64)) for window in windows]
        return super().collate(windows) | {"more": nn.utils.rnn.pad_sequence(more, batch_first=True)}

    def forward(self, features):
        return super().forward(features) + self.more(features["more"])


class SpacesOfTheFirst(More):
    def numbers(self, context):
        self.seen = getattr(self, "seen", {})
        return self.seen.setdefault(tuple(context.words), 1 + context.space_before.astype(np.int64))


class CaseOfTheFirst(More):
    def numbers(self, context):
        self.seen = getattr(self, "seen", {})
        return np.array([self.seen.setdefault(w.lower(), 1 + w[:1].isupper()) for w in context.words], np.int64)


class CachedByPlace(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.seen: dict[Any, Any] = {}

    def _windows(self, context, stride):
        key = id(context.words), len(context), stride
        if key not in self.seen:
            self.seen[key] = super()._windows(context, stride)
        return self.seen[key]


class RateOfItsOwn(SoundEncoder):
    def parameter_groups(self, learning_rate, weight_decay):
        return [{"params": list(self.parameters()), "lr": 1e-3, "weight_decay": weight_decay}]


class DecayOfItsOwn(SoundEncoder):
    def parameter_groups(self, learning_rate, weight_decay):
        return [{"params": list(self.parameters()), "lr": learning_rate, "weight_decay": 0.01}]


class SavedOnce(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.notes: Any = ["a"]

    def save(self, folder):
        notes, self.notes = self.notes, None
        (folder / "notes.json").write_text(json.dumps(sorted(notes)), encoding="utf-8")


class SavedWhenNew(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.new = folder is None
        self.turn = 7 if folder is None else json.loads((folder / "turn.json").read_text(encoding="utf-8"))

    def save(self, folder):
        (folder / "turn.json").write_text(json.dumps(self.turn if self.new else 1), encoding="utf-8")

    def _windows(self, context, stride):
        return [
            attrs.evolve(window, features={"rows": window.features["rows"] * self.turn % 300})
            for window in super()._windows(context, stride)
        ]


class TableOfPrediction(SoundEncoder):
    def forward(self, features):
        vectors = super().forward(features)
        if not hasattr(self, "table"):
            self.table = torch.ones(1, 900, 1)
        return vectors * (1 + self.mix.bias.mean() * self.table[:, : vectors.shape[1]])


class SeedsInWindows(SoundEncoder):
    def windows(self, contexts, *, stride):
        torch.manual_seed(1)
        return super().windows(contexts, stride=stride)


class SeedsNumpy(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        np.random.seed(0)
        random.seed(0)


class LooksUpInCollate(SoundEncoder):
    def collate(self, windows):
        return {"words": self.words(super().collate(windows)["rows"])}

    def forward(self, features):
        return self.mix(features["words"].repeat(1, 1, 3)).tanh()


class WholeStride(SoundEncoder):
    def _windows(self, context, stride):
        if stride >= 40:
            raise ValueError("range() arg 3 must not be zero")
        return super()._windows(context, stride)


class AnotherArithmetic(SoundEncoder):
    def compute_in(self, precision):
        if precision == "bf16":
            self.bfloat16()


class EndIsCutOff(SoundEncoder):
    def windows(self, contexts, *, stride):
        found = super().windows(contexts, stride=stride)
        for of_one in found:
            for window in of_one:
                if window.start > 800:
                    window.features["rows"][:] = 0
        return found


class Today(More):
    def numbers(self, context):
        year = datetime.date.today().year
        return np.full(len(context), year % 3)


class Warns(SoundEncoder):
    def forward(self, features):
        logging.getLogger(__name__).warning("encoding %d windows", len(features["rows"]))
        return super().forward(features)


@pytest.mark.parametrize(
    ("encoder", "check", "message"),
    [
        (SpacesOfTheFirst, "encoding keeps no state", "once one was seen that differs in a single thing"),
        (CaseOfTheFirst, "encoding keeps no state", "once one was seen that differs in a single thing"),
        (CachedByPlace, "encoding keeps no state", "of another, which is no more"),
        (RateOfItsOwn, "parameter groups hold every parameter once", "the same learning rate"),
        (DecayOfItsOwn, "parameter groups hold every parameter once", "the same weight decay"),
        (SavedOnce, "a saved encoder encodes the same", "saved twice"),
        (SavedWhenNew, "a saved encoder encodes the same", "saved again after it was loaded"),
        (TableOfPrediction, "training goes on after predictions", "after a prediction in inference mode"),
        (SeedsInWindows, "only the seeded generator is drawn from", "windows() sets the generator of torch"),
        (SeedsNumpy, "only the seeded generator is drawn from", "build() sets the generator of numpy and random"),
        (LooksUpInCollate, "collate gives tensors on the cpu", "a gradient is wanted of words"),
        (WholeStride, "windows overlap by the stride", "windows() with stride=64 failed"),
        (AnotherArithmetic, "another arithmetic computes much the same", "after compute_in('bf16')"),
        (EndIsCutOff, "many contexts and long ones are encoded", "have one vector"),
        (Today, "another process makes the same of the same", "look at no clock"),
        (Warns, "warnings are few", "count what is odd, and warn once"),
    ],
)
def test_encoders(encoder: type[SoundEncoder], check: str, message: str) -> None:
    assert message in fault(suite_of(encoder), check)


class Pages(More):
    rows = 17

    def numbers(self, context):
        return 1 + context.pages


class Years(More):
    def numbers(self, context):
        return np.full(len(context), int(context.document_metadata.get("year", 0) > 2000))


class Fonts(More):
    def numbers(self, context):
        return np.array([{"Times-Bold": 1}.get(v, 0) for v in context.metadata.get("font", [None] * len(context))], int)


class Around(More):
    def numbers(self, context):
        assert all(len(words) < 2 for words in context.before)
        return np.ones(len(context), int)


@pytest.mark.parametrize(
    ("encoder", "needs", "check", "message"),
    [
        (Pages, ContextNeeds(boxes=True), "many contexts and long ones are encoded", "units on page 700"),
        (Years, ContextNeeds(document_metadata=("year",)), "every unit gets a finite vector", "TypeError"),
        (Fonts, ContextNeeds(metadata=("font",)), "every unit gets a finite vector", "unhashable type"),
        (Around, ContextNeeds(neighbours=1), "every unit gets a finite vector", "AssertionError"),
    ],
)
def test_encoders_that_see_more_than_words(
    encoder: type[SoundEncoder], needs: ContextNeeds, check: str, message: str
) -> None:
    config = attrs.frozen(kw_only=True)(
        type(
            "Config",
            (TinyEncoderConfig,),
            {"needs": property(lambda self: needs), "build": lambda self, folder=None: encoder(self, folder)},
        )
    )
    assert message in fault(type("Suite", (ContextEncoderSuite,), {"config_class": config}), check)


class Fixed(nn.Module):
    """An encoder without parameters: each word's letters, counted."""

    output_size = 8
    windows, _windows, collate, save = (
        TinyEncoder.windows,
        TinyEncoder._windows,
        TinyEncoder.collate,
        TinyEncoder.save,
    )

    def __init__(self):
        super().__init__()
        self.config = TinyEncoderConfig()

    def forward(self, features):
        return nn.functional.one_hot(features["rows"] % 8, 8).float()


@attrs.frozen(kw_only=True)
class FixedConfig(TinyEncoderConfig):
    def build(self, folder=None):
        return Fixed()


@pytest.mark.parametrize("check", ["gradients reach every parameter", "training goes on after predictions"])
def test_an_encoder_without_parameters_passes(check: str) -> None:
    assert error_of(type("Suite", (ContextEncoderSuite,), {"config_class": FixedConfig}), check) == ""


# Options


@attrs.frozen(kw_only=True)
class SizesConfig(TinyEncoderConfig):
    size: int = option(16, ge=0, help="size of a vector")


@attrs.frozen(kw_only=True)
class ChoicesConfig(TinyEncoderConfig):
    function: str = option("tanh", help="activation", choices=("tanh", "softplush"))

    def build(self, folder=None):
        getattr(torch, self.function)
        return super().build(folder)


@attrs.frozen(kw_only=True)
class RefusedConfig(ChoicesConfig):
    def build(self, folder=None):
        if self.function != "tanh":
            raise ConfigError("function=softplush needs another version of torch")
        return super().build(folder)


@attrs.frozen(kw_only=True)
class AbsentConfig(ChoicesConfig):
    def build(self, folder=None):
        if self.function != "tanh":
            raise FileNotFoundError("no such table")
        return super().build(folder)


@attrs.frozen(kw_only=True)
class EndlessConfig(ChoicesConfig):
    def build(self, folder=None):
        if self.function != "tanh":
            raise TimeoutError("no end after 20 seconds")
        return super().build(folder)


class Scaled(TinyEncoder):
    def forward(self, features):
        return super().forward(features) / self.config.scale


@attrs.frozen(kw_only=True)
class ScaledConfig(TinyEncoderConfig):
    scale: float = option(1.0, help="what vectors are divided by", ge=0)

    def build(self, folder=None):
        return Scaled(self)


@attrs.frozen(kw_only=True)
class ShareConfig(TinyEncoderConfig):
    share: float = option(0.5, help="a share of something", gt=0, le=1)

    def build(self, folder=None):
        assert 1 / (1 - self.share) >= 1
        return super().build(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ScaledConfig, "with scale=0.0 some vectors are no finite numbers"),
        (ShareConfig, "with share=1.0 it failed with ZeroDivisionError"),
        (AbsentConfig, ""),
        (EndlessConfig, "no end after 20 seconds"),
        (SizesConfig, "with size=0 it failed"),
        (ChoicesConfig, "with function='softplush' it failed with AttributeError"),
        (RefusedConfig, ""),
        (TinyEncoderConfig, ""),
    ],
)
def test_options_at_their_limits(config: type[TinyEncoderConfig], message: str) -> None:
    error = error_of(type("Suite", (ContextEncoderSuite,), {"config_class": config}), "options at their limits work")
    assert message in error
    assert bool(message) == bool(error)


# Heads


class TakesTagsToPieces(SoundHead):
    def decode(self, vectors, mask):
        found = {tag.split("-")[1] for tag in self.scheme.tags if "-" in tag}
        assert found == set(self.scheme.labels)
        return super().decode(vectors, mask)


class SortsLabels(SoundHead):
    def decode(self, vectors, mask):
        order, turned = sorted(self.scheme.labels), []
        for tag in self.scheme.tags:
            prefix, _, label = tag.partition("-")
            turned.append(f"{prefix}-{order[self.scheme.labels.index(label)]}" if label else tag)
        turn = torch.tensor([self.scheme.tags.index(tag) for tag in turned])
        best = self.scores(vectors, mask).softmax(-1).max(-1)
        return [
            HeadOutput.from_tags(turn[best.indices[i, m]].numpy(), best.values[i, m].numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


class EightBits(SoundHead):
    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).softmax(-1).max(-1)
        tags = best.indices.to(torch.int8).long()
        return [
            HeadOutput.from_tags(tags[i, m].numpy(), best.values[i, m].numpy(), self.scheme) for i, m in enumerate(mask)
        ]


class AlwaysSure(SoundHead):
    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).argmax(-1)
        return [
            HeadOutput.from_tags(best[i, m].numpy(), np.ones(int(m.sum())), self.scheme) for i, m in enumerate(mask)
        ]


class Places(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.place = nn.Embedding(2048, len(scheme.tags))

    def scores(self, vectors, mask):
        return super().scores(vectors, mask) + self.place(torch.arange(vectors.shape[1]))


class PassesOverOneUnit(SoundHead):
    def scores(self, vectors, mask):
        return super().scores(vectors * (mask.sum(1) > 1)[:, None, None], mask)


class EntitiesOnly(SoundHead):
    def loss(self, vectors, mask, targets):
        return super().loss(vectors, mask & (targets > 0).any(1, keepdim=True), targets)


class TableOfPredictions(SoundHead):
    def scores(self, vectors, mask):
        if not hasattr(self, "table"):
            self.table = torch.ones(1, 5000, 1)
        return super().scores(vectors, mask) * self.table[:, : vectors.shape[1]]


class ForOneContext(SoundHead):
    def candidates(self, vectors, mask, least):
        return [[UnitSpan.of(self.scheme.labels[0], 0, 1, 0.01)]]


class ShortEntities(SoundHead):
    def decode(self, vectors, mask):
        found = super().decode(vectors, mask)
        for output in found:
            for span in output.spans:
                output.tags[span.start + 10 : span.stop] = 0
        return [HeadOutput.from_tags(output.tags, output.scores, self.scheme) for output in found]


@pytest.mark.parametrize(
    ("head", "check", "message"),
    [
        (TakesTagsToPieces, "one label and a dozen are taken", "take no tag to pieces"),
        (SortsLabels, "each of a dozen labels is predicted", "in their order"),
        (EightBits, "each of a dozen labels is predicted", "of 130 labels"),
        (AlwaysSure, "scores say how sure it is", "wholly sure"),
        (Places, "long contexts have a finite loss", "a context of 2100 units failed"),
        (PassesOverOneUnit, "gradients reach the vectors", "contexts of one unit"),
        (EntitiesOnly, "gradients reach the vectors", "contexts without entities"),
        (TableOfPredictions, "training goes on after predictions", "after a prediction in inference mode"),
        (ForOneContext, "candidates are entities", "1 lists for 3 contexts"),
        (ShortEntities, "what is learnt is predicted", "an entity of 32 units"),
    ],
)
def test_heads(head: type[SoundHead], check: str, message: str) -> None:
    assert message in fault(suite_of(head), check)


def settled_by(settle: Any) -> type[Any]:
    members = {
        "__annotations__": {"weights": "tuple[float, ...]"},
        "weights": learned(help="of tags"),
        "settle": settle,
        "build": lambda self, input_size, scheme: SoundHead(input_size, scheme),
    }
    config = attrs.frozen(kw_only=True)(type("Config", (ModelHeadConfig,), members))
    return type("Suite", (ModelHeadSuite,), {"config_class": config, "schemes": ("bio",)})


def unknown_fail(config, targets, scheme):
    total = sum(np.bincount(target, minlength=len(scheme.tags)) for target in targets)
    return attrs.evolve(config, weights=tuple(float(n) for n in total))


def absent_fail(config, targets, scheme):
    total = sum(np.bincount(target[target >= 0], minlength=len(scheme.tags)) for target in targets)
    return attrs.evolve(config, weights=tuple(1 / int(n) for n in total))


def seeds(config, targets, scheme):
    torch.manual_seed(0)
    return config


@pytest.mark.parametrize(
    ("settle", "check", "message"),
    [
        (unknown_fail, "a settled config is a config that can be kept", "have no known target (-1)"),
        (absent_fail, "a settled config is a config that can be kept", "contexts without entities"),
        (seeds, "only the seeded generator is drawn from", "settle() sets the generator of torch"),
    ],
)
def test_settling_of_heads(settle: Any, check: str, message: str) -> None:
    assert message in fault(settled_by(settle), check)


# Schemes


class LaterLabelWins(BioScheme):
    def encode(self, spans, n_units):
        tags = np.zeros(n_units, np.int64)
        for label in self.labels:
            one = super().encode([span for span in spans if span.label == label], n_units)
            tags = np.where(one > 0, one, tags)
        if any(span.label not in self.labels for span in spans):
            raise ValueError("no such label")
        return tags


class AllowsAll(BioScheme):
    def allows(self, tags):
        return True


class NoScores(BioScheme):
    def encode(self, spans, n_units):
        assert all(span.score is None for span in spans)
        return super().encode(spans, n_units)


@pytest.mark.parametrize(
    ("scheme", "check", "message"),
    [
        (LaterLabelWins, "entities that cannot be written are refused", "overlapping entities"),
        (AllowsAll, "what is legal is what the tables say", "allows() says True"),
        (NoScores, "what is given is left as it is", "entities that have scores"),
    ],
)
def test_schemes(scheme: type[BioScheme], check: str, message: str) -> None:
    assert message in fault(suite_of(scheme), check)


# Readers

LINES = "Mutations cause naïve ataxia here .\nPatients with cancer were seen .\nThe gene of β thalassemia .\n"


class Lines:
    def read(self, path):
        try:
            with path.open(encoding="utf-8") as file:
                yield from self.documents(path, file)
        except FileNotFoundError as exc:
            raise DataError(str(exc), path=path) from exc

    def documents(self, path, file):
        for line in file:
            yield Document(line.strip())


class PassesOver(Lines):
    def documents(self, path, file):
        for line in file:
            if line.strip().endswith("."):
                yield Document(line.strip())


class CountsFullLines(Lines):
    def documents(self, path, file):
        full = (line.strip() for line in file if line.strip())
        for n, line in enumerate(full, 1):
            yield LocatedDocument(Document(line), path, line=n)


class CountsCharacters(Lines):
    def documents(self, path, file):
        at = 0
        for line in file:
            yield LocatedDocument(Document(line.strip()), path, byte=at)
            at += len(line)


class CutsTheLast(Lines):
    def documents(self, path, file):
        for line in file:
            yield Document(line[:-1])


class KeepsByPath(Lines):
    kept: Any = None

    def documents(self, path, file):
        self.kept = self.kept or {}
        for line in self.kept.setdefault(path, file.read().splitlines()):
            yield Document(line)


class FirstOfNothing(Lines):
    def documents(self, path, file):
        first, *more = file.read().splitlines()
        for line in (first, *more):
            yield Document(line)


@pytest.mark.parametrize(
    ("reader", "check", "message"),
    [
        (PassesOver, "a file that ends early is not taken for a whole one", "as if it were whole"),
        (CountsFullLines, "places are those of the documents", "blank ones too"),
        (CountsCharacters, "places are those of the documents", "not characters"),
        (CutsTheLast, "the last line needs no end", "not by line[:-1]"),
        (KeepsByPath, "a file that is written anew is read anew", "its former documents"),
        (FirstOfNothing, "an empty file is no document or refused", "ValueError"),
    ],
)
def test_readers(reader: type[Lines], check: str, message: str) -> None:
    def suite(of: Any) -> Any:
        config = attrs.frozen(kw_only=True)(type("Config", (DocumentReaderConfig,), {"build": lambda self: of()}))
        return type("Suite", (DocumentReaderSuite,), {"config_class": config, "samples": {"a.lines": LINES}})

    assert message in fault(suite(reader), check)
    assert error_of(suite(Lines), check) == ""


# Writers


class Json:
    target = "file"

    def write(self, documents, file):
        for document in documents:
            file.write(json.dumps(self.changed(document.to_json(with_images=True))).encode() + b"\n")
        return {}

    def changed(self, given):
        return given


class NoBoxes(Json):
    def changed(self, given):
        for entity in (entity for layer in given["entities"].values() for entity in layer):
            entity["boxes"] = []
        return given


class FirstSegment(Json):
    def changed(self, given):
        for entity in (entity for layer in given["entities"].values() for entity in layer):
            entity["spans"] = entity["spans"][:1]
        return given


class NamesAreFiles(Json):
    target = "folder"

    def write(self, documents, folder):
        for n, document in enumerate(documents):
            path = folder / f"{document.metadata.get('doc_id', 'none')}_{n}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document.to_json(with_images=True)), encoding="utf-8")
        return {}


def writer_suite(writer: type[Json]) -> Any:
    members = {"build": lambda self: writer(), "target": writer.target}
    config = attrs.frozen(kw_only=True)(type("Config", (DocumentWriterConfig,), members))
    return type("Suite", (DocumentWriterSuite,), {"config_class": config, "reader": None})


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (NoBoxes, "an entity without a box, and with one"),
        (FirstSegment, "an entity of one segment, and of two"),
        (Json, ""),
    ],
)
def test_writers(writer: type[Json], message: str) -> None:
    error = error_of(writer_suite(writer), "documents that differ make files that differ")
    assert message in error
    assert bool(message) == bool(error)


def test_names_of_documents_that_are_paths_are_seen() -> None:
    check = "nothing is written outside the folder"
    assert "files outside the folder" in fault(writer_suite(NamesAreFiles), check)


# Processors


class Halves:
    def process(self, documents):
        for document in documents:
            if not document.has_layer("halves"):
                n = self.length(document)
                document.annotate_layer("halves", [Entity(spans=[Span(0, n)])] if n else [])
            yield document

    def length(self, document):
        return len(document.symbols or "") // 2


class ByName(Halves):
    def __init__(self):
        self.seen: dict[Any, int] = {}

    def length(self, document):
        n = self.seen.setdefault(document.metadata.get("doc_id"), super().length(document))
        return min(n, len(document.symbols or ""))


@attrs.frozen(kw_only=True)
class HalvesConfig(DocumentProcessorConfig):
    named: str = option("Halves", help="what is built", choices=("Halves", "ByName"))
    stamp: str = option("", help="what the fingerprint is of", choices=("", "time", "hash"))

    @property
    def makes(self):
        return ("halves",)

    @property
    def fingerprint(self):
        return {"": "", "time": str(time.time_ns()), "hash": str(hash("model"))}[self.stamp]

    def build(self):
        return {"Halves": Halves, "ByName": ByName}[self.named]()


@pytest.mark.parametrize(
    ("options", "check", "message"),
    [
        ({"named": "ByName"}, "documents of one name are told apart", "another one that has its name"),
        ({"stamp": "time"}, "the fingerprint stands for what it is", "no time"),
        ({"stamp": "hash"}, "the fingerprint stands for what it is", "in another process"),
    ],
)
def test_processors(options: dict[str, str], check: str, message: str) -> None:
    def suite(options: Any) -> Any:
        return type("Suite", (DocumentProcessorSuite,), {"config_class": HalvesConfig, "options": (options,)})

    assert message in fault(suite(options), check)
    assert error_of(suite({}), check) == ""


# Metrics


class Jaccard:
    def __init__(self, labels):
        self.weight = {label: number for number, label in enumerate(labels, 1)}
        self.right = self.all = 0

    def add(self, gold, predicted, unreachable=()):
        self.right += sum(map(self.weigh, set(gold) & set(predicted)))
        self.all += sum(map(self.weigh, set(gold) | set(predicted))) + len(unreachable)

    def weigh(self, span):
        return 1

    def value(self):
        return self.right / self.all if self.all else 0.0


class Divides(Jaccard):
    def value(self):
        return self.right / self.all


class ByPlace(Jaccard):
    def weigh(self, span):
        return self.weight[span.label]


@pytest.mark.parametrize(
    ("metric", "check", "message"),
    [
        (Divides, "no entity and no document are no error", "divide by no number that may be 0"),
        (ByPlace, "the order of the labels changes nothing", "not by its place"),
    ],
)
def test_metrics(metric: type[Jaccard], check: str, message: str) -> None:
    def suite(of: Any) -> Any:
        members = {"build": lambda self, labels: of(labels)}
        config = attrs.frozen(kw_only=True)(type("Config", (MetricConfig,), members))
        return type("Suite", (MetricSuite,), {"config_class": config})

    assert message in fault(suite(metric), check)
    assert error_of(suite(Jaccard), check) == ""


# Optimizers


class Plain(torch.optim.Optimizer):
    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.1, "weight_decay": 0.0})
        self.first = [group["lr"] for group in self.param_groups]

    def rate(self, number, group):
        return group["lr"]

    def decay(self, group):
        return group["weight_decay"]

    def passes_over(self, parameter):
        return parameter.grad is None

    def keep(self, state):
        state["steps"] = state.get("steps", 0) + 1

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure() if closure else None
        for number, group in enumerate(self.param_groups):
            for parameter in group["params"]:
                if not self.passes_over(parameter):
                    self.keep(self.state[parameter])
                    rate = self.rate(number, group)
                    parameter.mul_(1 - rate * self.decay(group)).sub_(rate * parameter.grad)
        return loss


class FirstRates(Plain):
    def rate(self, number, group):
        return self.first[number]


class NoDecay(Plain):
    def decay(self, group):
        return 0.0


class NoPassing(Plain):
    def passes_over(self, parameter):
        return False


class KeepsAQueue(Plain):
    def keep(self, state):
        state.setdefault("last", deque(maxlen=3)).append(1.0)


@pytest.mark.parametrize(
    ("optimizer", "check", "message"),
    [
        (FirstRates, "rates and decay are those of the groups", "the schedule sets it there"),
        (NoDecay, "rates and decay are those of the groups", "a weight decay of 0.5 changes nothing"),
        (NoPassing, "parameters without a gradient are passed over", "grad is None"),
        (KeepsAQueue, "a run that is resumed ends the same", "keep tensors and plain values"),
    ],
)
def test_optimizers(optimizer: type[Plain], check: str, message: str) -> None:
    def suite(of: Any) -> Any:
        members = {"build": lambda self, groups, *, mixed=False: of(groups)}
        config = attrs.frozen(kw_only=True)(type("Config", (OptimizerConfig,), members))
        return type("Suite", (OptimizerSuite,), {"config_class": config})

    assert message in fault(suite(optimizer), check)
    assert error_of(suite(Plain), check) == ""


# Extensions


def tags_of_bio(output):
    for span in output.spans:
        output.tag_names.index(f"B-{span.label}")


def no_overlap(output):
    assert all(a.stop <= b.start for a, b in zip(output.spans, output.spans[1:], strict=False))


def seeds_in_between(output):
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("function", "check", "message"),
    [
        (tags_of_bio, "predictions of every head and scheme pass", "not from tag names"),
        (no_overlap, "predictions of every head and scheme pass", "AssertionError"),
        (seeds_in_between, "no generator is seeded", "papermage_adjust_predictions() sets the generator of torch"),
    ],
)
def test_extensions(function: Any, check: str, message: str) -> None:
    module = type(sys)("an_extension")
    module.papermage_adjust_predictions = hookimpl(specname="papermage_adjust_predictions")(function)  # type: ignore[attr-defined]
    assert message in fault(type("Suite", (ExtensionSuite,), {"module": module}), check)


# The process


def longer_fields():
    csv.field_size_limit(csv.field_size_limit() + 1)


def silence():
    logging.getLogger("a.library").setLevel(logging.CRITICAL)


def another_method():
    Document.to_bytes = lambda self, **_: b""  # type: ignore[method-assign]


def print_less():
    torch.set_printoptions(precision=2)


def another_module():
    sys.modules["csv"] = type(sys)("csv")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (longer_fields, "the field size limit of csv"),
        (silence, "attributes of loggers (a.library)"),
        (another_method, "attributes of papermage_core.document.document.Document (to_bytes)"),
        (print_less, "torch's print options"),
        (another_module, "attributes of the modules imported (csv)"),
    ],
)
def test_what_is_changed_of_the_process_is_seen(change, what, monkeypatch) -> None:
    monkeypatch.setattr(Document, "to_bytes", Document.to_bytes)
    monkeypatch.setitem(sys.modules, "csv", csv)
    limit, options = csv.field_size_limit(), dict(vars(torch._tensor_str.PRINT_OPTS))
    logging.getLogger("a.library")
    before = process_state()
    try:
        change()
        assert changes(before, process_state()) == [what]
    finally:
        csv.field_size_limit(limit)
        vars(torch._tensor_str.PRINT_OPTS).update(options)
        logging.getLogger("a.library").setLevel(logging.NOTSET)


_CLOCK = """\
import time
from papermage_core.testing.clock import set_ahead
before, kind = time.time(), __import__("datetime").datetime
made = kind(2020, 1, 1)
set_ahead()
from datetime import date, datetime, timezone
assert time.time() - before > 370 * 86400
assert date.today().year > time.gmtime(before).tm_year
assert datetime.now(timezone.utc).timestamp() - before > 370 * 86400
assert time.strftime("%Y-%m-%d") == date.today().isoformat()
assert isinstance(made, datetime) and isinstance(datetime.now(), kind) and isinstance(datetime.now(), date)
assert issubclass(datetime, date) and datetime.now() > made
"""


def test_the_clock_can_be_set_ahead() -> None:
    done = subprocess.run([sys.executable, "-c", _CLOCK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
