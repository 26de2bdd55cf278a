"""Folds, seeds and learning curves: several runs of one config, each in its folder."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from papermage_core.cli.train import main
from papermage_core.data import read_documents
from papermage_core.errors import ConfigError, DataError
from papermage_core.evaluation import Scores
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.several import SeveralResult

SMALL = {"encoder.width": 16, "encoder.rows": 500, "enable_progress_bar": False, "batch_size": 4, "max_epochs": 2}


def train(**values: Any) -> SeveralResult:
    given = {"label_field": "names,amounts", "learning_rate": 2e-2, "cache": False}
    result = EntityClassificationTrainer(EntityClassificationTrainConfig(**given | SMALL | values)).train()
    assert isinstance(result, SeveralResult)
    return result


def made(result: SeveralResult) -> dict[str, int]:
    """When each model was written."""
    return {name: (run.checkpoint / "model.safetensors").stat().st_mtime_ns for name, run in result.runs.items()}


@pytest.fixture(scope="module")
def folds(train_file: Path, tmp_path_factory: pytest.TempPathFactory) -> SeveralResult:
    return train(data_path=train_file, folds=3, default_root_dir=tmp_path_factory.mktemp("folds") / "run")


def test_every_document_is_predicted_by_the_model_that_did_not_see_it(folds: SeveralResult, train_file: Path) -> None:
    pooled = read_documents(folds.folder / "results" / "out_of_fold.jsonl")
    originals = read_documents(train_file)
    assert [each.id for each in pooled] == [each.id for each in originals]
    for name, run in folds.runs.items():
        predictor = EntityClassificationPredictor.from_pretrained(run.checkpoint)
        for document, original in zip(pooled, originals, strict=True):
            if document.metadata.fold == name:
                expected = [entity.to_json() for entity in predictor.predict(original)]
                assert [entity.to_json() for entity in document.get_layer("predictions")] == expected
            for layer in ("tokens", "pages", "names", "amounts"):
                assert document.get_layer(layer).to_json() == original.get_layer(layer).to_json()


def test_the_scores_are_those_of_the_pooled_file(folds: SeveralResult) -> None:
    gold, predicted = set(), set()
    for document in read_documents(folds.folder / "results" / "out_of_fold.jsonl"):
        for label in ("names", "amounts"):
            gold |= {(document.id, label, str(each.spans)) for each in document.get_layer(label)}
        predicted |= {(document.id, e.metadata.label, str(e.spans)) for e in document.get_layer("predictions")}
    assert (folds.scores.micro.gold, folds.scores.micro.predicted) == (len(gold), len(predicted))
    assert folds.scores.micro.right == len(gold & predicted)


def test_the_record_has_each_fold_and_mean_and_spread(folds: SeveralResult) -> None:
    record = json.loads((folds.folder / "results" / "folds.json").read_text())
    f1 = [Scores.from_json(each["scores"]).f1 for each in record["folds"]]
    assert record["mean"]["f1"] == pytest.approx(statistics.mean(f1))
    assert record["spread"]["f1"] == pytest.approx(statistics.stdev(f1))
    assert [each["folder"] for each in record["folds"]] == ["fold-1", "fold-2", "fold-3"]
    assert Scores.from_json(record["scores"]) == folds.scores
    assert all(len(line) <= 80 for line in folds.table().splitlines())


def test_what_is_done_is_not_trained_again_and_what_was_stopped_goes_on(
    train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from papermage_core.training import trainer

    begun = []
    fit = trainer.EntityClassificationTrainer._fit

    def stopped(self: Any, lightning: Any, *arguments: Any) -> None:
        begun.append(self.folder.name)
        if len(begun) == 2:
            lightning.fit_loop.max_epochs = 1  # so that it has a state to go on from
            fit(self, lightning, *arguments)
            raise KeyboardInterrupt
        fit(self, lightning, *arguments)

    monkeypatch.setattr(trainer.EntityClassificationTrainer, "_fit", stopped)
    given: dict[str, Any] = {"data_path": train_file, "folds": 3, "default_root_dir": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        train(**given)
    first = (tmp_path / "run" / "fold-1" / "checkpoints" / "model.safetensors").stat().st_mtime_ns
    result = train(**given)
    assert begun == ["fold-1", "fold-2", "fold-2", "fold-3"]
    assert made(result)["1"] == first
    again = train(**given)
    assert made(again) == made(result)
    assert again.to_json() == result.to_json()


def test_a_fold_that_another_machine_trained_is_one_of_all(train_file: Path, tmp_path: Path) -> None:
    given = {"label_field": "names,amounts", "data_path": train_file, "folds": 2, "max_steps": 1, "cache": False}
    alone = EntityClassificationTrainConfig(
        **SMALL | given | {"fold": "2", "devices": 1, "default_root_dir": tmp_path / "run" / "fold-2"}
    )
    first = EntityClassificationTrainer(alone).train()
    before = (first.checkpoint / "model.safetensors").stat().st_mtime_ns
    assert made(train(**given, learning_rate=None, default_root_dir=tmp_path / "run"))["2"] == before


def test_folds_of_other_options_or_data_are_not_taken_for_these(
    folds: SeveralResult, train_file: Path, val_file: Path
) -> None:
    with pytest.raises(ConfigError, match="max_epochs=2, and max_epochs is 3 now"):
        train(data_path=train_file, folds=3, default_root_dir=folds.folder, max_epochs=3)
    with pytest.raises(ConfigError, match="on other data"):
        train(data_path=[train_file, val_file], folds=3, default_root_dir=folds.folder)


def test_documents_may_name_their_fold(train_file: Path, tmp_path: Path) -> None:
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    for number, document in enumerate(documents):
        document["metadata"]["lab"] = ["Rome, Italy", "Oslo"][number % 3 == 0]
    path = tmp_path / "labs.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))
    result = train(data_path=path, folds="metadata:lab", default_root_dir=tmp_path / "run", max_epochs=1)
    assert {name: run.scores.documents for name, run in result.runs.items()} == {"Oslo": 4, "Rome, Italy": 8}
    del documents[3]["metadata"]["lab"]
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))
    with pytest.raises(DataError, match=r"line 4.*expected the name of a fold there, got None"):
        train(data_path=path, folds="metadata:lab", default_root_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_seeds_over_folds_and_the_shares_of_a_curve_are_in_folders_of_their_own(
    train_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = train(data_path=train_file, seed="1,2", folds=2, default_root_dir=tmp_path / "seeds", max_epochs=1)
    assert (tmp_path / "seeds" / "seed-2" / "fold-2" / "checkpoints" / "papermage.json").is_file()
    assert seeds.mean() == pytest.approx(statistics.mean(run.scores.f1 for run in seeds.runs.values()))
    words = [f"{name}={value}" for name, value in SMALL.items()]
    words += [f"data_path={train_file}", f"default_root_dir={tmp_path / 'curve'}", "label_field=names", "cache=false"]
    assert main([*words, "learning_curve=true", "-q"]) == 0
    printed = capsys.readouterr().out
    assert "more documents: F1 " in printed
    record = json.loads((tmp_path / "curve" / "results" / "learning_curve.json").read_text())
    assert [point["documents"] for point in record["points"]] == [3, 6, 8, 11]
    assert all(each["low"] <= each["f1"] <= each["high"] for each in record["forecasts"])
    assert "<svg" in (tmp_path / "curve" / "results" / "learning_curve.html").read_text()


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (4, {}, "nothing but the documents trained on is there to score on"),
        (12, {"val_split": 0}, "nothing but the documents trained on is there to score on"),
        (3, {"val": True}, "3 documents are too few for 4 shares that differ"),
        (1, {"val": True}, "1 document is too few for 4 shares that differ"),
    ],
)
def test_a_curve_of_too_few_documents_or_scored_on_those_trained_on_is_refused(
    train_file: Path, val_file: Path, tmp_path: Path, count: int, options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text("".join(train_file.read_text().splitlines(keepends=True)[:count]))
    given = {"val_data_path": val_file} if options.pop("val", False) else options
    with pytest.raises(DataError, match=message):
        train(data_path=path, learning_curve=True, default_root_dir=tmp_path / "curve", **given)
    assert not (tmp_path / "curve").exists()


def test_the_best_seed_is_chosen_by_validation_and_not_by_what_it_is_tested_on(
    train_file: Path, val_file: Path, tmp_path: Path
) -> None:
    """The first of two seeds hardly learns, and is made the better one on the validation data."""
    given = {"test_data_path": train_file, "val_data_path": val_file, "data_path": train_file, "max_epochs": 1}
    given |= {"default_root_dir": tmp_path / "run", "seed": "1,2", "learning_rate": 1e-6}
    runs = train(**given).runs
    for run, better in zip(runs.values(), ("val", "test"), strict=True):
        file = run.checkpoint / "papermage.json"
        kept = json.loads(file.read_text())
        kept["scores"][better]["micro"] |= {"support": 10, "predicted": 10, "right": 10, "found": 10}
        file.write_text(json.dumps(kept))
    again = train(**given)
    assert again.checkpoint == runs["1"].checkpoint
    assert again.figures("f1") == [0, 1]


def test_a_folder_that_holds_one_run_gets_no_folds(
    train_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    words = [f"data_path={train_file}", "label_field=names", f"default_root_dir={tmp_path / 'run'}", "folds=2"]
    assert main(words) == 2
    assert "holds a run of its own, not several" in capsys.readouterr().err


def test_a_folder_that_holds_folds_gets_no_run_of_its_own(folds: SeveralResult, train_file: Path) -> None:
    config = EntityClassificationTrainConfig(data_path=train_file, label_field="names", default_root_dir=folds.folder)
    with pytest.raises(ConfigError, match=r"holds several runs \(results/folds\.json\)"):
        EntityClassificationTrainer(config).train()


def test_more_folds_than_documents_are_an_error(train_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folds=13: there are only 12 documents"):
        train(data_path=train_file, folds=13, default_root_dir=tmp_path / "run")


def test_a_fold_without_entities_is_told_before_any_is_trained(train_file: Path, tmp_path: Path) -> None:
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    for number, document in enumerate(documents):
        document["metadata"]["lab"] = str(number % 3)
        if number % 3 == 2:
            document["entities"] |= {"names": [], "amounts": []}
    path = tmp_path / "labs.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))
    with pytest.raises(DataError, match="fold 2: it has no gold entity"):
        train(data_path=path, folds="metadata:lab", default_root_dir=tmp_path / "run", max_epochs=1)
    assert not (tmp_path / "run").exists()
