"""A component may be part of another: chosen by its name, with its own options, kept and recorded with the whole."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from papermage_core import checkpoint
from papermage_core.checkpoint.reading import sha256
from papermage_core.cli.plugins import main as plugins_command
from papermage_core.cli.train import main as train
from papermage_core.config import EntityClassificationTrainConfig, load_config
from papermage_core.config.structure import learned_values, structure, unstructure, with_learned
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin import ContextEncoderConfig, load_component, option, part
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import config_class_errors, describe_options
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import make_documents, write_jsonl

INNER = """
import attrs
from papermage_core.plugin import hookimpl, learned
from papermage_core.testing import TinyEncoderConfig


@attrs.frozen(kw_only=True)
class Config(TinyEncoderConfig):
    words: tuple[str, ...] = learned(help="words")
    table: bytes = learned(help="a file")

    def settle(self, contexts):
        words = {word for context in contexts for word in context.words}
        return attrs.evolve(self, words=tuple(sorted(words)), table=b"\\x00\\xff")

    def build(self, folder=None):
        assert self.words and self.table == b"\\x00\\xff"
        return super().build(folder)


@hookimpl
def papermage_context_encoder():
    return Config
"""


def stack(**options):
    return structure(Plugins().config_class("context_encoder", "stack"), options, key="encoder", name="stack")


def test_the_name_alone_the_name_with_options_or_options_alone_choose_it():
    compact = Plugins().config_class("context_encoder", "compact")
    assert stack().inner == stack(inner="compact").inner == compact()
    assert stack(inner={"width": 16}).inner == compact(width=16)
    assert stack(inner={"name": "compact", "width": "16"}).inner == compact(width=16)
    assert stack(inner=compact(width=24)).inner.width == 24
    assert stack(inner={"name": "stack", "inner": {"name": "compact", "depth": 2}}).inner.inner.depth == 2


def test_it_comes_back_from_plain_values():
    config = stack(size=3, inner={"name": "stack", "inner": {"width": 16}})
    plain = json.loads(json.dumps(unstructure(config)))
    assert plain["inner"]["name"] == "stack"
    assert plain["inner"]["inner"] | {"name": "compact", "width": 16} == plain["inner"]["inner"]
    assert stack(**plain) == config


def test_the_command_line_and_a_file_say_the_same(tmp_path: Path):
    words = ["data_path=a.jsonl", "label_field=D", "encoder=stack", "encoder.inner.width=16", "encoder.inner=compact"]
    of_words = load_config([], words)
    file = tmp_path / "a.yaml"
    file.write_text(of_words.to_yaml())
    assert "  inner:\n    name: compact\n    width: 16\n" in file.read_text()
    assert load_config([file]).components().encoder == of_words.components().encoder == stack(inner={"width": 16})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"inner": {"widht": 3}},
            r"encoder\.inner\.widht .*'compact' has no such option.*Did you mean 'encoder\.inner",
        ),
        ({"inner": {"width": "x"}}, r"encoder\.inner\.width='x' .*: expected a whole number at least 8"),
        ({"inner": {"name": "compact", "width": 1, "depth": 0}, "size": 0}, r"(?s)size.*inner\.width.*inner\.depth"),
        ({"inner": {"name": "hf"}}, r"encoder\.inner\.model_name_or_path is missing: 'hf' needs it"),
    ],
)
def test_what_is_wrong_is_told_by_its_dotted_key(options, message):
    with pytest.raises(ConfigError, match=message):
        stack(**options)


def test_an_unknown_name_is_refused_with_the_known():
    with pytest.raises(PluginError, match=r"encoder\.inner .*unknown context encoder; known: .*compact.*'compact'\?"):
        stack(inner="compakt")


@attrs.frozen(kw_only=True)
class Required(ContextEncoderConfig):
    inner: ContextEncoderConfig = part(help="the one that is wrapped")

    def build(self, folder=None):
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Wrong(ContextEncoderConfig):
    inner: int = part("compact", help="no component")
    size: int = option(1, help="size")

    def build(self, folder=None):
        raise NotImplementedError


def test_a_part_without_default_has_to_be_named_and_its_type_says_its_kind():
    assert config_class_errors(Required) == []
    assert [(o.name, o.required, o.part) for o in describe_options(Required)] == [("inner", True, "context_encoder")]
    with pytest.raises(ConfigError, match=r"encoder\.inner is missing: 'mine' needs it, the name of a context encoder"):
        structure(Required, {}, key="encoder", name="mine")
    assert structure(Required, {"inner": "compact"}, key="encoder", name="mine").inner.width == 128
    (error,) = config_class_errors(Wrong)
    assert "option 'inner' is a component, and has the type int; expected one of ContextEncoderConfig" in error


def test_the_options_of_the_default_are_listed(capsys):
    assert plugins_command(["info", "stack"]) == 0
    shown = capsys.readouterr().out
    assert 'encoder.inner  (str; default "compact"; the name of a context encoder)' in shown
    assert "encoder.inner.width  (int; default 128; ≥ 8)" in shown
    assert train(["--help", "encoder=stack"]) == 0
    assert "encoder.inner.width=128" in capsys.readouterr().out


def test_what_a_part_learns_is_kept_files_too_and_the_checkpoint_names_its_plugin(
    install, tmp_path, monkeypatch, capsys
):
    install("acme-inner", {"papermage.context_encoder": {"acme": "acme_inner"}}, version="3.1", acme_inner=INNER)
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    data = write_jsonl(make_documents(6), tmp_path / "train.jsonl")
    components = ["encoder=stack", "encoder.size=4", "encoder.inner=acme", "encoder.inner.size=4"]
    settings = [f"default_root_dir={tmp_path / 'run'}", "max_steps=1", "enable_progress_bar=no", "accelerator=cpu"]
    code = train(["-q", f"data_path={data}", "label_field=Disease", *components, *settings])
    assert code == 0, capsys.readouterr().err

    folder = tmp_path / "run" / "checkpoints"
    facts = checkpoint.read_json(folder)
    assert (folder / "learned" / "encoder.inner.table").read_bytes() == b"\x00\xff"
    assert "learned/encoder.inner.table" in facts["checksums"]
    blueprint = checkpoint.load(folder).blueprint
    assert blueprint.encoder.inner.table == b"\x00\xff"
    assert "ataxia" in blueprint.encoder.inner.words
    learned = learned_values(blueprint.encoder)
    assert with_learned(stack(size=4, inner={"name": "acme", "size": 4}), learned) == blueprint.encoder
    EntityClassificationPredictor.from_pretrained(folder).predict(make_documents(1)[0])

    monkeypatch.setenv("PAPERMAGE_BLOCK_PLUGINS", "acme-inner")
    with pytest.raises(PluginError, match=r"'acme-inner' 3\.1 cannot be used: PAPERMAGE_BLOCK_PLUGINS"):
        checkpoint.load(folder)
    monkeypatch.delenv("PAPERMAGE_BLOCK_PLUGINS")
    for path in (tmp_path / "site").glob("*.dist-info/entry_points.txt"):
        path.write_text("")
    with pytest.raises(PluginError, match=r"needs the context encoder 'acme' of .* pip install acme-inner==3\.1"):
        checkpoint.load(folder)


def test_a_learned_file_that_is_not_of_the_checkpoint_is_refused(install, tmp_path, monkeypatch):
    from papermage_core.errors import CheckpointError

    install("acme-inner", {"papermage.context_encoder": {"acme": "acme_inner"}}, acme_inner=INNER)
    encoder = load_component("encoder", "acme", size=4)
    config = EntityClassificationTrainConfig(data_path="a", label_field="D", encoder="acme")
    found = config.components()
    from papermage_core.data.labelling import Labelling
    from papermage_core.model.blueprint import Blueprint, TaskBlueprint

    blueprint = Blueprint(
        encoder=attrs.evolve(encoder, words=("a",), table=b"\x00\xff"),
        scheme=found.scheme,
        tasks=(TaskBlueprint(label_field=("D",), labels=("D",), head=found.head),),
        labelling=Labelling(label_field=("D",), entity_name="tokens", context_name="pages"),
        sources=found.provenance,
    )
    folder = tmp_path / "kept"
    checkpoint.save(folder, blueprint, blueprint.build_model(), card="")
    assert checkpoint.load(folder).blueprint.encoder.table == b"\x00\xff"
    (folder / "learned" / "more").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is not of this checkpoint"):
        checkpoint.load(folder)
    (folder / "learned" / "more").unlink()
    learned = json.loads((folder / "learned.json").read_text())
    learned["encoder"]["table"]["file"] = "../model.safetensors"
    (folder / "learned.json").write_text(json.dumps(learned))
    facts = json.loads((folder / "papermage.json").read_text())
    facts["checksums"]["learned.json"] = sha256(folder / "learned.json")
    (folder / "papermage.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="expected the name of a learned file"):
        checkpoint.load(folder)


def test_a_hook_finds_another_component_by_its_name():
    assert load_component("head", "crf", dropout=0.25).dropout == 0.25
    with pytest.raises(PluginError, match="is no kind of component"):
        load_component("hed", "crf")
