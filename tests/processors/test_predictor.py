"""A trained predictor as a processor: its output is a layer, and checkpoints that need it hold it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from papermage_core import Document, checkpoint
from papermage_core.cli.data import main as data_main
from papermage_core.cli.train import main as train_main
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data import processed, read_documents
from papermage_core.data.source import DocumentSource
from papermage_core.errors import CheckpointError, ConfigError
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import DocumentProcessorSuite, make_documents, write_jsonl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

TINY = {"encoder.width": 8, "encoder.rows": 64}


def train(folder: Path, documents: list[Document], **options: object) -> Path:
    config = EntityClassificationTrainConfig(
        data_path=write_jsonl(documents, folder / "train.jsonl"),
        default_root_dir=folder / "run",
        accelerator="cpu",
        enable_progress_bar=False,
        **TINY | options,
    )
    EntityClassificationTrainer(config).train()
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned to find ``ataxia`` in plain text."""
    documents = [Document.from_text(f"It was ataxia {n}.", layers={"Disease": [(7, 13)]}) for n in range(12)]
    options = {"label_field": "Disease", "processors": "tokens", "max_epochs": 12, "learning_rate": 2e-2}
    return train(tmp_path_factory.mktemp("disease"), documents, **options)


def choice(run: Path, *before: str, **options: object) -> ProcessorChoice:
    own = {"model_name_or_path": str(run), **options}
    return ProcessorChoice(names=(*before, "predictor"), options={"predictor": own})


class TestPredictor(DocumentProcessorSuite):
    component = "predictor"
    skip: ClassVar = {"reads names every layer that is looked at": "which they are stands in the checkpoint"}

    @pytest.fixture(autouse=True)
    def trained(self, run: Path) -> None:
        type(self).options = ({"model_name_or_path": str(run), "layer_name": "found", "min_score": 0.5},)


def test_a_layer_of_entities_is_added_and_no_other(run):
    texts = [f"It was ataxia {n}." for n in range(5)]
    documents = [Document.from_text(text) for text in texts]
    documents[2].annotate_layer("predictions", [])
    (*_,) = processed(documents, choice(run))
    assert [document.layer_names for document in documents] == [["predictions"]] * 5
    found = [[(e.text, e.metadata.label) for e in document.predictions] for document in documents]
    assert found == [[("ataxia", "Disease")]] * 2 + [[]] + [[("ataxia", "Disease")]] * 2
    (document,) = processed([Document.from_text(texts[0])], choice(run, "tokens", layer_name="Disease"))
    assert document.layer_names == ["tokens", "Disease"]
    with pytest.raises(ConfigError, match="layer_name=tokens: this is a layer that the predictor reads"):
        list(processed(documents, choice(run, layer_name="tokens")))


def test_documents_that_have_the_layer_are_given_out_at_once(run):
    given = 0

    def documents():
        nonlocal given
        for _ in range(500):
            given += 1
            yield Document.from_text("It was.", layers={"predictions": [(0, 2)]})

    for number, _ in enumerate(processed(documents(), choice(run)), 1):
        assert given - number <= 1


@pytest.fixture(scope="module")
def cascade(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose contexts are what another one finds; that one is gone since."""
    folder = tmp_path_factory.mktemp("cascade")
    shutil.copytree(run, folder / "first")
    documents = [Document.from_text(f"It was ataxia {n}.", layers={"Name": [(7, 13)]}) for n in range(6)]
    own = {"processors.predictor.model_name_or_path": str(folder / "first"), "processors.predictor.layer_name": "d"}
    options = {"label_field": "Name", "context_name": "d", "processors": "tokens,predictor", "max_steps": 1}
    made = train(folder, documents, **options, **own)
    shutil.rmtree(folder / "first")
    return made / "checkpoints"


def test_a_checkpoint_holds_the_predictor_that_it_needs(cascade, tmp_path):
    moved = Path(shutil.copytree(cascade, tmp_path / "elsewhere"))
    facts = (moved / "papermage.json").read_text()
    recipe = json.loads(facts)["processors"]
    assert [each["name"] for each in recipe] == ["tokens", "predictor"]
    assert recipe[1]["options"]["model_name_or_path"] == "."
    assert (moved / "processors" / "1" / "papermage.json").is_file()
    predictor = EntityClassificationPredictor.from_pretrained(moved)
    document = Document.from_text("It was ataxia 3.")
    predictor.predict(document)
    assert [entity.text for entity in document.get_layer("d")] == ["ataxia"]
    checkpoint.update(moved, notes="moved")
    assert EntityClassificationPredictor.from_pretrained(moved).predict(document) is not None


def test_a_checkpoint_reads_no_other_predictor_than_its_own(cascade, run, tmp_path):
    """Whatever path its recipe names, and whatever was put into its folder."""
    for where in (str(run), "/etc/passwd", "../../..", "no/such"):
        folder = Path(shutil.copytree(cascade, tmp_path / where.replace("/", "_")))
        facts = json.loads((folder / "papermage.json").read_text())
        facts["processors"][1]["options"]["model_name_or_path"] = where
        (folder / "papermage.json").write_text(json.dumps(facts))
        (_, config) = checkpoint.load(folder).blueprint.processors.configs
        assert config.model_name_or_path == folder / "processors" / "1"
        shutil.rmtree(folder / "processors")
        with pytest.raises(CheckpointError, match="lacks the file processors/1/"):
            checkpoint.load(folder)

    folder = Path(shutil.copytree(cascade, tmp_path / "more"))
    (folder / "processors" / "1" / "more.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"more\.json is not of this checkpoint"):
        checkpoint.load(folder)

    folder = Path(shutil.copytree(cascade, tmp_path / "changed"))
    with (folder / "processors" / "1" / "model.safetensors").open("ab") as file:
        file.write(b"0")
    with pytest.raises(CheckpointError, match=r"processors/1/model\.safetensors is damaged"):
        checkpoint.load(folder)

    folder = Path(shutil.copytree(cascade, tmp_path / "deep"))
    facts = json.loads((folder / "papermage.json").read_text())
    facts["checksums"]["processors/0/" * 9 + "papermage.json"] = "0" * 64
    (folder / "papermage.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="8 deep"):
        checkpoint.load(folder)


def test_what_is_kept_of_a_corpus_is_named_by_the_checkpoint(run, tmp_path):
    copy = Path(shutil.copytree(run / "checkpoints", tmp_path / "copy"))
    file = write_jsonl(make_documents(1), tmp_path / "a.jsonl")

    def content() -> str | None:
        return DocumentSource((file,), processors=choice(copy)).content

    before = content()
    assert content() == before
    checkpoint.update(copy, notes="another")
    assert content() != before


def test_it_is_typed_as_other_processors_are(run, tmp_path, capsys):
    file = tmp_path / "a.txt"
    file.write_text("It was ataxia 3.")
    option = "processors.predictor.model_name_or_path"
    out = tmp_path / "a.jsonl"
    assert data_main(["convert", str(file), str(out), "processors=predictor", f"{option}={run}"]) == 0
    (document,) = read_documents(out)
    assert [entity.text for entity in document.predictions] == ["ataxia"]
    assert data_main(["convert", str(file), str(tmp_path / "b.jsonl"), "processors=predictor"]) == 2
    assert "processors.predictor.model_name_or_path is missing" in capsys.readouterr().err
    assert train_main([f"data_path={out}", "label_field=x", "processors=predictor", f"{option}=gone"]) == 2
    assert f"{option}=gone (command line): no such folder" in capsys.readouterr().err


def test_a_layer_that_processors_of_the_checkpoint_make_is_not_overwritten(cascade, tmp_path, capsys):
    from papermage_core.cli.predict import main

    file = tmp_path / "a.txt"
    file.write_text("It was ataxia 3.")
    common = [f"model_name_or_path={cascade}", f"data_path={file}"]
    assert main([*common, "layer_name=d", "context_name=pages"]) == 2
    assert "layer_name=d: processors of the checkpoint make this layer" in capsys.readouterr().err
    assert main([*common, f"output_path={tmp_path / 'b.jsonl'}"]) == 0
    (document,) = read_documents(tmp_path / "b.jsonl")
    assert {"d", "predictions"} <= {*document.layer_names}


def test_the_config_of_a_run_names_the_predictor_from_any_folder(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    own = {"processors.predictor.model_name_or_path": run.name}
    config = EntityClassificationTrainConfig(data_path="a", label_field="x", processors="predictor", **own)
    assert f"model_name_or_path: {run.absolute()}" in config.anchored().to_yaml()
    config.components()


def test_its_options_are_shown_and_typed_with_its_name(run, capsys):
    from papermage_core.cli.plugins import main

    assert main(["info", "predictor"]) == 0
    assert "    processors.predictor.layer_name  (str; " in capsys.readouterr().out
    assert main(["check", "predictor"]) == 2
    assert "add processors.predictor.model_name_or_path=..." in capsys.readouterr().err
    assert main(["check", "tokens", "processors.style=words"]) == 2
    assert "expected an option of the component, processors.tokens.NAME" in capsys.readouterr().err
