"""What is kept of a component's work is kept under a hash of its code: edited code never gets what the old one made."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

import pytest

from papermage_core.data import examples as examples_module
from papermage_core.document import Document
from papermage_core.plugin import code
from papermage_core.plugin.code import digest_of_code
from papermage_core.plugin.manager import Plugins
from papermage_core.testing import make_documents, write_jsonl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

HOOK = """
import attrs
from papermage_core.plugin import ContextEncoderConfig, hookimpl

@attrs.frozen(kw_only=True)
class Config(ContextEncoderConfig):
    def build(self, folder=None):
        from acme_pkg.nn.encoder import Encoder
        return Encoder()

@hookimpl
def papermage_context_encoder():
    return Config
"""


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def site(install) -> Path:
    """A distribution with two packages, a module, and a list of words that belongs to its code."""
    folder = install("acme", {"papermage.context_encoder": {"acme": "acme_pkg.hooks"}}, acme_module="LIMIT = 3")
    (folder / "acme-1.0.dist-info" / "top_level.txt").write_text("acme_pkg\nacme_other\nacme_module\n")
    write(
        folder,
        acme_pkg__hooks=HOOK,
        acme_pkg__nn__encoder="import unlisted\nclass Encoder: ...",
        acme_pkg__text="A = 1",
    )
    write(folder, acme_other__rules="B = 1", unlisted="C = 1", stranger="D = 1")
    for package in ("acme_pkg", "acme_pkg/nn", "acme_other"):
        (folder / package / "__init__.py").write_text("")
    (folder / "acme_pkg" / "words.txt").write_text("ataxia\n")
    return folder


def digest_now(site: Path) -> str:
    """Return the digest as a new process would have it."""
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("acme_pkg", "acme_other", "acme_module", "unlisted")
    ]:
        del sys.modules[name]
    importlib.invalidate_caches()
    code._first.clear()
    config_class = Plugins().config_class("context_encoder", "acme")
    return digest_of_code([config_class, type(config_class().build())])


@pytest.mark.parametrize(
    "edited",
    ["acme_pkg/hooks.py", "acme_pkg/nn/encoder.py", "acme_pkg/text.py", "acme_pkg/words.txt", "acme_other/rules.py",
     "acme_module.py", "unlisted.py"],
)  # fmt: skip
def test_every_file_that_may_shape_features_counts(site, edited):
    """All packages of the distribution, their data, and what is imported of them that is not installed for good."""
    before = digest_now(site)
    assert digest_now(site) == before
    path = site / edited
    path.write_text(path.read_text().replace("1", "2") + ("# edited\n" if path.suffix == ".py" else "chorea\n"))
    assert digest_now(site) != before


def test_what_has_nothing_to_do_with_it_does_not_count(site):
    before = digest_now(site)
    (site / "stranger.py").write_text("D = 2")
    (site / "acme_pkg" / "__pycache__").mkdir(exist_ok=True)
    (site / "acme_pkg" / "__pycache__" / "text.cpython-311.pyc").write_bytes(b"x")
    assert digest_now(site) == before


def test_libraries_that_are_installed_for_good_are_left_to_their_versions(monkeypatch):
    read = []
    monkeypatch.setattr(code, "_digest", lambda path, is_fresh: read.append(path) or "")
    digest_of_code([Plugins().config_class("context_encoder", "compact"), Document])
    assert {"plugin.py", "document.py"} <= {path.name for path in read}
    assert not [path for path in read if {"site-packages", "dist-packages"} & set(path.parts)]


def test_code_that_changes_while_it_is_in_use_is_never_trusted(site):
    digest_now(site)
    config_class = Plugins().config_class("context_encoder", "acme")
    assert digest_of_code([config_class]) == digest_of_code([config_class])
    (site / "acme_pkg" / "text.py").write_text("A = 2")
    assert digest_of_code([config_class]) != digest_of_code([config_class])


FILE = """
import attrs
import numpy as np
from papermage_core.plugin import Window, hookimpl
from papermage_core.testing import TinyEncoder, TinyEncoderConfig

class Encoder(TinyEncoder):
    def windows(self, contexts, *, stride):
        return [[Window(w.start, w.stop, {"rows": w.features["rows"] * 0 + FACTOR}, w.cost) for w in of] for of in
                super().windows(contexts, stride=stride)]

@attrs.frozen(kw_only=True)
class Config(TinyEncoderConfig):
    def build(self, folder=None):
        return Encoder(self)

@hookimpl
def papermage_context_encoder():
    return Config
"""


def test_features_are_made_anew_when_a_plugin_file_is_edited(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(examples_module, "_WORTH_KEEPING", -1.0)  # all that is made is kept
    caplog.set_level(logging.INFO, "papermage_core")
    data = write_jsonl(make_documents(6), tmp_path / "train.jsonl")
    file = tmp_path / "mine.py"
    made = []
    for number, factor in enumerate(("1", "1", "2")):
        file.write_text(FILE.replace("FACTOR", factor))
        caplog.clear()
        config = EntityClassificationTrainConfig(
            data_path=data, label_field="Disease", encoder="mine", plugins_path=file, max_steps=1, val_split=0,
            default_root_dir=tmp_path / f"run{number}", enable_progress_bar=False, accelerator="cpu",
            **{"encoder.size": 4},
        )  # fmt: skip
        EntityClassificationTrainer(config).train()
        made.append("examples taken from the cache" not in caplog.text)
    assert made == [True, False, True]
