"""Fixtures of all rooms."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from papermage_core.config.environment import variables

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: their threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of some hundred processes would compile our modules anew
sys.dont_write_bytecode = False

_LONGEST_ID = 200


def _fsync(file: Any) -> None:
    """Refuse what `os.fsync` refuses; do not wait for the disk: what tests write need not outlive the machine."""
    os.fstat(file if isinstance(file, int) else file.fileno())


os.fsync = _fsync
for variable, _ in list(variables()):  # the defaults of the machine that runs the tests are not theirs
    del os.environ[variable]

# No test is about time: a busy machine must not fail one.
settings.register_profile(  # the same examples each time where a failure would hold others up
    "untimed", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")

NAMES = ["Arvo", "Berta", "Celan", "Dufay", "Elgar", "Fauré", "Gluck", "Haydn"]
FILLERS = ["the", "of", "and", "with", "under", "some", "very", "old", "new", "red"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage meanwhile: of what is imported nothing goes again, and it is a million objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


_frozen = 0
"""How many modules were there when objects were frozen last."""


@pytest.fixture(autouse=True)
def _only_what_tests_make_is_looked_through() -> None:
    """Have the garbage collector pass over what modules hold: a look through all of it takes half a second."""
    global _frozen
    if len(sys.modules) > _frozen:
        _frozen = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _log_is_left_as_it_was() -> Iterator[None]:
    """Fail the test that leaves the root logger changed, not one that runs after it."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    assert (root.level, root.handlers) == before


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora that ``PAPERMAGE_CORPORA`` names."""
    folder = os.environ.get("PAPERMAGE_CORPORA")
    if not folder:
        pytest.skip("set PAPERMAGE_CORPORA to the folder of real corpora to run this test")
    return Path(folder)


def make_document(chance: random.Random, number: int, n_pages: int = 2) -> dict[str, Any]:
    """Return a document that can be learnt: numbers are amounts, capitalised words before them names."""
    symbols, tokens, pages, names, amounts = "", [], [], [], []
    for _ in range(n_pages):
        begin = len(symbols)
        for _ in range(chance.randint(4, 9)):
            words = [chance.choice(FILLERS) for _ in range(chance.randint(1, 4))]
            if chance.random() < 0.8:
                words += ["<name>", "<name>", "<amount>"]
            for word in words:
                text = {"<name>": chance.choice(NAMES), "<amount>": str(chance.randint(10, 999))}.get(word, word)
                start = len(symbols)
                symbols += text
                tokens.append({"spans": [[start, len(symbols)]]})
                if word == "<name>" and (not names or symbols[names[-1]["spans"][0][1] : start] != " "):
                    names.append({"spans": [[start, len(symbols)]]})
                elif word == "<name>":
                    names[-1]["spans"][0][1] = len(symbols)
                elif word == "<amount>":
                    amounts.append({"spans": [[start, len(symbols)]]})
                symbols += " "
        pages.append({"spans": [[begin, len(symbols)]]})
        symbols += "\n"
    entities = {"tokens": tokens, "pages": pages, "names": names, "amounts": amounts}
    return {"symbols": symbols, "metadata": {"doc_id": f"doc-{number}"}, "entities": entities, "relations": {}}


@pytest.fixture(scope="session")
def write_corpus() -> Callable[..., Path]:
    """Write a JSONL file of made-up documents; return its path."""

    def write(path: Path, n: int = 12, seed: int = 0) -> Path:
        chance = random.Random(seed)
        documents = [make_document(chance, seed * 1000 + i) for i in range(n)]
        path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def train_file(tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> Path:
    """Twelve documents to train on."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "train.jsonl")


@pytest.fixture(scope="session")
def val_file(tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> Path:
    """Four other documents."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "val.jsonl", n=4, seed=1)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Cut long texts in the names of tests: the name is in the environment, which programs that tests run must hold.

    Archives are not named by their bytes, which hold the time: workers would collect other names each.
    """
    if isinstance(val, bytes) and val.startswith((b"\x1f\x8b", b"PK")):
        return "archive"
    return repr(val[:_LONGEST_ID]) if isinstance(val, (str, bytes)) and len(val) > _LONGEST_ID else None
