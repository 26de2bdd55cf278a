"""What is exported to ONNX finds what the checkpoint finds, and what cannot be exported is refused before writing."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import multiprocessing
import pickle
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from papermage_core import checkpoint as checkpoints
from papermage_core.cli import evaluate, export, predict
from papermage_core.config.labelling import Labelling
from papermage_core.data import read_documents
from papermage_core.document import Document, Entity
from papermage_core.errors import CheckpointError, ConfigError, DataError
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.model.onnx import OnnxModel
from papermage_core.model.precision import use_precision
from papermage_core.plugin.manager import Plugins
from papermage_core.prediction import EntityClassificationPredictor as Predictor
from papermage_core.prediction.export import agreement, export_checkpoint
from papermage_core.testing import TinyEncoderConfig

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

PLUGINS = Plugins()
LABELS = ("names", "amounts")
GROUPS = {"encoder": "context_encoder", "scheme": "label_scheme", "head": "model_head"}


def component(kind: str, name: str, **options: Any) -> Any:
    return PLUGINS.config_class(GROUPS[kind], name)(**options)


def save(folder: Path, encoder: Any, names: Mapping[str, str], heads: int = 1, **options: Any) -> Path:
    """Write a checkpoint of random weights, large enough for entities to be found."""
    scheme, head = component("scheme", names["scheme"]), component("head", names["head"], **options)
    fields = [LABELS] if heads == 1 else [(label,) for label in LABELS]
    blueprint = Blueprint(
        encoder=encoder,
        scheme=scheme,
        tasks=tuple(TaskBlueprint(label_field=field, labels=field, head=head) for field in fields),
        labelling=Labelling(label_field=LABELS),
        sources={GROUPS[kind]: PLUGINS.provenance(GROUPS[kind], name) for kind, name in names.items()},
    )
    torch.manual_seed(3)
    model = blueprint.build_model()
    with torch.no_grad():
        for parameter in model.heads.parameters():
            parameter.normal_(std=0.5)
    checkpoints.save(folder, blueprint, model, card="# Card")
    return folder


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = component("encoder", "compact", width=16, rows=200, layout="off", max_length=16)
    names = {"encoder": "compact", "scheme": "bio", "head": "crf"}
    return save(tmp_path_factory.mktemp("compact") / "c", encoder, names)


@pytest.fixture(scope="module")
def exported(compact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_checkpoint(compact, tmp_path_factory.mktemp("exported") / "e", "auto")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "new.jsonl", n=12, seed=9)


@pytest.fixture
def documents(data: Path) -> list[Document]:
    return list(read_documents(data))


def told(entities: list[Entity]) -> list[tuple[Any, ...]]:
    return [(entity.spans[0].start, entity.spans[-1].end, entity.label) for entity in entities]


def same(first: Predictor, second: Predictor, documents: list[Document]) -> None:
    for options in ({}, {"merge": False}):
        pairs = list(zip(*(each.predict_many(documents, **options) for each in (first, second)), strict=True))
        assert sum(len(one) for one, _ in pairs) > 20
        for one, other in pairs:
            assert told(one) == told(other)
            scores = [[entity.score for entity in each] for each in (one, other)]
            np.testing.assert_allclose(*scores, atol=2e-4)
    assert told(second.predict(documents[0])) == told(next(second.predict_many(documents[:1])))


def test_what_is_exported_finds_the_same(compact: Path, exported: Path, documents: list[Document]) -> None:
    found = Predictor.from_pretrained(exported)
    assert isinstance(found.model, OnnxModel)
    same(Predictor.from_pretrained(compact), found, documents)
    assert all(parameter.is_meta for parameter in found.model.encoder.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("head", "scheme", "heads", "options"),
    [
        ("linear", "bioes", 1, {}),
        ("span", "span", 1, {"hidden": 8, "max_length": 4, "max_gap": 0, "overlap": "any"}),
        ("crf", "io", 2, {}),
    ],
)
def test_every_head_decodes_what_the_graph_gives(
    head: str, scheme: str, heads: int, options: Any, tmp_path: Path, documents: list[Document]
) -> None:
    encoder = component("encoder", "compact", width=16, rows=200, layout="off", max_length=16)
    names = {"encoder": "compact", "scheme": scheme, "head": head}
    source = save(tmp_path / "c", encoder, names, heads, **options)
    ours, theirs = Predictor.from_pretrained(source), Predictor.from_pretrained(source, backend="onnx")
    same(ours, theirs, documents)


def test_all_entities_that_are_likely_enough_are_the_same(compact: Path, exported: Path, data: Path) -> None:
    from papermage_core.data.batches import BatchLimits
    from papermage_core.data.corpus import parse_documents
    from papermage_core.data.issues import Issues
    from papermage_core.data.source import DocumentSource
    from papermage_core.model.inference import decode_documents

    sides = []
    for folder in (compact, exported):
        loaded = checkpoints.load(folder)
        blueprint = loaded.blueprint
        parsed = parse_documents(DocumentSource((data,)), blueprint.labelling, blueprint.needs, Issues())
        limits = BatchLimits.without_gradient(blueprint.encoder, 2, "cpu")
        found = decode_documents(loaded.model, parsed, blueprint.stride, limits, least=0.02)
        sides.append([set(output.spans) for _, outputs in found for of_context in outputs for output in of_context])
    assert sum(map(len, sides[0])) > 100
    assert sum(len(a ^ b) for a, b in zip(*sides, strict=True)) <= 2  # of those that lie at the border


def test_int8_is_told_from_fp32_and_both_are_there(exported: Path, documents: list[Document]) -> None:
    small, large = (Predictor.from_pretrained(exported, precision=precision) for precision in ("int8", "fp32"))  # type: ignore[arg-type]
    scores = [[e.score for e in each.predict(documents[0], merge=False)] for each in (small, large)]
    assert scores[0] != scores[1]
    np.testing.assert_allclose(*scores, atol=0.2)
    with pytest.raises(ConfigError, match="exported to ONNX in fp32 and int8"):
        Predictor.from_pretrained(exported, precision="bf16")
    with pytest.raises(ConfigError, match="no weights for torch"):
        Predictor.from_pretrained(exported, backend="torch")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_exported_model_goes_to_other_processes(exported: Path, documents: list[Document]) -> None:
    predictor = Predictor.from_pretrained(exported)
    expected = told(predictor.predict(documents[0]))
    again = pickle.loads(pickle.dumps(predictor.model))
    assert told(Predictor(predictor.blueprint, again).predict(documents[0])) == expected
    if sys.platform == "linux":
        with multiprocessing.get_context("fork").Pool(1, torch.set_num_threads, (1,)) as pool:
            assert pool.apply(_entities, (predictor, documents[0].to_bytes())) == expected


def _entities(predictor: Predictor, document: bytes) -> list[tuple[Any, ...]]:
    return told(predictor.predict(Document.from_bytes(document)))


# What cannot be exported --------------------------------------------------------------------------------------------


class _Sized(torch.nn.Module):
    """Computes something else for batches that are larger than the one it is traced with."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.output_size = inner.output_size
        self.windows, self.collate, self.save = inner.windows, inner.collate, inner.save

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        vectors = self.inner(features)
        return vectors + float(vectors.detach().abs().sum() > 0) * len(vectors) * 10


class _Branching(_Sized):
    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        vectors = self.inner(features)
        return vectors * 2 if vectors.sum() > 0 else vectors


@pytest.mark.parametrize("kind", [_Branching])
def test_a_forward_that_no_graph_can_follow_is_refused_before_anything_is_written(
    kind: Any, tmp_path: Path, compact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = checkpoints.load(compact)
    loaded.model.encoder = kind(TinyEncoderConfig(size=16).build())
    monkeypatch.setattr(checkpoints, "load", lambda *_, **__: loaded)
    with pytest.raises(ConfigError, match="cannot be exported to ONNX"):
        export_checkpoint(compact, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_put_down_to_the_encoder(
    tmp_path: Path, compact: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("no graph") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.onnx.export", full)
    assert export.main([str(compact), str(tmp_path / "e")]) == 1
    said = capfd.readouterr().err
    assert "The disk is full" in said
    assert "encoder" not in said
    assert not (tmp_path / "e").exists()


def test_an_encoder_says_why_it_cannot_be_exported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    inner = component("encoder", "compact", width=8, rows=100, layout="off")
    encoder = attrs.evolve(component("encoder", "stack", size=4), inner=inner)
    source = save(tmp_path / "c", encoder, {"encoder": "stack", "scheme": "bio", "head": "linear"})
    assert export.main([str(source), str(tmp_path / "e")]) == 2
    assert "its LSTM runs over windows of different lengths" in capfd.readouterr().err
    assert not (tmp_path / "e").exists()


def test_outputs_are_kept_apart(compact: Path, exported: Path, tmp_path: Path) -> None:
    taken = shutil.copytree(exported, tmp_path / "e")
    with pytest.raises(ConfigError, match="one of the inputs"):
        export_checkpoint(compact, compact)
    with pytest.raises((ConfigError, DataError)):
        export_checkpoint(compact, taken)
    with pytest.raises(ConfigError, match="is an export already"):
        export_checkpoint(taken, tmp_path / "f")
    with pytest.raises(ConfigError, match="fp32 or int8"):
        export_checkpoint(compact, tmp_path / "f", "bf16")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="already"):
        export_checkpoint(compact, tmp_path / "mine")
    assert not (tmp_path / "f").exists()
    export_checkpoint(compact, taken, overwrite=True)
    assert checkpoints.read_json(taken)["onnx"]["graphs"] == {"fp32": "model.onnx"}
    assert not (taken / "model.int8.onnx").exists()


GRAPHS = [
    ("fp32", "read", "cannot be read: .*Copy the whole"),
    ("int8", "read", "cannot be read: .*Copy the whole"),
    ("fp32", "output", r"of another model: its outputs are \{'other': \d+\}, expected \{'emissions': \d+\}"),
    ("fp32", "input", "of another model: it takes other, which the encoder does not give"),
]


@pytest.mark.parametrize(("precision", "damage", "told"), GRAPHS)
def test_a_graph_of_something_else_is_no_fault_of_the_encoder(
    precision: Any, damage: str, told: str, exported: Path, documents: list[Document], tmp_path: Path
) -> None:
    """Its checksum fits, as somebody recorded who put it there."""
    import onnx

    folder = shutil.copytree(exported, tmp_path / "e")
    facts = json.loads((folder / "papermage.json").read_text())
    name = facts["onnx"]["graphs"][precision]
    loaded = onnx.load(folder / name)
    if damage == "output":
        value = loaded.graph.output[0].name
        names = [each.output for each in loaded.graph.node]
    else:
        value = loaded.graph.input[0].name
        names = [each.input for each in loaded.graph.node]
    for each in (loaded.graph.output, loaded.graph.input)[damage == "input"]:
        each.name = "other" if each.name == value else each.name
    for found in names:
        found[:] = ["other" if each == value else each for each in found]
    (folder / name).write_bytes(b"\xff" * 50 if damage == "read" else loaded.SerializeToString())
    facts["checksums"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "papermage.json").write_text(json.dumps(facts))
    where = "" if damage == "input" else rf"{folder} is damaged: "
    with pytest.raises(CheckpointError, match=rf"{where}the ONNX graph of precision={precision} (is )?{told}"):
        Predictor.from_pretrained(folder, precision=precision).predict(documents[0])


@pytest.mark.parametrize("damage", ["bytes", "missing", "unrecorded", "outputs", "outside"])
def test_a_damaged_export_is_refused(damage: str, exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "e")
    facts = json.loads((folder / "papermage.json").read_text())
    if damage == "bytes":
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-9])
    elif damage == "missing":
        (folder / "model.onnx").unlink()
    elif damage == "unrecorded":
        facts["onnx"]["graphs"]["fp32"] = "other.onnx"
    elif damage == "outside":
        facts["onnx"]["graphs"]["fp32"] = "../e/model.onnx"
    else:
        facts["onnx"]["outputs"] = facts["onnx"]["outputs"] * 2
    (folder / "papermage.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError):
        checkpoints.load(folder)


def test_libraries_that_are_missing_are_named(
    compact: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime: pip install 'papermage_core\[onnx\]'"):
        Predictor.from_pretrained(exported)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"onnxscript: pip install 'papermage_core\[onnx\]'"):
        export_checkpoint(compact, tmp_path / "e")


# Precision and agreement --------------------------------------------------------------------------------------------


class _Two(torch.nn.Module):
    """An encoder that can compute in int8 too: at once, and as well as it is told to."""

    def __init__(self, inner: Any, error: float) -> None:
        super().__init__()
        self.inner, self.error, self.precision, self.calls = inner, error, "fp32", []
        self.output_size = inner.output_size
        self.windows, self.collate = inner.windows, inner.collate

    def compute_in(self, precision: str) -> None:
        if precision == "bf16":
            raise ConfigError("no bf16")
        self.precision = precision

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        self.calls.append(self.precision)
        if self.precision == "fp32":
            for _ in range(20):
                self.inner(features)
        vectors = self.inner(features)
        return vectors * (1 - self.error) if self.precision == "int8" else vectors


@pytest.mark.parametrize(("error", "chosen"), [(0.0, "int8"), (2.0, "fp32")])
def test_auto_chooses_what_is_fast_and_finds_the_same(
    error: float, chosen: str, compact: Path, documents: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    predictor = Predictor.from_pretrained(compact)
    predictor.model.encoder = _Two(predictor.model.encoder, error)  # type: ignore[assignment]
    use_precision(predictor.model, "auto")
    few = predictor.predict(documents[0])  # too little to tell by
    assert predictor.model.undecided
    with caplog.at_level(logging.INFO, "papermage_core"):
        found = list(predictor.predict_many(documents))
    assert not predictor.model.undecided
    assert f"precision=auto: {chosen}" in caplog.text
    assert "entities the same" in caplog.text
    assert predictor.model.encoder.precision == chosen
    assert told(found[0]) == told(few)
    predictor.model.encoder.calls.clear()
    list(predictor.predict_many(documents))
    assert set(predictor.model.encoder.calls) == {chosen}


def test_an_encoder_of_one_arithmetic_says_so(compact: Path, documents: list[Document]) -> None:
    with pytest.raises(ConfigError, match="computes in fp32 alone"):
        Predictor.from_pretrained(compact, precision="int8")
    with pytest.raises(ConfigError, match="expected one of fp32, bf16, int8, auto"):
        Predictor.from_pretrained(compact, precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected one of torch, onnx"):
        Predictor.from_pretrained(compact, backend="jax")  # type: ignore[arg-type]
    expected = [told(each) for each in Predictor.from_pretrained(compact).predict_many(documents)]
    found = Predictor.from_pretrained(compact, precision="auto").predict_many(documents)
    assert [told(each) for each in found] == expected


def test_agreement_is_counted_as_by_hand(compact: Path, exported: Path, data: Path, documents: list[Document]) -> None:
    report = agreement(compact, [data], exported)
    first, *others = report.variants
    assert [each.name for each in report.variants] == ["torch fp32", "onnx fp32", "onnx int8"]
    assert report.documents == len(documents)
    assert report.units == sum(len(document.get_layer("tokens")) for document in documents)
    reference = [set(told(each)) for each in Predictor.from_pretrained(compact).predict_many(documents)]
    assert first.entities == first.same == sum(map(len, reference))
    assert (first.agreement, first.tags_same, first.score_difference) == (1, 1, 0)
    for variant, precision in zip(others, ("fp32", "int8"), strict=True):
        own = Predictor.from_pretrained(exported, precision=precision)  # type: ignore[arg-type]
        found = [set(told(each)) for each in own.predict_many(documents)]
        assert variant.same == sum(len(a & b) for a, b in zip(reference, found, strict=True))
        assert variant.found_by_either == sum(len(a | b) for a, b in zip(reference, found, strict=True))
    gold = [{(e.start, e.end, name) for name in LABELS for e in document.get_layer(name)} for document in documents]
    right = sum(len(a & b) for a, b in zip(reference, gold, strict=True))
    assert first.f1 == pytest.approx(2 * right / (first.entities + sum(map(len, gold))))


def test_agreement_is_counted_on_documents_that_nobody_labelled(
    compact: Path, exported: Path, data: Path, documents: list[Document], tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    for line in lines:
        line["entities"] = {name: each for name, each in line["entities"].items() if name not in LABELS}
    plain = tmp_path / "plain.jsonl"
    plain.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    labelled, unlabelled = agreement(compact, [data], exported), agreement(compact, [plain], exported)
    assert unlabelled.documents == len(documents)
    for one, other in zip(labelled.variants, unlabelled.variants, strict=True):
        assert (one.entities, one.same, one.tags_same) == (other.entities, other.same, other.tags_same)
        assert other.f1 is None


@pytest.mark.slow
def test_the_commands(
    compact: Path, data: Path, documents: list[Document], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "made" / "e", tmp_path / "found.jsonl"
    assert export.main([str(compact), str(folder), "precision=auto", f"data_path={data}", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert [each["name"] for each in report["variants"]] == ["torch fp32", "onnx fp32", "onnx int8"]
    assert report["variants"][1]["agreement"] == 1
    for words in ([], ["precision=int8"], ["precision=auto"]):
        given = [f"model_name_or_path={folder}", f"data_path={data}", f"output_path={output}", "overwrite=true"]
        assert predict.main([*given, *words]) == 0
    found = list(read_documents(output))
    assert [each.symbols for each in found] == [each.symbols for each in documents]
    assert sum(len(each.get_layer("predictions")) for each in found) > 50
    scored = []
    for source, words in ((compact, []), (folder, []), (folder, ["precision=int8"]), (compact, ["backend=onnx"])):
        capfd.readouterr()
        assert evaluate.main([f"model_name_or_path={source}", f"data_path={data}", "--json", *words]) == 0
        scored.append(json.loads(capfd.readouterr().out)["micro"]["f1"])
    assert scored[0] == scored[1] == scored[3]
    assert predict.main([f"model_name_or_path={folder}", f"data_path={data}", "precision=fast"]) == 2
    assert "precision=fast: expected one of fp32, bf16, int8, auto, got 'fast'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the checkpoint is missing"),
        (["c"], "the folder to write is missing"),
        (["c", "--agreement"], "data_path is missing"),
        (["c", "e", "--agreement", "data_path=x"], "writes nothing"),
        (["c", "e", "f"], "expected a checkpoint and a folder to write"),
        (["c", "e", "precision=bf16"], "'fp32', 'int8' or 'auto'"),
        (["c", "e", "presicion=int8"], "precision"),
        (["nowhere", "e"], "does not exist"),
    ],
)
def test_wrong_words_are_told(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert export.main(words) in (1, 2, 3)
    assert message in capfd.readouterr().err
