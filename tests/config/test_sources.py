"""Training data are paths with weights, however they are written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from papermage_core.config import EntityClassificationTrainConfig, load_config
from papermage_core.config.sources import Source
from papermage_core.errors import ConfigError


def config(**values: Any) -> EntityClassificationTrainConfig:
    return EntityClassificationTrainConfig(**{"label_field": "x", **values})


@pytest.mark.parametrize(
    ("value", "sources"),
    [
        ("a.jsonl", [Source(Path("a.jsonl"))]),
        ("a.jsonl*2, b/*.jsonl", [Source(Path("a.jsonl"), 2), Source(Path("b/*.jsonl"))]),
        ("a*0.5,b*.25,c*1e-3,d*0,e*1", list(map(Source, map(Path, "abcde"), (0.5, 0.25, 1e-3, 0, 1)))),
        ("b/*.jsonl*2", [Source(Path("b/*.jsonl"), 2)]),
        ("b/*2", [Source(Path("b/*2"))]),
        ("b/**2", [Source(Path("b/**2"))]),
        ("part*[2]", [Source(Path("part*[2]"))]),
        ("*2", [Source(Path("*2"))]),
        ("a*2.jsonl", [Source(Path("a*2.jsonl"))]),
        (["a.jsonl*2", "b,c.jsonl"], [Source(Path("a.jsonl"), 2), Source(Path("b,c.jsonl"))]),
        ([{"path": "a.jsonl", "weight": "2"}, "b/*.jsonl"], [Source(Path("a.jsonl"), 2), Source(Path("b/*.jsonl"))]),
        ({"path": "a*2"}, [Source(Path("a*2"))]),
        (Path("a*2"), [Source(Path("a*2"))]),
        ((Source(Path("a"), 3), Path("b")), [Source(Path("a"), 3), Source(Path("b"))]),
        ("-", [Source(Path("-"))]),
    ],
)
def test_paths_and_weights_are_read_in_every_form(value: Any, sources: list[Source]) -> None:
    made = config(data_path=value)

    assert made.data_sources == tuple(sources)
    assert made.data_path == tuple(source.path for source in sources)


def test_a_file_whose_name_ends_in_a_weight_is_meant_if_it_is_there(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl*2").touch()

    assert config(data_path="a.jsonl*2,b.jsonl*2").data_sources == (
        Source(Path("a.jsonl*2")),
        Source(Path("b.jsonl"), 2),
    )
    assert config(data_path="a", val_data_path="a.jsonl*2").val_data_path == (Path("a.jsonl*2"),)
    made = config(data_path="a.jsonl*2*3")
    assert made.data_sources == (Source(Path("a.jsonl*2"), 3),)
    file = tmp_path / "config.yaml"
    file.write_text(made.to_yaml())
    Path("a.jsonl*2").rename("elsewhere")
    assert load_config([file]).data_sources == made.data_sources


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"data_path": "a*-1"},
            r"data_path='a\*-1' \(Python\): expected a comma-separated list of paths, with",
        ),
        ({"data_path": "a*inf"}, "with a weight of 0 or more"),
        ({"data_path": "a*nan"}, "with a weight of 0 or more"),
        ({"data_path": [{"path": "a", "weight": -1}]}, "with a weight of 0 or more"),
        ({"data_path": [{"path": "a", "weight": "many"}]}, "with a weight of 0 or more"),
        ({"data_path": [{"path": "a", "weigth": 2}]}, "with a weight of 0 or more"),
        ({"data_path": [{"weight": 2}]}, "with a weight of 0 or more"),
        ({"data_path": [["a"]]}, "with a weight of 0 or more"),
        ({"data_path": "a*0,b*0"}, "expected a weight above 0 for a path"),
        ({"data_path": "a", "val_data_path": "b,v*2"}, r"val_data_path='b,v\*2' .*: expected paths without weights"),
        ({"data_path": "a", "test_data_path": "t*2"}, "test_data_path=.*: expected paths without weights"),
        ({"data_path": "a", "val_data_path": [{"path": "v", "weight": 2}]}, "expected a comma-separated list of paths"),
        (
            {"data_path": "a*2", "mode": "eval", "model_name_or_path": "m"},
            "paths without weights with mode=eval",
        ),
    ],
)
def test_a_weight_that_means_nothing_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**values)


def test_the_forms_of_a_config_file_agree(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    files = []
    for text in (
        'data_path: [{path: a.jsonl, weight: 2}, "b/*.jsonl"]',
        "data_path:\n- path: a.jsonl\n  weight: 2.0\n- b/*.jsonl",
        "data_path: [a.jsonl*2, b/*.jsonl]",
        "data_path: a.jsonl*2,b/*.jsonl",
    ):
        file.write_text(f"{text}\nlabel_field: x\n")
        files.append(load_config([file]))

    assert files == [config(data_path="a.jsonl*2,b/*.jsonl")] * 4


@given(
    paths=st.lists(st.text("a*2/.,[]?- \n'é日", min_size=1, max_size=6), min_size=1, max_size=3),
    weights=st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
)
def test_the_written_config_says_the_same_paths_and_weights(
    paths: list[str], weights: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assume(any(weights[: len(paths)]))
    made = config(data_path=[Source(Path(path), weight) for path, weight in zip(paths, weights, strict=False)])
    file = tmp_path_factory.getbasetemp() / "written.yaml"
    file.write_text(made.to_yaml(), encoding="utf-8")

    assert load_config([file]).data_sources == made.data_sources
    assert made.replace(seed=1).data_sources == made.data_sources


def test_the_name_of_a_run_changes_with_the_weights() -> None:
    assert len({config(data_path=path).run_name() for path in ("a", "a*2", "a*3")}) == 3


def test_anchored_paths_keep_their_weights_and_standard_input_is_no_path() -> None:
    anchored = config(data_path="a*2,-").anchored()

    assert anchored.data_sources == (Source(Path.cwd() / "a", 2), Source(Path("-")))


def test_a_weight_is_a_finite_number_from_zero_up() -> None:
    for weight in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="weight: expected a number at least 0"):
            Source(Path("a"), weight)
