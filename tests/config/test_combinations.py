"""Components that a search may choose: what does not fit is not drawn, what was given of one stays with the others."""

from __future__ import annotations

import itertools
from typing import Any

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.combinations import Combinations, errors_of, with_values
from papermage_core.config.space import Dimension

HEAD = Dimension(key="head", kind="choice", choices=("linear", "crf", "span"))
SCHEME = Dimension(key="label_scheme", kind="choice", choices=("bio", "io", "span"))
OPTIMIZER = Dimension(key="optimizer.schedule", kind="choice", choices=("linear", "cosine"))


def config(**values: Any) -> EntityClassificationTrainConfig:
    return EntityClassificationTrainConfig(**{"data_path": "a.jsonl", "label_field": "b"} | values)


def test_whatever_is_drawn_in_any_order_fits() -> None:
    for space in ([HEAD, SCHEME, OPTIMIZER], [SCHEME, OPTIMIZER, HEAD]):
        combinations = Combinations.of(config(), space)
        drawn: list[dict[str, Any]] = [{}]
        for dimension in space:
            drawn = [
                {**before, dimension.key: choice}
                for before in drawn
                for choice in combinations.choices(dimension, before)
            ]
        assert not any(errors_of(config(), values) for values in drawn)
        every = itertools.product(HEAD.choices, SCHEME.choices, OPTIMIZER.choices)
        fitting = [each for each in every if (each[0] == "span") == (each[1] == "span")]
        assert len(drawn) == len(fitting) == 10


def test_what_is_not_drawn_is_told() -> None:
    assert Combinations.of(config(), [HEAD, SCHEME]).left_out() == [
        "head=linear with label_scheme=span",
        "head=crf with label_scheme=span",
        "head=span with label_scheme=bio or io",
    ]
    assert Combinations.of(config(), [HEAD, OPTIMIZER]).left_out() == []


def test_what_was_given_of_a_component_holds_for_the_others_that_have_it() -> None:
    given = config(**{"head.dropout": 0.3, "head.label_smoothing": 0.1, "optimizer.beta2": 0.9})
    crf = with_values(given, {"head": "crf", "optimizer.beta2": 0.95}, max_epochs=2)
    assert (crf.head, crf.max_epochs) == ("crf", 2)
    assert dict(crf.options) == {"head.dropout": 0.3, "optimizer.beta2": 0.95}
    assert dict(with_values(given, {"head": "linear"}).options) == dict(given.options)
    assert with_values(given, {"head": "crf", "head.dropout": 0.1}).options["head.dropout"] == 0.1
