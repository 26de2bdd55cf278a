"""Guaranteed recall and precision, from the command that fits them to the predictor; documents unlike training."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from papermage_core import checkpoint as checkpoints
from papermage_core.cli import evaluate, predict
from papermage_core.data import read_documents
from papermage_core.document import Document
from papermage_core.errors import CheckpointError
from papermage_core.evaluation import Profile
from papermage_core.evaluation.guarantees import Guarantees
from papermage_core.plugin.manager import Plugins
from papermage_core.prediction import EntityClassificationPredictor as Predictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer


@pytest.fixture(scope="module")
def checkpoint(train_file: Path, tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("shares")
    config = EntityClassificationTrainConfig(
        data_path=train_file,
        val_data_path=write_corpus(folder / "val.jsonl", n=8, seed=4),
        label_field="names,amounts",
        head="crf",
        max_epochs=4,
        learning_rate=1e-2,
        default_root_dir=folder / "run",
        enable_progress_bar=False,
        **{"encoder.width": 16, "encoder.rows": 500},
    )
    return EntityClassificationTrainer(config).train().checkpoint


@pytest.fixture(scope="module")
def fitted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    checkpoints.copy(checkpoint, folder)
    data = write_corpus(tmp_path_factory.mktemp("labelled") / "cal.jsonl", n=60, seed=5)
    assert evaluate.main([f"model_name_or_path={folder}", f"data_path={data}", "guarantee=true", "--json"]) == 0
    return folder


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> list[Document]:
    return list(read_documents(write_corpus(tmp_path_factory.mktemp("new") / "new.jsonl", n=20, seed=6)))


def found(predictor: Predictor, documents: list[Document], **options: object) -> tuple[float, float, int]:
    """Mean recall and precision of documents, and how many entities were found."""
    recalls, precisions, count = [], [], 0
    for document, entities in zip(documents, predictor.predict_many(documents, **options), strict=True):  # type: ignore[arg-type]
        gold = {(e.start, e.end, name) for name in ("names", "amounts") for e in document.get_layer(name)}
        said = {(e.start, e.end, e.label) for e in entities}
        recalls.append(len(gold & said) / len(gold))
        precisions.append(len(gold & said) / len(said) if said else 1.0)
        count += len(entities)
    return sum(recalls) / len(recalls), sum(precisions) / len(precisions), count


def test_what_is_asked_for_is_what_is_got(fitted: Path, documents: list[Document]) -> None:
    predictor = Predictor.from_pretrained(fitted)
    assert predictor.guarantees is not None
    _, _, plain = found(predictor, documents)
    best = max(predictor.guarantees.recall[""])
    recall, _, many = found(predictor, documents, recall=best)
    assert recall >= best - 0.03
    assert many > 0
    precise = max(predictor.guarantees.precision[""])
    _, precision, few = found(predictor, documents, precision=precise)
    assert precision >= precise - 0.03
    assert few <= plain
    of_names = predictor.predict(documents[0], precision={"names": min(predictor.guarantees.precision["names"])})
    assert {entity.label for entity in of_names} <= {"names", "amounts"}


def test_labels_that_are_not_named_are_left_as_they_are_found(fitted: Path, documents: list[Document]) -> None:
    """Also where the model is unsure of them: in its best sequence stand entities that are less likely than not."""
    predictor = Predictor.from_pretrained(fitted)
    assert predictor.guarantees is not None
    for head in predictor.model.heads:
        head.score.linear.weight.data *= 0.1

    def amounts(**options: object) -> list[list[tuple[int, int]]]:
        many = predictor.predict_many(documents, **options)  # type: ignore[arg-type]
        return [[(each.start, each.end) for each in of_one if each.label == "amounts"] for of_one in many]

    scores = [each.score for of_one in predictor.predict_many(documents) for each in of_one if each.label == "amounts"]
    assert min(scores) < 0.45
    share = min(predictor.guarantees.precision["names"])
    assert amounts(min_precision={"names": share}) == amounts()
    assert amounts(min_recall={}) == amounts(min_precision={}) == amounts()


def test_what_is_fitted_is_what_predicts(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options of the extensions, and in the arithmetic, that are typed."""
    given: dict[str, Any] = {}

    def fit(path: Path, data_path: object, **options: Any) -> Guarantees:
        given.update(options)
        return Guarantees(recall={}, precision={}, confidence=None, documents=1)

    monkeypatch.setattr("papermage_core.training.evaluate.fit_guarantees", fit)
    loaded: list[Any] = []
    load = Plugins.extensions
    monkeypatch.setattr(Plugins, "extensions", lambda *args: loaded.append(args[2:]) or load(*args))
    (tmp_path / "a.jsonl").write_text("{}\n")
    words = [f"model_name_or_path={fitted}", f"data_path={tmp_path / 'a.jsonl'}", "guarantee=true", "precision=fp32"]
    assert evaluate.main([*words, "extensions=repeats", "extensions.repeats.min_score=0.75"]) == 0
    (((config,),),) = loaded
    assert config.min_score == 0.75
    assert (given["precision"], given["backend"]) == ("fp32", None)


def test_what_cannot_be_promised_is_refused(checkpoint: Path, fitted: Path, documents: list[Document]) -> None:
    with pytest.raises(ValueError, match="guarantees nothing yet"):
        Predictor.from_pretrained(checkpoint).predict(documents[0], recall=0.9)
    predictor = Predictor.from_pretrained(fitted)
    for options, message in (
        ({"recall": 0.9999}, "is not guaranteed by 60 documents"),
        ({"recall": 0.5, "precision": 0.5}, "give one of the two"),
        ({"min_recall": 0.9999}, "is not guaranteed by 60 documents"),
        ({"min_recall": 0.5, "recall": 0.5}, "min_recall and recall are one"),
        ({"min_recall": 0.5, "min_precision": 0.5}, "give one of the two"),
        ({"recall": 0.5, "merge": False}, "whole entities"),
        ({"recall": {"nmes": 0.5}}, "min_recall: 'nmes' is no label of this model. Did you mean 'names'"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.predict(documents[0], **options)  # type: ignore[arg-type]


def test_too_few_documents_guarantee_nothing_and_leave_what_there_is(
    fitted: Path, write_corpus: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (fitted / "papermage.json").read_bytes()
    few = write_corpus(tmp_path / "few.jsonl", n=2, seed=7)
    assert evaluate.main([f"model_name_or_path={fitted}", f"data_path={few}", "guarantee=true"]) == 3
    errors = capfd.readouterr().err
    assert f"{few}: 2 documents guarantee nothing, and the checkpoint stays as it was" in errors
    assert (fitted / "papermage.json").read_bytes() == before


def test_documents_that_were_trained_on_guarantee_nothing(
    checkpoint: Path,
    train_file: Path,
    write_corpus: Callable[..., Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "model"
    checkpoints.copy(checkpoint, folder)
    before = (folder / "papermage.json").read_bytes()
    assert evaluate.main([f"model_name_or_path={folder}", f"data_path={train_file}", "guarantee=true"]) == 3
    told = "the model was trained on 12 of these 12 documents, and of these nothing can be promised: give others"
    assert told in capfd.readouterr().err
    assert (folder / "papermage.json").read_bytes() == before

    alone, others = tmp_path / "alone", write_corpus(tmp_path / "others.jsonl", n=60, seed=5)
    checkpoints.copy(checkpoint, alone)
    assert evaluate.main([f"model_name_or_path={alone}", f"data_path={others}", "guarantee=true"]) == 0
    assert evaluate.main([f"model_name_or_path={folder}", f"data_path={others},{train_file}", "guarantee=true"]) == 0
    assert "trained on 12 of these 72 documents, and left out: what is promised holds for others" in caplog.text
    guaranteed = [json.loads((each / "papermage.json").read_bytes())["guarantees"] for each in (alone, folder)]
    assert guaranteed[0] == guaranteed[1]


def test_scores_on_documents_that_were_trained_on_are_told(
    checkpoint: Path,
    train_file: Path,
    write_corpus: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    others = write_corpus(tmp_path / "others.jsonl", n=5, seed=9)
    assert evaluate.main([f"model_name_or_path={checkpoint}", f"data_path={others}"]) == 0
    assert "trained on" not in caplog.text
    assert evaluate.main([f"model_name_or_path={checkpoint}", f"data_path={others},{train_file}"]) == 0
    told = "the model was trained on 12 of these 17 documents: the scores say little of other documents"
    assert told in caplog.text


def test_scores_on_documents_that_the_model_was_chosen_by_are_told(
    checkpoint: Path, write_corpus: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    val, others = write_corpus(tmp_path / "val.jsonl", n=8, seed=4), write_corpus(tmp_path / "b.jsonl", n=5, seed=9)
    assert evaluate.main([f"model_name_or_path={checkpoint}", f"data_path={others}"]) == 0
    assert "chosen by" not in caplog.text
    assert evaluate.main([f"model_name_or_path={checkpoint}", f"data_path={others},{val}"]) == 0
    told = "the model was chosen by 8 of these 13 documents, its validation data: of other documents the scores are"
    assert told in caplog.text


def test_a_checkpoint_from_before_documents_were_kept_is_read(checkpoint: Path) -> None:
    profile = checkpoints.read_profile(checkpoint)
    assert profile is not None
    value = profile.to_json()
    assert len(Profile.from_json(value).documents) == 12
    before = Profile.from_json({name: value[name] for name in ("words", "texts", "counts")})
    assert not before.knows("anything")
    with pytest.raises(CheckpointError, match="documents in base64"):
        Profile.from_json(value | {"documents": "AAAA"})


def test_the_command_takes_a_share(
    fitted: Path, documents: list[Document], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"".join(document.to_bytes() + b"\n" for document in documents))
    given = [f"model_name_or_path={fitted}", f"data_path={source}", f"output_path={target}"]
    assert predict.main([*given, "recall=0.9999"]) == 2
    assert "is not guaranteed" in capfd.readouterr().err
    share = max(Predictor.from_pretrained(fitted).guarantees.precision[""])  # type: ignore[union-attr]
    written = []
    for words in ([f"precision={share},fp32"], [f"min_precision={share}"]):
        assert predict.main([*given, *words, "overwrite=true"]) == 0
        written.append(target.read_bytes())
    assert written[0] == written[1]
    assert all("predictions" in document.layers for document in read_documents(target))
    capfd.readouterr()
    for words, message in (
        (["min_recall=0.5", "recall=0.5"], "are one option"),
        (["min_precision=0.5", "precision=0.5"], "are one option"),
        (["precision=1.5"], "for a share of right entities that is guaranteed, type min_precision=0.9"),
    ):
        assert predict.main([*given, *words, "overwrite=true"]) == 2
        assert message in capfd.readouterr().err
    for words in (["min_recall=0.5"], ["precision=0.5"]):
        assert predict.main(["recipe=a.yaml", f"data_path={source}", f"output_path={target}", *words]) == 2
        assert "guarantees of one checkpoint" in capfd.readouterr().err


def test_documents_of_other_words_are_told(
    checkpoint: Path, documents: list[Document], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"".join(document.to_bytes() + b"\n" for document in documents))
    given = [f"model_name_or_path={checkpoint}", f"data_path={source}", "overwrite=true"]
    with caplog.at_level(logging.WARNING):
        assert predict.main([*given, f"output_path={tmp_path / 'a.jsonl'}"]) == 0
    assert "unlike" not in caplog.text
    strange = [json.loads(document.to_bytes()) for document in documents]
    for each in strange:
        for word in ("the", "of", "and", "with", "under", "some", "very", "old", "new", "red"):
            each["symbols"] = each["symbols"].replace(f" {word} ", f" {word[::-1].upper()} ")
    source.write_text("".join(json.dumps(each) + "\n" for each in strange))
    with caplog.at_level(logging.WARNING):
        assert predict.main([*given, f"output_path={tmp_path / 'b.jsonl'}"]) == 0
    assert "these documents are unlike those that the model was trained on" in caplog.text
    assert "expected F1" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("guarantees", {"recall": 1}), ("reference", [1, 2])])
def test_damaged_facts_are_errors_of_the_checkpoint(fitted: Path, tmp_path: Path, name: str, value: object) -> None:
    checkpoints.copy(fitted, tmp_path)
    facts = json.loads((tmp_path / "papermage.json").read_text())
    (tmp_path / "papermage.json").write_text(json.dumps({**facts, name: value}))
    with pytest.raises(CheckpointError):
        Predictor.from_pretrained(tmp_path)


def test_a_damaged_profile_is_an_error_of_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    checkpoints.copy(checkpoint, tmp_path)
    profile = checkpoints.read_profile(tmp_path)
    assert profile is not None
    assert profile.unknown(["the", "xyzzy"]) == [False, True]
    assert profile.count("an entity that nobody saw") == 0
    (tmp_path / "profile.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"profile\.json is damaged"):
        Predictor.from_pretrained(tmp_path)
