from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from papermage_core.errors import ConfigError, DataError
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.evaluate import evaluate_checkpoint
from papermage_core.training.module import clip_gradients
from papermage_core.training.trainer import RunResult

SMALL = {"encoder.width": 32, "encoder.rows": 500, "enable_progress_bar": False, "batch_size": 4}


def history(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


@pytest.fixture
def config(train_file: Path, tmp_path: Path) -> Callable[..., EntityClassificationTrainConfig]:
    def make(**values: Any) -> EntityClassificationTrainConfig:
        given = {"data_path": train_file, "label_field": "names,amounts", "default_root_dir": tmp_path / "run"}
        return EntityClassificationTrainConfig(**given | SMALL | values)

    return make


@pytest.mark.parametrize("head", ["linear", "crf"])
def test_a_run_learns_what_can_be_learnt_and_leaves_all_of_its_folder(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, head: str
) -> None:
    result = EntityClassificationTrainer(
        config(head=head, val_data_path=val_file, max_epochs=12, learning_rate=1e-2)
    ).train()
    assert result.split == "val"
    assert result.scores.f1 > 0.9
    names = {str(p.relative_to(result.folder)) for p in result.folder.rglob("*") if p.is_file()}
    assert names >= {
        "checkpoints/papermage.json",
        "checkpoints/model.safetensors",
        "checkpoints/README.md",
        "last.ckpt",
        "config.yaml",
        "metrics.csv",
        "results/results.json",
        "results/errors.jsonl",
        "report.html",
    }
    assert not [name for name in names if name.startswith(".") or "partial" in name]
    rows = history(result.folder)
    assert [int(row["epoch"]) for row in rows] == list(range(12))
    assert max(float(row["val_f1"]) for row in rows) == pytest.approx(result.scores.f1)


def test_the_scores_are_those_of_the_checkpoint_as_it_is_loaded(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path
) -> None:
    result = EntityClassificationTrainer(config(val_data_path=val_file, max_epochs=3, head="crf")).train()
    again = EntityClassificationTrainer(
        config(
            mode="eval",
            data_path=val_file,
            model_name_or_path=str(result.checkpoint),
            encoder="compact",
            default_root_dir=result.folder / "again",
        )
    ).evaluate()
    assert again.scores.to_json() == result.scores.to_json()
    facts = json.loads((result.checkpoint / "papermage.json").read_text())
    assert facts["scores"]["val"]["micro"]["f1"] == result.scores.f1


def test_a_config_that_is_to_evaluate_is_not_trained(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, tmp_path: Path
) -> None:
    given = config(mode="eval", data_path=val_file, model_name_or_path=str(tmp_path), default_root_dir=tmp_path / "no")
    with pytest.raises(ConfigError, match=r"mode=eval: .* call evaluate\(\)"):
        EntityClassificationTrainer(given).train()
    assert not (tmp_path / "no").exists()


def test_a_gazetteer_is_learnt_kept_and_used(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, tmp_path: Path
) -> None:
    chosen = {"encoder": "compact", "encoder.gazetteer": "on", "encoder.width": 16, "head": "crf", "max_epochs": 2}
    results = [
        EntityClassificationTrainer(
            config(val_data_path=val_file, default_root_dir=tmp_path / name, cache=cache, **chosen)
        ).train()
        for name, cache in (("a", False), ("b", True), ("c", True))
    ]
    assert len({json.dumps(result.scores.to_json()) for result in results}) == 1
    again = EntityClassificationTrainer(
        config(mode="eval", data_path=val_file, model_name_or_path=str(results[0].checkpoint))
    ).evaluate()
    assert again.scores.to_json() == results[0].scores.to_json()
    learned = json.loads((results[0].checkpoint / "learned.json").read_text())
    assert "gazetteer_table" in json.dumps(learned)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    def weights(name: str, seed: int) -> dict[str, Any]:
        run = config(default_root_dir=tmp_path / name, seed=seed, max_epochs=1)
        return load_file(EntityClassificationTrainer(run).train().checkpoint / "model.safetensors")

    one, same, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert all(one[name].equal(same[name]) for name in one)
    assert any(not one[name].equal(other[name]) for name in one)


def test_a_killed_run_resumed_ends_with_the_weights_it_would_have_had(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, tmp_path: Path
) -> None:
    from pytorch_lightning import Callback

    class KilledError(Exception):
        pass

    class Kill(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.current_epoch == 2 and trainer.global_step % 2:
                raise KilledError

    def run(name: str, **values: Any) -> EntityClassificationTrainer:
        values = {"max_epochs": 4, "val_data_path": val_file, "head": "crf", "warmup_steps": 0.2} | values
        return EntityClassificationTrainer(config(default_root_dir=tmp_path / name, **values))

    whole = run("whole").train()
    with pytest.raises(KilledError):
        run("cut", callbacks=[Kill()]).train()
    resumed = run("cut", resume=True).train()
    one, other = (torch.load(r.folder / "last.ckpt", weights_only=True)["state_dict"] for r in (whole, resumed))
    assert all(one[name].equal(other[name]) for name in one)
    histories = [history(r.folder) for r in (whole, resumed)]
    for row in [row for rows in histories for row in rows]:
        row.pop("seconds")
    assert histories[0] == histories[1]


def test_a_run_is_not_resumed_with_other_data(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path
) -> None:
    EntityClassificationTrainer(config(max_epochs=1)).train()
    with pytest.raises(ConfigError, match="not the data that the run began with"):
        EntityClassificationTrainer(config(max_epochs=2, data_path=val_file, resume=True)).train()


def test_a_run_that_has_not_begun_cannot_be_resumed(config: Callable[..., EntityClassificationTrainConfig]) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*last\.ckpt"):
        EntityClassificationTrainer(config(resume=True)).train()


def test_its_config_file_repeats_a_run(config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path) -> None:
    from papermage_core.config import load_config

    first = EntityClassificationTrainer(config(max_epochs=1)).train()
    again = load_config([first.folder / "config.yaml"], [f"default_root_dir={tmp_path / 'again'}"])
    second = EntityClassificationTrainer(again).train()
    one, other = (load_file(r.checkpoint / "model.safetensors") for r in (first, second))
    assert all(one[name].equal(other[name]) for name in one)


def test_patience_stops_a_run_that_gets_no_better(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path
) -> None:
    result = EntityClassificationTrainer(
        config(val_data_path=val_file, max_epochs=50, patience=2, learning_rate=1e-9)
    ).train()
    assert len((result.folder / "metrics.csv").read_text().splitlines()) < 10


def test_overlapping_fields_train_apart_in_one_checkpoint(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path, train_file: Path
) -> None:
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    for document in documents:
        names, amounts = document["entities"]["names"], document["entities"]["amounts"]
        document["entities"]["debts"] = [
            {"spans": [[n["spans"][0][0], a["spans"][0][1]]]} for n, a in zip(names, amounts, strict=True)
        ]
    path = tmp_path / "nested.jsonl"
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))
    result = EntityClassificationTrainer(
        config(
            data_path=path,
            val_data_path=path,
            label_field="debts,names",
            overlap_policy="separate",
            max_epochs=12,
            learning_rate=1e-2,
        )
    ).train()
    assert result.scores.f1 > 0.8
    assert result.scores.subsets["nested"].recall > 0.8
    predictor = EntityClassificationPredictor.from_pretrained(result.checkpoint)
    assert predictor.labels == ("debts", "names")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_path": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"label_field": "nmes"}, "no document has the label layer 'nmes'"),
        ({"label_field": "names,amuonts"}, "no document has the label layer 'amuonts', .* Did you mean 'amounts'"),
        ({"label_field": "names,amuonts", "overlap_policy": "separate"}, "no document has the label layer 'amuonts'"),
        ({"entity_name": "tokenz"}, "no layer 'tokenz'.*Did you mean 'tokens'"),
        ({"context_name": "page"}, "no layer 'page'.*Did you mean 'pages'"),
    ],
)
def test_bad_data_ends_in_one_message(
    config: Callable[..., EntityClassificationTrainConfig], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        EntityClassificationTrainer(config(**change)).train()


def test_a_label_field_that_marks_nothing_is_refused(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path, train_file: Path
) -> None:
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    for document in documents:
        document["entities"]["names"] = []
    path = tmp_path / "empty.jsonl"
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))
    with pytest.raises(DataError, match="marks nothing in 12 documents"):
        EntityClassificationTrainer(config(data_path=path, label_field="names")).train()


def test_a_label_that_is_there_and_marks_nothing_is_told(
    config: Callable[..., EntityClassificationTrainConfig],
    tmp_path: Path,
    train_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is spelt right: a layer that is empty, or one that the validation data have alone."""
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    empty, without = tmp_path / "empty.jsonl", tmp_path / "without.jsonl"
    for document in documents:
        document["entities"]["names"] = []
    empty.write_text("".join(json.dumps(d) + "\n" for d in documents))
    for document in documents:
        del document["entities"]["names"]
    without.write_text("".join(json.dumps(d) + "\n" for d in documents))
    for place, words in enumerate(({"data_path": empty}, {"data_path": without, "val_data_path": train_file})):
        caplog.clear()
        folder = tmp_path / str(place)
        EntityClassificationTrainer(config(**words, max_epochs=1, default_root_dir=folder)).train()
        assert "'names' marks nothing in the training documents: it cannot be learnt" in caplog.text


def test_what_fails_while_saving_leaves_the_checkpoint_that_was_there(
    config: Callable[..., EntityClassificationTrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    from papermage_core.errors import CheckpointError

    first = EntityClassificationTrainer(config(max_epochs=1)).train()
    before = {p.name: p.read_bytes() for p in first.checkpoint.iterdir() if p.is_file()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        EntityClassificationTrainer(config(max_epochs=1, seed=3, overwrite=True)).train()
    assert {p.name: p.read_bytes() for p in first.checkpoint.iterdir() if p.is_file()} == before
    assert not [p for p in first.folder.iterdir() if p.name.startswith(".")]


def test_evaluation_reads_the_layers_that_are_named(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path
) -> None:
    trainer = EntityClassificationTrainer(config(max_epochs=1))
    trainer.train()
    assert trainer.evaluate().split == "eval"
    with pytest.raises(DataError, match="no layer 'nope'"):
        EntityClassificationTrainer(
            config(
                mode="eval",
                model_name_or_path=str(trainer.checkpoint),
                entity_name="nope",
                default_root_dir=trainer.folder / "again",
            )
        ).evaluate()


def test_some_of_the_labels_are_scored_as_they_are_among_all(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, tmp_path: Path
) -> None:
    trainer = EntityClassificationTrainer(config(max_epochs=3, learning_rate=1e-2))
    trainer.train()
    both = evaluate_checkpoint(trainer.checkpoint, [val_file]).evaluation
    some = evaluate_checkpoint(trainer.checkpoint, [val_file], label_fields=["amounts"]).evaluation

    assert both.scores.per_label["amounts"].right > 0
    assert dict(some.scores.per_label) == {"amounts": both.scores.per_label["amounts"]}
    assert some.scores.micro == both.scores.per_label["amounts"]
    assert some.entities == {"amounts": both.entities["amounts"]}
    with pytest.raises(ConfigError, match=r"was trained for names,amounts; name some of these. Did you mean 'names'"):
        evaluate_checkpoint(trainer.checkpoint, [val_file], label_fields=["name"])


def test_a_label_that_is_named_and_that_no_document_has_ends_an_evaluation(
    config: Callable[..., EntityClassificationTrainConfig],
    val_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = EntityClassificationTrainer(config(max_epochs=3, learning_rate=1e-2))
    trainer.train()
    names_only = tmp_path / "names_only.jsonl"
    names_only.write_text(val_file.read_text().replace('"amounts"', '"amount"'))
    for fields in (["names", "amounts"], ["amounts"]):
        with pytest.raises(DataError, match="no document has the label layer 'amounts', which") as told:
            evaluate_checkpoint(trainer.checkpoint, [names_only], label_fields=fields)
        assert "Did you mean 'amount'?" in str(told.value)
    assert evaluate_checkpoint(trainer.checkpoint, [names_only]).evaluation.counts["documents"] == 4
    assert "4 × documents that lack a label layer and have one of nearly its name" in caplog.text, (
        "nobody named it: it is told, and nothing of it is expected"
    )


def test_a_run_can_overfit_a_few_batches(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path
) -> None:
    result = EntityClassificationTrainer(config(overfit_batches=2, max_epochs=2, val_data_path=val_file)).train()
    assert [row["step"] for row in history(result.folder)] == ["2", "4"]


def test_a_barebones_run_keeps_the_best_model_too(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, tmp_path: Path
) -> None:
    def run(name: str, **values: Any) -> RunResult:
        given = {"val_data_path": val_file, "max_epochs": 3, "default_root_dir": tmp_path / name} | values
        return EntityClassificationTrainer(config(**given, learning_rate=1e-2, head="crf")).train()

    bare, full = run("bare", barebones=True), run("full")
    assert bare.scores.to_json() == full.scores.to_json()
    assert [row["val_f1"][:6] for row in history(bare.folder)] == [row["val_f1"][:6] for row in history(full.folder)]


def test_other_options_are_not_resumed_with(config: Callable[..., EntityClassificationTrainConfig]) -> None:
    EntityClassificationTrainer(config(max_epochs=1)).train()
    with pytest.raises(ConfigError, match=r"resume: encoder\.width is 16; the run began with 32"):
        EntityClassificationTrainer(config(max_epochs=2, resume=True, **{"encoder.width": 16})).train()


def test_a_label_attribute_that_no_entity_has_is_refused(
    config: Callable[..., EntityClassificationTrainConfig],
) -> None:
    with pytest.raises(DataError, match=r"label_attribute=kind: none of the \d+ gold entities has it"):
        EntityClassificationTrainer(config(label_attribute="kind")).train()


def test_what_test_data_alone_have_is_told(
    config: Callable[..., EntityClassificationTrainConfig],
    tmp_path: Path,
    train_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A value of the attribute that training did not see, and one that only looks like another."""
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    paths = {}
    for name, kinds in {"data_path": "AB", "val_data_path": "AB", "test_data_path": "Ca"}.items():
        for number, entity in enumerate(each for document in documents for each in document["entities"]["names"]):
            entity["metadata"] = {"kind": kinds[number % 2]}
        paths[name] = tmp_path / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps(d) + "\n" for d in documents))
    result = EntityClassificationTrainer(
        config(**paths, label_field="names", label_attribute="kind", max_epochs=1)
    ).train()
    count = result.scores.micro.gold
    (told,) = [line for line in caplog.messages if "that training did not see" in line]
    assert told.startswith(f"test: {count} × gold entities with a label that training did not see")
    assert "labels that look alike are taken for several: A " in caplog.text


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0, float("nan")])
def test_gradients_are_clipped_as_torch_does(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.zeros(n)) for n in (3, 7, 2)]
    for weight in ours[:2]:
        weight.grad = torch.randn(weight.shape, generator=generator) * scale
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    for weight, given in zip(theirs, ours, strict=True):
        weight.grad = None if given.grad is None else given.grad.clone()
    norm = clip_gradients(ours, 1.0)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    torch.testing.assert_close(norm, expected, equal_nan=True)
    for mine, other in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(mine.grad, other.grad, equal_nan=True)
    assert ours[2].grad is None


def test_files_are_trained_on_as_often_as_their_weights_say(
    config: Callable[..., EntityClassificationTrainConfig],
    write_corpus: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from papermage_core.training.module import EntityModule

    a, b, c = (write_corpus(tmp_path / f"{name}.jsonl", n=8, seed=i) for i, name in enumerate("abc"))
    seen: list[str] = []
    step = EntityModule.training_step

    def remember(self: EntityModule, batch: Any, batch_idx: int) -> Any:
        seen.extend(self._corpus[int(self._train.document[i])].name for i in batch.index)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(EntityModule, "training_step", remember)
    result = EntityClassificationTrainer(config(data_path=f"{a}*2,{b},{c}*0.5", max_epochs=1, val_split=0)).train()
    times = {name: seen.count(name) // 2 for name in seen}  # each has two pages
    assert all(times[f"doc-{i}"] == 2 for i in range(8))
    assert all(times[f"doc-{1000 + i}"] == 1 for i in range(8))
    half = [times.get(f"doc-{2000 + i}", 0) for i in range(8)]
    assert set(half) == {0, 1}
    sources = json.loads((result.folder / "results" / "results.json").read_text())["sources"]
    assert sources == {str(path): {"documents": 8, "weight": weight} for path, weight in ((a, 2.0), (b, 1.0), (c, 0.5))}


def test_the_validation_loss_is_the_same_however_documents_are_batched(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path
) -> None:
    lines, found = [], []
    for length in (2, 90, 3, 40, 2, 5):  # so that a mean over documents is none over units
        text, tokens = "Ada Bo " * length, [{"spans": [[at, at + 3]]} for at in range(0, 7 * length, 7)]
        layers = {"tokens": tokens, "pages": [{"spans": [[0, len(text)]]}], "names": tokens[:2]}
        lines.append(json.dumps({"symbols": text, "metadata": {"doc_id": str(length)}, "entities": layers}))
    (tmp_path / "val.jsonl").write_text("\n".join(lines))
    for number, limits in enumerate(({"batch_size": 1}, {"batch_size": 3}, {"batch_tokens": 100})):
        options = {"val_data_path": tmp_path / "val.jsonl", "label_field": "names", "max_epochs": 1, **limits}
        result = EntityClassificationTrainer(
            config(default_root_dir=tmp_path / str(number), learning_rate=1e-9, **options)
        ).train()
        found.append(float(history(result.folder)[-1]["val_loss"]))
    assert found == pytest.approx([found[0]] * 3, rel=1e-3)


def test_a_trainer_of_what_is_no_config_says_so() -> None:
    for given in ("train.jsonl", None, {"data_path": "train.jsonl"}):
        with pytest.raises(TypeError, match="expected an EntityClassificationTrainConfig, got"):
            EntityClassificationTrainer(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "is_told"), [(0.25, True), (0.1, False), (0, False)])
def test_a_share_to_set_aside_is_told_where_validation_data_are_given(
    config: Callable[..., EntityClassificationTrainConfig],
    val_file: Path,
    caplog: pytest.LogCaptureFixture,
    share: float,
    is_told: bool,
) -> None:
    trainer = EntityClassificationTrainer(config(val_data_path=str(val_file), val_split=share, max_epochs=1))
    trainer.train()
    assert ("val_split=0.25 is not used: val_data_path says what" in caplog.text) == is_told


def test_the_logger_of_lightning_writes_into_the_folder_of_the_run(
    config: Callable[..., EntityClassificationTrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = EntityClassificationTrainer(config(max_epochs=1, logger=True)).train()
    assert list(elsewhere.iterdir()) == []
    (logged,) = result.folder.glob("lightning_logs/*/metrics.csv")
    assert "loss" in logged.read_text().splitlines()[0]


def test_an_interval_of_more_batches_than_an_epoch_has_is_told_as_an_option(
    config: Callable[..., EntityClassificationTrainConfig], val_file: Path, tmp_path: Path
) -> None:
    given = {"val_data_path": val_file, "max_epochs": 1, "val_check_interval": 10**6}
    with pytest.raises(ConfigError, match=r"val_check_interval=1000000: an epoch has no more than \d+ batches"):
        EntityClassificationTrainer(config(**given)).train()
    assert not (tmp_path / "run").exists()
    assert EntityClassificationTrainer(config(**given, check_val_every_n_epoch=None)).train().checkpoint.is_dir()
