"""An option of a component is typed with the component's key before it: who forgets that is told, and pages do it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from papermage_core.cli.data import main
from papermage_core.config import load_config
from papermage_core.config.pretrain import EncoderPretrainConfig
from papermage_core.errors import ConfigError
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dropout=0.1", "Did you mean 'encoder.dropout' or 'head.dropout'?"),
        ("columns=token,ner", "Did you mean 'reader.columns'?"),
        ("style=words", "Did you mean 'reader.style' or 'processors.tokens.style'?"),
        ("beta=2", "Did you mean 'monitor.beta'?"),
        ("sed=1", "Did you mean 'seed'?"),
        ("epochs=3", "Did you mean 'max_epochs'?"),
        ("lr=1e-3", "Did you mean 'learning_rate'?"),
        ("output_dir=a", "Did you mean 'default_root_dir'?"),
        ("model=a", "Did you mean 'model_name_or_path'?"),
        ("nothing_like_it=1", "unknown option."),
        ("trainer.max_epochs=2", "Did you mean 'max_epochs'?"),
        ("trainer.seed=2", "Did you mean 'seed'?"),
        ("training.lr=1e-3", "Did you mean 'learning_rate'?"),
        ("training.batch_size=3", "Did you mean 'batch_size'?"),
        ("model.dropout=0.1", "Did you mean 'encoder.dropout' or 'head.dropout'?"),
        ("encder.dropout=0.1", "Did you mean 'encoder.dropout'?"),
        ("hed.of_a_plugin=0.1", "Did you mean 'head.of_a_plugin'?"),
        ("nothing.like_it=1", "unknown option."),
        ("optimizer.lr=1e-3", "beta1, beta2, eps, schedule. Did you mean 'learning_rate'?"),
        ("optimizer.beta3=1", "Did you mean 'optimizer.beta2'?"),
        ("encoder.max_epochs=1", "Did you mean 'max_epochs'?"),
    ],
)
def test_what_was_meant_is_told(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([], ["data_path=a", "label_field=b", typed]).components()
    assert str(caught.value).endswith(meant)


def test_other_commands_tell_it_of_the_components_that_they_have(tmp_path: Path, capsys) -> None:
    assert main(["convert", str(tmp_path), str(tmp_path / "a.csv"), "mark=true"]) == 2
    assert "mark (command line): unknown option. Did you mean 'writer.mark'?" in capsys.readouterr().err
    assert main(["stats", str(tmp_path), "mark=true"]) == 2
    assert "writer" not in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"Did you mean 'encoder\.rows'"):
        EncoderPretrainConfig(data_path="a", rows=7)


def test_options_of_readers_and_writers_on_all_pages_are_there() -> None:
    known: dict[str, set[str]] = {}
    for kind in (KINDS["document_reader"], KINDS["document_writer"]):
        for component in Plugins().components(kind.name):
            if component.origin == "built-in":
                options = describe_options(Plugins().config_class(kind.name, component.name))
                known.setdefault(kind.key, set()).update(option.name for option in options)
    typed = {
        found for page in DOCS.rglob("*.md") for found in re.findall(r"\b(reader|writer)\.(\w+)=", page.read_text())
    }
    assert len(typed) > 15
    assert {(key, name) for key, name in typed if name not in {*known[key], "key"}} == set()
