"""A cascade of tiny models, trained once: entries in brackets, and in these names and amounts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from papermage_core import Document, Entity, Metadata, Span
from papermage_core.testing import write_jsonl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

NAMES = ["Arvo", "Berta", "Celan", "Dufay", "Elgar", "Gluck", "Haydn"]
TINY: dict[str, Any] = {
    "encoder.width": 16,
    "encoder.rows": 400,
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "learning_rate": 3e-2,
    "batch_size": 2,
    "val_split": 0,
    "cache": False,
}


def entries(number: int, n_entries: int = 4, n_pages: int = 2) -> Document:
    """Return a document with entries on its pages; names and amounts stand outside of them, too."""
    chance = random.Random(number)
    text = ""
    layers: dict[str, list[tuple[int, int]]] = {name: [] for name in ("pages", "tokens", "entry", "name", "amount")}

    def add(word: str, *names: str) -> None:
        nonlocal text
        for name in ("tokens", *names):
            layers[name].append((len(text), len(text) + len(word)))
        text += f"{word} "

    for _ in range(n_pages):
        begin = len(text)
        for _ in range(n_entries):
            for word in chance.choices(["under", "some", "old", chance.choice(NAMES), "77"], k=3):
                add(word)
            start = len(text)
            add("[")
            add(chance.choice(NAMES), "name")
            add("of")
            add(str(chance.randint(10, 99)), "amount")
            add("]")
            layers["entry"].append((start, len(text) - 1))
        layers["pages"].append((begin, len(text)))
        text += "\n"
    return Document.from_text(text, f"doc-{number}", layers)


def train(folder: Path, documents: list[Document], **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    given = TINY | {"data_path": write_jsonl(documents, folder / "train.jsonl"), "default_root_dir": folder / "run"}
    EntityClassificationTrainer(EntityClassificationTrainConfig(**given | options)).train()
    return folder / "run" / "checkpoints"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints ``entries`` and ``fields``."""
    folder = tmp_path_factory.mktemp("models")
    documents = [entries(number, n_pages=1) for number in range(20)]
    made = train(folder / "first", documents, label_field="entry", max_epochs=8)
    made.rename(folder / "entries")
    made = train(folder / "second", documents, label_field="name,amount", context_name="entry", max_epochs=8)
    made.rename(folder / "fields")
    return folder


RECIPE = """\
stages:
  - predictor: entries
  - predictor: fields
records: entry(name,amount)
"""


@pytest.fixture
def recipe(models: Path) -> Path:
    """The recipe, beside its checkpoints."""
    path = models / "two.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def bare(number: int, **options: Any) -> Document:
    """Return a document of new words without what is to be found."""
    document = entries(number, **options)
    for name in ("entry", "name", "amount"):
        document.remove_layer(name)
    return document


def texts(document: Document, layer: str) -> list[str]:
    return [entity.text for entity in document.get_layer(layer)]


def marked(text: str, metadata: dict[str, Any] | None = None, **layers: list[tuple[int, int]]) -> Document:
    document = Document(text, metadata=Metadata(**(metadata or {})))
    for name, places in layers.items():
        document.annotate_layer(name, [Entity(spans=[Span(*place)]) for place in places])
    return document
