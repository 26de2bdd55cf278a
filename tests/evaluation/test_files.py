"""Predictions in files, held against gold by the command: no model, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from papermage_core.cli.evaluate import main
from papermage_core.data.units import ParsedDocument
from papermage_core.document import Document, Entity, Metadata, Span
from papermage_core.evaluation.characters import UnitsByCharacter, in_characters
from papermage_core.plugin import UnitSpan
from papermage_core.testing import make_documents, write_jsonl


def predicted(documents: list[Document], keep: float, layer: str = "predictions") -> list[Document]:
    """The same documents with a layer in which some entities are cut by a word and some are left out."""
    copies = []
    for number, document in enumerate(documents):
        copy = Document.from_bytes(document.to_bytes())
        found = []
        for index, entity in enumerate(copy.get_layer("Disease")):
            if (number + index) % 10 < 10 * keep:
                found.append(
                    Entity(spans=[Span(entity.start, entity.end)], metadata=Metadata(label="Disease", score=0.9))
                )
        copy.remove_layer("Disease")
        copy.annotate_layer(layer, found)
        copies.append(copy)
    return copies


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    documents = make_documents(20)
    for number, document in enumerate(documents):
        document.metadata.journal = "BMC" if number < 5 else "PLoS"
    return write_jsonl(documents, tmp_path / "gold.jsonl")


def evaluate(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def test_a_file_is_scored_compared_and_told_by_journal(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weak = write_jsonl(predicted(make_documents(20), 0.3), tmp_path / "weak.jsonl")
    strong = write_jsonl(predicted(make_documents(20)[::-1], 0.9), tmp_path / "strong.jsonl")
    given = [
        f"model_name_or_path={weak}",
        f"data_path={gold}",
        "label_field=Disease",
        "by=journal",
        f"compare={strong}",
    ]
    files = {name: tmp_path / f"{name}.jsonl" for name in ("errors", "documents", "changes")}
    found = evaluate(capfd, *given, *(f"{name}_path={path}" for name, path in files.items()))
    rows = {name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in files.items()}
    assert found["micro"]["precision"] == 1.0
    assert 0 < found["micro"]["recall"] < 0.5
    assert found["groups"]["journal"].keys() == {"BMC", "PLoS"}
    assert sum(each["support"] for each in found["groups"]["journal"].values()) == found["micro"]["support"]
    assert found["units"]["tags"] == ["O", "Disease"]
    assert len(rows["errors"]) == found["micro"]["support"] - found["micro"]["right"]
    assert [row["document"] for row in rows["documents"]] == [document.id for document in make_documents(20)]
    assert sum(row["right"] for row in rows["documents"]) == found["micro"]["right"]
    comparison = found["comparison"]
    assert comparison["overall"]["difference"] > 0.3
    assert comparison["overall"]["p_value"] < 0.01
    assert sum(comparison["changes"].values()) == len(rows["changes"])
    assert {row["change"] for row in rows["changes"]} <= {"found", "lost"}
    gained = comparison["changes"].get("found", 0) - comparison["changes"].get("lost", 0)
    again = evaluate(capfd, f"model_name_or_path={strong}", f"data_path={gold}", "label_field=Disease")
    assert again["micro"]["right"] == found["micro"]["right"] + gained


def test_a_layer_named_as_the_label_will_do_and_training_texts_are_counted(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_jsonl(predicted(make_documents(20), 0.5, layer="Disease"), tmp_path / "own.jsonl")
    train = write_jsonl(make_documents(1), tmp_path / "train.jsonl")
    given = [f"model_name_or_path={path}", f"data_path={gold}", "label_field=Disease", f"train_data_path={train}"]
    found = evaluate(capfd, *given)
    groups = found["groups"]["in training"]
    assert "0" in groups
    assert len(groups) > 1
    assert sum(each["support"] for each in groups.values()) == found["micro"]["support"]


def test_training_texts_are_counted_in_units_that_processors_make(tmp_path: Path) -> None:
    documents = make_documents(4)
    for each in documents:
        each.remove_layer("tokens")
    gold = write_jsonl(documents, tmp_path / "gold.jsonl")
    found = write_jsonl(predicted(documents, 1), tmp_path / "found.jsonl")
    words = [f"model_name_or_path={found}", f"data_path={gold}", "label_field=Disease", "processors=tokens"]
    assert main([*words, f"train_data_path={gold}"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([], "label_field is missing", 2),
        (["label_field=Disease", "layer_name=prediction"], "Did you mean 'predictions'", 3),
        (["label_field=Disease", "changes_path=c.jsonl"], "give compare=", 2),
        (["guarantee=true", "compare=b", "by=journal"], "scores nothing: leave out compare, by", 2),
        (["label_field=Disease", "errors_path=x.jsonl", "documents_path=x.jsonl"], "names this file, too", 2),
    ],
)
def test_what_does_not_fit_is_told(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], message: str, code: int,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path = write_jsonl(predicted(make_documents(20), 0.5), tmp_path / "p.jsonl")
    assert main([f"model_name_or_path={path}", f"data_path={gold}", *arguments]) == code
    assert message in capfd.readouterr().err


def test_a_layer_that_is_named_is_the_one_that_is_scored(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Documents that were predicted in keep their gold: a misspelt name is not a reason to score that."""
    documents = make_documents(20)
    for document, found in zip(documents, predicted(make_documents(20), 0.5), strict=True):
        entities = found.get_layer("predictions")
        some = [Entity(spans=list(entity.spans), metadata=Metadata(label="Disease")) for entity in entities]
        document.annotate_layer("predictions", some)
    path = write_jsonl(documents, tmp_path / "p.jsonl")
    given = [f"model_name_or_path={path}", f"data_path={gold}", "label_field=Disease"]
    assert main([*given, "layer_name=prediction"]) == 3
    assert "no layer 'prediction', which layer_name names. Did you mean 'predictions'?" in capfd.readouterr().err
    assert main(given) == 0
    assert "100.0  100.0  100.0" not in capfd.readouterr().out


def test_gold_that_is_taken_for_predictions_is_told(
    gold: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = ["label_field=Disease", f"data_path={gold}"]
    assert main([f"model_name_or_path={gold}", *given]) == 0
    assert "is the gold, entity for entity" in caplog.text
    caplog.clear()
    half = write_jsonl(predicted(make_documents(20), 0.5, layer="Disease"), tmp_path / "half.jsonl")
    assert main([f"model_name_or_path={half}", *given]) == 0
    assert "entity for entity" not in caplog.text


def test_one_of_several_labels_that_no_document_has_is_an_error(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_jsonl(predicted(make_documents(20), 0.8), tmp_path / "found.jsonl")
    words = [f"data_path={gold}", f"model_name_or_path={file}", "label_field=Disease,Diseese"]
    assert main(words) == 3
    told = capfd.readouterr().err
    assert "no document has the label layer 'Diseese', which label_field names." in told
    assert "Did you mean 'Disease'?" in told


def test_a_recipe_is_told_to_be_scored_by_what_it_finds(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe=r.yaml", "data_path=a.jsonl"]) == 2
    assert "type papermage-predict recipe=r.yaml data_path=FILE output_path=found.jsonl" in capfd.readouterr().err


def test_a_key_that_no_document_has_is_told(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    documents = make_documents(20)
    for document in documents:
        document.metadata.set("journal", "BMC")
    labelled = write_jsonl(documents, tmp_path / "labelled.jsonl")
    given = [f"model_name_or_path={gold}", f"data_path={labelled}", "label_field=Disease"]
    assert main([*given, "by=jornal"]) == 0
    assert "by=jornal: no document has this key in its metadata. Did you mean 'journal'?" in caplog.text
    caplog.clear()
    assert main([*given, "by=journal"]) == 0
    assert "no document has" not in caplog.text
    assert "by journal\n  BMC" in capfd.readouterr().out, "one group is shown as well"


def test_a_document_without_predictions_is_an_error(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_jsonl(predicted(make_documents(7), 0.5), tmp_path / "p.jsonl")
    assert main([f"model_name_or_path={path}", f"data_path={gold}", "label_field=Disease"]) == 3
    assert "no predictions for this document" in capfd.readouterr().err


def test_a_document_without_the_layer_of_predictions_is_told_as_one(
    gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first of two that have the same text: it does not get what was predicted in the other."""
    documents = predicted(make_documents(20), 0.5)
    texts = [each.symbols for each in documents]
    first = next(number for number, text in enumerate(texts) if texts.count(text) == 2)
    documents[first].remove_layer("predictions")
    documents.append(documents.pop(0))  # the first tells which layers are meant
    path = write_jsonl(documents, tmp_path / "p.jsonl")
    assert main([f"model_name_or_path={path}", f"data_path={gold}", "label_field=Disease"]) == 3
    assert "no predictions for this document: there, it has no layer 'predictions'" in capfd.readouterr().err


def test_files_are_scored_without_torch(gold: Path, tmp_path: Path) -> None:
    path = write_jsonl(predicted(make_documents(20), 0.5), tmp_path / "p.jsonl")
    code = (
        "import sys; from papermage_core.cli.evaluate import main; "
        f"assert main(['model_name_or_path={path}', 'data_path={gold}', 'label_field=Disease']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def marked(
    text: str, units: list[tuple[int, int]], layer: str, spans: list[tuple[int, int]], **metadata: str
) -> Document:
    document = Document(text, metadata=Metadata(doc_id="a"))
    document.annotate_layer("tokens", [Entity(spans=[Span(*span)]) for span in units])
    document.annotate_layer(layer, [Entity(spans=[Span(*span)], metadata=Metadata(**metadata)) for span in spans])
    return document


def test_predicted_entities_that_touch_no_unit_are_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    units = [(0, 3), (6, 9)]
    gold = write_jsonl([marked("one   two", units, "X", [(0, 3)])], tmp_path / "gold.jsonl")
    spans = [(0, 3), (3, 4), (4, 6)]
    found = write_jsonl([marked("one   two", units, "predictions", spans, label="X")], tmp_path / "p.jsonl")
    given = [f"model_name_or_path={found}", f"data_path={gold}", "label_field=X"]
    scores = evaluate(capfd, *given, f"documents_path={tmp_path / 'd.jsonl'}")
    assert scores["micro"]["predicted"] == scores["per_label"]["X"]["predicted"] == 3
    assert scores["micro"]["precision"] == scores["lenient"]["overlap"]["precision"] == pytest.approx(1 / 3)
    assert scores["partial_credit"]["strict"]["spurious"] == 2
    assert scores["partial_credit_per_label"]["X"]["partial"]["spurious"] == 2
    assert scores["predicted_outside"] == {"X": 2}
    assert json.loads((tmp_path / "d.jsonl").read_text())["predicted"] == 3
    assert main(given) == 0
    assert "predicted entities that touch no unit: 2, counted as wrong" in capfd.readouterr().out


def test_predictions_in_other_units_are_held_against_the_units_of_the_gold(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    text = "one-two six x"
    gold = write_jsonl([marked(text, [(0, 7), (8, 11)], "X", [(0, 7), (8, 11)])], tmp_path / "gold.jsonl")
    units = [(0, 3), (3, 4), (4, 7), (8, 11), (12, 13)]
    given = [f"model_name_or_path={tmp_path / 'p.jsonl'}", f"data_path={gold}", "label_field=X"]
    write_jsonl([marked(text, units, "predictions", [(0, 3), (8, 11), (12, 13)], label="X")], tmp_path / "p.jsonl")
    scores = evaluate(capfd, *given)
    assert scores["micro"]["recall"] == 1
    assert scores["micro"]["precision"] == pytest.approx(2 / 3)
    assert scores["predicted_outside"] == {"X": 1}
    assert main(given) == 0
    assert (
        "p.jsonl: in 1 document the layer 'tokens' is not that of the gold: what was predicted there counts as the "
        "units of the gold that it touches; 1 predicted entity covers part of one"
    ) in caplog.text
    caplog.clear()
    write_jsonl([marked(text, units[:-1], "predictions", [(0, 7), (8, 11)], label="X")], tmp_path / "p.jsonl")
    assert main(given) == 0
    assert "in 1 document the layer 'tokens' is not that of the gold" in caplog.text
    assert "part of one" not in caplog.text


@pytest.mark.parametrize("seed", range(30))
def test_entities_in_other_units_are_the_units_that_share_a_character(seed: int) -> None:
    random = Random(seed)

    def parsed(*, moved: bool) -> ParsedDocument:
        places = []
        for word in range(random.randint(1, 12)):
            start = 5 * word + random.randint(0, 4)
            places.append((start, start + random.randint(1, 7)) if random.random() < 0.9 else (-1, -1))
        order = None
        if moved:
            random.shuffle(places)
            order = np.arange(len(places))
        starts, stops = np.array(places).T
        return ParsedDocument(
            name="a", symbols=" " * 80, contexts=(), units=(), starts=starts, stops=stops, order=order
        )

    def characters(own: ParsedDocument, units: Iterable[int]) -> set[int]:
        return {c for unit in units for c in range(own.starts[unit], own.stops[unit])}

    one, other = parsed(moved=seed % 2 == 1), parsed(moved=seed % 3 == 1)
    units = sorted(random.sample(range(one.n_units), random.randint(1, one.n_units)))
    span = UnitSpan.joining("X", [(unit, unit + 1) for unit in units])
    pieces = in_characters(span, one)
    covered = {c for start, stop in pieces for c in range(start, stop)}
    assert covered >= characters(one, units)
    if one.order is not None:
        assert covered == characters(one, units)
    if not pieces:
        return
    segments = UnitSpan.joining("", pieces).segments
    found, is_cut = UnitsByCharacter.of(other).touched(segments)
    touched = {unit for unit in range(other.n_units) if characters(other, [unit]) & covered}
    assert {start for start, _ in found} == touched
    assert all(stop == start + 1 for start, stop in found)
    assert is_cut == any(
        not characters(other, [unit]) <= set(range(start, stop))
        for unit in touched
        for start, stop in segments
        if characters(other, [unit]) & set(range(start, stop))
    )


def labelled(folder: Path, name: str, text: str, *found: str) -> None:
    """Write a text and its annotations as brat has them."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(text)
    places = [(word, text.index(word)) for word in found]
    lines = [f"T{n}\tDisease {at} {at + len(word)}\t{word}\n" for n, (word, at) in enumerate(places, 1)]
    (folder / f"{name}.ann").write_text("".join(lines))


def test_two_annotators_are_held_against_each_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    anna, bob = tmp_path / "anna", tmp_path / "bob"
    labelled(anna, "1", "He had ataxia and gout.", "ataxia", "gout")
    labelled(bob, "1", "He had ataxia and gout.", "ataxia")
    labelled(anna, "2", "No ataxia here.", "ataxia")
    labelled(bob, "3", "Some gout there.", "gout")
    given = [f"model_name_or_path={bob}", f"data_path={anna}", "label_field=Disease", "processors=tokens"]
    assert main(given) == 3
    assert "no predictions for this document: there is none of the same text" in capfd.readouterr().err
    found = evaluate(capfd, *given, "shared=true")
    assert (found["micro"]["precision"], found["micro"]["recall"], found["absent"]) == (1.0, 0.5, 1)
    other = evaluate(capfd, f"model_name_or_path={anna}", f"data_path={bob}", *given[2:], "shared=true")
    assert other["micro"]["f1"] == found["micro"]["f1"]  # the same both ways
    assert other["units"]["kappa"] == found["units"]["kappa"] == pytest.approx((5 / 6 - 22 / 36) / (1 - 22 / 36))
    assert main([*given, "shared=true"]) == 0
    said = capfd.readouterr().out
    assert "single tokens: 83.3 % alike, Cohen's kappa 0.571\n1 document is left out: there are no predictions" in said
    assert main([f"model_name_or_path={tmp_path / 'bob'}", f"data_path={anna}", "processors=tokens"]) == 2
    assert "label_field is missing" in capfd.readouterr().err


def test_annotators_who_share_no_document_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    labelled(tmp_path / "a", "1", "He had ataxia.", "ataxia")
    labelled(tmp_path / "b", "1", "She had gout.", "gout")
    given = [f"model_name_or_path={tmp_path / 'b'}", f"data_path={tmp_path / 'a'}", "label_field=Disease"]
    assert main([*given, "processors=tokens", "shared=true"]) == 3
    assert "none of 1 document of the gold is here" in capfd.readouterr().err


@pytest.mark.parametrize("inside", ["checkpoints/x", "config.yaml", "seed-1/checkpoints/x", "notes.md"])
def test_a_folder_that_is_of_a_run_or_holds_no_documents_is_no_predictions(
    inside: str, gold: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    (folder / inside).parent.mkdir(parents=True)
    (folder / inside).write_text("")
    if inside != "notes.md":
        (folder / "out.jsonl").write_bytes(gold.read_bytes())
    assert main([f"model_name_or_path={folder}", f"data_path={gold}", "label_field=Disease"]) != 0
    assert "is no checkpoint" in capfd.readouterr().err
    assert main([f"model_name_or_path={folder}", f"data_path={gold}", "label_field=Disease", "shared=true"]) == 2
    assert "shared: for a file of predictions" in capfd.readouterr().err
