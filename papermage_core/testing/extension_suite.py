"""The conformance suite of extensions."""

from __future__ import annotations

import contextlib
import copy
import importlib
import logging
import unittest
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.document import Document
from papermage_core.errors import PluginError, counted
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.loading import load_module_extension
from papermage_core.plugin.spec import Context, HeadOutput
from papermage_core.testing.checks import fail, require, working
from papermage_core.testing.elsewhere import ComponentReference, own_place
from papermage_core.testing.probes import extension_of
from papermage_core.testing.samples import TAGS, adjusted_documents, adjusted_samples, other_outputs, sample_results
from papermage_core.testing.suite import Suite
from papermage_core.testing.tensors import kept_alive, require_unseeded

__all__ = ["ExtensionSuite"]

_METADATA = "papermage_core.document.metadata"
"""The logger of what is read of metadata that lack it."""


class ExtensionSuite(Suite):
    """Subclass as ``class TestMine(ExtensionSuite): component = "mine"``."""

    kind: ClassVar[str] = "extension"
    options: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    """Options to check the extension with: the first are those of the hooks' checks."""
    labels: ClassVar[Sequence[str]] = ("Disease", "Chemical")
    """Labels that the model of a run may be thought to have, those of the samples among them."""
    module: ClassVar[Any] = None
    """The module with its hooks, for an extension that is not installed."""

    def config(self) -> Any:
        """Return the config of a run, as the hooks see it."""
        return EntityClassificationTrainConfig(data_path="train.jsonl", label_field="Disease")

    def reference(self) -> ComponentReference | None:
        """Return where another process finds the extension; None where it cannot."""
        if self.module is None:
            return super().reference()
        return ComponentReference.of_object(self.kind, self.module)

    def _own(self) -> str:
        if self.module is not None:
            return own_place(self.module)
        component = self.plugins.find(self.kind, self.component)
        return str(component.path or own_place(importlib.import_module(component.value.partition(":")[0])))

    def _training(self) -> list[dict[str, Any]]:
        if self.module is not None:
            raise unittest.SkipTest("a run cannot name it: it is not installed")
        found = {"component": f"extension={self.component}", "plugins_path": self.plugins.paths}
        return [{**found, "options": dict(options)} for options in self.options]

    def _probed(self) -> list[tuple[Any, ...]]:
        return [(dict(options), "run") for options in self.options]

    def extension(self) -> Extensions:
        """Return the extension under test."""
        if self.module is None:
            return extension_of(super().reference(), self.options[0])
        component = ComponentInfo("extension", self.module.__name__, "this test", "", self.module.__name__)
        return Extensions([(component, load_module_extension(component, self.module))]).unchecked()

    def test_the_hooks_are_those_of_the_specification(self) -> None:
        """No hook is misspelt, none has an argument that is not passed."""
        try:
            self.extension()
        except PluginError as exc:
            fail(str(exc), "change the hook as it says")

    def test_callbacks_are_those_of_lightning(self) -> None:
        """``papermage_callbacks`` returns Lightning callbacks, new ones for each run."""
        from pytorch_lightning import Callback

        configs = [self.config() for _ in range(2)]
        before = copy.deepcopy(configs[0])
        first, second = (self.extension().papermage_callbacks(config) for config in configs)
        require(configs[0] == before, "the config of the run was changed", "read the config, and change nothing in it")
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
        """``papermage_evaluated`` takes all that `results.json` has of a split, and changes nothing in it."""
        for split in ("val", "test", "eval"):
            results = sample_results()
            before = copy.deepcopy(results)
            with working(
                f"papermage_evaluated(split={split!r})", "read what the hook's page lists, with .get for the rest"
            ):
                self.extension().papermage_evaluated(split, results)
            require(results == before, f"the results became {results}", "copy the results before changing them")

    def test_adjusted_predictions_are_whole(self) -> None:
        """``papermage_adjust_predictions`` returns sound predictions, and leaves those it was given as they are."""
        for document, context, output in adjusted_samples():
            before = copy.deepcopy(attrs.asdict(output))
            adjusted = self._adjusted(document, context, output)
            same = all(np.array_equal(v, before[key]) for key, v in attrs.asdict(output).items() if key != "spans")
            untouched = same and [attrs.asdict(span) for span in output.spans] == before["spans"]
            require(untouched, "the predictions given were changed in place", "return attrs.evolve(output, ...)")
            _check_adjusted(adjusted, len(context), self.labels)
            _check_agreement(output, adjusted)

    def test_a_context_without_predictions_passes(self) -> None:
        """Nothing predicted, or no units at all, is no reason to fail."""
        for document, context, output in adjusted_samples()[-2:]:
            _check_adjusted(self._adjusted(document, context, output), len(context), self.labels)

    def test_documents_of_all_kinds_pass(self) -> None:
        """Long ones and short ones; without metadata, boxes, predictions, or any unit."""
        for document, context, output in adjusted_samples():
            what = f"a context of {len(context)} units, of a document with the metadata {sorted(document.metadata)}"
            remedy = "do without what a document may lack: metadata.get(...), document.has_layer(...)"
            with working(what, remedy), _logged(_METADATA) as logged:
                _adjust(self.extension(), document, context, output)
            require(not logged, f"{what}: {', '.join(dict.fromkeys(logged))}, which is logged each time", remedy)

    def test_predictions_of_every_head_and_scheme_pass(self) -> None:
        """Tags of other schemes, or labels alone; entities that overlap, and such of several segments."""
        for document, context, output in other_outputs():
            what = f"predictions with the tags {', '.join(output.tag_names)}"
            remedy = "take labels and places from the entities (span.label, span.segments), not from tag names"
            with working(what, remedy):
                adjusted = _adjust(self.extension(), document, context, output)
            _check_adjusted(adjusted, len(context), self.labels, output.tag_names)

    def test_no_generator_is_seeded(self) -> None:
        """The hooks are called in the midst of a run, which is seeded once."""
        extension, sample = self.extension(), adjusted_samples()[0]
        require_unseeded(
            papermage_adjust_predictions=lambda: _adjust(extension, *sample),
            papermage_evaluated=lambda: extension.papermage_evaluated("val", sample_results()),
        )

    def test_documents_and_contexts_are_left_as_they_are(self) -> None:
        """Predicting adds nothing to a document, and takes nothing away: who asked for predictions annotates them."""
        for document, context, output in adjusted_samples():
            before = document.to_json(with_images=True), list(context.words), context.space_before.tolist()
            output.tags.flags.writeable = output.scores.flags.writeable = False
            with working("papermage_adjust_predictions of read-only tags", "return attrs.evolve(output, ...)"):
                _adjust(self.extension(), document, context, output)
            now = document.to_json(with_images=True), list(context.words), context.space_before.tolist()
            remedy = "return predictions, and leave the document and its metadata as they are"
            require(before[0] == now[0], f"document {document.id!r} was changed", remedy)
            require(before[1:] == now[1:], "the context was changed", remedy)

    def test_documents_of_several_contexts_are_adjusted(self) -> None:
        """``papermage_adjust_document`` gives an output for each context, of the units of that one."""
        for document, contexts, outputs in adjusted_documents():
            what = f"a document of {counted(len(contexts), 'contexts')}"
            with working(what, "return an output for each context, in their order, or None"):
                found = self.extension().adjusted(document, contexts, outputs)
            require(
                len(found) == len(contexts),
                f"{what} got {len(found)} outputs",
                "return an output for each context, in their order",
            )
            for context, output in zip(contexts, found, strict=True):
                _check_adjusted(output, len(context), self.labels)

    def test_adjusting_keeps_no_state(self) -> None:
        """The same predictions are adjusted the same again, after others and in another order."""
        extension = self.extension()
        first = [_plain(_adjust(extension, *sample)) for sample in adjusted_samples()]
        again = [_plain(_adjust(extension, *sample)) for sample in adjusted_samples()[::-1]][::-1]
        require(first == again, "the same predictions are adjusted in another way later", "keep no state between calls")

    def test_nothing_is_kept_of_what_was_predicted(self) -> None:
        """Documents and predictions go when the core lets them go: a corpus larger than memory is predicted."""
        extension = self.extension()
        (given, context, output), *_ = adjusted_samples()

        def step(number: int) -> list[Any]:
            document, mine = Document.from_json(given.to_json()), attrs.evolve(output, tags=np.array(output.tags))
            _adjust(extension, document, attrs.evolve(context), mine)
            return [document, mine]

        kept = kept_alive(step)
        require(not kept, kept, "keep numbers, not documents or predictions")

    def _adjusted(self, document: Any, context: Context, output: HeadOutput) -> HeadOutput:
        with working("papermage_adjust_predictions", "return attrs.evolve(output, ...), or None to leave it"):
            return _adjust(self.extension(), document, context, output)


@contextlib.contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Yield a list that gets the messages of a logger, which nobody else sees meanwhile."""
    messages: list[str] = []
    logger, handler = logging.getLogger(name), logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    former = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.propagate = former[0]
        logger.setLevel(former[1])


def _adjust(extension: Extensions, document: Document, context: Context, output: HeadOutput) -> HeadOutput:
    """Return what an extension makes of a context, and of a document that has this one alone."""
    (adjusted,) = extension.adjusted(document, [context], [output])
    return adjusted


def _plain(output: HeadOutput) -> tuple[Any, ...]:
    return output.spans, [span.score for span in output.spans], output.tags.tolist(), output.scores.tolist()


def _check_agreement(given: HeadOutput, adjusted: HeadOutput) -> None:
    """Fail where tags were changed, and say other units than the entities."""
    if np.array_equal(given.tags, adjusted.tags):
        return  # they follow from the entities
    tagged = np.flatnonzero(adjusted.tags).tolist()
    covered = sorted({unit for span in adjusted.spans for unit in span.units})
    require(
        tagged == covered,
        f"the tags say entities at the units {tagged}, the entities are at {covered}",
        "change the entities alone, from which the tags follow, or both",
    )


def _check_adjusted(adjusted: HeadOutput, n: int, labels: Sequence[str], tag_names: Sequence[str] = TAGS) -> None:
    for span in adjusted.spans:
        inside = span.start >= 0 and span.stop <= n
        require(inside, f"{span} in a context of {n} units", "return entities inside the context")
        probable = span.score is None or 0 <= span.score <= 1
        require(probable, f"{span} has the score {span.score}", "give scores from 0 to 1")
        require(
            span.label in labels,
            f"{span} has a label that the model does not have: its labels are {', '.join(labels)}",
            "return labels that the model was trained for; if your models have others, set labels = (...) in the suite",
        )
    places = [(span.start, span.stop) for span in adjusted.spans]
    require(places == sorted(places), f"the entities are at {places}", "sort them by start, then stop")
    twice = [span for span, times in Counter(adjusted.spans).items() if times > 1]
    require(not twice, f"{twice} came more than once", "give every entity once")
    require(
        np.shape(adjusted.tags) == (n,) and np.shape(adjusted.scores) == (n,),
        f"for {n} units, tags have shape {np.shape(adjusted.tags)} and scores {np.shape(adjusted.scores)}",
        "keep one tag and one score for each unit",
    )
    tags, scores = np.asarray(adjusted.tags), np.asarray(adjusted.scores, float)
    require(
        tuple(adjusted.tag_names) == tuple(tag_names),
        f"tag_names became {adjusted.tag_names}",
        "leave tag_names as they are: they are the scheme's",
    )
    known = tags.dtype.kind == "i" and bool(((tags >= 0) & (tags < len(adjusted.tag_names))).all())
    require(known, f"tags are {tags}, of {len(adjusted.tag_names)} names", "make tags indices into tag_names")
    probable = bool(((scores >= 0) & (scores <= 1 + 1e-5)).all())
    require(probable, f"the scores of the units are {scores}", "give scores from 0 to 1")
