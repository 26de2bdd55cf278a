"""What a component reads in another process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from papermage_core.testing.elsewhere import _Watch


def test_files_of_an_installed_package_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, kept = tmp_path / "site" / "pack", tmp_path / "kept.txt"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    kept.touch()
    (package / "data.txt").symlink_to(kept)
    monkeypatch.syspath_prepend(str(package.parent))

    watch = _Watch([])
    watch("open", (str(package / "data.txt"), "r", 0))
    assert watch.opened == []
    watch("open", (str(kept), "r", 0))
    assert watch.opened == [str(kept.resolve())]


def test_a_temporary_file_that_goes_by_itself_is_not_left_behind(tmp_path: Path) -> None:
    watch, left = _Watch([], own=__file__), tmp_path / "left"
    watch("open", (tempfile.gettempdir(), None, os.O_RDWR))  # as TemporaryFile asks for a file without a name
    watch("open", (str(left), "w", 0))
    left.touch()
    assert watch.left() == [str(left.resolve())]
    left.unlink()
    assert watch.left() == []
