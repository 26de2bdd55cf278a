"""Stages trained in order, each on what those before it find in documents that they did not see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from papermage_core import Document, read_documents
from papermage_core.cli.train import main
from papermage_core.config.cascade import load_cascade
from papermage_core.errors import ConfigError
from papermage_core.prediction import EntityClassificationPredictor, Recipe
from papermage_core.prediction.cascade import CascadeTrainer
from papermage_core.testing import write_jsonl
from tests.recipes.conftest import TINY, entries, marked, texts

SOME: dict[str, Any] = TINY | {"max_epochs": 2, "val_split": 0.2, "batch_size": 4}


def write(folder: Path, **changes: Any) -> Path:
    """Write a cascade of three stages: entries, their fields, and the letters of names in other documents."""
    labelled = write_jsonl([entries(number, n_pages=1) for number in range(8)], folder / "train.jsonl")
    more = write_jsonl([entries(number, n_pages=1) for number in range(6, 10)], folder / "more.jsonl")
    val = write_jsonl([entries(number, n_pages=1) for number in range(20, 23)], folder / "val.jsonl")
    names = [marked("Arvo Gluck", strings=[(0, 10)], tokens=[(0, 4), (5, 10)], first=[(0, 4)]) for _ in range(4)]
    content: dict[str, Any] = {
        "default_root_dir": str(folder / "cascade"),
        "folds": 2,
        "records": "entry(name,amount)",
        **SOME,
        "stages": [
            {"name": "entries", "data_path": str(labelled), "label_field": "entry", "val_data_path": str(val)},
            {
                "name": "fields",
                "data_path": [str(labelled), str(more)],
                "label_field": "name,amount",
                "context_name": "entry",
            },
            {
                "name": "letters",
                "data_path": str(write_jsonl(names, folder / "names.jsonl")),
                "label_field": "first",
                "context_name": "name",
                "gold_context_name": "strings",
                "predict": {"min_score": 0.5},
            },
        ],
        **changes,
    }
    path = folder / "cascade.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    assert main(["-c", str(write(folder)), "-q"]) == 0
    return folder


def test_contexts_are_found_by_models_that_did_not_see_the_document(trained: Path) -> None:
    """Those in the file that the second stage was trained on are compared with each model's own predictions."""
    root = trained / "cascade"
    models = {"": EntityClassificationPredictor.from_pretrained(root / "entries")}
    fold_of: dict[str, str] = {}
    for fold in ("1", "2"):
        folder = root / "entries" / "folds" / f"fold-{fold}"
        models[fold] = EntityClassificationPredictor.from_pretrained(folder)
        fold_of |= {str(d.symbols): fold for d in read_documents(folder / "results" / "predictions.jsonl")}
    assert sorted(fold_of) == sorted(str(entries(number, n_pages=1).symbols) for number in range(8))
    read = list(read_documents(root / "fields.train.jsonl"))
    originals = [entries(number, n_pages=1) for number in (*range(8), *range(6, 10))]
    assert [document.id for document in read] == [document.id for document in originals]
    for document, original in zip(read, originals, strict=True):
        predictor = models[fold_of.get(str(original.symbols), "")]
        expected = [(entity.start, entity.end) for entity in predictor.predict(original)]
        found = document.get_layer("entry")
        assert [(entity.start, entity.end) for entity in found] == expected
        for name in ("name", "amount"):
            assert document.get_layer(name).to_json() == original.get_layer(name).to_json()
        assert all(token.intersect_by_span("entry") for token in document.tokens) or not len(found)


def test_the_recipe_runs_and_moves_with_its_folder(trained: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (trained / "cascade").rename(moved)
    try:
        recipe = Recipe.from_yaml(moved)
        assert [(stage.name, stage.reads, stage.makes) for stage in recipe.stages] == [
            ("entries", ("tokens",), ("entry",)),
            ("fields", ("tokens", "entry"), ("name", "amount")),
            ("letters", ("tokens", "name"), ("first",)),
        ]
        assert recipe.config.records == "entry(name,amount)"
        assert recipe.stages[2].config.options.min_score == 0.5
        document = entries(50, n_pages=1)
        for name in ("entry", "name", "amount"):
            document.remove_layer(name)
        assert next(recipe.run([document])).has_layer("first")
    finally:
        moved.rename(trained / "cascade")


def test_scores_are_those_of_the_stages_alone_and_end_to_end(trained: Path) -> None:
    """Counted by hand: an entity is right if its layer and its tokens are."""
    record = json.loads((trained / "cascade" / "results" / "cascade.json").read_text())
    assert record["documents"] == 3
    by_name = {each["name"]: each for each in record["stages"]}
    recipe = Recipe.from_yaml(trained / "cascade")
    gold_documents = list(read_documents(trained / "val.jsonl"))

    def places(document: Document, *names: str) -> set[Any]:
        return {(document.id, name, str(entity.spans)) for name in names for entity in document.get_layer(name)}

    def bare(*kept: str) -> list[Document]:
        found = list(read_documents(trained / "val.jsonl"))
        for document in found:
            for name in {"entry", "name", "amount"} - set(kept):
                document.remove_layer(name)
        return found

    for key, kept in (("end_to_end", ()), ("alone", ("entry",))):
        ran = list(recipe.run(bare(*kept)))
        for stage, names in (("entries", ("entry",)), ("fields", ("name", "amount"))):
            if stage in kept or (key == "alone" and stage == "entries"):
                continue
            gold = {place for each in gold_documents for place in places(each, *names)}
            found = {place for each in ran for place in places(each, *names)}
            micro = by_name[stage][key]["micro"]
            assert (micro["support"], micro["predicted"], micro["right"]) == (len(gold), len(found), len(gold & found))
    assert (by_name["fields"]["start"], by_name["letters"]["start"]) == ("entries", "letters")
    assert by_name["letters"]["end_to_end"] is None, "no document has its gold"


def test_what_is_done_is_not_trained_again(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def made() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (trained / "cascade").rglob("model.safetensors")}

    before = made()
    assert len(before) == 5
    assert main(["-c", str(trained / "cascade.yaml"), "-q"]) == 0
    assert made() == before
    out = capsys.readouterr().out
    assert "F1 of each stage" in out
    assert f"recipe  {trained / 'cascade' / 'recipe.yaml'}" in out


def test_a_stage_that_is_done_otherwise_is_not_replaced_unasked(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-c", str(trained / "cascade.yaml"), "-q", "stages.letters.weight_decay=0.5"]) == 2
    assert "replace it with stages.letters.overwrite=true" in capsys.readouterr().err
    assert main(["-c", str(trained / "cascade.yaml"), "-q", "stages.letters.overwrite=true"]) == 0


def test_stages_may_be_trained_on_gold(trained: Path, tmp_path: Path) -> None:
    config = load_cascade([write(tmp_path)], ["stages.fields.contexts=gold", "max_epochs=1"])
    assert [stage.contexts for stage in config.stages] == ["predicted", "gold", "gold"]
    assert [stage.config.max_epochs for stage in config.stages] == [1, 1, 1]
    trainer = CascadeTrainer(config)
    file = trainer._prepared(1, config.stages[1].config.data_path, "train")
    for document, number in zip(read_documents(file), (*range(8), *range(6, 10)), strict=True):
        assert texts(document, "entry") == texts(entries(number, n_pages=1), "entry")
        assert [token.text for token in document.tokens] == " ".join(texts(document, "entry")).split()
    assert not trainer._shared_with_later(0), "nobody needs folds then"


@pytest.mark.parametrize(
    ("changes", "words", "expected"),
    [
        ({"stages": []}, [], "expected a list, each stage"),
        ({"stages": ["entries"]}, [], "expected a list, each stage"),
        ({"folds": 1}, [], "folds='?1.*at least 2"),
        ({"mode": "eval"}, [], "mode .*a cascade has no such option"),
        ({}, ["stages.nosuch.max_epochs=1"], "there is no stage 'nosuch'"),
        ({}, ["stages.fields.max_epoch=1"], "max_epoch .*Did you mean 'max_epochs'"),
        ({}, ["stages.fields.context=x"], "context .*unknown option"),
        ({}, ["stages.fields.folds=3"], "folds: a stage has no such option"),
        ({}, ["stages.fields.contexts=silver"], "'predicted' or 'gold'"),
        ({}, ["stages.fields.predict.min_scor=1"], "no such option"),
        (
            {},
            ["stages.entries.context_name=name"],
            "'entries' reads the layer 'name', which is made by the stage 'fields'",
        ),
        ({}, ["stages.entries.context_name=entry"], "which is made by itself"),
        ({}, ["stages.fields.predict.layer_name=entry"], "both make the layer 'entry'|made by itself"),
        ({}, ["stages.fields.name=entries"], "2 stages are called 'entries'"),
        ({}, ["stages.fields.name=a/b"], "a name that a folder can have"),
        ({}, ["head=nosuch"], "nosuch"),
        ({"records": "entry(name[amount"}, [], r"cascade\.yaml:\d+: records=.*: expected '\]'"),
        ({}, ["records=entry("], "^command line: records=.*the name of a layer"),
        ({}, ["stages.letters.gold_contxt=x"], "gold_contxt .*Did you mean 'gold_context_name'"),
        ({}, ["stages.letters.predict.min_scor=1"], r"predict\.min_scor \(command line\)"),
        ({}, ["stray", "seed=1", "seed=2", "folds=1"], "stray: expected(?s:.*)seed is given twice(?s:.*)folds="),
    ],
)
def test_what_is_wrong_in_a_cascade_is_said(changes: Any, words: list[str], expected: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ImportError), match=expected):
        load_cascade([write(tmp_path, **changes)], words)


def test_what_holds_for_all_stages_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_cascade([write(tmp_path, max_epoch=3)], ["stages.fields.wieght=1", "stages.fields.predict.min_score=2"])
    errors = [error.replace(str(tmp_path), "") for error in caught.value.errors]
    assert [error.split(" (")[0].rpartition(": ")[2] for error in errors] == [
        "max_epoch",
        "predict.min_score='2'",
        "wieght",
    ], errors


def test_all_documents_that_are_not_there_are_said_before_a_stage_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["test_data_path=nowhere.jsonl", "stages.letters.data_path=lost.jsonl"]
    for flags in (["--dry-run"], []):
        assert main(["-c", str(write(tmp_path)), *words, *flags]) == 3
        told = capsys.readouterr().err
        assert "test_data_path=nowhere.jsonl (of the cascade): no such file or folder" in told
        assert "data_path=lost.jsonl (command line): no such file or folder" in told
    assert not (tmp_path / "cascade").exists()


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("stages.entries.context_name=entri", "'entry'"),
        ("stages.fields.context_name=entri", "'entry'"),
        ("stages.fields.entity_name=tokns", "'tokens'"),
        ("stages.letters.gold_context_name=string", "'strings'"),
    ],
)
def test_layers_that_are_misspelt_are_told_before_a_stage_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, hint: str
) -> None:
    (_, stage, key), name = word.partition("=")[0].split("."), word.partition("=")[2]
    for flags in (["--dry-run"], []):
        assert main(["-c", str(write(tmp_path)), word, *flags]) == 3
        told = capsys.readouterr().err
        assert f"stage {stage!r}: no layer {name!r}, and no stage before makes it. Did you mean {hint}?" in told
        assert f"stages.{stage}.{key}=... names another" in told
    assert not (tmp_path / "cascade").exists()


def test_a_label_that_is_misspelt_in_a_later_stage_is_told_before_a_stage_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-c", str(write(tmp_path)), "stages.letters.label_field=fisrt"]) == 3
    told = capsys.readouterr().err
    assert "stage 'letters': no document has the label layer 'fisrt', which label_field names. Did you" in told
    assert "mean 'first'? Layers there:" in told
    assert not (tmp_path / "cascade").exists()


def test_a_list_of_stages_that_is_misspelt_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stage:\n  - name: a\n")
    assert main(["-c", str(path)]) == 2
    assert "unknown option. Did you mean 'stages'?" in capsys.readouterr().err


def test_the_command_says_what_it_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    assert main(["-c", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.index("stage entries:") < out.index("stage fields:") < out.index("stage letters:")
    assert main(["-c", str(path), "--print-config"]) == 0
    assert "# stage fields" in capsys.readouterr().out
    (tmp_path / "more.jsonl").unlink()
    assert main(["-c", str(path), "--dry-run"]) == 3
    assert "more.jsonl" in capsys.readouterr().err
