"""``start_from``: training goes on from a checkpoint, with labels of its own, and scores that stay honest."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from papermage_core import checkpoint
from papermage_core.cli.train import main as train_command
from papermage_core.errors import CheckpointError, ConfigError, DataError, PluginError, StoppedError
from papermage_core.model.entity_model import EntityModel
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.start import Start
from papermage_core.training.trainer import RunResult

SMALL = {"encoder.width": 32, "encoder.rows": 500, "enable_progress_bar": False, "batch_size": 4, "cache": False}
STILL = {"learning_rate": 1e-12, "weight_decay": 0, "max_epochs": 1, "val_split": 0}
"""Training that changes nothing: what comes out is what it began with."""
WEIGHTS = "checkpoints/model.safetensors"


def documents(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, documents: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
    return path


def with_types(document: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """Return a document whose layers are one, ``found``, with the label in the metadata."""
    entities = dict(document["entities"])
    found = [
        {**entity, "metadata": {"type": label}} for layer, label in types.items() for entity in entities.get(layer, [])
    ]
    return {**document, "entities": {**entities, "found": sorted(found, key=lambda entity: entity["spans"])}}


def entities_of(folder: Path, path: Path) -> list[list[tuple[Any, ...]]]:
    from papermage_core import Document

    predictor = EntityClassificationPredictor.from_pretrained(folder)
    docs = [Document.from_json(document) for document in documents(path)]
    return [
        [(e.spans[0].start, e.spans[-1].end, e.metadata.label) for e in entities]
        for entities in predictor.predict_many(docs)
    ]


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> Path:
    """Twenty documents that no run has seen."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "other.jsonl", n=20, seed=7)


@pytest.fixture(scope="module")
def trained(train_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunResult]:
    """Head → a run that learned names and amounts; each is trained once."""
    runs: dict[str, RunResult] = {}

    def run(head: str = "crf") -> RunResult:
        if head not in runs:
            folder = tmp_path_factory.mktemp("start") / head
            config = EntityClassificationTrainConfig(
                data_path=train_file,
                label_field="names,amounts",
                head=head,
                default_root_dir=folder,
                learning_rate=1e-2,
                max_epochs=4,
                **SMALL,
            )
            runs[head] = EntityClassificationTrainer(config).train()
        return runs[head]

    return run


@pytest.fixture
def going_on(other_file: Path, tmp_path: Path) -> Callable[..., EntityClassificationTrainer]:
    def make(start: Path, **values: Any) -> EntityClassificationTrainer:
        given = {"data_path": other_file, "start_from": start, "default_root_dir": tmp_path / "next"}
        quiet = {"enable_progress_bar": False, "batch_size": 4, "cache": False}
        return EntityClassificationTrainer(EntityClassificationTrainConfig(**given | quiet | values))

    return make


@pytest.mark.parametrize("head", ["linear", "crf", "span"])
def test_without_further_steps_it_finds_what_the_checkpoint_finds(
    trained: Callable[..., RunResult], going_on: Callable[..., EntityClassificationTrainer], val_file: Path, head: str
) -> None:
    start = trained(head)
    result = going_on(start.folder, **STILL).train()
    expected = entities_of(start.folder, val_file)
    assert any(expected)
    assert entities_of(result.folder, val_file) == expected
    before, after = (load_file(folder / WEIGHTS) for folder in (start.folder, result.folder))
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)


def test_few_further_documents_are_learnt_faster_than_from_scratch(
    trained: Callable[..., RunResult], going_on: Callable[..., EntityClassificationTrainer], val_file: Path
) -> None:
    values = {"max_steps": 1, "test_data_path": val_file, "val_split": 0}
    further = going_on(trained().folder, **values).train()
    config = going_on(trained().folder).config
    scratch = {"label_field": "names,amounts", "head": "crf", "data_path": config.data_path} | SMALL | values
    folder = further.folder.parent / "scratch"
    new = EntityClassificationTrainer(EntityClassificationTrainConfig(**scratch, default_root_dir=folder)).train()
    assert further.scores.f1 > new.scores.f1 + 0.5


def test_components_and_layers_are_those_of_the_checkpoint_where_no_others_are_given(
    trained: Callable[..., RunResult], going_on: Callable[..., EntityClassificationTrainer]
) -> None:
    config = going_on(trained().checkpoint, **{"head.dropout": 0.25, "context_name": "pages"}).config
    assert (config.encoder, config.head, config.label_scheme) == ("compact", "crf", "bio")
    assert config.label_field == ("names", "amounts")
    assert config.source("label_field") == config.source("encoder.width") == "start_from"
    components = config.components()
    assert (components.encoder.width, components.encoder.rows) == (32, 500)  # type: ignore[attr-defined]
    assert components.head.dropout == 0.25  # type: ignore[attr-defined]
    assert config.replace(seed=1).components() == components
    assert config.replace(start_from=None, label_field="names").components().encoder.width == 128  # type: ignore[attr-defined]


# Labels --------------------------------------------------------------------------------------------------------------


def model_of(trainer: EntityClassificationTrainer) -> tuple[EntityModel, tuple[str, ...], Start]:
    """Return the model that a run begins with, its labels, and what it goes on from."""
    from papermage_core.training.prepare import Preparation

    prepare = Preparation.of(trainer.config, trainer.config.components())
    assert prepare.start is not None
    blueprint = prepare.blueprint(prepare.splits())
    torch.manual_seed(3)
    return prepare.build_model(blueprint), blueprint.labels, prepare.start


@pytest.mark.parametrize("scheme", ["bio", "bioes", "io"])
@pytest.mark.parametrize("head", ["linear", "crf"])
def test_weights_of_labels_that_are_known_go_with_their_names(
    train_file: Path,
    other_file: Path,
    tmp_path: Path,
    going_on: Callable[..., EntityClassificationTrainer],
    head: str,
    scheme: str,
) -> None:
    """Each element of a head is held against the one of the same tags, which the names of tags alone say."""
    first = EntityClassificationTrainConfig(
        data_path=train_file,
        label_field="names,amounts",
        head=head,
        label_scheme=scheme,
        default_root_dir=tmp_path / "first",
        max_epochs=1,
        val_split=0,
        **SMALL,
    )
    start = EntityClassificationTrainer(first).train()
    changed = [
        {**each, "entities": {**each["entities"], "years": each["entities"]["amounts"], "amounts": []}}
        for each in documents(other_file)
    ]
    path = write(tmp_path / "years.jsonl", changed)
    for fields in ("years,names", "amounts,years,names", "amounts,names", "amounts"):
        wanted = path if "years" in fields else other_file
        model, labels, found = model_of(going_on(start.folder, label_field=fields, data_path=wanted))
        assert labels == tuple(fields.split(","))
        own, known = (blueprint_tags(scheme, each) for each in (labels, ("names", "amounts")))
        new, old = model.heads[0].state_dict(), found.model.heads[0].state_dict()
        n_compared = 0
        for name, value in new.items():
            for place in (
                [(i,) for i in range(len(own))]
                if value.ndim == 1 or value.shape[1] != len(own)
                else [(i, j) for i in range(len(own)) for j in range(len(own))]
            ):
                tags = [own[i] for i in place]
                if all(tag in known for tag in tags):
                    assert torch.equal(value[place], old[name][tuple(known.index(tag) for tag in tags)]), (name, tags)
                    n_compared += 1
        assert n_compared > len(own)


def blueprint_tags(scheme: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    from papermage_core.plugin.manager import Plugins

    config_class = Plugins().config_class("label_scheme", scheme)
    tags: tuple[str, ...] = config_class().build(labels).tags  # type: ignore[attr-defined]
    return tags


def test_labels_that_are_found_in_documents_are_kept_and_new_ones_added(
    train_file: Path,
    other_file: Path,
    tmp_path: Path,
    going_on: Callable[..., EntityClassificationTrainer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    types = {"names": "Name", "amounts": "Amount"}
    first = write(tmp_path / "first.jsonl", [with_types(each, types) for each in documents(train_file)])
    config = EntityClassificationTrainConfig(
        data_path=first,
        label_field="found",
        label_attribute="type",
        default_root_dir=tmp_path / "first",
        max_epochs=8,
        learning_rate=1e-2,
        **SMALL,
    )
    start = EntityClassificationTrainer(config).train()
    further = write(
        tmp_path / "further.jsonl",
        [with_types(each, {"names": "Name", "amounts": "Year"}) for each in documents(other_file)],
    )
    with caplog.at_level(logging.INFO, "papermage_core"):
        result = going_on(start.folder, data_path=further, **STILL).train()
    assert checkpoint.read_blueprint(result.folder).labels == ("Amount", "Name", "Year")
    assert "no training document has the label of start_from Amount: what it knows of it" in caplog.text
    assert "new to start_from: Year" in caplog.text
    before = {entity for each in entities_of(start.folder, further) for entity in each}
    after = {entity for each in entities_of(result.folder, further) for entity in each}
    assert len(before & after) > 0.7 * len(before)  # nothing was learnt, and rows of Year were drawn at random


def test_labels_of_another_kind_begin_anew_with_the_encoder_that_is_known(
    trained: Callable[..., RunResult],
    going_on: Callable[..., EntityClassificationTrainer],
    other_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    changed = [
        {**each, "entities": {**each["entities"], "years": each["entities"]["amounts"]}}
        for each in documents(other_file)
    ]
    path = write(tmp_path / "years.jsonl", changed)
    with caplog.at_level(logging.INFO, "papermage_core"):
        model, labels, found = model_of(going_on(trained().folder, label_field="years", data_path=path))
    assert labels == ("years",)
    assert "the head for years begins anew: start_from has none of these labels" in caplog.text
    for name, value in found.model.encoder.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(model.encoder.state_dict()[name], value)  # type: ignore[attr-defined]
    caplog.clear()
    with caplog.at_level(logging.INFO, "papermage_core"):
        going_on(trained().folder, head="span", **STILL).train()
    assert "the head begins anew: start_from has head=crf label_scheme=bio" in caplog.text


# Scores --------------------------------------------------------------------------------------------------------------


def test_what_the_checkpoint_was_trained_on_is_not_validated_on(
    trained: Callable[..., RunResult],
    going_on: Callable[..., EntityClassificationTrainer],
    train_file: Path,
    other_file: Path,
    val_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = trained().folder
    profile = checkpoint.read_profile(start)
    assert profile is not None
    seen = [each for each in documents(train_file) if profile.knows(each["symbols"])]
    assert 0 < len(seen) < 12
    with caplog.at_level(logging.INFO, "papermage_core"):
        result = going_on(start, data_path=[train_file, other_file], val_split=0.5, max_epochs=1).train()
    new = 32 - len(seen)
    assert f"set {round(new / 2)} of {new} documents that are new to start_from" in caplog.text
    both = checkpoint.read_profile(result.folder)
    assert both is not None
    texts = [each["symbols"] for path in (train_file, other_file) for each in documents(path)]
    assert all(both.knows(each["symbols"]) for each in seen)
    assert sum(map(both.was_chosen_by, texts)) == round(new / 2)
    assert sum(map(both.knows, texts)) == 32 - round(new / 2)

    caplog.clear()
    going_on(
        start, data_path=train_file, max_epochs=1, test_data_path=train_file, default_root_dir=tmp_path / "x"
    ).train()
    assert f"12 documents are trained on, {len(seen)} of them by start_from too" in caplog.text
    assert f"start_from was trained on {len(seen)} test documents, such as doc-" in caplog.text

    third = going_on(result.folder, data_path=val_file, default_root_dir=tmp_path / "third", max_epochs=1).train()
    last = checkpoint.read_profile(third.folder)
    assert last is not None
    assert all(last.knows(each["symbols"]) for each in seen)  # what the first of three runs saw
    assert sum(map(last.knows, texts)) == 32 - round(new / 2)
    assert all(last.count(each) >= both.count(each) for each in ("12", "Ann Lee"))


def test_folds_are_refused_where_the_checkpoint_knows_a_document(
    trained: Callable[..., RunResult],
    going_on: Callable[..., EntityClassificationTrainer],
    train_file: Path,
    other_file: Path,
) -> None:
    with pytest.raises(DataError, match=r"folds=2: start_from was trained on \d+ of 32 documents"):
        going_on(trained().folder, data_path=[train_file, other_file], folds=2).train()
    result = going_on(trained().folder, folds=2, max_epochs=1).train()
    assert result.scores.documents == 20


# Runs ----------------------------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_is_repeated_by_its_config_and_is_not_done_twice(
    trained: Callable[..., RunResult],
    going_on: Callable[..., EntityClassificationTrainer],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = tmp_path / "start"
    shutil.copytree(trained().folder, start)
    first = going_on(start, max_epochs=2, resume="auto").train()
    weights = (first.folder / WEIGHTS).read_bytes()
    going_on(start, max_epochs=2, resume="auto").train()
    assert (first.folder / WEIGHTS).read_bytes() == weights
    train_command(["-c", str(first.folder / "config.yaml"), f"default_root_dir={tmp_path / 'again'}"])
    assert load_equal(tmp_path / "again" / WEIGHTS, first.folder / WEIGHTS)
    assert f"from {start}" in (out := capsys.readouterr().out), out


def load_equal(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_run_that_was_stopped_goes_on_and_ends_alike_unless_its_start_is_another(
    trained: Callable[..., RunResult], going_on: Callable[..., EntityClassificationTrainer], tmp_path: Path
) -> None:
    start = tmp_path / "start"
    shutil.copytree(trained().folder, start)
    whole = going_on(start, max_epochs=2, default_root_dir=tmp_path / "whole").train()
    going_on(start, max_epochs=2, limit_train_batches=2, default_root_dir=tmp_path / "x").train()
    trainer = going_on(start, max_epochs=2, checkpoint_every=1)
    asked = trainer._stopping
    from papermage_core.training.callbacks import SaveLast

    steps = 0
    original = SaveLast.on_train_batch_end

    def stop_soon(self: Any, *args: Any, **keywords: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            asked.ask("a test")
        original(self, *args, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SaveLast, "on_train_batch_end", stop_soon)
        with pytest.raises(StoppedError):
            trainer.train()
    stopped = tmp_path / "next"
    shutil.copytree(stopped, tmp_path / "copy")
    resumed = going_on(start, max_epochs=2, resume=True).train()
    assert load_equal(resumed.folder / WEIGHTS, whole.folder / WEIGHTS)
    checkpoint.update(start, notes="changed since")
    with pytest.raises(ConfigError, match="start_from is not the checkpoint that the run began with"):
        going_on(start, max_epochs=2, resume=True, default_root_dir=tmp_path / "copy").train()


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"encoder": "stack"}, r"encoder=stack \(Python\): start_from=.* has the encoder compact; leave encoder out"),
        ({"model_name_or_path": "x"}, "model_name_or_path=x .* and start_from name the weights to begin with"),
        ({"encoder.pretrained": "x"}, "encoder.pretrained=x .* and start_from name the weights to begin with"),
        ({"mode": "eval", "label_field": "names"}, "mode=eval trains nothing"),
        ({"encoder.width": 64}, r"do not fit the encoder, such as .*; leave out encoder.width=64 \(there 32\)"),
    ],
)
def test_what_does_not_go_with_it_is_told(
    trained: Callable[..., RunResult],
    going_on: Callable[..., EntityClassificationTrainer],
    values: dict[str, Any],
    told: str,
) -> None:
    with pytest.raises(ConfigError, match=told):
        going_on(trained().folder, **values).train()


def test_a_start_that_is_none_is_told_before_anything_is_written(
    trained: Callable[..., RunResult], going_on: Callable[..., EntityClassificationTrainer], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"start_from=.*nowhere: no such folder"):
        going_on(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="start_from: there is no folder 'owner/name', offline mode is on"):
        going_on(Path("hf:owner/name@v1"), offline=True)
    with pytest.raises(ConfigError, match=r"there is no papermage.json in it, nor in its folder checkpoints"):
        going_on(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(trained().checkpoint, folder)
    facts = json.loads((folder / "papermage.json").read_text(encoding="utf-8"))
    for broken in ("", "[]", "{}", json.dumps({**facts, "tasks": []}), json.dumps({**facts, "encoder": 3})):
        (folder / "papermage.json").write_text(broken, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"papermage.json cannot be read: .*; copy the checkpoint again"):
            going_on(folder)
    (folder / "papermage.json").write_text(json.dumps({**facts, "onnx": {}}), encoding="utf-8")
    with pytest.raises(ConfigError, match="was exported to ONNX, whose graphs cannot be trained"):
        going_on(folder)
    (folder / "papermage.json").write_text(json.dumps(facts), encoding="utf-8")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        going_on(folder).train()
    assert not (tmp_path / "next" / "checkpoints").exists()


def test_the_model_of_the_run_itself_is_not_written_over(
    trained: Callable[..., RunResult], going_on: Callable[..., EntityClassificationTrainer]
) -> None:
    start = trained()
    for path in (start.folder, start.checkpoint):
        with pytest.raises(ConfigError, match="is the model of the run in default_root_dir"):
            going_on(path, default_root_dir=start.folder, overwrite=True)


def test_processors_come_along(
    other_file: Path, train_file: Path, tmp_path: Path, going_on: Callable[..., EntityClassificationTrainer]
) -> None:
    def bare(path: Path, name: str) -> Path:
        kept = [
            {**each, "entities": {key: value for key, value in each["entities"].items() if key != "tokens"}}
            for each in documents(path)
        ]
        return write(tmp_path / name, kept)

    config = EntityClassificationTrainConfig(
        data_path=bare(train_file, "a.jsonl"),
        label_field="names",
        processors={"name": "tokens", "tokens": {"style": "words"}},
        default_root_dir=tmp_path / "first",
        max_epochs=1,
        **SMALL,
    )
    start = EntityClassificationTrainer(config).train()
    trainer = going_on(start.folder, data_path=bare(other_file, "b.jsonl"), max_epochs=1)
    assert trainer.config.processors == ("tokens",)
    assert trainer.config.components().processors.recipe()[0]["options"]["style"] == "words"
    trainer.train()


@pytest.mark.parametrize(
    "encoder",
    [
        {"encoder": "compact", "encoder.gazetteer": "on"},
        {"encoder": "stack", "encoder.inner": "compact", "encoder.inner.width": 16, "encoder.inner.rows": 300},
    ],
)
def test_what_an_encoder_learned_stays(
    train_file: Path,
    val_file: Path,
    tmp_path: Path,
    going_on: Callable[..., EntityClassificationTrainer],
    encoder: dict[str, Any],
) -> None:
    small = {key: value for key, value in SMALL.items() if not (key.startswith("encoder.") and "inner" in str(encoder))}
    config = EntityClassificationTrainConfig(
        data_path=train_file,
        label_field="names,amounts",
        default_root_dir=tmp_path / "first",
        learning_rate=1e-2,
        max_epochs=3,
        **small | encoder,
    )
    start = EntityClassificationTrainer(config).train()
    result = going_on(start.folder, **STILL).train()
    assert entities_of(result.folder, val_file) == entities_of(start.folder, val_file)
    before, after = (checkpoint.load(folder).blueprint.encoder for folder in (start.folder, result.folder))
    units = [getattr(each, "inner", each).training_units for each in (before, after)]
    assert units[0] < units[1] == 1261  # batches are sized by the new documents
    assert getattr(after, "gazetteer_table", None) == getattr(before, "gazetteer_table", None)
    if "encoder.gazetteer" in encoder:
        with pytest.raises(ConfigError, match=r"leave out encoder\.gazetteer=off \(there on\)"):
            going_on(start.folder, default_root_dir=tmp_path / "off", **{"encoder.gazetteer": "off"}).train()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("processors",), [{"name": None, "options": {}}]),
        (("processors",), [{"name": [], "options": {}}]),
        (("processors",), [{"name": "tokens", "options": 3}]),
        (("encoder", "name"), {"a": 1}),
        (("tasks", 0, "head", "options"), []),
        (("labelling", "label_field"), {}),
        (("stride",), "much"),
        (("encoder", "options", "width"), [[[]]]),
    ],
)
def test_a_start_that_was_tampered_with_is_refused(
    trained: Callable[..., RunResult],
    going_on: Callable[..., EntityClassificationTrainer],
    tmp_path: Path,
    place: tuple[Any, ...],
    value: Any,
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained().checkpoint, folder)
    facts = json.loads((folder / "papermage.json").read_text(encoding="utf-8"))
    inner = facts
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (folder / "papermage.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises((ConfigError, PluginError, CheckpointError), match=r"start_from|papermage\.json"):
        going_on(folder).train()
