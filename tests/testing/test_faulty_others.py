"""Deliberately faulty readers, extensions and config classes, each caught by the kit with a word on what to fix."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from papermage_core.errors import DataError
from papermage_core.plugin.spec import DocumentReaderConfig, ModelHeadConfig, hookimpl, option
from papermage_core.testing import DocumentReaderSuite, ExtensionSuite, ModelHeadSuite, make_documents
from papermage_core.testing.runner import run_suite
from papermage_formats.jsonl import JsonlReader, JsonlReaderConfig

LINE = make_documents(1)[0].to_bytes().decode()


class ReadsAllAtOnce(JsonlReader):
    def read(self, path):
        return list(super().read(path))


class KeepsState(JsonlReader):
    def read(self, path):
        self.calls = getattr(self, "calls", 0) + 1
        for located in super().read(path):
            located.document.metadata["call"] = self.calls
            yield located


class SkipsWhatIsBroken(JsonlReader):
    def read(self, path):
        try:
            yield from super().read(path)
        except DataError:
            return


class HidesThePath(JsonlReader):
    def read(self, path):
        try:
            yield from super().read(path)
        except DataError as exc:
            raise DataError("something is wrong") from exc


class RaisesWhateverComes(JsonlReader):
    def read(self, path):
        try:
            yield from super().read(path)
        except DataError as exc:
            raise KeyError("symbols") from exc


class YieldsPlainDicts(JsonlReader):
    def read(self, path):
        yield from (located.document.to_json() for located in super().read(path))


class FindsNothing(JsonlReader):
    def read(self, path):
        yield from list(super().read(path))[:0]


@attrs.frozen(kw_only=True)
class ReaderConfig(DocumentReaderConfig):
    reader: str = option(help="name of the class above")

    def build(self):
        return globals()[self.reader]()


def reader_suite(reader: type) -> type[DocumentReaderSuite]:
    members = {
        "config_class": ReaderConfig,
        "options": ({"reader": reader.__name__},),
        "samples": {"a.jsonl": LINE + "\n"},
        "broken": {"b.jsonl": LINE + "\n{broken\n"},
    }
    return type("Suite", (DocumentReaderSuite,), members)


BROKEN = "a broken file is refused by its name"


@pytest.mark.parametrize(
    ("reader", "check", "message"),
    [
        (ReadsAllAtOnce, "documents are read one by one", "yield the documents"),
        (FindsNothing, "documents are read one by one", "yield what the file holds"),
        (YieldsPlainDicts, "documents are read one by one", "yield papermage_core.Document"),
        (KeepsState, "reading twice gives the same", "keep no state in the reader"),
        (SkipsWhatIsBroken, BROKEN, "the broken file b.jsonl gave 1 document"),
        (HidesThePath, BROKEN, "raise DataError(..., path=path)"),
        (RaisesWhateverComes, BROKEN, "raised KeyError"),
    ],
)
def test_a_faulty_reader_is_caught(reader, check, message):
    (found,) = run_suite(reader_suite(reader), only=check)
    assert not found.passed
    assert message in found.error


def test_a_reader_of_odd_file_endings_is_caught():
    class Config(JsonlReaderConfig):
        suffixes = ("JSONL",)

    config_class = attrs.frozen(kw_only=True)(Config)
    suite = type("Suite", (DocumentReaderSuite,), {"config_class": config_class, "samples": {"a": LINE}})
    (found,) = run_suite(suite, only="the file endings begin with a dot")
    assert "in lower case" in found.error


def test_a_suite_without_samples_says_what_is_missing():
    suite = type("Suite", (DocumentReaderSuite,), {"config_class": JsonlReaderConfig})
    (found,) = run_suite(suite, only="documents are read one by one")
    assert "has no samples" in found.error


def changes_results(results):
    results["micro"]["f1"] = 1.0


def changes_in_place(output):
    output.spans.clear()


def invents_units(output):
    return attrs.evolve(output, spans=[span.shifted(99) for span in output.spans])


def gives_percentages(output):
    return attrs.evolve(output, spans=[attrs.evolve(span, score=60.0) for span in output.spans])


def drops_tags(output):
    return attrs.evolve(output, tags=output.tags[:0])


def fails_without_entities(output):
    return attrs.evolve(output, spans=[output.spans[0]])


SHARED: list[Any] = []


def shares_callbacks():
    from pytorch_lightning import Callback

    SHARED[:] = SHARED or [Callback()]
    return SHARED


def extension_suite(hook: str, function: Callable[..., Any]) -> type[ExtensionSuite]:
    module = types.ModuleType("faulty_extension")
    named = types.FunctionType(function.__code__, globals(), hook, function.__defaults__)
    setattr(module, hook, hookimpl(named))
    return type("Suite", (ExtensionSuite,), {"module": module})


ADJUST = "papermage_adjust_predictions"
WHOLE = "adjusted predictions are whole"


@pytest.mark.parametrize(
    ("hook", "function", "check", "message"),
    [
        ("papermage_evaluate", changes_results, "the hooks are those of the specification", "papermage_evaluate"),
        ("papermage_evaluated", lambda outcome: None, "the hooks are those of the specification", "outcome"),
        ("papermage_evaluated", changes_results, "results are seen and left as they are", "copy the results"),
        ("papermage_callbacks", lambda: ["timer"], "callbacks are those of lightning", "pytorch_lightning.Callback"),
        ("papermage_callbacks", shares_callbacks, "callbacks are those of lightning", "inside the hook"),
        ("papermage_loggers", lambda: ["csv"], "loggers are those of lightning", "pytorch_lightning.loggers.Logger"),
        (ADJUST, changes_in_place, WHOLE, "return attrs.evolve(output, ...)"),
        (ADJUST, invents_units, WHOLE, "return entities inside the context"),
        (ADJUST, gives_percentages, WHOLE, "give scores from 0 to 1"),
        (ADJUST, drops_tags, WHOLE, "keep one tag and one score for each unit"),
        (ADJUST, lambda output: output.spans, WHOLE, "expected HeadOutput or None"),
        (ADJUST, fails_without_entities, "a context without predictions passes", "IndexError"),
    ],
)
def test_a_faulty_extension_is_caught(hook, function, check, message):
    (found,) = run_suite(extension_suite(hook, function), only=check)
    assert not found.passed
    assert message in found.error


def config_suite(**members: Any) -> type[ModelHeadSuite]:
    config_class = attrs.make_class(
        "Config", members, bases=(ModelHeadConfig,), frozen=True, kw_only=True, class_body={"build": None}
    )
    return type("Suite", (ModelHeadSuite,), {"config_class": config_class})


def twice(value: float) -> float:
    return value * 2


@pytest.mark.parametrize(
    ("field", "check", "message"),
    [
        (attrs.field(type=float, default=0.5), "every option has a help", "options without help: x"),
        (option(1.5, help="x", lt=1), "the defaults are within their own limits", "correct the default"),
        (
            attrs.field(type=float, default=0.5, converter=twice),
            "a config is the same after writing and reading",
            "do not convert or compute values of fields",
        ),
        (
            attrs.field(type=tuple[int, ...], factory=list),
            "the config class keeps to the specification",
            "has the mutable default []",
        ),
        (attrs.field(type=float, default=0.5), "a config is the same after pickling", "at the top level of its module"),
    ],
)
def test_a_faulty_config_is_caught(field, check, message):
    if field.type is None:
        field.type = float
    (found,) = run_suite(config_suite(x=field), only=check)
    assert not found.passed
    assert message in found.error
