"""The sample documents: what is committed is what the generator writes, and it is sound."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from papermage_core import Document

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path.relative_to(EXAMPLES / "data") for path in (EXAMPLES / "data").rglob("*.jsonl"))


def documents(file: Path) -> list[Document]:
    return [Document.from_bytes(line) for line in (EXAMPLES / "data" / file).read_bytes().splitlines()]


def test_the_generator_writes_the_committed_files_again(tmp_path: Path) -> None:
    # another hash seed must not matter
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, EXAMPLES / "make_samples.py", tmp_path], check=True, env=environment)
    every = sorted(path.relative_to(EXAMPLES / "data") for path in (EXAMPLES / "data").rglob("*") if path.is_file())
    for file in every:
        assert (tmp_path / file).read_bytes() == (EXAMPLES / "data" / file).read_bytes(), file
    assert len(every) == len(FILES) + 2 * 30 + 2 + 2
    assert len(FILES) == 4


def test_the_samples_stay_small() -> None:
    assert sum((EXAMPLES / "data" / file).stat().st_size for file in FILES) < 2_000_000


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_label_begins_and_ends_with_a_token(file: Path) -> None:
    for document in documents(file):
        tokens = [(span.start, span.end) for token in document.get_layer("tokens") for span in token.spans]
        starts, ends = {start for start, _ in tokens}, {end for _, end in tokens}
        assert all(one[1] <= other[0] for one, other in pairwise(tokens))
        for name in set(document.layers) - set(document.SPECIAL_FIELDS):
            for entity in document.get_layer(name):
                assert all(span.start in starts and span.end in ends for span in entity.spans), (name, entity.text)


def test_train_and_dev_share_no_text() -> None:
    for kind in ("references", "pages"):
        train, dev = (
            {document.symbols for document in documents(Path(kind) / f"{split}.jsonl")} for split in ("train", "dev")
        )
        assert train.isdisjoint(dev)
