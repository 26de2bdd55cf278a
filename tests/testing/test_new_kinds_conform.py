"""The built-in metric, optimizer, extension and stacked encoder keep to what is asked; what does not is caught."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import ClassVar

import pytest

from papermage_core.plugin.manager import Plugins
from papermage_core.testing import ContextEncoderSuite, ExtensionSuite, MetricSuite, OptimizerSuite
from papermage_core.testing.runner import run_suite, suite_for


class TestFBeta(MetricSuite):
    component = "fbeta"
    options = ({}, {"beta": 0.5})


class TestAdamW(OptimizerSuite):
    component = "adamw"
    options = ({}, {"schedule": "cosine"}, {"schedule": "constant", "beta1": 0.5})


class TestRepeats(ExtensionSuite):
    component = "repeats"


class TestStack(ContextEncoderSuite):
    component = "stack"
    examples = 5
    options: ClassVar = (
        {"size": 4, "layers": 2, "inner": {"name": "compact", "width": 8, "rows": 64, "layout": "off"}},
    )


METRIC = """
import attrs
from papermage_core.plugin import MetricConfig, hookimpl

class Metric:
    seen = []
    def __init__(self):
        self.gold, self.right = 0, 0
    def add(self, gold, predicted, unreachable=()):
        self.gold += len(gold)
        self.right += len(set(gold) & set(predicted))
        ADD
    def value(self):
        return VALUE

@attrs.frozen(kw_only=True)
class Config(MetricConfig):
    def build(self, labels):
        return Metric()

@hookimpl
def papermage_metric():
    return Config
"""
OPTIMIZER = """
import attrs
from papermage_core.plugin import OptimizerConfig, hookimpl

def my_sgd():
    import torch

    class Sgd(torch.optim.Optimizer):
        steps = 0

        def __init__(self, groups):
            super().__init__(groups, {})

        @torch.no_grad()
        def step(self, closure):
            with torch.enable_grad():
                loss = closure()
            self.steps += 1
            for group in self.param_groups[FIRST:]:
                for p in (p for p in group["params"] if p.grad is not None):
                    p.add_(p.grad, alpha=SIGN * group["lr"] / (self.steps if COUNTS else 1))
            return loss

    return Sgd

@attrs.frozen(kw_only=True)
class Config(OptimizerConfig):
    def build(self, groups, *, mixed=False):
        return my_sgd()(groups)

    def factor(self, step, total, warmup):
        return FACTOR

@hookimpl
def papermage_optimizer():
    return Config
"""


def failed(kind: str, source: str, tmp_path: Path, only: str | None) -> dict[str, str]:
    file = tmp_path / "mine.py"
    file.write_text(dedent(source))
    results = run_suite(suite_for(kind, "mine", plugins=Plugins([file])), only=only or "")
    return {result.name: result.error for result in results if not result.passed}


@pytest.mark.parametrize(
    ("add", "value", "check", "remedy"),
    [
        ("", "self.right / self.gold if self.gold else 0.0", None, ""),
        ("", "self.right / self.gold", "a figure is a number", ""),
        ("", "1 / self.right", "nothing found is no error", ""),
        ("", "-self.right", "what is right is no worse than what is wrong", "greater_is_better"),
        ("gold.clear()", "self.right / max(1, self.gold)", "what is given is left as it is", "copy"),
        ("Metric.seen.append(1)", "len(Metric.seen)", "asking twice gives the same", "counts on the metric"),
        ("self.right = len(predicted)", "float(self.right)",
         "documents count the same in every order", "add up"),
    ],
)  # fmt: skip
def test_faults_of_metrics_are_caught(tmp_path, add, value, check, remedy):
    found = failed("metric", METRIC.replace("ADD", add or "pass").replace("VALUE", value), tmp_path, check)
    if check is None:
        assert found == {}
    else:
        assert remedy in found[check]


@pytest.mark.parametrize(
    ("changes", "check", "remedy"),
    [
        ({}, None, ""),
        ({"SIGN": "1"}, "it learns", "sign"),
        ({"FIRST": "1"}, "it learns", "step all groups"),
        ({"COUNTS": "True"}, "a run that is resumed ends the same", "self.state"),
        ({"FACTOR": "1 / step if step else 1.0 / (total - 1)"}, "the schedule is made of shares", ""),
        ({"FACTOR": "total - 2 * step"}, "the schedule is made of shares", "the last included"),
    ],
)
def test_faults_of_optimizers_are_caught(tmp_path, changes, check, remedy):
    source = OPTIMIZER
    for word, value in ({"SIGN": "-1", "FIRST": "0", "COUNTS": "False", "FACTOR": "1.0"} | changes).items():
        source = source.replace(word, value)
    found = failed("optimizer", source, tmp_path, check)
    if check is None:
        assert found == {}
    else:
        assert remedy in found[check]
