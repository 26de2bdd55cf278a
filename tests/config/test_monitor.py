from __future__ import annotations

from typing import Any

import pytest

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.monitor import Monitor
from papermage_core.errors import ConfigError
from papermage_core.evaluation import score
from papermage_core.plugin.spec import UnitSpan


def config(**values: Any) -> EntityClassificationTrainConfig:
    return EntityClassificationTrainConfig(**{"data_path": "a.jsonl", "label_field": "title,author"} | values)


@pytest.mark.parametrize("name", ["f1", "f1_macro", "loss", "title.f1", "author.f1"])
def test_a_figure_of_all_labels_or_the_f1_of_one_is_taken(name: str) -> None:
    assert config(monitor=name).monitor == name


@pytest.mark.parametrize("name", ["titel.f1", "title", "title.recall", "f2", "", ".f1"])
def test_another_is_an_error_that_names_the_labels(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected f1, f1_macro, loss, title\.f1 or author\.f1"):
        config(monitor=name)


def test_labels_taken_from_the_data_are_not_known_yet() -> None:
    assert config(monitor="disease.f1", label_attribute="type").monitor == "disease.f1"
    with pytest.raises(ConfigError, match="monitor='disease'"):
        config(monitor="disease", label_attribute="type")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"monitor": "loss", "val_split": 0}, "monitor=loss needs something to validate on"),
        ({"monitor": "title.f1", "limit_val_batches": 0}, "needs something to validate on"),
        ({"monitor": "loss", "barebones": True}, "barebones=true logs nothing"),
    ],
)
def test_a_monitor_that_would_see_nothing_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**values)


def test_less_loss_is_better_and_more_f1_and_no_number_is_neither() -> None:
    nan = float("nan")
    assert [Monitor("loss").is_better(v, than=0.5) for v in (0.4, 0.5, 0.6, nan)] == [True, False, False, False]
    assert [Monitor("f1").is_better(v, than=0.5) for v in (0.4, 0.5, 0.6, nan)] == [False, False, True, False]
    assert Monitor("loss").is_better(9.0, than=None)
    assert not Monitor("f1").is_better(nan, than=None)


def test_its_figures_are_those_of_the_scores() -> None:
    gold = [UnitSpan.of("title", 0, 2), UnitSpan.of("author", 3, 5)]
    scores = score([gold], [gold[:1]], labels=("title", "author"))
    assert Monitor("author.f1").figures(scores) == {"val_author.f1": 0.0}
    assert Monitor("f1_macro").figures(scores) == {"val_f1_macro": 0.5}
    assert Monitor("f1").figures(scores) == {}
