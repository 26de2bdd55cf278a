"""The conformance suite of extensions."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import attrs
import numpy as np

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.errors import PluginError
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.loading import load_module_extension
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import Context, HeadOutput, UnitSpan
from papermage_core.testing.checks import fail, require
from papermage_core.testing.documents import make_document

__all__ = ["ExtensionSuite"]

TAGS = ("O", "B-Disease", "I-Disease")


class ExtensionSuite:
    """Subclass as ``class TestMine(ExtensionSuite): component = "mine"``."""

    kind: ClassVar[str] = "extension"
    component: ClassVar[str] = ""
    """Name of an installed extension."""
    plugins: ClassVar[Plugins] = Plugins()
    """Where the extension is looked for."""
    module: ClassVar[Any] = None
    """The module with its hooks, for an extension that is not installed."""

    def config(self) -> Any:
        """Return the config of a run, as the hooks see it."""
        return EntityClassificationTrainConfig(data_path="train.jsonl", label_field="Disease")

    def extension(self) -> Extensions:
        """Return the extension under test."""
        if self.module is None:
            return self.plugins.extensions([self.component])
        component = ComponentInfo("extension", self.module.__name__, "this test", "", self.module.__name__)
        return Extensions([(component, load_module_extension(component, self.module))])

    def test_the_hooks_are_those_of_the_specification(self) -> None:
        """No hook is misspelt, none has an argument that is not passed."""
        try:
            self.extension()
        except PluginError as exc:
            fail(str(exc), "change the hook as it says")

    def test_callbacks_are_those_of_lightning(self) -> None:
        """``papermage_callbacks`` returns Lightning callbacks, new ones for each run."""
        from pytorch_lightning import Callback

        first, second = (self.extension().papermage_callbacks(self.config()) for _ in range(2))
        for callback in first:
            require(isinstance(callback, Callback), f"a callback is {callback!r}", "return pytorch_lightning.Callback")
        shared = {id(callback) for callback in first} & {id(callback) for callback in second}
        require(not shared, "two runs get the same callback", "make the callbacks inside the hook")

    def test_loggers_are_those_of_lightning(self) -> None:
        """``papermage_loggers`` returns Lightning loggers."""
        from pytorch_lightning.loggers import Logger

        for logger in self.extension().papermage_loggers(self.config()):
            require(isinstance(logger, Logger), f"a logger is {logger!r}", "return pytorch_lightning.loggers.Logger")

    def test_results_are_seen_and_left_as_they_are(self) -> None:
        """``papermage_evaluated`` changes nothing in the results."""
        for split in ("val", "test", "eval"):
            scores = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2, "predicted": 2, "right": 1}
            results = {"micro": dict(scores), "per_label": {"Disease": dict(scores)}}
            before = copy.deepcopy(results)
            self.extension().papermage_evaluated(split, results)
            require(results == before, f"the results became {results}", "copy the results before changing them")

    def test_adjusted_predictions_are_whole(self) -> None:
        """``papermage_adjust_predictions`` returns sound predictions, and leaves those it was given as they are."""
        document, context, output = _example()
        before = copy.deepcopy(attrs.asdict(output))
        adjusted = self.extension().papermage_adjust_predictions(document, context, output)
        same = all(np.array_equal(value, before[key]) for key, value in attrs.asdict(output).items() if key != "spans")
        untouched = same and [attrs.asdict(span) for span in output.spans] == before["spans"]
        require(untouched, "the predictions given were changed in place", "return attrs.evolve(output, ...)")
        _check_adjusted(adjusted, len(context))

    def test_a_context_without_predictions_passes(self) -> None:
        """Nothing predicted, or no units at all, is no reason to fail."""
        document, context, output = _example()
        none = attrs.evolve(output, spans=[], tags=np.zeros(len(context), np.int64))
        _check_adjusted(self.extension().papermage_adjust_predictions(document, context, none), len(context))
        empty = Context(words=[], space_before=np.zeros(0, bool))
        nothing = HeadOutput([], np.zeros(0, np.int64), np.zeros(0, np.float32), TAGS)
        _check_adjusted(self.extension().papermage_adjust_predictions(document, empty, nothing), 0)


def _example() -> tuple[Any, Context, HeadOutput]:
    document = make_document("Mutations cause cystic fibrosis.", {"Disease": ["cystic fibrosis"]})
    words = [token.text for token in document.tokens]
    context = Context(words=words, space_before=np.array([True, True, True, True, False]))
    tags, scores = np.array([0, 0, 1, 2, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.9], np.float32)
    return document, context, HeadOutput([UnitSpan.of("Disease", 2, 4, 0.6)], tags, scores, TAGS)


def _check_adjusted(adjusted: HeadOutput, n: int) -> None:
    for span in adjusted.spans:
        inside = span.start >= 0 and span.stop <= n
        require(inside, f"{span} in a context of {n} units", "return entities inside the context")
        probable = span.score is None or 0 <= span.score <= 1
        require(probable, f"{span} has the score {span.score}", "give scores from 0 to 1")
    places = [(span.start, span.stop) for span in adjusted.spans]
    require(places == sorted(places), f"the entities are at {places}", "sort them by start, then stop")
    require(
        np.shape(adjusted.tags) == (n,) and np.shape(adjusted.scores) == (n,),
        f"for {n} units, tags have shape {np.shape(adjusted.tags)} and scores {np.shape(adjusted.scores)}",
        "keep one tag and one score for each unit",
    )
