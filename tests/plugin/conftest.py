"""Distributions made up on disk, seen by importlib.metadata as pip would have installed them."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., Path]

HEAD = """
import attrs
from papermage_core.plugin import ModelHeadConfig, hookimpl, option

@attrs.frozen(kw_only=True)
class Config(ModelHeadConfig):
    hidden: int = option(8, help="size of the hidden layer", ge=1)

    def build(self, input_size, scheme):
        raise NotImplementedError("not wanted here")

@hookimpl
def papermage_model_head():
    return Config
"""


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Undo what a command's ``-q`` does to the log."""
    logger = logging.getLogger("papermage_core")
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution: ``install("acme-heads", {"papermage.model_head": {"acme": "acme"}}, acme=HEAD)``."""
    known = set(sys.modules)

    def install(
        name: str,
        entry_points: Mapping[str, Mapping[str, str]],
        *,
        version: str = "1.0",
        site: str = "site",
        **modules: str,
    ) -> Path:
        folder = tmp_path / site
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [
            line
            for group, entries in entry_points.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(dedent(source))
        if str(folder) not in sys.path:
            monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        return folder

    yield install
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def head_source() -> str:
    """The source of a module that gives a head."""
    return HEAD
