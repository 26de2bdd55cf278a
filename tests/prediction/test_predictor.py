from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.errors import CheckpointError, ConfigError, DataError, PapermageError, PluginError
from papermage_core.plugin.spec import DocumentProcessor, DocumentProcessorConfig, LocatedDocument
from papermage_core.prediction import EntityClassificationPredictor, Layers
from papermage_core.prediction.annotators import ModelAnnotator
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

Predictor = EntityClassificationPredictor


@pytest.fixture(scope="module")
def checkpoint(train_file: Path, val_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = EntityClassificationTrainConfig(
        data_path=train_file,
        val_data_path=val_file,
        label_field="names,amounts",
        head="crf",
        max_epochs=6,
        learning_rate=1e-2,
        default_root_dir=tmp_path_factory.mktemp("run"),
        enable_progress_bar=False,
        **{"encoder.width": 32, "encoder.rows": 500},
    )
    return EntityClassificationTrainer(config).train().checkpoint


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor.from_pretrained(checkpoint)


@pytest.fixture
def documents(tmp_path: Path, write_corpus: Callable[..., Path]) -> list[Document]:
    path = write_corpus(tmp_path / "new.jsonl", n=6, seed=9)
    return [Document.from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def test_entities_have_text_label_and_probability(predictor: Predictor, documents: list[Document]) -> None:
    doc = documents[0]
    entities = predictor.predict(doc)
    doc.annotate_layer("found", entities)
    gold = {(e.spans[0].start, e.spans[0].end, name) for name in ("names", "amounts") for e in doc.get_layer(name)}
    found = {(e.spans[0].start, e.spans[0].end, e.metadata.label) for e in doc.get_layer("found")}
    assert len(gold & found) > 0.8 * len(gold)
    assert all(0 < e.metadata.score <= 1 for e in entities)
    assert all(e.text.strip() == e.text for e in doc.get_layer("found"))


def test_predicting_changes_no_document(predictor: Predictor, documents: list[Document]) -> None:
    before = documents[0].to_json()
    predictor.predict(documents[0])
    assert documents[0].to_json() == before


def test_every_unit_gets_one_tag(predictor: Predictor, documents: list[Document]) -> None:
    doc = documents[0]
    units = predictor.predict(doc, merge=False)
    assert [u.spans for u in units] == [t.spans for t in doc.get_layer("tokens")]
    tags = {u.metadata.label for u in units}
    assert tags <= {"O", "B-names", "I-names", "B-amounts", "I-amounts"}
    starts = {e.spans[0].start for e in predictor.predict(doc)}
    assert starts == {u.spans[0].start for u in units if u.metadata.label.startswith("B-")}


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_results_do_not_depend_on_batches(
    checkpoint: Path, predictor: Predictor, documents: list[Document], batch_size: int
) -> None:
    other = Predictor.from_pretrained(checkpoint, batch_size=batch_size)
    many = list(other.predict_many(reversed(documents)))
    for doc, entities in zip(reversed(documents), many, strict=True):
        alone = predictor.predict(doc)
        assert [e.spans for e in alone] == [e.spans for e in entities]
        assert [e.metadata.label for e in alone] == [e.metadata.label for e in entities]
        np.testing.assert_allclose(
            [e.metadata.score for e in alone], [e.metadata.score for e in entities], rtol=1e-3, atol=1e-5
        )


def test_documents_are_read_lazily_and_come_back_in_order(checkpoint: Path, documents: list[Document]) -> None:
    taken = 0

    def endless() -> Iterator[Document]:
        nonlocal taken
        while True:
            taken += 1
            yield documents[taken % len(documents)]

    results = Predictor.from_pretrained(checkpoint, batch_size=1).predict_many(endless())
    for _ in range(3):
        next(results)
    assert taken < 40


def test_a_least_score_leaves_out_what_is_below(predictor: Predictor, documents: list[Document]) -> None:
    everything = predictor.predict(documents[0])
    middle = sorted(e.metadata.score for e in everything)[len(everything) // 2]
    chosen = predictor.predict(documents[0], min_score=middle)
    assert [e.spans for e in chosen] == [e.spans for e in everything if e.metadata.score >= middle]
    assert 0 < len(chosen) < len(everything)


def test_each_label_may_have_a_least_score_of_its_own(predictor: Predictor, documents: list[Document]) -> None:
    everything = predictor.predict(documents[0])
    first, second = predictor.labels
    middle = sorted(e.metadata.score for e in everything if e.metadata.label == first)[1]
    chosen = predictor.predict(documents[0], min_score={first: middle})
    expected = [e.spans for e in everything if e.metadata.label == second or e.metadata.score >= middle]
    assert [e.spans for e in chosen] == expected
    assert len(chosen) == len(everything) - 1
    (many,) = predictor.predict_many([documents[0]], min_score={first: middle, second: 1})
    assert {e.metadata.label for e in many if e.metadata.score < 1} == {first}
    with pytest.raises(ValueError, match=r"min_score: 'nmes' is no label of this model\. Did you mean 'names'\?"):
        predictor.predict(documents[0], min_score={"nmes": 0.5})
    with pytest.raises(ValueError, match="min_score: expected a number from 0 to 1, got 2"):
        predictor.predict(documents[0], min_score={first: 2})


def test_a_document_without_units_gives_nothing(predictor: Predictor) -> None:
    doc = Document.from_json(
        {"symbols": "text", "metadata": {}, "entities": {"tokens": [], "pages": [{"spans": [[0, 4]]}]}, "relations": {}}
    )
    assert predictor.predict(doc) == []
    assert predictor.predict(doc, merge=False) == []
    assert list(predictor.predict_many([])) == []


def test_a_missing_layer_is_named(predictor: Predictor, documents: list[Document]) -> None:
    documents[0].remove_layer("tokens")
    with pytest.raises(DataError, match=r"doc-9000.*no layer 'tokens'"):
        predictor.predict(documents[0])


def test_other_layers_can_be_named(checkpoint: Path, documents: list[Document]) -> None:
    doc = documents[0]
    renamed = doc.to_json()
    renamed["entities"]["words"] = renamed["entities"].pop("tokens")
    renamed["entities"]["sections"] = renamed["entities"].pop("pages")
    other = Predictor.from_pretrained(checkpoint, entity_name="words", context_name="sections")
    here = Predictor.from_pretrained(checkpoint).predict(doc)
    assert [e.spans for e in other.predict(Document.from_json(renamed))] == [e.spans for e in here]


def test_what_is_no_checkpoint_is_told_so(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Predictor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"has no papermage\.json"):
        Predictor.from_pretrained(tmp_path)


def test_the_folder_of_a_run_stands_for_its_checkpoint(
    checkpoint: Path, predictor: Predictor, documents: list[Document], val_file: Path, tmp_path: Path
) -> None:
    from papermage_core.cli import evaluate, predict

    run = checkpoint.parent
    found = Predictor.from_pretrained(run).predict(documents[0])
    assert [e.spans for e in found] == [e.spans for e in predictor.predict(documents[0])]
    out = tmp_path / "out.jsonl"
    assert predict.main([f"model_name_or_path={run}", f"data_path={tmp_path / 'new.jsonl'}", f"output_path={out}"]) == 0
    assert evaluate.main([f"model_name_or_path={run}", f"data_path={val_file}"]) == 0


def copied(checkpoint: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def test_damaged_weights_are_found_out(checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(checkpoint, tmp_path)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        Predictor.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"lacks the file model\.safetensors"):
        Predictor.from_pretrained(folder)


def test_a_newer_format_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(checkpoint, tmp_path)
    facts = json.loads((folder / "papermage.json").read_text())
    (folder / "papermage.json").write_text(json.dumps(facts | {"format_version": 99}))
    with pytest.raises(CheckpointError, match="pip install -U papermage_core"):
        Predictor.from_pretrained(folder)


def test_a_missing_plugin_is_named_with_what_to_type(checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(checkpoint, tmp_path)
    facts = json.loads((folder / "papermage.json").read_text())
    facts["tasks"][0]["head"] |= {"name": "biaffine", "distribution": "their-heads", "version": "1.2"}
    (folder / "papermage.json").write_text(json.dumps(facts))
    with pytest.raises(PluginError, match=r"pip install their-heads==1\.2"):
        Predictor.from_pretrained(folder)


def test_files_are_annotated_whole_or_not_at_all(
    checkpoint: Path, tmp_path: Path, documents: list[Document], capfd: pytest.CaptureFixture[str]
) -> None:
    from papermage_core.cli.predict import main

    source, target = tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    common = [f"model_name_or_path={checkpoint}", f"data_path={source}", f"output_path={target}"]
    assert main([*common, "layer_name=found"]) == 0
    lines = target.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(documents)
    for line, doc in zip(lines, documents, strict=True):
        out = json.loads(line)
        found = out["entities"].pop("found")
        assert out == doc.to_json()
        assert found
    before = target.read_bytes()
    with source.open("a") as file:
        file.write("{broken\n")
    assert main([*common, "layer_name=found", "overwrite=yes"]) == 3
    assert "line 7" in capfd.readouterr().err
    assert target.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.jsonl", "out.jsonl"]


def test_shards_share_the_documents_out(checkpoint: Path, tmp_path: Path, documents: list[Document]) -> None:
    from papermage_core.cli.predict import main

    ids = []
    for i in (1, 2):
        target = tmp_path / f"{i}.jsonl"
        source = tmp_path / "new.jsonl"
        arguments = [f"model_name_or_path={checkpoint}", f"data_path={source}", f"output_path={target}"]
        assert main([*arguments, f"shard={i}/2", "layer_per_label=yes", "overwrite=yes"]) == 0
        lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        ids.append([line["metadata"]["doc_id"] for line in lines])
        assert all({"names", "amounts"} <= line["entities"].keys() for line in lines)
    assert ids == [["doc-9000", "doc-9002", "doc-9004"], ["doc-9001", "doc-9003", "doc-9005"]]


def test_a_layer_that_is_there_is_not_replaced_unasked(
    checkpoint: Path, tmp_path: Path, documents: list[Document], capfd: pytest.CaptureFixture[str]
) -> None:
    from papermage_core.cli.predict import main

    arguments = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}"]
    assert main([*arguments, f"output_path={tmp_path / 'out'}", "layer_name=names"]) == 3
    assert "there is a layer 'names' already" in capfd.readouterr().err


def test_evaluation_of_a_file_prints_scores(
    checkpoint: Path, val_file: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from papermage_core.cli.evaluate import main

    facts = json.loads((checkpoint / "papermage.json").read_text())
    errors = tmp_path / "errors.jsonl"
    arguments = [f"model_name_or_path={checkpoint}", f"data_path={val_file}", f"errors_path={errors}"]
    assert main([*arguments, "--json"]) == 0
    scores = json.loads(capfd.readouterr().out)
    units, calibration = scores.pop("units"), scores.pop("calibration")
    assert scores == facts["scores"]["val"]
    assert units["units"] == sum(map(sum, units["confusion"]))
    assert calibration["calibrated"]
    assert sum(each["count"] for each in calibration["bins"]) == scores["micro"]["predicted"]
    wrong = scores["micro"]["support"] - scores["micro"]["right"]
    assert len([r for r in map(json.loads, errors.read_text().splitlines()) if r["gold"]]) == wrong


def test_thresholds_are_those_of_what_is_predicted_with_them(
    checkpoint: Path, predictor: Predictor, documents: list[Document], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from papermage_core.cli.evaluate import main

    arguments = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}", "thresholds=true"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["thresholds"]
    gold = {
        (i, e.start, e.end, n) for i, d in enumerate(documents) for n in ("names", "amounts") for e in getattr(d, n)
    }
    scores = sorted({e.score for entities in predictor.predict_many(documents) for e in entities})
    for step in {
        0,
        99,
        *(min(99, int(100 * score) + more) for score in scores[:: len(scores) // 4] for more in (0, 1)),
    }:
        kept = {
            (i, e.start, e.end, e.label)
            for i, entities in enumerate(predictor.predict_many(documents, min_score=step / 100))
            for e in entities
        }
        point = found["all"][step]
        assert point["precision"] == pytest.approx(len(gold & kept) / len(kept) if kept else 0)
        assert point["recall"] == pytest.approx(len(gold & kept) / len(gold))
    assert main([*arguments, "label_field=names"]) == 0
    shown = capfd.readouterr().out
    assert "Entities by min_score, all labels, in percent:" in shown
    assert "each label its own" not in shown  # there is one
    assert f"papermage-evaluate:  min_score={found['best_by_label']['names']:.2f}\n" in shown
    assert main([*arguments[1:], f"model_name_or_path={tmp_path / 'new.jsonl'}", "label_field=names"]) == 2
    assert "thresholds=true is for a checkpoint" in capfd.readouterr().err


def test_what_is_best_for_each_label_is_typed_as_it_is_told(
    checkpoint: Path, documents: list[Document], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What ``thresholds=true`` counts is what evaluating again, and scoring what is predicted, find."""
    from papermage_core.cli import evaluate, predict

    words = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}"]
    assert evaluate.main([*words, "thresholds=true"]) == 0
    *_, told, _, last = capfd.readouterr().out.splitlines()
    typed = last.partition(":  ")[2].split()
    assert [each.partition("=")[0] for each in typed] == ["min_score.names", "min_score.amounts"]
    assert evaluate.main([*words, *typed, "--json"]) == 0
    scored = json.loads(capfd.readouterr().out)
    assert told.split()[-2] == f"{100 * scored['micro']['f1']:.1f}"
    found = tmp_path / "found.jsonl"
    assert predict.main([*words, f"output_path={found}", *typed]) == 0
    lowest = {key.removeprefix("min_score."): float(value) for key, value in (each.split("=") for each in typed)}
    kept = [entity for document in read_documents(found) for entity in document.get_layer("predictions")]
    assert len(kept) == scored["micro"]["predicted"] == int(told.split()[-1])
    assert all(entity.score >= lowest[entity.label] for entity in kept)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["min_score.nmes=0.5"], "'nmes' is no label of this model. Did you mean 'names'? Known: names, amounts"),
        (["min_score.names=2"], "a number at least 0 and at most 1, one for each name, typed as .NAME=..., or 'none'"),
        (["min_score=0.5", "min_score.names=0.5"], "min_score and min_score.names are both given"),
        (["min_scre.names=0.5"], "unknown option"),
    ],
)
def test_wrong_least_scores_are_told(
    wrong: list[str], said: str, checkpoint: Path, val_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from papermage_core.cli import evaluate, predict

    words = [f"model_name_or_path={checkpoint}", f"data_path={val_file}", *wrong]
    assert evaluate.main(words) == 2
    assert said in capfd.readouterr().err
    assert predict.main([*words, f"output_path={tmp_path / 'found.jsonl'}"]) == 2
    assert said in capfd.readouterr().err


def test_mistakes_are_written_as_a_page_where_the_file_is_called_so(
    checkpoint: Path, val_file: Path, tmp_path: Path
) -> None:
    from papermage_core.cli.evaluate import main

    page = tmp_path / "errors.html"
    arguments = [f"model_name_or_path={checkpoint}", f"data_path={val_file}", f"errors_path={page}"]
    assert main(arguments) == 0
    text = page.read_text()
    assert '<script type="application/json" id="mistakes">' in text
    assert f"{checkpoint} on {val_file.name}" in text
    assert main(arguments) == 3  # it is there already


def test_wrong_options_are_all_reported(capfd: pytest.CaptureFixture[str]) -> None:
    from papermage_core.cli.predict import main

    assert main(["data_pth=x", "min_score=3"]) == 2
    told = capfd.readouterr().err
    assert "Did you mean 'data_path'" in told
    assert "min_score='3'" in told
    assert "model_name_or_path is missing" in told


def test_an_input_is_never_written_over(
    checkpoint: Path, tmp_path: Path, documents: list[Document], capfd: pytest.CaptureFixture[str]
) -> None:
    from papermage_core.cli.predict import main

    source = tmp_path / "new.jsonl"
    before = source.read_bytes()
    for place in (source, tmp_path):
        assert main([f"model_name_or_path={checkpoint}", f"data_path={place}", f"output_path={source}"]) == 2
        assert "this is one of the inputs" in capfd.readouterr().err
    assert source.read_bytes() == before


def test_a_file_that_is_there_is_replaced_only_if_told(
    checkpoint: Path, tmp_path: Path, documents: list[Document], capfd: pytest.CaptureFixture[str], val_file: Path
) -> None:
    from papermage_core.cli import evaluate, predict

    mine = tmp_path / "mine.jsonl"
    for main, path, option in ((predict.main, tmp_path, "output_path"), (evaluate.main, val_file, "errors_path")):
        mine.write_text("mine")
        arguments = [
            f"model_name_or_path={checkpoint}",
            f"data_path={path / 'new.jsonl' if option[0] == 'o' else path}",
        ]
        assert main([*arguments, f"{option}={mine}"]) == 3
        assert f"there is {mine} already: choose another {option}, or type overwrite=true" in capfd.readouterr().err
        assert mine.read_text() == "mine"
        assert main([*arguments, f"{option}={mine}", "overwrite=true"]) == 0
        assert mine.read_text() != "mine"


@pytest.mark.parametrize("name", ["new.docx", ".", "run.jsonl/a", "{checkpoint}/new.jsonl", "{checkpoint}/README.md"])
def test_no_command_writes_where_it_must_not(
    checkpoint: Path, tmp_path: Path, documents: list[Document], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    from papermage_core.cli import evaluate, predict

    (tmp_path / "run.jsonl").touch()
    before = sorted((path, path.stat().st_mtime_ns) for path in checkpoint.rglob("*"))
    path = tmp_path / name.format(checkpoint=checkpoint)
    arguments = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}", "overwrite=true"]
    for main, option in ((predict.main, "output_path"), (evaluate.main, "errors_path")):
        assert main([*arguments, f"{option}={path}"]) == 2
        assert f"{option}={path}: " in capfd.readouterr().err
    assert sorted((path, path.stat().st_mtime_ns) for path in checkpoint.rglob("*")) == before


def test_mistakes_are_not_mixed_with_scores(
    checkpoint: Path, val_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from papermage_core.cli.evaluate import main

    monkeypatch.chdir(tmp_path)
    assert main([f"model_name_or_path={checkpoint}", f"data_path={val_file}", "errors_path=-"]) == 2
    assert "errors_path=-: standard output is for the scores" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_predictions_are_compressed_as_the_name_says_and_can_be_read_again(
    checkpoint: Path, tmp_path: Path, documents: list[Document], ending: str
) -> None:
    from papermage_core.cli.predict import main
    from papermage_core.files import open_bytes

    if ending == ".zst":
        pytest.importorskip("zstandard")
    target = tmp_path / f"out.jsonl{ending}"
    arguments = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}", f"output_path={target}"]
    assert main(arguments) == 0
    with open_bytes(target) as file:
        assert [Document.from_bytes(line).symbols for line in file] == [doc.symbols for doc in documents]
    if ending:
        assert target.read_bytes()[:1] != b"{"


@pytest.mark.parametrize("name", ["tokens", "pages", "symbols", ""])
def test_a_layer_that_is_read_is_not_predicted_into(
    checkpoint: Path, tmp_path: Path, documents: list[Document], name: str
) -> None:
    from papermage_core.cli.predict import main

    arguments = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}", "overwrite=yes"]
    assert main([*arguments, f"output_path={tmp_path / 'out.jsonl'}", f"layer_name={name}"]) == 2


@pytest.mark.parametrize("device", ["cudaa", "cuda:77"])
def test_a_device_that_is_not_there_is_told_so(checkpoint: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"no device '{device}' on this machine"):
        Predictor.from_pretrained(checkpoint, device=device)


def test_what_is_no_document_is_refused(predictor: Predictor, documents: list[Document]) -> None:
    with pytest.raises(TypeError, match="expected a Document or a text, got bytes"):
        predictor.predict(b"text")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no layer 'tokens'"):  # a text has no layers, and this checkpoint makes none
        predictor.predict("text")
    with pytest.raises(ValueError, match="from 0 to 1, got 3"):
        predictor.predict(documents[0], min_score=3)
    with pytest.raises(ValueError, match=r"min_score: expected a number from 0 to 1, got '0\.5'"):
        predictor.predict(documents[0], min_score="0.5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^min_recall and min_precision: give one of the two"):
        predictor.predict(documents[0], min_recall=0.5, min_precision=0.5)


def test_a_document_that_lacks_a_layer_is_named_or_skipped(
    checkpoint: Path,
    tmp_path: Path,
    documents: list[Document],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in the field: the second of the second file has no layer of contexts, another has the layer to write."""
    from papermage_core.cli.predict import main

    whole = [document.to_json() for document in documents]
    del whole[4]["entities"]["pages"]
    whole[1]["entities"]["predictions"] = []
    for name, part in (("a", whole[:3]), ("b", whole[3:])):
        (tmp_path / f"{name}.in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in part))
    target = tmp_path / "out.parquet"
    common = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path}/*.in.jsonl", f"output_path={target}"]
    pytest.importorskip("pyarrow")
    assert main(common) == 3
    told = capfd.readouterr().err
    assert "a.in.jsonl, line 2, document 'doc-9001': there is a layer 'predictions' already" in told
    assert told.count("; on_error=skip leaves it out\n") == 1
    assert main([*common, "overwrite=true"]) == 3
    assert "b.in.jsonl, line 2, document 'doc-9004': no layer 'pages'" in capfd.readouterr().err
    assert not target.exists()
    assert main([*common, "on_error=skip"]) == 0
    assert "skipped 2 documents or files" in caplog.text
    assert "b.in.jsonl, line 2" in caplog.text
    found = list(read_documents(target))
    assert [document.id for document in found] == ["doc-9000", "doc-9002", "doc-9003", "doc-9005"]
    assert all(document.has_layer("predictions") for document in found)


@attrs.frozen(kw_only=True)
class _ReadingAhead(DocumentProcessorConfig):
    """Takes three documents before it gives out the first, as a model that runs batches does."""

    makes: ClassVar[tuple[str, ...]] = ("nothing",)

    def build(self) -> DocumentProcessor:
        return self

    def process(self, documents: Iterable[Document]) -> Iterator[Document]:
        held: deque[Document] = deque()
        for document in documents:
            held.append(document)
            if len(held) == 3:
                yield held.popleft()
        yield from held


def test_a_document_left_out_moves_no_predictions_to_others_where_a_processor_reads_ahead(
    checkpoint: Path, documents: list[Document]
) -> None:
    alone = [[entity.start for entity in Predictor.from_pretrained(checkpoint).predict(each)] for each in documents]
    documents[1].remove_layer("pages")
    predictor = Predictor.from_pretrained(checkpoint, processors=[_ReadingAhead()])
    located = (LocatedDocument(each, Path("a.jsonl"), line) for line, each in enumerate(documents, 1))
    errors: list[DataError] = []
    found = list(ModelAnnotator(predictor, Layers()).annotate(located, errors.append))
    assert [(error.line, error.document) for error in errors] == [(2, documents[1].id)]
    left = [0, 2, 3, 4, 5]
    assert [document.id for document in found] == [documents[i].id for i in left]
    assert [[entity.start for entity in each.get_layer("predictions")] for each in found] == [alone[i] for i in left]


def _in_a_fork(work: Callable[[], Any]) -> Any:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: sender.send(work()))
    process.start()
    try:
        assert receiver.poll(60), "it waits for ever"
        return receiver.recv()
    finally:
        process.kill()
        process.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_predictor_in_a_fork_works_alone_or_says_that_it_cannot(
    predictor: Predictor, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    here = [entity.start for entity in predictor.predict(documents[0])]

    def work(threads: int) -> Any:
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        torch.set_num_threads(1)
        try:
            return [entity.start for entity in predictor.predict(documents[0])]
        except PapermageError as exc:
            return str(exc)

    assert "torch.set_num_threads(1)" in _in_a_fork(lambda: work(2))
    assert _in_a_fork(lambda: work(1)) == here
    assert [entity.start for entity in pickle.loads(pickle.dumps(predictor)).predict(documents[0])] == here


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs forks whose threads are told")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_that_loads_a_predictor_works_or_says_that_it_cannot(
    checkpoint: Path, documents: list[Document], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("papermage_core.model.forks._PATIENCE", 3.0)
    before, expected = torch.get_num_threads(), [entity.start for entity in predictor.predict(documents[0])]

    def work(threads: int) -> Any:
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        try:
            return [entity.start for entity in Predictor.from_pretrained(checkpoint).predict(documents[0])]
        except PapermageError as exc:
            return str(exc)

    found: list[Any] = []
    try:
        torch.set_num_threads(2)
        torch.ones(1 << 20).sum()  # the threads are there, and this thread waits for them from now on
        other = threading.Thread(target=lambda: found.append(_in_a_fork(lambda: work(2))))
        other.start()
        other.join()
        assert found == [expected], "a thread that used none of them may fork"
        assert _in_a_fork(lambda: work(1)) == expected
        told = _in_a_fork(lambda: work(2))
    finally:
        torch.set_num_threads(before)
    assert told == expected or "PyTorch was used before this process was forked, and PyTorch's threads do not" in told


def test_threads_may_share_a_predictor(predictor: Predictor, documents: list[Document]) -> None:
    alone = [[entity.start for entity in predictor.predict(each)] for each in documents]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: [entity.start for entity in predictor.predict(each)], documents * 4))
    assert found == alone * 4


def test_predictions_are_written_by_the_writer_named(
    checkpoint: Path, tmp_path: Path, documents: list[Document]
) -> None:
    from papermage_core.cli.predict import main

    common = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}"]
    assert main([*common, f"output_path={tmp_path / 'a.xyz'}", "writer=jsonl", "writer.images=no"]) == 0
    assert len(list(read_documents(tmp_path / "a.xyz", "jsonl"))) == len(documents)
    assert main([*common, f"output_path={tmp_path / 'b.xyz'}"]) == 2
    assert main([*common, f"output_path={tmp_path / 'c.jsonl'}", "writer.imges=no"]) == 2


def test_on_a_terminal_the_entities_are_listed(
    checkpoint: Path, tmp_path: Path, documents: list[Document], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from papermage_core.cli.predict import main

    common = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}"]
    assert main(common) == 0
    assert capsys.readouterr().out.startswith('{"symbols":')
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(common) == 0
    assert capsys.readouterr().out.startswith(f"{documents[0].id}: ")
    assert main([*common, "output_path=-"]) == 0
    assert capsys.readouterr().out.startswith('{"symbols":')
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert main(common[:1]) == 2
    assert "data_path is missing" in capsys.readouterr().err


def test_what_is_found_in_files_of_other_kinds_is_printed_to_read(
    checkpoint: Path, tmp_path: Path, documents: list[Document], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """JSON stays JSON, for the next program in a pipe."""
    from papermage_core.cli.predict import main

    (tmp_path / "new.other").write_bytes((tmp_path / "new.jsonl").read_bytes())
    common = [f"model_name_or_path={checkpoint}", "reader=jsonl"]
    assert main([*common, f"data_path={tmp_path / 'new.jsonl'}"]) == 0
    as_json = capfdbinary.readouterr().out
    back = [Document.from_bytes(line) for line in as_json.splitlines()]
    assert main([*common, f"data_path={tmp_path / 'new.other'}"]) == 0
    printed = " ".join(capfdbinary.readouterr().out.decode().split())
    entities = [entity for document in back for entity in document.predictions]
    assert entities
    for entity in entities:
        assert f"{entity.metadata.label} {entity.metadata.score:.2f} {entity.text}" in printed
    assert main([*common, f"data_path={tmp_path / 'new.other'}", "output_path=-"]) == 0
    assert capfdbinary.readouterr().out == as_json


def test_predictions_are_shown_on_a_page(checkpoint: Path, tmp_path: Path, documents: list[Document]) -> None:
    from papermage_core.cli.predict import main

    page = tmp_path / "found.html"
    common = [f"model_name_or_path={checkpoint}", f"data_path={tmp_path / 'new.jsonl'}", f"output_path={page}"]
    assert main([*common, "writer.compare=predictions"]) == 0
    text = page.read_text(encoding="utf-8")
    assert '{"name":"predictions","on":true,"compared":true' in text
    assert '["predictions","' in text
