from __future__ import annotations

import glob
import random
from pathlib import Path

import pytest

from papermage_core.files import find_files

PATTERNS = [
    "*.jsonl", "a/*.jsonl", "*/", "**", "**/", "**/*.jsonl", "./**/*.jsonl", "a/**", "a/**/", "a/**/b/*.jsonl",
    "**/b/**/x.*", "*/**/*.txt", ".h/**/*.jsonl", "**/.h/*", "**/.*", "**/[[]x]/**/*.jsonl", "**/**/x.jsonl", "a*/**/*",
    "nowhere/**/*", "**/nothing",
]  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders and files at random, some of them hidden, as the working folder."""
    chance = random.Random(1)
    for _ in range(120):
        folder = tmp_path.joinpath(
            *(chance.choice(["a", "b", ".h", "c d", "[x]"]) for _ in range(chance.randint(0, 4)))
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / chance.choice(["x.jsonl", "y.txt", ".z.jsonl", "a.b.jsonl"])).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.usefixtures("tree")
def test_it_finds_what_glob_finds(pattern: str) -> None:
    assert find_files(pattern) == sorted({Path(found) for found in glob.glob(pattern, recursive=True)})  # noqa: PTH207


def test_absolute_patterns_give_absolute_paths(tree: Path) -> None:
    assert find_files(f"{tree}/**/*.txt") == [tree / path for path in find_files("**/*.txt")]


def test_links_in_circles_end_and_each_file_is_found_once_by_its_own_name(tmp_path: Path) -> None:
    for i in range(8):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "x.jsonl").touch()
        for j in range(8):
            (tmp_path / str(i) / f"to{j}").symlink_to(tmp_path / str(j))
        (tmp_path / str(i) / "up").symlink_to("..")
    assert find_files(f"{tmp_path}/**/x.jsonl") == [tmp_path / str(i) / "x.jsonl" for i in range(8)]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    for name in ("far", "top"):
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "far" / "deep" / "x.jsonl").touch()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "far")
    assert find_files(f"{tmp_path}/top/**/*.jsonl") == [tmp_path / "top" / "link" / "deep" / "x.jsonl"]
