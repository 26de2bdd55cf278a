from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.given import from_file
from papermage_core.config.space import Dimension, check_space, declared_space, has_option, read_space
from papermage_core.errors import ConfigError, PluginError


def config(**values: Any) -> EntityClassificationTrainConfig:
    return EntityClassificationTrainConfig(**{"data_path": "a.jsonl", "label_field": "b"} | values)


def read(text: str, folder: Path, named: Sequence[str] = (), **values: Any) -> dict[str, Dimension]:
    (folder / "space.yaml").write_text(text)
    return {each.key: each for each in read_space(config(**values), from_file(folder / "space.yaml"), named)}


def test_ranges_and_choices_are_read_by_the_types_of_their_options(tmp_path: Path) -> None:
    text = """\
learning_rate: {low: 1e-4, high: 1e-2, log: true}
encoder:
  width: {low: 64, high: 256, step: 64}
  dropout: {low: 0.1, high: 0.6}
batch_size: [8, 16]
head: [linear, crf]
head.constrained: [yes, no]
gradient_clip_val: {low: 1, high: 2}
"""
    found = read(text, tmp_path)
    assert next(iter(found)) == "head"  # it decides what other options there are
    assert found["learning_rate"] == Dimension(key="learning_rate", kind="float", low=1e-4, high=1e-2, log=True)
    assert found["encoder.width"] == Dimension(key="encoder.width", kind="int", low=64, high=256, step=64)
    assert found["batch_size"].choices == (8, 16)
    assert found["head"].choices == ("linear", "crf")
    assert found["head.constrained"].choices == (True, False)
    assert found["gradient_clip_val"].kind == "float"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: {low: 1, high: 2}", "Did you mean 'learning_rate"),
        ("head.dropuot: [0.1, 0.2]", r"head\.dropuot \(.*space\.yaml:1\).*Did you mean 'head\.dropout'"),
        ("head.dropout: {low: 0.1, high: 1.5}", r"head\.dropout\.high='1\.5'.*at least 0 and below 1"),
        ("head.dropout: {low: 0.3, high: 0.1}", "expected low below high"),
        ("head.dropout: {low: 0.3}", "high missing"),
        ("head.dropout: {low: 0, high: 0.5, log: true}", "expected low above 0, for log"),
        ("head.dropout: {low: 0.1, high: 0.5, log: maybe}", r"head\.dropout\.log='maybe'"),
        (
            "head.dropout: {low: 0.1, hihg: 0.5}",
            r"space\.yaml:1\): expected low, high, log or step, got 'hihg'.*'high'",
        ),
        ("head: crf", "expected two choices or more"),
        ("head: {low: 1, high: 2}", "it is no number; give its choices as a list"),
        ("seed: [1, 2]", "it cannot be varied"),
        ("data_path: [a, b]", "it cannot be varied"),
        ("", "holds no option to vary"),
    ],
)
def test_what_is_wrong_with_a_space_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        read(text, tmp_path)
    assert getattr(caught.value, "exit_code", 1) in (2, 4)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read("seed: [1, 2]\nhead.dropout: {low: 0.3}\nbatch_size: [0, 1]\n", tmp_path)
    assert len(caught.value.errors) == 3


def test_options_declare_where_good_values_lie(tmp_path: Path) -> None:
    found = {each.key: each for each in declared_space(config())}
    assert found["learning_rate"].log
    assert (found["learning_rate"].low, found["learning_rate"].high) == pytest.approx((6e-4, 1.5e-2))
    assert found["encoder.dropout"] == Dimension(key="encoder.dropout", kind="float", low=0.1, high=0.6)
    assert found["encoder.width"] == Dimension(key="encoder.width", kind="int", low=64, high=256, log=True)
    fixed = declared_space(config(**{"encoder.dropout": 0.3}))
    assert "encoder.dropout" not in {each.key for each in fixed}, "what was given is not varied"


def test_named_options_are_varied_in_the_ranges_that_they_declare(tmp_path: Path) -> None:
    named = ["head.constrained", "head.label_smoothing", "weight_decay", "overlap_policy"]
    found = read("", tmp_path, named=named)
    assert found["head.constrained"].choices == (False, True)
    assert (found["head.label_smoothing"].low, found["head.label_smoothing"].high) == pytest.approx((0, 0.95))
    assert found["weight_decay"].log
    assert found["overlap_policy"].choices == ("longest", "first", "separate")
    with pytest.raises(ConfigError, match="declares no range; give it one in a file"):
        read("", tmp_path, named=["batch_size"])


def test_values_that_the_config_could_not_have_are_found_before_a_trial(tmp_path: Path) -> None:
    found = read("label_scheme: [bio, span]\nhead.dropout: [0.1, 0.2]", tmp_path)
    with pytest.raises(ConfigError, match=r"space: label_scheme=span: .*they do not fit"):
        check_space(config(), list(found.values()))
    check_space(config(), [found["head.dropout"]])


def test_a_component_that_is_not_known_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"^head \(.*space\.yaml:1\): .*Did you mean 'crf'"):
        read("head: [linear, crff]", tmp_path)


def test_an_option_that_is_misspelt_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read("lerning_rate: {low: 1e-4, high: 1e-2}", tmp_path)
    assert len(caught.value.errors) == 1


def test_the_optimizer_and_its_options_may_be_varied(tmp_path: Path) -> None:
    found = read("optimizer.schedule: [linear, cosine]", tmp_path)
    assert found["optimizer.schedule"].choices == ("linear", "cosine")
    assert has_option(config().components(), "optimizer.schedule")
    check_space(config(), list(found.values()))


def test_components_that_fit_some_choice_of_the_others_may_be_varied(tmp_path: Path) -> None:
    check_space(config(), list(read("head: [linear, span]\nlabel_scheme: [bio, span]", tmp_path).values()))
    with pytest.raises(ConfigError) as caught:
        check_space(config(), list(read("head: [linear, span]\nlabel_scheme: [bio, io]", tmp_path).values()))
    assert [error.partition(" learns")[0] for error in caught.value.errors] == ["space: head=span: head=span"]
