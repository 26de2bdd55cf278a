"""The blocks of the pages are run as they stand, in a folder with files of the names that the pages use."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from papermage_core import Document, read_documents, write_documents
from papermage_core.cli import data, evaluate, predict
from papermage_core.cli.train import main as train
from papermage_core.evaluation import UnitText
from papermage_core.plugin import UnitSpan
from papermage_core.testing import make_documents
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIAL = ROOT / "examples" / "data" / "tutorial"
COMMANDS = {found.name: found for found in entry_points(group="console_scripts") if found.name.startswith("papermage-")}
HOW_TO = ["your-data.md", *sorted(f"how-to/{page.name}" for page in (DOCS / "how-to").glob("*.md"))]
SLOW = ["how-to/few-labels.md", "faster.md"]  # eight runs; an export
GUIDE = [
    "config.md", "data.md", "documents.md", "encoders/hf.md", "evaluation.md", "faster.md", "prediction.md",
    "pretraining.md", "processors.md", "schemes.md", "tuning.md", "../README.md",
]  # fmt: skip
ELSEWHERE = ["first-steps.md", "moving.md", "recipes.md"]  # and plugins/: each has a test of its own
NEEDED = {"tuning.md": ["optuna"], "faster.md": ["onnx", "onnxruntime", "onnxscript"]}
OPTIONS = {
    "papermage-evaluate": evaluate.Options, "papermage-predict": predict.Options,
    "papermage-data check": data.OPTIONS["check"], "papermage-data convert": data.OPTIONS["convert"],
}  # fmt: skip


def marked(pages: list[str]) -> list[Any]:
    return [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in pages]


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """The language and the text of each block, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    yield from re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> Iterator[list[str]]:
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words and words[0] in COMMANDS:
            yield words


def test_every_page_with_python_is_run_somewhere() -> None:
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if "```python" in page.read_text("utf-8")}
    assert {page for page in pages if not page.startswith("plugins/")} <= {*HOW_TO, *GUIDE, *ELSEWHERE}


@pytest.fixture(scope="session")
def run_of_drugs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages call ``run``: a model that finds drugs and diseases, trained for two steps."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    words = ["label_field=Drug,Disease,Dose", "processors=tokens,sentences", "context_name=sentences", "max_steps=2"]
    assert train([f"data_path={TUTORIAL / 'abstracts'}", *words, f"default_root_dir={folder}", "-q"]) == 0
    return folder


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_of_drugs: Path) -> Path:
    """A folder with the files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    for number in range(1, 13):
        for file in (TUTORIAL / "abstracts").glob(f"{number:02}.*"):
            (tmp_path / "mine").mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / "mine")
    for name in ("unlabelled", "papers"):
        (tmp_path / name).mkdir()
    text = (TUTORIAL / "new.txt").read_text(encoding="utf-8")
    Path("new.txt").write_text(text, encoding="utf-8")
    Path("long.txt").write_text(text * 20, encoding="utf-8")
    for number in range(3):
        (tmp_path / "unlabelled" / f"{number}.txt").write_text(f"{text}\nTrial {number}.", encoding="utf-8")
    shutil.copy(TUTORIAL / "paper.pdf", tmp_path / "papers")
    shutil.copytree(run_of_drugs, "run")
    return tmp_path


def mark_drugs(folder: Path) -> None:
    """Do in brat's files what the page asks a person to do."""
    for text in folder.glob("*.txt"):
        found = re.finditer("vancolimus|ritorelide", text.read_text(encoding="utf-8"))
        lines = [f"T{n}\tDrug {m.start()} {m.end()}\t{m[0]}\n" for n, m in enumerate(found, 1)]
        assert lines
        text.with_suffix(".ann").write_text("".join(lines), encoding="utf-8")


def write_nested(texts: list[str]) -> None:
    """Make a folder of what a page shows as ``a.txt`` and ``a.ann``."""
    shutil.rmtree("mine")
    Path("mine").mkdir()
    for number in range(6):
        for ending, text in zip((".txt", ".ann"), texts, strict=True):
            Path(f"mine/{number}{ending}").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", marked(HOW_TO))
@pytest.mark.usefixtures("desk")
def test_a_page_goes_through_from_top_to_bottom(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    trains = any("$ papermage-train" in block for _, block in blocks(page))
    texts = [block for language, block in blocks(page) if language == "text"]
    if page.endswith("nested-entities.md"):
        write_nested(texts)
    names: dict[str, object] = {}
    for language, block in blocks(page):
        if language == "python":
            exec(block, names)
        elif language == "console":
            for name, *words in commands(block):
                if name == "papermage-train":
                    words += ["max_steps=2", "enable_progress_bar=no"]
                    if trains and "default_root_dir=run" in words:
                        shutil.rmtree("run")
                assert COMMANDS[name].load()(words) == 0, (name, words, capsys.readouterr().err)
                if words[-1] == "writer=brat" and page.endswith("pdf-to-table.md"):
                    mark_drugs(Path("to_label"))
    if page == "your-data.md":
        assert [doc.get_layer("Disease")[0].text for doc in read_documents("mine.jsonl")] == ["breast cancer"]
    if page.endswith("pdf-to-table.md"):
        (doc,) = read_documents("labelled.jsonl")
        assert {drug.text for drug in doc.get_layer("Drug")} == {"vancolimus", "ritorelide"}
        assert Path("found.csv").read_text(encoding="utf-8").startswith("document,page,label,text,start,end,score,box")


@pytest.mark.parametrize("page", [*HOW_TO, *GUIDE, *ELSEWHERE, "index.md", "training.md", "choosing.md"])
def test_options_in_commands_that_are_not_run_exist(page: str) -> None:
    for language, block in blocks(page):
        if language not in ("bash", "console", "sh"):
            continue
        for words in commands(block):
            name = next((name for name in OPTIONS if " ".join(words).startswith(name)), None)
            if name is not None:
                known = {field.name for field in attrs.fields(OPTIONS[name])}
                typed = {found[1] for word in words if (found := re.match(r"([a-z_]+)=", word))}
                assert typed <= known, words


@pytest.mark.parametrize("page", ["how-to/gpu.md", "how-to/cluster.md"])
@pytest.mark.usefixtures("desk")
def test_commands_for_other_machines_are_understood(page: str) -> None:
    typed = [words for language, block in blocks(page) if language == "bash" for words in commands(block)]
    assert typed
    for name, *words in typed:
        if name == "papermage-train":
            assert train([*words, "--dry-run"]) == 0
        else:
            kept = [word for word in words if not word.startswith("device=")]
            assert COMMANDS[name].load()(kept) == 0


@pytest.fixture(scope="session")
def corpora_of_the_guide(tmp_path_factory: pytest.TempPathFactory, run_of_drugs: Path) -> Path:
    """The corpora that the pages of the guide speak of, and two models."""
    folder = tmp_path_factory.mktemp("guide") / "guide"
    documents = make_documents(12)
    write_documents(documents, folder / "train.jsonl")
    write_documents(documents[:3], folder / "dev.jsonl")
    write_documents(documents, folder / "all.jsonl")
    write_documents(documents[:3], folder / "test.jsonl")
    for number in range(3):
        for doc in documents[number::3]:
            doc.annotate_layer("Chemical", [])
        write_documents(documents[number::3], folder / "corpus" / f"{number}.jsonl")
    write_documents(documents[:2], folder / "more" / "a.jsonl.gz")
    line = json.dumps({"symbols": "a", "metadata": {}, "entities": {}}) + "\n"
    (folder / "large.jsonl").write_text(line * 12_346, encoding="utf-8")
    (folder / "papers").mkdir()
    shutil.copy(TUTORIAL / "paper.pdf", folder / "papers")
    shutil.copytree(run_of_drugs, folder / "run")
    config = EntityClassificationTrainConfig(
        data_path=folder / "train.jsonl", label_field="Disease", context_name="sentences", max_steps=1,
        processors="tokens,sentences", default_root_dir=folder / "RUN",
    )  # fmt: skip
    EntityClassificationTrainer(config).train()
    return folder


@pytest.fixture
def study(corpora_of_the_guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, to work in."""
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    shutil.copytree(corpora_of_the_guide, tmp_path / "here", copy_function=os.link)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def names_of(page: str) -> dict[str, object]:
    """What a page takes for granted."""
    if page == "documents.md":
        text = "Germline breast cancer risk."
        doc = Document.from_text(text, layers={"tokens": [(0, 8), (9, 15), (16, 22), (23, 28)], "pages": [(0, 28)]})
        return {"line": doc.to_bytes()}
    if page == "evaluation.md":
        gold = [[UnitSpan.of("author", 0, 2)]]
        return {
            "gold": gold,
            "predicted": gold,
            "texts": [UnitText(document="a", symbols="a b", starts=np.array([0, 2]), stops=np.array([1, 3]))],
        }
    return {"doc": make_documents(1)[0]}


def as_it_runs(block: str) -> str:
    """A block with as few steps as will do."""
    if "max_epochs" not in block:
        block = re.sub(r"(EntityClassificationTrainConfig\([^)]*?)(,?\s*\))", r"\1, max_epochs=1\2", block)
    return block.replace("n_trials=30", "n_trials=1").replace("max_epochs=3, **", "max_epochs=1, **")


@pytest.mark.parametrize("page", marked(GUIDE))
@pytest.mark.usefixtures("study")
def test_the_python_of_a_page_runs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if page == "encoders/hf.md":
        monkeypatch.setattr("papermage_transformers.cpu.tune_process", lambda *, allocator: None)
    for module in NEEDED.get(page, ()):
        pytest.importorskip(module)
    names = names_of(page)
    ran = 0
    for language, block in blocks(page):
        if language == "python":
            exec(compile(as_it_runs(block), page, "exec"), names)
            ran += 1
    assert ran
