"""What a component learns from the training data is no option, is kept with the checkpoint, and comes back to build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from papermage_core import checkpoint
from papermage_core.cli.plugins import main as plugins_command
from papermage_core.cli.train import main as train
from papermage_core.config.schema import json_schema
from papermage_core.config.structure import learned_values, structure, unstructure, with_learned
from papermage_core.errors import CheckpointError, ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import config_class_errors, describe_learned, describe_options
from papermage_core.plugin.spec import ContextEncoderConfig, DocumentReaderConfig, learned, option
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import make_documents, write_jsonl
from papermage_core.testing.runner import run_suite, suite_for

SCHOLAR = """
from collections import Counter
from collections.abc import Mapping

import attrs
from papermage_core.plugin import ContextEncoderConfig, HeadOutput, ModelHeadConfig, hookimpl, learned, option

papermage_names = {"context_encoder": ["scholar"], "model_head": ["scholar"]}


@attrs.frozen(kw_only=True)
class Encoder(ContextEncoderConfig):
    size: int = option(8, help="size of a unit's vector", ge=1)
    words: tuple[str, ...] = learned(help="the words of the training data")
    longest: int | None = learned(help="letters of the longest word")

    def settle(self, contexts):
        words = sorted({word for context in contexts for word in context.words})
        longest = max(len(word) for context in contexts for word in context.words)
        return attrs.evolve(self, words=tuple(words), longest=longest)

    def build(self, folder=None):
        from papermage_core.testing import TinyEncoder, TinyEncoderConfig

        encoder = TinyEncoder(TinyEncoderConfig(size=self.size, rows=len(self.words) + 1))
        rows = {word: row for row, word in enumerate(self.words, start=1)}
        encoder.row_of = lambda word: rows.get(word, 0) + (len(word) > self.longest)
        encoder._windows = lambda context, stride: windows(context, encoder.row_of)
        return encoder


def windows(context, row_of):
    import numpy as np
    from papermage_core.plugin import Window

    rows = np.array([row_of(word) for word in context.words], np.int32)
    return [Window(0, len(rows), {"rows": rows}, cost=len(rows))] if len(rows) else []


@attrs.frozen(kw_only=True)
class Head(ModelHeadConfig):
    counts: Mapping[str, int] = learned(help="units of each tag")
    scale: float = learned(help="units of a context")

    def settle(self, targets, scheme):
        counts = Counter(scheme.tags[tag] for target in targets for tag in target if tag >= 0)
        return attrs.evolve(self, counts=dict(counts), scale=sum(map(len, targets)) / len(targets))

    def build(self, input_size, scheme):
        import torch
        from torch import nn

        class Prior(nn.Module):
            def __init__(self, counts, scale):
                super().__init__()
                self.score = nn.Linear(input_size, len(scheme.tags))
                prior = torch.tensor([counts.get(tag, 0) + scale / 1000 for tag in scheme.tags])
                self.register_buffer("prior", prior.log(), persistent=False)

            def scores(self, vectors):
                return self.score(vectors).float() + self.prior

            def loss(self, vectors, mask, targets):
                known = mask & (targets >= 0)
                return nn.functional.cross_entropy(self.scores(vectors)[known], targets[known], reduction="sum")

            def decode(self, vectors, mask):
                scores, tags = self.scores(vectors).softmax(-1).max(-1)
                return [
                    HeadOutput.from_tags(t[m].cpu().numpy(), s[m].cpu().numpy(), scheme)
                    for t, s, m in zip(tags, scores, mask)
                ]

        return Prior(self.counts, self.scale)


@hookimpl
def papermage_context_encoder():
    return Encoder


@hookimpl
def papermage_model_head():
    return Head
"""


@attrs.frozen(kw_only=True)
class Learner(ContextEncoderConfig):
    size: int = option(8, help="size of a vector", ge=1)
    words: tuple[str, ...] = learned(help="words")
    lengths: tuple[int, ...] = learned(help="lengths")
    shares: tuple[float, ...] = learned(help="shares")
    counts: Mapping[str, int] = learned(help="counts")
    weights: Mapping[str, float] = learned(help="weights")
    language: str = learned(help="language")
    longest: int | None = learned(help="longest")
    mean: float = learned(help="mean")

    def build(self, folder: Path | None = None) -> Any:
        raise NotImplementedError


LEARNED = {
    "words": ("a,b", "\ud800", "none", ""),
    "lengths": (0, -3),
    "shares": (0.1, 1e-300, 2),
    "counts": {"z": 1, "a": 0},
    "weights": {"": 0.5},
    "language": "",
    "longest": 0,
    "mean": 0.0,
}


def test_until_it_is_learned_a_field_is_empty_or_none():
    config = Learner()
    assert [getattr(config, name) for name in LEARNED] == [(), (), (), {}, {}, None, None, None]
    assert learned_values(config) == {}
    assert config == Learner()
    assert hash(config) == hash(Learner())


def test_all_that_can_be_learned_comes_back_from_json():
    config = attrs.evolve(Learner(), **LEARNED)
    written = json.loads(json.dumps(learned_values(config), allow_nan=False))
    copy = with_learned(Learner(), written)
    assert copy == config != Learner()
    assert all(type(getattr(copy, name)) is type(value) for name, value in LEARNED.items())
    assert list(copy.counts) == ["z", "a"]
    assert hash(copy) == hash(config)


def test_a_long_vocabulary_does_not_fill_a_message():
    assert len(repr(attrs.evolve(Learner(), words=("word",) * 10_000))) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("words", ["a"]),
        ("words", ("a", 1)),
        ("lengths", (True,)),
        ("shares", (float("nan"),)),
        ("mean", float("inf")),
        ("counts", {"a": 0.5}),
        ("weights", {1: 0.5}),
        ("longest", "3"),
    ],
)
def test_what_json_would_not_keep_cannot_be_learned(name: str, value: object):
    with pytest.raises(TypeError, match=f"{name}: expected .*, got "):
        attrs.evolve(Learner(), **{name: value})
    with pytest.raises(ConfigError, match=f"Learner: {name}: expected"):
        with_learned(Learner(), {name: [1, "a"] if name == "words" else value if name != "shares" else "no tuple"})


def test_a_field_that_the_class_does_not_learn_is_refused():
    with pytest.raises(ConfigError, match="does not learn wrds; it learns words, lengths"):
        with_learned(Learner(), {"wrds": ["a"]})


def test_what_is_learned_is_no_option():
    assert [o.name for o in describe_options(Learner)] == ["size"]
    assert [o.name for o in describe_learned(Learner)] == list(LEARNED)
    assert unstructure(attrs.evolve(Learner(), **LEARNED)) == {"size": 8}
    assert config_class_errors(Learner) == []
    with pytest.raises(ConfigError) as caught:
        structure(
            Learner, {"words": "a", "mean": 1}, key="encoder", name="learner", sources={"encoder.words": "line 3"}
        )
    assert caught.value.errors == (
        "encoder.words (line 3): 'learner' learns it from the training data; it cannot be given",
        "encoder.mean (Python): 'learner' learns it from the training data; it cannot be given",
    )
    with pytest.raises(ConfigError, match="it has: size"):
        structure(Learner, {"sizes": 1}, key="encoder", name="learner")


@attrs.frozen(kw_only=True)
class Inner:
    words: tuple[str, ...] = learned(help="words")


@attrs.frozen
class Wrong(Learner):
    rows: dict[str, int] = learned(help="rows")
    inner: Inner = option(Inner(), help="inner")


@attrs.frozen(kw_only=True)
class Reader(DocumentReaderConfig):
    words: tuple[str, ...] = learned(help="words")

    def build(self) -> Any:
        raise NotImplementedError


def test_a_field_that_cannot_be_learned_is_an_error_of_its_class():
    errors = "; ".join(config_class_errors(Wrong))
    assert "learned field 'rows' has the type dict; expected str, int, float" in errors
    assert "learned field 'rows' is not keyword-only" in errors
    assert "option 'inner', of the class Inner: 'words' is learned; move it" in errors
    assert config_class_errors(Reader) == [
        "it has learned fields and no settle(): only context encoders and model heads can learn"
    ]


@pytest.fixture(scope="module")
def scholar(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("plugin") / "scholar.py"
    file.write_text(SCHOLAR)
    return file


@pytest.fixture(scope="module")
def run_folder(scholar, tmp_path_factory) -> Path:
    """What training with an encoder and a head that learn left."""
    folder = tmp_path_factory.mktemp("run")
    data = write_jsonl(make_documents(12), folder / "train.jsonl")
    components = ["encoder=scholar", "head=scholar", f"plugins_path={scholar}"]
    settings = [f"default_root_dir={folder / 'run'}", "max_epochs=2", "enable_progress_bar=no", "accelerator=cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAPERMAGE_CACHE_DIR", str(folder / "cache"))
        assert train(["-q", f"data_path={data}", "label_field=Disease", *components, *settings]) == 0
    return folder / "run"


def test_a_checkpoint_keeps_what_was_learned_beside_the_options(run_folder, scholar):
    folder = run_folder / "checkpoints"
    kept = json.loads((folder / "learned.json").read_text())
    facts = checkpoint.read_json(folder)
    assert "learned.json" in facts["checksums"]
    assert facts["encoder"]["options"] == {"size": 8}
    blueprint = checkpoint.load(folder, plugins=Plugins([scholar])).blueprint
    assert blueprint.encoder.words == tuple(kept["encoder"]["words"]) == tuple(sorted(set(kept["encoder"]["words"])))
    assert blueprint.encoder.longest == max(map(len, blueprint.encoder.words))
    assert blueprint.tasks[0].head.counts == kept["heads"][0]["counts"]
    assert set(blueprint.tasks[0].head.counts) == {"O", "B-Disease", "I-Disease"}


def test_the_config_of_the_run_does_not_hold_what_was_learned(run_folder):
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    assert config["encoder"] == {"name": "scholar", "size": 8}
    assert config["head"] == {"name": "scholar"}


def test_a_loaded_checkpoint_predicts(run_folder, scholar):
    predictor = EntityClassificationPredictor.from_pretrained(run_folder / "checkpoints", plugins_path=[scholar])
    units = predictor.predict(make_documents(1)[0], merge=False)
    assert {unit.metadata.label for unit in units} <= {"O", "B-Disease", "I-Disease"}


def test_saving_again_keeps_what_was_learned(run_folder, scholar, tmp_path):
    loaded = checkpoint.load(run_folder / "checkpoints", plugins=Plugins([scholar]))
    checkpoint.save(tmp_path / "again", loaded.blueprint, loaded.model, card="")
    assert checkpoint.load(tmp_path / "again", plugins=Plugins([scholar])).blueprint == loaded.blueprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "lacks the file learned.json"),
        (b"{}", "learned.json is damaged"),
    ],
)
def test_a_damaged_file_of_what_was_learned_is_refused(run_folder, scholar, tmp_path, content, message):
    loaded = checkpoint.load(run_folder / "checkpoints", plugins=Plugins([scholar]))
    checkpoint.save(tmp_path / "copy", loaded.blueprint, loaded.model, card="")
    file = tmp_path / "copy" / "learned.json"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path / "copy", plugins=Plugins([scholar]))


def test_another_version_that_learns_otherwise_is_told_from_damage(run_folder, scholar, tmp_path):
    other = tmp_path / "scholar.py"
    other.write_text(SCHOLAR.replace("words:", "vocabulary:").replace("words=tuple(words)", "vocabulary=tuple(words)"))
    with pytest.raises(CheckpointError, match=r"does not learn words; it learns vocabulary, longest.*trained with"):
        checkpoint.load(run_folder / "checkpoints", plugins=Plugins([other]))


def test_a_user_cannot_type_it_and_sees_where_it_comes_from(scholar, capsys):
    words = ["data_path=none.jsonl", "label_field=Disease", f"plugins_path={scholar}", "encoder=scholar"]
    assert train([*words, "encoder.words=a,b"]) == 2
    assert "encoder.words (command line): 'scholar' learns it from the training data" in capsys.readouterr().err
    assert plugins_command(["info", "encoder=scholar", "--plugins-path", str(scholar)]) == 0
    shown = capsys.readouterr().out
    assert "learned from the training data: words (str,str,...; the words of the training data), longest (int" in shown
    assert "encoder.words" not in shown
    assert plugins_command(["info", "encoder=scholar", "--plugins-path", str(scholar), "--json"]) == 0
    (described,) = json.loads(capsys.readouterr().out)
    assert [field["name"] for field in described["learned"]] == ["words", "longest"]
    assert [field["name"] for field in described["options"]] == ["size"]
    assert list(json_schema(Plugins([scholar]))["$defs"]["encoder.scholar"]["properties"]) == ["name", "size"]


@pytest.mark.slow
def test_a_component_that_learns_passes_its_suite(scholar):
    failed = [
        (result.name, result.error)
        for kind in ("context_encoder", "model_head")
        for result in run_suite(suite_for(kind, "scholar", plugins=Plugins([scholar])))
        if not result.passed
    ]
    assert [name for name, _ in failed] == ["the encoder can be pickled"], failed  # it holds functions made in build()


def test_training_that_goes_on_keeps_what_was_learned(run_folder, scholar, tmp_path):
    from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

    others = tmp_path / "others.jsonl"
    write_jsonl(make_documents(5), others)
    config = EntityClassificationTrainConfig(
        data_path=others,
        start_from=run_folder,
        val_split=0,
        plugins_path=scholar,
        default_root_dir=tmp_path / "run",
        max_epochs=1,
        enable_progress_bar=False,
    )
    result = EntityClassificationTrainer(config).train()
    before, after = (
        checkpoint.load(folder, plugins=Plugins([scholar])).blueprint for folder in (run_folder, result.folder)
    )
    assert after.encoder == before.encoder
    assert after.encoder.words
    assert [task.head for task in after.tasks] == [task.head for task in before.tasks]
