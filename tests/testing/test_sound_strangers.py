"""Sound components unlike the built-in ones, of which the kit once thought that they were not."""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import ClassVar

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from papermage_core.document import Document, Entity, Metadata, Span
from papermage_core.errors import ConfigError, DataError
from papermage_core.files import open_bytes
from papermage_core.plugin.spec import (
    ContextEncoderConfig,
    ContextNeeds,
    DocumentProcessorConfig,
    DocumentReaderConfig,
    DocumentWriterConfig,
    HeadOutput,
    LabelScheme,
    LabelSchemeConfig,
    MetricConfig,
    OptimizerConfig,
    UnitSpan,
    option,
)
from papermage_core.testing import (
    ContextEncoderSuite,
    DocumentProcessorSuite,
    DocumentReaderSuite,
    DocumentWriterSuite,
    LabelSchemeSuite,
    MetricSuite,
    OptimizerSuite,
    run_suite,
)
from tests.testing.helpers import HeadConfig, SoundEncoder, SoundHead, failed, fault, suite_of

GRADIENTS = "gradients reach every parameter"
TRAIN = "in train mode padding and neighbours change nothing either"


def results(suite, checks):
    return {check: result for check in checks for result in run_suite(suite, only=check)}


# Encoders ------------------------------------------------------------------------------------------------------------


class Placed(SoundEncoder):
    """Has a vector of its own for units without a word, without a box and without a group."""

    def __init__(self, config=None, folder=None):
        super().__init__(config, folder)
        self.wordless, self.unplaced, self.alone = (nn.Parameter(torch.randn(8)) for _ in range(3))

    def _windows(self, context, stride):
        boxes = np.full((len(context), 4), np.nan) if context.boxes is None else context.boxes
        groups = context.groups.get("rows", np.full(len(context), -1))
        lacks = np.stack([[not w for w in context.words], np.isnan(boxes[:, 0]), groups < 0], -1).astype(np.float32)
        lacks = lacks.reshape(len(context), 3)
        return [
            attrs.evolve(w, features={**w.features, "lacks": lacks[w.start : w.stop]})
            for w in super()._windows(context, stride)
        ]

    def collate(self, windows):
        rows = [torch.from_numpy(np.array(window.features["lacks"])) for window in windows]
        return {**super().collate(windows), "lacks": nn.utils.rnn.pad_sequence(rows, batch_first=True)}

    def forward(self, features):
        return super().forward(features) + features["lacks"] @ torch.stack([self.wordless, self.unplaced, self.alone])


class ForgetsOne(Placed):
    def forward(self, features):
        return SoundEncoder.forward(self, features) + features["lacks"][..., :2] @ torch.stack(
            [self.wordless, self.unplaced]
        )


@attrs.frozen(kw_only=True)
class PlacedConfig(ContextEncoderConfig):
    forgets: bool = option(False, help="whether a parameter is forgotten")

    @property
    def needs(self):
        return ContextNeeds(boxes=True, groups=("rows",))

    def build(self, folder=None):
        return ForgetsOne() if self.forgets else Placed()


@pytest.mark.parametrize("forgets", [False, True])
def test_a_parameter_for_units_that_lack_something_has_a_gradient(forgets):
    members = {"config_class": PlacedConfig, "options": ({"forgets": forgets},)}
    (found,) = run_suite(type("Suite", (ContextEncoderSuite,), members), only=GRADIENTS)
    assert found.passed is not forgets
    assert ("alone" in found.error) is forgets


class Frozen(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.requires_grad_(False)


class NeverInTrainMode(Frozen):
    def train(self, mode=True):
        return self


class Detached(SoundEncoder):
    def forward(self, features):
        return super().forward(features).detach()


def test_a_frozen_encoder_needs_no_gradient_and_one_that_is_cut_off_does():
    assert failed(suite_of(Frozen)) == []
    assert "detach()" in fault(suite_of(Detached), GRADIENTS)
    assert "super().train(mode)" in fault(suite_of(NeverInTrainMode), "the mode is left as it is")


class DropsLess(SoundEncoder):
    """Drops less and less, by the steps that it counts in a buffer."""

    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, features):
        self.steps += self.training
        return nn.functional.dropout(super().forward(features), 0.5 / (1 + int(self.steps)), self.training)


class DropsLessByANumber(SoundEncoder):
    steps = 0

    def forward(self, features):
        self.steps += self.training
        return nn.functional.dropout(super().forward(features), 0.5 / (1 + int(self.steps)), self.training)


def test_steps_of_training_may_be_counted_in_a_buffer():
    check = "only the seeded generator is drawn from"
    assert all(result.passed for result in results(suite_of(DropsLess), [check, TRAIN]).values())
    assert "in a buffer" in fault(suite_of(DropsLessByANumber), check)


class WantsSizes(SoundEncoder):
    def _windows(self, context, stride):
        if "size" not in context.metadata and len(context):
            raise DataError("no unit has the metadata 'size', which this encoder is made for")
        return super()._windows(context, stride)


@attrs.frozen(kw_only=True)
class SizesConfig(ContextEncoderConfig):
    @property
    def needs(self):
        return ContextNeeds(metadata=("size",))

    def build(self, folder=None):
        return WantsSizes(self, folder)


def test_an_encoder_may_refuse_documents_without_what_it_needs():
    suite = type("Suite", (ContextEncoderSuite,), {"config_class": SizesConfig})
    found = {result.name: result for result in run_suite(suite)}
    assert [name for name, result in found.items() if not result.passed] == []
    assert "give train_predict some that have it" in found["a trained model is the same in another process"].skipped


# Heads ---------------------------------------------------------------------------------------------------------------


class Smooth(SoundHead):
    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0)
        scores = self.scores(vectors, mask)[known]
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum", label_smoothing=0.2)


class ProbabilitiesForLogits(SoundHead):
    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0)
        scores = self.scores(vectors, mask).softmax(-1)[known]
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum")


def test_label_smoothing_leaves_a_loss_and_probabilities_taken_for_logits_are_found():
    check = "what is learnt is predicted"
    assert results(suite_of(Smooth), [check])[check].passed
    assert "give the loss logits" in fault(suite_of(ProbabilitiesForLogits), check)


class SamplesUnits(SoundHead):
    """Takes as many units without an entity into the loss as with one, drawn in training."""

    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0)
        if self.training:
            for row, tags in zip(known, targets, strict=True):
                none = (row & (tags == 0)).nonzero()[:, 0]
                row[none[torch.randperm(len(none))[1 + int((tags > 0).sum()) :]]] = False
        scores = self.scores(vectors, mask)[known]
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum")


class SamplesAlways(SoundHead):
    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0) & ((targets > 0) | (torch.rand(targets.shape) < 0.5))
        scores = self.scores(vectors, mask)[known]
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum")


def test_units_are_sampled_in_training_alone():
    assert failed(suite_of(SamplesUnits)) == []
    for check in ("the loss of a batch is the sum of its contexts", "padding changes no loss"):
        assert "if self.training" in fault(suite_of(SamplesAlways), check)


class CountsSteps(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def loss(self, vectors, mask, targets):
        self.steps += self.training
        return super().loss(vectors, mask, targets) * (1 + 1 / (1 + int(self.steps)) if self.training else 1)


def test_a_head_may_weigh_its_loss_by_the_steps_that_it_counts():
    checks = ["only the seeded generator is drawn from", TRAIN]
    assert all(result.passed for result in results(suite_of(CountsSteps), checks).values())


class Recurs(SoundHead):
    """A GRU over the units of each context."""

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.gru = nn.GRU(input_size, 64, batch_first=True, bidirectional=True)
        self.score = nn.Linear(128, len(scheme.tags))

    def scores(self, vectors, mask):
        found = [self.gru(one[real][None])[0][0] for one, real in zip(vectors, mask, strict=True)]
        return super().scores(nn.utils.rnn.pad_sequence(found, batch_first=True), mask)


def test_a_recurrent_head_may_read_a_long_context():
    check = "long contexts have a finite loss"
    assert results(suite_of(Recurs), [check])[check].passed


class HasAVectorForNoBox(SoundHead):
    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.unplaced = nn.Parameter(torch.randn(len(scheme.tags)))

    def features(self, context):
        return {"lost": np.isnan(context.boxes[:, :1]).astype(np.float32)}

    def loss(self, vectors, mask, targets, features):
        known = mask & (targets >= 0)
        scores = (self.scores(vectors, mask) + features["lost"] * self.unplaced)[known]
        return nn.functional.cross_entropy(scores, targets[known], reduction="sum")

    def decode(self, vectors, mask, features):
        best = (self.scores(vectors, mask) + features["lost"] * self.unplaced).softmax(-1).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), best.values[i, m].numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


@attrs.frozen(kw_only=True)
class BoxesConfig(HeadConfig):
    @property
    def needs(self):
        return ContextNeeds(boxes=True)


def test_a_heads_parameter_for_units_without_a_box_has_a_gradient():
    suite = type("Suite", (suite_of(HasAVectorForNoBox),), {"config_class": BoxesConfig})
    assert results(suite, [GRADIENTS])[GRADIENTS].passed


class AsksFirst(SoundHead):
    """Asks whether a unit has a tag, by one line through the space of vectors, and then which."""

    def __init__(self, input_size, scheme):
        super().__init__(input_size, scheme)
        self.any, self.score = nn.Linear(input_size, 1), nn.Linear(input_size, len(scheme.tags) - 1)

    def scores(self, vectors, mask):
        some = self.any(vectors).float()
        which = self.score(vectors).float().log_softmax(-1)
        return torch.cat([nn.functional.logsigmoid(-some), nn.functional.logsigmoid(some) + which], -1)


class Sleeps(SoundHead):
    """Is slow with many contexts."""

    steps = 0

    def loss(self, vectors, mask, targets):
        if len(vectors) > 100:
            time.sleep(0.02)
            Sleeps.steps += 1
        return super().loss(vectors, mask, targets)


def test_hundreds_of_labels_are_learnt_by_heads_with_few_weights_and_not_by_slow_ones(monkeypatch):
    check = "each of a dozen labels is predicted"
    assert results(suite_of(AsksFirst), [check])[check].passed
    monkeypatch.setattr("papermage_core.testing.head_suite._LONG", 0.1)
    assert results(suite_of(Sleeps), [check])[check].passed
    assert 1 <= Sleeps.steps < 10


# Schemes -------------------------------------------------------------------------------------------------------------


class Pairs(LabelScheme):
    """Tags that are words, given as an option; too many labels are refused."""

    targets = "tags"
    joins_neighbours = True

    def __init__(self, labels):
        self.labels = tuple(labels)
        self.tags = ("O", *self.labels)
        self.start_allowed = self.end_allowed = np.ones(len(self.tags), bool)
        self.transition_allowed = np.ones((len(self.tags), len(self.tags)), bool)

    def encode(self, spans, n_units):
        tags = np.zeros(n_units, np.int64)
        for span in spans:
            if span.label not in self.labels or span.start < 0 or span.stop > n_units or tags[list(span.units)].any():
                raise ValueError(f"{span} cannot be written")
            tags[list(span.units)] = 1 + self.labels.index(span.label)
        return tags

    def decode(self, target):
        found, last = [], 0
        for unit, tag in enumerate(np.asarray(target).tolist()):
            if tag > 0 and tag == last:
                found[-1] = UnitSpan.of(found[-1].label, found[-1].start, unit + 1)
            elif tag > 0:
                found.append(UnitSpan.of(self.tags[tag], unit, unit + 1))
            last = tag
        return found


@attrs.frozen(kw_only=True)
class PairsConfig(LabelSchemeConfig):
    targets = "tags"
    most: int = option(20, help="labels at most")
    words: tuple[str, ...] = option(("begin", "inside", "end", "single"), help="four different words")

    def __attrs_post_init__(self):
        if len(set(self.words)) != 4:
            raise ValueError(f"words: expected four different ones, got {self.words}")

    def build(self, labels):
        if len(labels) > self.most:
            raise ConfigError(f"{self.most} labels at most, got {len(labels)}")
        return Pairs(labels)


def test_a_scheme_may_have_too_few_tags_for_dozens_of_labels_and_options_with_a_rule():
    check = "one label and a dozen are kept apart"
    checks = [check, "a config is the same after writing and reading"]
    suite = type("Suite", (LabelSchemeSuite,), {"config_class": PairsConfig})
    assert {name: result.error for name, result in results(suite, checks).items()} == dict.fromkeys(checks, "")
    few = type("Suite", (LabelSchemeSuite,), {"config_class": PairsConfig, "options": ({"most": 11},)})
    assert "12 labels are refused" in fault(few, check)


# Readers, writers, processors ----------------------------------------------------------------------------------------


class InBatches:
    """Makes fifty documents at once."""

    def read(self, path):
        with open_bytes(path) as raw:
            rows, held = csv.reader(io.TextIOWrapper(raw, "utf-8", newline="")), []
            next(rows, None)
            for name, text in rows:
                held.append(Document(text, metadata=Metadata(doc_id=name)))
                if len(held) == 50:
                    yield from held
                    held = []
            yield from held


class AllAtOnce(InBatches):
    def read(self, path):
        yield from list(super().read(path))


class OfADataBase:
    """Asks for a hundred rows at once; the file cannot be made longer by writing its lines again."""

    def read(self, path):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
            rows = base.execute("select id, text from papers order by id")
            while some := rows.fetchmany(100):
                yield from [Document(text, metadata=Metadata(doc_id=name)) for name, text in some]


@attrs.frozen(kw_only=True)
class BatchesConfig(DocumentReaderConfig):
    reader: str = option("InBatches", help="class of the reader")

    def build(self):
        return globals()[self.reader]()


TABLE = "id,text\na,Patients with ataxia.\nb,Zürich\nc,The end.\n"


def test_a_reader_may_make_documents_in_batches(tmp_path):
    check = "documents are read one by one"
    with closing(sqlite3.connect(tmp_path / "papers.db")) as base:
        base.execute("create table papers (id text, text text)")
        base.executemany("insert into papers values (?, ?)", [("a", "One."), ("b", "Two."), ("c", "Three.")])
        base.commit()
    data = (tmp_path / "papers.db").read_bytes()
    for reader, samples in (("InBatches", {"a.tab": TABLE}), ("OfADataBase", {"a.db": data})):
        members = {"config_class": BatchesConfig, "options": ({"reader": reader},), "samples": samples}
        checks = [check, "a large file is not held in memory"]
        suite = type("Suite", (DocumentReaderSuite,), members)
        assert all(result.passed for result in results(suite, checks).values())
    members = {"config_class": BatchesConfig, "options": ({"reader": "AllAtOnce"},), "samples": {"a.tab": TABLE}}
    assert "as were all of a longer file" in fault(type("Suite", (DocumentReaderSuite,), members), check)


class OfTokens:
    """Writes a line a token; documents without tokens are refused."""

    def write(self, documents, target):
        lost = Counter()
        for document in documents:
            if not document.has_layer("tokens"):
                raise DataError("it has no tokens", document=document.id)
            for name in document.layer_names:
                lost["entities"] += len(document.get_layer(name)) * (name != "tokens")
            lost["white space"] += 1
            target.write(json.dumps([document.id, [token.text for token in document.tokens]]).encode() + b"\n")
        return {kind: count for kind, count in lost.items() if count}


class RefusesAll:
    def write(self, documents, target):
        for document in documents:
            raise DataError("it is not to my taste", document=document.id)
        return {}


@attrs.frozen(kw_only=True)
class TokensConfig(DocumentWriterConfig):
    suffixes = (".toklines",)
    all_of_them: bool = option(False, help="whether all are refused")

    def build(self):
        return RefusesAll() if self.all_of_them else OfTokens()


def test_a_writer_may_refuse_documents_but_not_all():
    suite = type("Suite", (DocumentWriterSuite,), {"config_class": TokensConfig, "reader": None})
    assert failed(suite) == []
    strict = type("Suite", (suite,), {"options": ({"all_of_them": True},)})
    assert "every document of the kit is refused" in fault(strict, "documents are left as they were")


class InPairs:
    def __init__(self, reads):
        self.reads = reads

    def process(self, documents):
        for document in documents:
            if not document.has_layer("pairs"):
                if not document.has_layer(self.reads):
                    raise DataError(f"it has no layer {self.reads!r}", document=document.id)
                starts = [entity.spans[0].start for entity in document.get_layer(self.reads) if entity.spans]
                spans = [Span(start, start + 1) for start in starts[::2] if (document.symbols or "")[start].strip()]
                document.annotate_layer("pairs", [Entity(spans=[span]) for span in spans])
            yield document


@attrs.frozen(kw_only=True)
class PairsOfConfig(DocumentProcessorConfig):
    layer: str = option("tokens", help="the layer that is read")
    says: bool = option(True, help="whether it says what it reads")

    @property
    def reads(self):
        return (self.layer,) if self.says else ()

    @property
    def makes(self):
        return ("pairs",)

    def build(self):
        return InPairs(self.layer)


@pytest.mark.parametrize("layer", ["tokens", "sections"])
def test_a_processor_may_refuse_documents_without_a_layer_that_it_reads(layer):
    members = {"config_class": PairsOfConfig, "options": ({"layer": layer},)}
    assert failed(type("Suite", (DocumentProcessorSuite,), members)) == []
    members = {"config_class": PairsOfConfig, "options": ({"layer": layer, "says": False},)}
    silent = type("Suite", (DocumentProcessorSuite,), members)
    assert "it has no layer" in fault(silent, "every document comes back in order")


# Metrics, optimizers -------------------------------------------------------------------------------------------------


class Precision:
    def __init__(self):
        self.right = self.found = 0

    def add(self, gold, predicted, unreachable=()):
        self.right += sum(span.score for span in set(predicted) if span in set(gold))  # every prediction has a score
        self.found += len(predicted)

    def value(self):
        return self.right / self.found if self.found else math.nan


class Best(Precision):
    def value(self):
        return self.right / self.found if self.found else math.inf


@attrs.frozen(kw_only=True)
class PrecisionConfig(MetricConfig):
    best: bool = option(False, help="whether nothing is best")

    def build(self, labels):
        return Best() if self.best else Precision()


def test_a_metric_may_have_no_number_where_nothing_is_found_but_no_infinity_that_wins():
    assert failed(type("Suite", (MetricSuite,), {"config_class": PrecisionConfig})) == []
    wrong = type("Suite", (MetricSuite,), {"config_class": PrecisionConfig, "options": ({"best": True},)})
    assert "or NaN" in fault(wrong, "nothing found is no error")


class Signs(torch.optim.Optimizer):
    """Steps of one size, which may come back to where they began."""

    def __init__(self, groups, skips):
        super().__init__(groups, {"lr": 0.01, "weight_decay": 0.0})
        self.skips = skips

    def step(self, closure=None):
        loss = closure() if closure is not None else None
        with torch.no_grad():
            for group in self.param_groups[: 1 if self.skips else None]:
                for p in group["params"]:
                    if p.grad is not None:
                        state = self.state[p]
                        state["at"] = state.get("at", 0) + 1
                        origin = state.setdefault("origin", p.clone())
                        p.mul_(1 - group["lr"] * group["weight_decay"]).add_(p.grad.sign(), alpha=-group["lr"] / 5)
                        if p.ndim < 2 and state["at"] % 30 == 0:
                            p.copy_(origin)
        return loss


@attrs.frozen(kw_only=True)
class SignsConfig(OptimizerConfig):
    skips: bool = option(False, help="whether a group is left out")

    def build(self, groups, *, mixed=False):
        keys = ("params", "lr", "weight_decay")  # each group has these
        return Signs([{key: group[key] for key in keys} for group in groups], self.skips)


class SignsSuite(OptimizerSuite):
    config_class = SignsConfig
    options: ClassVar = ({},)


def test_a_parameter_may_come_back_to_where_it_began():
    check = "it learns"
    assert failed(SignsSuite) == []
    skipping = type("Suite", (SignsSuite,), {"options": ({"skips": True},)})
    assert "step all groups" in fault(skipping, check)


SignsSuite.__test__ = False
