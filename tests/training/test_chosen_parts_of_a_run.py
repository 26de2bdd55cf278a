"""Optimizer, schedule and metric are chosen by name, with their options; what heads name beside the loss is kept."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from papermage_core import Entity, Span
from papermage_core.data.corpus import read_corpus
from papermage_core.data.examples import Examples
from papermage_core.data.labelling import Labelling
from papermage_core.data.source import DocumentSource
from papermage_core.errors import ConfigError, PluginError, StoppedError
from papermage_core.plugin.spec import ContextNeeds
from papermage_core.testing import make_documents, write_jsonl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.module import EntityModule, Optimisation, Predictions
from papermage_optimizers.adamw import AdamWConfig

SMALL = {"encoder.width": 16, "encoder.rows": 100, "enable_progress_bar": False, "accelerator": "cpu", "max_epochs": 2}

PLUGIN = """
import attrs
import torch
from papermage_core.plugin import ExtensionConfig, MetricConfig, OptimizerConfig, hookimpl, option
from papermage_heads.linear.plugin import LinearHeadConfig

SEEN = []

class Mistakes:
    def __init__(self, labels, missed):
        self.labels, self.missed, self.sum = labels, missed, 0.0

    def add(self, gold, predicted, unreachable=()):
        assert gold == sorted(gold) and predicted == sorted(predicted)
        self.sum += self.missed * (len(set(gold) - set(predicted)) + len(unreachable))
        self.sum += len(set(predicted) - set(gold))

    def value(self):
        SEEN.append((self.labels, self.sum))
        return self.sum

@attrs.frozen(kw_only=True)
class MistakesConfig(MetricConfig):
    greater_is_better = False
    missed: float = option(1.0, help="weight of what is missed", gt=0)

    def build(self, labels):
        return Mistakes(labels, self.missed)

@attrs.frozen(kw_only=True)
class SgdConfig(OptimizerConfig):
    momentum: float = option(0.5, help="momentum")

    def build(self, groups, *, mixed=False):
        return torch.optim.SGD(groups, momentum=self.momentum)

@attrs.frozen(kw_only=True)
class HeadConfig(LinearHeadConfig):
    def build(self, input_size, scheme):
        head = super().build(input_size, scheme)
        loss = head.loss

        def losses(vectors, mask, targets):
            found = loss(vectors, mask, targets)
            return {"loss": found, "twice": 2 * found}

        head.loss = losses
        return head

@attrs.frozen(kw_only=True)
class QuietConfig(ExtensionConfig):
    def build(self):
        return Quiet()

class Quiet:
    @hookimpl
    def papermage_adjust_predictions(self, output):
        return attrs.evolve(output, spans=[])

@hookimpl
def papermage_metric(): return MistakesConfig
@hookimpl
def papermage_optimizer(): return SgdConfig
@hookimpl
def papermage_model_head(): return HeadConfig
@hookimpl
def papermage_extension(): return QuietConfig
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def config(train_file: Path, val_file: Path, tmp_path: Path) -> Callable[..., EntityClassificationTrainConfig]:
    given = {"data_path": train_file, "val_data_path": val_file, "label_field": "names,amounts"}

    def make(**values: Any) -> EntityClassificationTrainConfig:
        return EntityClassificationTrainConfig(**given | {"default_root_dir": tmp_path / "run"} | SMALL | values)

    return make


def history(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def test_all_of_them_together(config, mine):
    chosen = {"monitor": "mine", "monitor.missed": 3, "optimizer": "mine", "optimizer.momentum": 0.25, "head": "mine"}
    result = EntityClassificationTrainer(config(plugins_path=mine, learning_rate=0.01, **chosen)).train()
    rows = history(result.folder)
    for row in rows:
        assert float(row["train_twice"]) == pytest.approx(2 * float(row["train_loss"]), rel=1e-5)
    counts = result.scores.micro
    best = min(float(row["val_mine"]) for row in rows)
    assert best == 3 * (counts.gold - counts.right) + counts.predicted - counts.right
    kept = yaml.safe_load((result.folder / "config.yaml").read_text())
    assert kept["monitor"] == {"name": "mine", "missed": 3.0}
    assert kept["optimizer"] == {"name": "mine", "momentum": 0.25}


def test_a_metric_that_is_no_number_is_no_better_and_patience_waits_for_one(config, mine, caplog):
    mine.write_text(PLUGIN.replace("return self.sum", "return float('nan')"))
    given = {"monitor": "mine", "patience": 2, "max_epochs": 4, "learning_rate": 1e-6}
    result = EntityClassificationTrainer(config(plugins_path=mine, **given)).train()
    assert [row["val_mine"] for row in history(result.folder)] == ["", ""]
    assert "monitor=mine was no number in any epoch: the last model is kept" in caplog.text


def test_a_metric_is_given_each_document_once_with_what_nobody_could_have_predicted_there(tmp_path):
    """It may count documents, such as a mean of their F1: one more without entities would change that."""
    documents = make_documents(3)
    for number, many in ((0, 1), (2, 2)):
        layer = documents[number].get_layer("tokens")
        gaps = [(a.end, b.start) for a, b in itertools.pairwise(entity.spans[0] for entity in layer) if a.end < b.start]
        entities = [Entity(spans=[each.spans[0]]) for each in documents[number].get_layer("Disease")]
        documents[number].remove_layer("Disease")
        documents[number].annotate_layer("Disease", [*entities, *(Entity(spans=[Span(*gap)]) for gap in gaps[:many])])
    source = DocumentSource((write_jsonl(documents, tmp_path / "a.jsonl"),))
    corpus = read_corpus(source, Labelling(label_field=("Disease",)), ContextNeeds(), spool=tmp_path)
    given = []

    class Noting:
        def add(self, gold, predicted, unreachable=()):
            given.append((len(gold), list(predicted), list(unreachable)))

        def value(self):
            return 0.0

    scores = Predictions(corpus, Examples.of([])).scores(["Disease"], Noting())
    assert [(predicted, unreachable) for _, predicted, unreachable in given] == [
        ([], ["Disease"]),
        ([], []),
        ([], ["Disease", "Disease"]),
    ]
    assert scores.gold_unreachable == {"Disease": 3}
    assert scores.micro.gold == sum(gold for gold, _, _ in given) + 3
    assert scores.documents == 3
    chosen = corpus.choose(np.array([2, 1]))
    assert chosen.unreachable_by_document() == {0: ["Disease", "Disease"]}


def test_a_metric_sees_what_extensions_leave(config, mine):
    given = {"monitor": "mine", "extensions": "mine", "plugins_path": mine}
    result = EntityClassificationTrainer(config(**given)).train()
    gold = result.scores.micro.gold
    assert gold > 0
    assert [float(row["val_mine"]) for row in history(result.folder)] == [gold, gold]


def test_a_run_that_was_stopped_goes_on_with_its_optimizer_and_named_losses(config, mine, tmp_path):
    given = {"optimizer": "mine", "head": "mine", "plugins_path": mine, "seed": 3, "learning_rate": 0.01}
    whole = EntityClassificationTrainer(config(default_root_dir=tmp_path / "whole", **given)).train()
    trainer = EntityClassificationTrainer(config(default_root_dir=tmp_path / "half", **given))
    step = EntityModule.training_step

    def stopping(self: EntityModule, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == 1:
            trainer.stop("a test")
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EntityModule, "training_step", stopping)
        with pytest.raises(StoppedError):
            trainer.train()
    half = EntityClassificationTrainer(config(default_root_dir=tmp_path / "half", resume=True, **given)).train()
    timeless = [{name: value for name, value in row.items() if name != "seconds"} for row in history(whole.folder)]
    assert [{n: v for n, v in row.items() if n != "seconds"} for row in history(half.folder)] == timeless


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"optimizer": "sgdd"}, PluginError, "optimizer=sgdd: unknown optimizer; known: adamw"),
        ({"optimizer.schedul": "cosine"}, ConfigError, r"optimizer\.schedul .*Did you mean 'optimizer\.schedule'"),
        ({"monitor": "fbetta"}, ConfigError, "monitor='fbetta' .*or a metric: fbeta.* Did you mean 'fbeta'"),
        ({"monitor": "fbeta", "monitor.beta": 0}, ConfigError, r"monitor\.beta=0 .*: expected a number above 0"),
        ({"monitor.beta": 2}, ConfigError, r"monitor\.beta \(Python\): monitor=f1 has no options"),
    ],
)
def test_what_is_named_wrongly_is_told_before_anything_is_read(config, given, error, message):
    with pytest.raises(error, match=message):
        config(**given).components()


@pytest.mark.parametrize(("schedule", "end"), [("linear", 0.0), ("cosine", 0.0), ("constant", 1.0)])
def test_the_rates_follow_the_schedule(schedule, end):
    given = {"learning_rate": 1.0, "head_learning_rate": 1.0, "weight_decay": 0.0, "warmup_steps": 0.1}
    optimisation = Optimisation(**given, optimizer=AdamWConfig(schedule=schedule))
    factors = [optimisation.factor(step, 100) for step in range(101)]
    assert factors[:11] == pytest.approx([(step + 1) / 11 for step in range(10)] + [1.0])
    assert factors[-1] == pytest.approx(end)
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[10:]))


def test_the_default_optimizer_is_that_of_before():
    parameter = torch.nn.Parameter(torch.ones(3))
    group = {"params": [parameter], "lr": 0.1, "weight_decay": 0.05}
    defaults = AdamWConfig().build([group]).defaults
    wanted = torch.optim.AdamW([parameter], lr=0.1, fused=True).defaults
    assert {name: defaults[name] for name in ("betas", "eps", "fused", "amsgrad")} == {
        name: wanted[name] for name in ("betas", "eps", "fused", "amsgrad")
    }
    assert AdamWConfig().build([{**group}], mixed=True).defaults["fused"] is False


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("gradient", [1e-7, 1e-5, 1e-3, 0.1])
def test_weights_of_float16_take_no_step_longer_than_the_rate(mixed, gradient):
    """The square of a small gradient is 0 there."""
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float16))
    optimizer = AdamWConfig().build([{"params": [weight], "lr": 0.01, "weight_decay": 0.0}], mixed=mixed)
    for found in (gradient, 0.0, gradient):
        before = weight.detach().clone()
        weight.grad = torch.full_like(weight, found)
        optimizer.step()
        assert (weight - before).abs().max() <= 0.0101


def test_a_model_that_is_not_saved_whole_is_told(
    train_file: Path, val_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its scores are those of what was saved, and nobody would know why they are lower."""
    (tmp_path / "forgets.py").write_text(
        "import attrs, torch\n"
        "from papermage_core.plugin import hookimpl\n"
        "from papermage_heads.linear.plugin import LinearHeadConfig\n"
        "@attrs.frozen(kw_only=True)\n"
        "class Config(LinearHeadConfig):\n"
        "    def build(self, input_size, scheme):\n"
        "        head = super().build(input_size, scheme)\n"
        "        decode, other = head.decode, type(self).built\n"
        "        type(self).built = True\n"
        "        def swapped(vectors, mask):\n"
        "            found = decode(vectors, mask)\n"
        "            return [attrs.evolve(each, spans=[]) for each in found] if other else found\n"
        "        head.decode = swapped\n"
        "        return head\n"
        "    built = False\n"
        "@hookimpl\n"
        "def papermage_model_head(): return Config\n"
    )
    given = {"data_path": train_file, "val_data_path": val_file, "label_field": "names", **SMALL, "max_epochs": 6}
    config = EntityClassificationTrainConfig(
        **given, head="forgets", plugins_path=tmp_path / "forgets.py", default_root_dir=tmp_path / "run"
    )
    EntityClassificationTrainer(config).train()
    assert "in training, and is 0.0 with what was saved: a component uses more than it saves" in caplog.text
