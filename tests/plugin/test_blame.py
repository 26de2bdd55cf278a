"""What goes wrong in a component's code is put down to the component: by name, distribution and version."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import attrs
import pytest

from papermage_core.cli.data import main as data_command
from papermage_core.cli.predict import main as predict
from papermage_core.cli.train import main as train
from papermage_core.errors import ConfigError, DataError, PluginError
from papermage_core.plugin.blame import Given, blaming, built, calling, claim, component_of
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.manager import Plugins
from papermage_core.testing import TinyEncoderConfig, make_documents, write_jsonl
from papermage_core.training import EntityClassificationTrainConfig

PARTS = """
import os
import attrs
import torch
from pytorch_lightning import Callback
from torch import nn
from papermage_core.errors import DataError
from papermage_core.plugin import *
from papermage_core.testing import TinyEncoder, TinyEncoderConfig
from papermage_formats.jsonl import JsonlReader, JsonlReaderConfig, JsonlWriter, JsonlWriterConfig
from papermage_heads.linear.plugin import LinearHeadConfig
from papermage_optimizers.adamw import AdamWConfig
from papermage_metrics.fbeta import FBeta, FBetaConfig
from papermage_schemes.bio import BioScheme, BioSchemeConfig


class Silent(BaseException):
    def __str__(self):
        raise ValueError("no words")


KINDS = {
    "ValueError": ValueError("wrong"), "KeyError": KeyError("wrong"), "SystemExit": SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt(), "StopIteration": StopIteration(), "Silent": Silent(),
    "MemoryError": MemoryError("wrong"), "GeneratorExit": GeneratorExit(), "OSError": FileNotFoundError(2, "no", "x"),
    "BrokenPipeError": BrokenPipeError(32, "wrong"), "AssertionError": AssertionError(), "ModuleNotFoundError":
    ModuleNotFoundError("No module named 'wrong'"),
}


def fault(place):
    where, _, kind = os.environ.get("FAULT", "").partition(":")
    if where == place:
        raise type(KINDS[kind])(*KINDS[kind].args)


class Encoder(TinyEncoder):
    def windows(self, contexts, *, stride):
        fault("windows")
        return super().windows(contexts, stride=stride)

    def collate(self, windows):
        fault("collate")
        return super().collate(windows)

    def forward(self, features):
        fault("forward")
        return super().forward(features)[..., :1] if os.environ.get("FAULT") == "narrow" else super().forward(features)

    def save(self, folder):
        fault("save")

    def parameter_groups(self, learning_rate, weight_decay):
        fault("parameter_groups")
        return [{"params": list(self.parameters()), "lr": learning_rate}]


@attrs.frozen(kw_only=True)
class EncoderConfig(TinyEncoderConfig):
    @property
    def needs(self):
        fault("needs")
        return ContextNeeds()

    def check(self, *, stride):
        fault("check")

    def tune_process(self):
        fault("tune_process")

    def settle(self, contexts):
        fault("settle")
        return None if os.environ.get("FAULT") == "nothing_settled" else self

    def build(self, folder=None):
        fault("build")
        return None if os.environ.get("FAULT") == "nothing_built" else Encoder(self)


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, gradient):
        fault("backward")
        return gradient


@attrs.frozen(kw_only=True)
class HeadConfig(LinearHeadConfig):
    def settle(self, targets, scheme):
        fault("head_settle")
        return super().settle(targets, scheme)

    def build(self, input_size, scheme):
        fault("head_build")
        head = super().build(input_size, scheme)
        if os.environ.get("FAULT") == "expanded_buffer":
            head.register_buffer("weights", torch.ones(1).expand(3))
        loss, decode = head.loss, head.decode

        def my_loss(vectors, mask, targets):
            fault("loss")
            found = loss(Backward.apply(vectors), mask, targets)
            return found.repeat(2) if os.environ.get("FAULT") == "two_losses" else found

        def my_decode(vectors, mask):
            fault("decode")
            return decode(vectors, mask)[: -1 if os.environ.get("FAULT") == "too_few" else None]

        head.loss, head.decode = my_loss, my_decode
        return head


class Scheme(BioScheme):
    def encode(self, spans, n_units):
        fault("encode")
        return super().encode(spans, n_units)

    def decode(self, target):
        fault("scheme_decode")
        return super().decode(target)


@attrs.frozen(kw_only=True)
class SchemeConfig(BioSchemeConfig):
    def build(self, labels):
        fault("scheme_build")
        return Scheme(labels, self.reading)


class Reader(JsonlReader):
    def read(self, path, *args, **kwargs):
        fault("read")
        for number, found in enumerate(super().read(path, *args, **kwargs)):
            if number == 2:
                fault("read_third")
            yield "no document" if os.environ.get("FAULT") == "no_document" else found


@attrs.frozen(kw_only=True)
class ReaderConfig(JsonlReaderConfig):
    suffixes = ()
    shared_suffixes = ()

    def build(self):
        fault("reader_build")
        return Reader()


class Writer(JsonlWriter):
    def write(self, documents, target):
        fault("write")
        return super().write(documents, target)


@attrs.frozen(kw_only=True)
class WriterConfig(JsonlWriterConfig):
    suffixes = ()
    shared_suffixes = ()

    def build(self):
        return Writer()


class Processor:
    def process(self, documents):
        for document in documents:
            fault("process")
            yield document


@attrs.frozen(kw_only=True)
class ProcessorConfig(DocumentProcessorConfig):
    makes = ()

    def build(self):
        fault("processor_build")
        return Processor()


@attrs.frozen(kw_only=True)
class OptimizerConfig_(AdamWConfig):
    def build(self, groups, *, mixed=False):
        fault("optimizer_build")
        return super().build(groups, mixed=mixed)

    def factor(self, step, total, warmup):
        fault("factor")
        return super().factor(step, total, warmup)


class Metric_(FBeta):
    def value(self):
        fault("value")
        return super().value()


@attrs.frozen(kw_only=True)
class MetricConfig_(FBetaConfig):
    def build(self, labels):
        return Metric_(self.beta)


class Watcher(Callback):
    def on_train_batch_end(self, *args):
        fault("callback")


class Extension:
    @hookimpl
    def papermage_callbacks(self, config):
        fault("papermage_callbacks")
        return [Watcher()]

    @hookimpl
    def papermage_evaluated(self, split, results):
        fault("papermage_evaluated")

    @hookimpl
    def papermage_adjust_document(self, document, contexts, outputs):
        fault("papermage_adjust_document")


@attrs.frozen(kw_only=True)
class ExtensionConfig_(ExtensionConfig):
    def build(self):
        fault("extension_build")
        return Extension()


@hookimpl
def papermage_context_encoder(): return EncoderConfig
@hookimpl
def papermage_model_head(): return HeadConfig
@hookimpl
def papermage_label_scheme(): return SchemeConfig
@hookimpl
def papermage_document_reader(): return ReaderConfig
@hookimpl
def papermage_document_writer(): return WriterConfig
@hookimpl
def papermage_document_processor(): return ProcessorConfig
@hookimpl
def papermage_optimizer(): return OptimizerConfig_
@hookimpl
def papermage_metric(): return MetricConfig_
@hookimpl
def papermage_extension(): return ExtensionConfig_
"""
GROUPS = (
    *("context_encoder", "model_head", "label_scheme", "document_reader", "document_writer", "document_processor"),
    *("optimizer", "metric", "extension"),
)
IN_RUN = [
    *("encoder=blamed", "encoder.size=4", "head=blamed", "label_scheme=blamed", "reader=blamed", "processors=blamed"),
    *("optimizer=blamed", "monitor=blamed", "extensions=blamed", "stride=8"),
]


@pytest.fixture
def data(install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labelled documents, where distribution ``of-blame`` 2.1 gives a component of each kind, all named ``blamed``."""
    install(
        "of-blame", {f"papermage.{group}": {"blamed": "blamable"} for group in GROUPS}, version="2.1", blamable=PARTS
    )
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    return write_jsonl(make_documents(5), tmp_path / "train.jsonl")


def trained(data: Path, *more: str) -> int:
    settings = ["max_steps=1", "enable_progress_bar=no", "accelerator=cpu", "cache=no", "num_workers=0"]
    return train(["-q", f"data_path={data}", "label_field=Disease", "default_root_dir=" + str(data.parent / "run"),
                  *IN_RUN, *settings, *more])  # fmt: skip


FAULTS = [
    ("needs:ValueError", "context encoder", "needs"),
    ("check:KeyError", "context encoder", "check"),
    ("tune_process:SystemExit", "context encoder", "tune_process"),
    ("settle:StopIteration", "context encoder", "settle"),
    ("nothing_settled", "context encoder", "settle"),
    ("build:OSError", "context encoder", "build"),
    ("build:ModuleNotFoundError", "context encoder", "build"),
    ("nothing_built", "context encoder", "expected a torch.nn.Module"),
    ("windows:MemoryError", "context encoder", "windows"),
    ("collate:Silent", "context encoder", "collate"),
    ("forward:KeyboardInterrupt", "context encoder", "forward"),
    ("parameter_groups:AssertionError", "context encoder", "parameter_groups"),
    ("save:GeneratorExit", "context encoder", "save"),
    ("head_settle:ValueError", "model head", "settle"),
    ("head_build:SystemExit", "model head", "build"),
    ("expanded_buffer", "model head", "elements of weights share memory"),
    ("loss:SystemExit", "model head", "loss"),
    ("two_losses", "model head", "loss"),
    ("decode:KeyboardInterrupt", "model head", "decode"),
    ("too_few", "model head", "decode"),
    ("scheme_build:KeyError", "label scheme", "build"),
    ("encode:Silent", "label scheme", "encode"),
    ("scheme_decode:ValueError", "label scheme", "decode"),
    ("reader_build:SystemExit", "document reader", "build"),
    ("read:KeyError", "document reader", "read"),
    ("read_third:KeyboardInterrupt", "document reader", "read"),
    ("read_third:BrokenPipeError", "document reader", ""),
    ("no_document", "document reader", "expected documents"),
    ("processor_build:ValueError", "document processor", "build"),
    ("process:SystemExit", "document processor", "process"),
    ("optimizer_build:ValueError", "optimizer", "build"),
    ("factor:KeyError", "optimizer", "factor"),
    ("value:KeyboardInterrupt", "metric", "value"),
    ("extension_build:ValueError", "extension", "build"),
    ("papermage_callbacks:KeyboardInterrupt", "extension", "papermage_callbacks"),
    ("papermage_evaluated:SystemExit", "extension", "papermage_evaluated"),
    ("papermage_adjust_document:ValueError", "extension", "papermage_adjust_document"),
    ("callback:SystemExit", "extension", "on_train_batch_end"),
    ("callback:KeyboardInterrupt", "extension", "on_train_batch_end"),
    ("callback:ValueError", "extension", "on_train_batch_end"),
]


@pytest.mark.parametrize(("fault", "label", "method"), FAULTS)
def test_a_failure_in_a_run_names_component_distribution_and_version(data, monkeypatch, capsys, fault, label, method):
    monkeypatch.setenv("FAULT", fault)
    code = trained(data)
    error = capsys.readouterr().err
    if fault == "read_third:BrokenPipeError":  # of the file, as any error of the system that a reader meets
        assert (code, "cannot read this file" in error) == (3, True)
        return
    assert f"the {label} 'blamed' of distribution 'of-blame' 2.1" in error
    assert method in error
    assert code == 4, error


def test_a_failure_in_the_backward_pass_names_whose_code_it_was(data, monkeypatch, capsys):
    """It passes the step of the optimizer, whose class is of a built-in one that is known, too."""
    EntityClassificationTrainConfig(data_path=data, label_field="names").components()
    monkeypatch.setenv("FAULT", "backward:ValueError")
    assert trained(data) == 4
    error = capsys.readouterr().err
    assert "the code of distribution 'of-blame' 2.1 failed in fault: ValueError: wrong" in error
    assert "blamable.py, line" in error


def test_failures_in_prediction_and_conversion_are_put_down_too(data, monkeypatch, capsys, tmp_path):
    assert trained(data) == 0, capsys.readouterr().err
    for fault, label, more in (
        ("build:ValueError", "context encoder", []),
        ("forward:SystemExit", "context encoder", []),
        ("decode:ValueError", "model head", []),
        ("write:KeyError", "document writer", ["writer=blamed"]),
        ("papermage_adjust_document:SystemExit", "extension", ["extensions=blamed"]),
    ):
        monkeypatch.setenv("FAULT", fault)
        out = tmp_path / f"{label}.jsonl"
        code = predict([f"model_name_or_path={tmp_path / 'run'}", f"data_path={data}", f"output_path={out}", *more])
        error = capsys.readouterr().err
        assert f"the {label} 'blamed' of distribution 'of-blame' 2.1 failed in" in error, fault
        assert code == 4
        assert not out.exists()
    monkeypatch.setenv("FAULT", "process:KeyError")
    out = tmp_path / "converted.jsonl"
    assert data_command(["convert", f"data_path={data}", f"output_path={out}", "processors=blamed"]) == 4
    assert "the document processor 'blamed' of distribution 'of-blame' 2.1 failed in process" in capsys.readouterr().err


def test_a_reader_that_fails_at_another_s_file_is_passed_over(install, tmp_path, caplog):
    source = """
        import attrs
        from papermage_core.plugin import DocumentReaderConfig, hookimpl

        @attrs.frozen(kw_only=True)
        class Config(DocumentReaderConfig):
            shared_suffixes = (".json",)

            @classmethod
            def recognises(cls, path, head):
                raise SystemExit(3)

            def build(self): ...

        @hookimpl
        def papermage_document_reader():
            return Config
        """
    install("acme", {"papermage.document_reader": {"acme": "acme_reader"}}, acme_reader=source)
    file = tmp_path / "task.json"
    file.write_text('[{"id": 3, "data": {"text": "A rare disease."}, "annotations": [{"result": []}]}]')
    assert data_command(["convert", f"data_path={file}", f"output_path={tmp_path / 'a.jsonl'}"]) == 0
    assert "the document reader 'acme' of distribution 'acme' 1.0 failed in recognises: SystemExit: 3" in caplog.text


INFO = ComponentInfo("model_head", "mine", "acme", "1.0", "acme_module")


@attrs.frozen(kw_only=True)
class GivenConfig(TinyEncoderConfig):
    """Given by a plugin that has it from here."""


class Thing:
    def fail(self, error: BaseException) -> None:
        raise error


def test_what_is_nobody_s_fault_passes():
    thing = Thing()
    claim(thing, INFO)
    assert component_of(thing) == INFO
    for error in (ConfigError("x"), DataError("y"), PluginError("z")):
        with pytest.raises(type(error)) as caught, calling(thing, "fail"):
            thing.fail(error)
        assert caught.value is error
    with (
        pytest.raises(PluginError, match=r"the model head 'mine' of distribution 'acme' 1\.0 failed in fail: KeyError"),
        calling(thing, "fail"),
    ):
        thing.fail(KeyError("a"))
    with pytest.raises(ZeroDivisionError), blaming():
        _ = 1 / 0


def test_ctrl_c_in_a_component_s_code_is_the_user_s():
    thing = Thing()
    claim(thing, INFO)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), calling(thing, "fail"):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)


def test_what_a_plugin_did_not_write_is_not_its_fault(tmp_path):
    """A file that gives a class of this module is not to blame for the rest of this module, nor of its package."""
    file = tmp_path / "giving.py"
    file.write_text(
        "from papermage_core.plugin import hookimpl\n"
        f"from {__name__} import GivenConfig\n\n"
        "@hookimpl\ndef papermage_context_encoder(): return GivenConfig\n"
    )
    assert Plugins(paths=[file]).config_class("context_encoder", "giving") is GivenConfig
    assert component_of(GivenConfig).distribution == str(file)
    with pytest.raises(KeyError), blaming():
        raise KeyError("of the caller")
    with pytest.raises(KeyboardInterrupt), blaming():
        raise KeyboardInterrupt


def test_what_a_component_is_given_is_not_its_fault():
    def documents():
        yield 1
        raise ValueError("of the caller")

    thing = Thing()
    claim(thing, INFO)
    given = Given(documents())
    with pytest.raises(ValueError, match="of the caller"), calling(thing, "read", given):
        list(given)


def test_what_takes_no_attribute_is_known_by_its_class():
    class Slotted:
        __slots__ = ()

    class Config:
        def build(self):
            return Slotted()

    config = Config()
    claim(config, INFO)
    assert component_of(built(config)) == INFO
    assert component_of(3) is None


def test_of_a_stranger_and_a_built_in_the_stranger_is_named(install):
    """A head that calls its scheme wrongly is at fault, though the scheme raises."""
    source = """
        import attrs
        from papermage_core.plugin import ModelHeadConfig, hookimpl

        @attrs.frozen(kw_only=True)
        class Config(ModelHeadConfig):
            def build(self, input_size, scheme):
                scheme.encode([], "no number")

        @hookimpl
        def papermage_model_head():
            return Config
        """
    install("acme", {"papermage.model_head": {"acme": "acme_head"}}, acme_head=source)
    scheme = built(Plugins().config_class("label_scheme", "bio")(), ["X"])
    config = Plugins().config_class("model_head", "acme")()
    with pytest.raises(PluginError, match=r"model head 'acme' .* failed in build: TypeError.*acme_head\.py, line 8"):
        built(config, 4, scheme)
