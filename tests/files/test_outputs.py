from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from papermage_core.errors import ConfigError, DataError
from papermage_core.files import COMPRESSIONS, check_output, open_output

ENDINGS = (".jsonl", ".csv")


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents in a file and a folder, a checkpoint in a run's folder, and a file of somebody's own."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "in.jsonl", "data/a.jsonl", "mine.jsonl", "run/mine.jsonl", "run/last.ckpt", "run/results/errors.jsonl",
        "run/checkpoints/papermage.json", "run/checkpoints/model.safetensors", "run/checkpoints/encoder/config.json",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    Path("link.jsonl").symlink_to("in.jsonl")
    Path("hard.jsonl").hardlink_to("in.jsonl")
    Path("linked").symlink_to("data")
    Path("loop").symlink_to("loop")
    Path("new.jsonl").symlink_to("data/new.jsonl")
    os.mkfifo("pipe.csv")


def check(path: str, **options: Any) -> None:
    check_output(path, inputs=["in.jsonl", Path("data"), "run/checkpoints", "*.nothing"], endings=ENDINGS, **options)


@pytest.mark.parametrize("path", ["-", os.devnull, "/dev/stdout", "/dev/fd/2", "pipe.csv"])
def test_what_is_written_through_may_always_be_written_to(path: str) -> None:
    check(path)


@pytest.mark.parametrize(
    "path",
    [
        "a.jsonl",
        "a.CSV",
        "new/deep/a.csv",
        "a",
        "run/a.jsonl",
        *(f"a.jsonl{ending}" for ending in COMPRESSIONS),
        "a.gz",
    ],
)
def test_what_is_new_may_be_written_and_nothing_is_made_by_asking(tmp_path: Path, path: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    check(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("data", "this is a folder; name a file in it"),
        ("new/", "this names a folder"),
        ("", "this is a folder"),
        ("in.jsonl", "this is one of the inputs"),
        ("./data/../in.jsonl", "this is one of the inputs"),
        ("link.jsonl", "this is one of the inputs"),
        ("hard.jsonl", "this is one of the inputs"),
        ("data/new.jsonl", "it lies in data, which is one of the inputs"),
        ("linked/new.jsonl", "it lies in data, which is one of the inputs"),
        ("new.jsonl", "it lies in data, which is one of the inputs"),
        ("run/checkpoints/model.safetensors", "it lies in run/checkpoints, which is one of the inputs"),
        ("a.txt", "nothing writes such a file; choose a name that ends in .jsonl, .csv, or in one of these and .gz"),
        ("a.txt.gz", "nothing writes such a file"),
        ("a.csv.zip", "nothing writes such a file"),
        ("in.jsonl/a.csv", "in.jsonl is no folder"),
        ("loop", "it cannot be written"),
        ("loop/a.csv", "it cannot be written"),
        ("a\0.csv", "it cannot be written"),
        ("a" * 300 + ".csv", "it cannot be written"),
    ],
)
def test_what_must_not_or_cannot_be_written_is_refused(
    tmp_path: Path, path: str, problem: str, overwrite: bool
) -> None:
    before = {found: found.read_bytes() for found in tmp_path.rglob("*") if found.is_file()}
    with pytest.raises(ConfigError) as caught:
        check(path, overwrite=overwrite)
    assert str(caught.value).startswith(f"output_path={path}: ")
    assert problem in str(caught.value)
    assert {found: found.read_bytes() for found in tmp_path.rglob("*") if found.is_file()} == before


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("run/checkpoints/a.csv", "run/checkpoints is a checkpoint"),
        ("run/checkpoints/papermage.json", "run/checkpoints is a checkpoint"),
        ("run/checkpoints/encoder/a.csv", "run/checkpoints is a checkpoint"),
        ("run/last.ckpt", "it belongs to the run in"),
        ("run/results/errors.jsonl", "it belongs to the run in"),
        ("run/report.html", "it belongs to the run in"),
        ("run/results/new/a.csv", "it belongs to the run in"),
    ],
)
def test_what_belongs_to_a_checkpoint_or_a_run_is_theirs_whatever_is_read(path: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_output(path, overwrite=True, option="errors_path")
    assert str(caught.value).startswith(f"errors_path={path}: ")
    assert problem in str(caught.value)


def test_a_run_whose_model_is_used_may_get_files_beside_its_own() -> None:
    check_output("run/new.jsonl", inputs=["run"])
    with pytest.raises(ConfigError, match="is a checkpoint"):
        check_output("run/checkpoints/new.jsonl", inputs=["run"])


@pytest.mark.parametrize("path", ["mine.jsonl", "run/mine.jsonl"])
def test_what_is_there_is_replaced_only_if_told(path: str) -> None:
    with pytest.raises(DataError, match=rf"there is {path} already: choose another output_path, or type overwrite"):
        check(path)
    check(path, overwrite=True)


def test_a_folder_to_write_is_no_file_holds_no_input_and_is_empty_unless_told(tmp_path: Path) -> None:
    Path("empty").mkdir()
    for fine in ("empty", "new", "a.b"):
        check_output(fine, folder=True, inputs=["in.jsonl"])
    for path, problem in (
        ("in.jsonl", "this is no folder"),
        ("data", "this is one of the inputs"),
        ("data/inner", "it lies in data"),
        (".", "the input in.jsonl lies in it"),
        ("run", "it belongs to the run in"),
        ("run/checkpoints", "is a checkpoint"),
        ("run/checkpoints/encoder", "is a checkpoint"),
        ("pipe.csv", "this is no folder"),
    ):
        with pytest.raises(ConfigError, match=problem):
            check_output(path, folder=True, inputs=["in.jsonl", "data"], overwrite=True)
    with pytest.raises(DataError, match="there is data already"):
        check_output("data", folder=True)
    check_output("data", folder=True, overwrite=True)


@pytest.mark.parametrize("name", ["deep/a", ".hidden"])
def test_a_folder_that_nothing_of_ours_has_written_is_never_replaced(name: str) -> None:
    path = Path("data", name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(ConfigError, match=f"output_path=data: {path.parts[1]} in it would be lost"):
        check_output("data", folder=True, overwrite=True)
    for here in (".", "..", "/"):
        with pytest.raises(ConfigError, match="this is the working folder, or holds it"):
            check_output(here, folder=True, overwrite=True)


READ_ONLY = """
import os
from papermage_core.errors import ConfigError
from papermage_core.files import check_output
os.mkdir("sealed"), os.chmod("sealed", 0o555)
open("mine", "w").close(), os.chmod("mine", 0o444)
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
for path in ("sealed/a", "sealed/new/a", "mine"):
    try:
        check_output(path, overwrite=True)
    except ConfigError as exc:
        print(exc)
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_place_without_permission_is_found_before_any_work() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others than their owner
        Path(folder).chmod(0o755)
        code = [sys.executable, "-c", READ_ONLY]
        done = subprocess.run(code, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "output_path=sealed/a: it cannot be written: Permission denied",
        "output_path=sealed/new/a: it cannot be written: Permission denied",
        "output_path=mine: it cannot be written: it is read-only",
    ]


def test_a_system_folder_is_found_before_any_work() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc")
    with pytest.raises(ConfigError, match="output_path=/proc/a: it cannot be written: "):
        check_output("/proc/a")


def test_an_output_is_written_in_a_folder_that_is_made_for_it(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for path in ("a/b/c", "-"):
        with open_output(path) as file:
            file.write(b"content")
    assert Path("a/b/c").read_bytes() == capfdbinary.readouterr().out == b"content"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_what_is_full_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space left") as told, open_output("/dev/full") as file:
        file.write(b"a" * 100_000)
    assert told.value.filename == "/dev/full"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left") as told, open_output("-") as file:
            file.write(b"a" * 100_000)
        assert told.value.filename == "standard output"
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
