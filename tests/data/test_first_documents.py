"""What is looked at before libraries are imported that take seconds."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from papermage_core.data.first_documents import check_not_empty
from papermage_core.errors import DataError


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", b""), ("a.jsonl", b"\n \n"), ("a.jsonl.gz", gzip.compress(b"", mtime=0))]
)
def test_an_empty_file_is_refused_with_its_path(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="this file holds no document") as told:
        check_not_empty([tmp_path / name], None)
    assert told.value.path == tmp_path / name


def test_an_empty_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": this folder is empty$"):
        check_not_empty([tmp_path], None)
    (tmp_path / "a.odd").touch()
    with pytest.raises(DataError, match="no file in this folder ends in"):
        check_not_empty([tmp_path], None)


def test_a_file_that_its_reader_takes_empty_and_what_is_not_empty_pass(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Nothing is marked.")
    (tmp_path / "a.ann").touch()
    (tmp_path / "b.jsonl").write_text("{")  # told where it is read
    check_not_empty([tmp_path / "a.ann", tmp_path, tmp_path / "b.jsonl"], None)


COMMANDS = """\
import sys
from importlib import import_module
name, *words = sys.argv[1:]
code = import_module(f"papermage_core.cli.{name}").main(words)
assert code == 3, code
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize(
    "words",
    [
        ["train", "label_field=a", "data_path=a.jsonl"],
        ["tune", "label_field=a", "data_path=a.jsonl"],
        ["data", "audit", "label_field=a", "data_path=a.jsonl"],
        ["predict", "model_name_or_path=model", "data_path=a.jsonl", "output_path=b.jsonl"],
        ["evaluate", "model_name_or_path=model", "data_path=a.jsonl"],
        ["pretrain", "data_path=a.jsonl"],
    ],
    ids=lambda words: words[0],
)
def test_commands_tell_it_before_torch_is_imported(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "model").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "a.jsonl: this file holds no document" in done.stderr
