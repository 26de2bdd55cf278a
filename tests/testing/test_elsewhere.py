"""What a component reads in another process."""

from __future__ import annotations

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
