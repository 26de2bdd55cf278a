"""What tests of faulty components share: sound ones to change, configs that build the class they name, and suites."""

from __future__ import annotations

import pkgutil
from typing import Any

import attrs
from torch import nn

from papermage_core.plugin.spec import (
    ContextEncoderConfig,
    HeadOutput,
    LabelScheme,
    LabelSchemeConfig,
    ModelHeadConfig,
    option,
)
from papermage_core.testing import (
    ContextEncoderSuite,
    LabelSchemeSuite,
    ModelHeadSuite,
    TinyEncoder,
    TinyEncoderConfig,
    run_suite,
)


class SoundEncoder(TinyEncoder):
    def __init__(self, config, folder):
        super().__init__(TinyEncoderConfig(size=8, rows=300, window=40))


class SoundHead(nn.Module):
    """A linear head without an error."""

    def __init__(self, input_size, scheme):
        super().__init__()
        self.scheme = scheme
        self.score = nn.Linear(input_size, len(scheme.tags))

    def scores(self, vectors, mask):
        return self.score(vectors).float()

    def loss(self, vectors, mask, targets):
        known = mask & (targets >= 0)
        return nn.functional.cross_entropy(self.scores(vectors, mask)[known], targets[known], reduction="sum")

    def decode(self, vectors, mask):
        best = self.scores(vectors, mask).softmax(-1).max(-1)
        return [
            HeadOutput.from_tags(best.indices[i, m].numpy(), best.values[i, m].float().numpy(), self.scheme)
            for i, m in enumerate(mask)
        ]


NAMED = option(help="module:class of what is built: another process finds it, too")


@attrs.frozen(kw_only=True)
class EncoderConfig(ContextEncoderConfig):
    named: str = NAMED
    file: str = option("", help="a file that it reads")

    def build(self, folder=None):
        return pkgutil.resolve_name(self.named)(self, folder)


@attrs.frozen(kw_only=True)
class HeadConfig(ModelHeadConfig):
    named: str = NAMED

    def build(self, input_size, scheme):
        return pkgutil.resolve_name(self.named)(input_size, scheme)


@attrs.frozen(kw_only=True)
class SchemeConfig(LabelSchemeConfig):
    targets = "tags"
    named: str = NAMED

    def build(self, labels):
        return pkgutil.resolve_name(self.named)(labels)


@attrs.frozen(kw_only=True)
class SpansSchemeConfig(SchemeConfig):
    targets = "spans"


def suite_of(component: type[Any], **options: str) -> type[Any]:
    """Return the suite that checks a class."""
    members: dict[str, Any] = {"options": ({"named": f"{component.__module__}:{component.__qualname__}", **options},)}
    if issubclass(component, LabelScheme):
        members["config_class"] = SpansSchemeConfig if component.targets == "spans" else SchemeConfig
        return type("Suite", (LabelSchemeSuite,), members)
    if issubclass(component, TinyEncoder):
        return type("Suite", (ContextEncoderSuite,), members | {"config_class": EncoderConfig})
    return type("Suite", (ModelHeadSuite,), members | {"config_class": HeadConfig, "schemes": ("bio",)})


def fault(suite: type[Any], check: str) -> str:
    """Return what a check says, which fails."""
    (found,) = run_suite(suite, only=check)
    assert not found.passed
    return found.error


def failed(suite: type[Any]) -> list[Any]:
    """Return the results of the checks that fail."""
    return [result for result in run_suite(suite) if not result.passed]
