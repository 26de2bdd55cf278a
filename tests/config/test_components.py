"""Components are found, structured and checked against each other before any data is read."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import attrs
import pytest

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.structure import nest, structure, unstructure
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin import ComponentConfig, option
from papermage_core.plugin.options import describe_options


class Pool(enum.Enum):
    MEAN = "mean"
    FIRST = "first"


@attrs.frozen(kw_only=True)
class Layer:
    width: int = option(4, help="width", ge=1)


@attrs.frozen(kw_only=True)
class Options(ComponentConfig):
    dropout: float = option(0.1, help="dropout", ge=0, lt=1)
    pool: Pool = option(Pool.MEAN, help="pool")
    sizes: tuple[int, ...] = option((1,), help="sizes")
    mode: str = option("a", help="mode", choices=["a", "b"])
    flag: bool = option(True, help="flag")
    path: Path = option(Path("a"), help="path")
    limit: int | None = option(3, help="limit")
    layer: Layer = Layer()
    layers: tuple[Layer, ...] = ()
    even: int = attrs.field(default=0)

    @even.validator
    def _is_even(self, attribute: Any, value: int) -> None:
        if value % 2:
            raise ValueError(f"even={value} is odd")


def made(options: dict[str, Any]) -> Options:
    return structure(Options, options, key="head", name="x", sources={"head.dropout": "c.yaml:3"})


def test_texts_become_what_the_fields_declare() -> None:
    config = made(
        {
            "dropout": "1e-1",
            "pool": "first",
            "sizes": "1,2",
            "flag": "no",
            "path": "b",
            "limit": "none",
            "layer": {"width": "8"},
            "layers": [{"width": "2"}],
        }
    )

    assert config == Options(
        dropout=0.1,
        pool=Pool.FIRST,
        sizes=(1, 2),
        flag=False,
        path=Path("b"),
        limit=None,
        layer=Layer(width=8),
        layers=(Layer(width=2),),
    )
    assert isinstance(config.path, Path)


@attrs.frozen(kw_only=True)
class Deep:
    width: int = 4
    depth: int = option(help="depth")


@attrs.frozen(kw_only=True)
class Holder:
    deep: Deep = attrs.field(factory=lambda: Deep(width=9, depth=2))


def test_one_option_of_a_nested_class_leaves_the_others_as_the_default_of_the_whole_has_them() -> None:
    assert structure(Holder, {}, key="head", name="x") == Holder()
    assert structure(Holder, {"deep": {"depth": "5"}}, key="head", name="x").deep == Deep(width=9, depth=5)
    described = {option.name: option.default for option in describe_options(Holder)}
    assert described == {"deep.width": 9, "deep.depth": 2}


@pytest.mark.parametrize("encoder", [{"name": "compact", "max_length": 20}, {"name": "hf", "max_length": 20}])
def test_a_stride_that_no_window_can_keep_is_an_error_where_it_was_given(encoder: dict[str, Any]) -> None:
    if encoder["name"] == "hf":
        encoder = {**encoder, "model_name_or_path": "no-such-model"}
    made = EntityClassificationTrainConfig(data_path="a", label_field="x", encoder=encoder)

    assert made.stride > 20
    assert made.components().encoder.max_length == 20  # type: ignore[attr-defined]
    assert made.replace(stride=19).components()
    with pytest.raises(ConfigError, match=r"^stride=20: expected less than encoder.max_length=20$"):
        made.replace(stride=20).components()


def test_plain_values_go_both_ways() -> None:
    config = Options(dropout=0.5, pool=Pool.FIRST, sizes=(1, 2), layer=Layer(width=8), layers=(Layer(width=2),))

    assert made(unstructure(config)) == config
    assert unstructure(config)["pool"] == "first"


def test_every_fault_of_the_options_is_told_with_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        made({"dropout": "2", "pool": "max", "sizes": "1,x", "mode": "c", "layer": {"width": 0, "depth": 1}, "drop": 1})

    assert caught.value.errors == (
        "head.dropout='2' (c.yaml:3): expected a number at least 0 and below 1",
        "head.pool='max' (Python): expected 'mean' or 'first'",
        "head.sizes='1,x' (Python): expected a comma-separated list of whole numbers",
        "head.mode='c' (Python): expected 'a' or 'b'",
        "head.layer.width=0 (Python): expected a whole number at least 1",
        "head.layer.depth (Python): 'x' has no such option; it has: width. Did you mean 'head.layer.width'?",
        "head.drop (Python): 'x' has no such option; it has: dropout, pool, sizes, mode, flag, path, limit, "
        "layer, layers, even. "
        "Did you mean 'head.dropout'?",
    )


def test_a_value_in_place_of_nested_options_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"head.layer=3 .*: expected its options: head.layer.width"):
        made({"layer": 3})


def test_a_validator_of_the_plugins_own_is_told_with_the_component() -> None:
    with pytest.raises(ConfigError, match=r"^head=x: even=3 is odd$"):
        made({"even": 3})


def test_a_fault_in_a_list_of_classes_is_told() -> None:
    with pytest.raises(ConfigError, match="head=x: "):
        made({"layers": [{"width": "x"}]})


@pytest.mark.parametrize("options", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}])
def test_a_key_that_is_a_value_and_a_mapping_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a value of its own as well"):
        nest(options)


def config(**values: Any) -> EntityClassificationTrainConfig:
    return EntityClassificationTrainConfig(data_path="train.jsonl", label_field="Disease", **values)


def test_components_come_with_their_provenance(mine: Path) -> None:
    found = config(plugins_path=mine, reader="mine", head={"name": "crf", "dropout": 0.25}).components()

    assert found.head.dropout == 0.25  # type: ignore[attr-defined]
    assert found.scheme.targets == found.head.targets == "tags"
    assert found.provenance["model_head"]["distribution"] == "papermage_core"
    assert found.provenance["document_reader"]["name"] == "mine"
    assert set(found.by_key()) == {"encoder", "label_scheme", "head", "reader", "optimizer"}


def test_a_component_may_be_named_with_its_distribution(mine: Path) -> None:
    plain = config(plugins_path=mine, reader="mine", head="crf").components()
    full = config(plugins_path=mine, reader="mine", head="papermage-core:crf").components()

    assert full == plain


def test_a_head_and_a_scheme_that_do_not_fit_list_the_pairs_that_do(mine: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config(plugins_path=mine, reader="mine", head="mine").components()

    (error,) = caught.value.errors
    assert "head=mine learns spans and label_scheme=bio makes tags: they do not fit" in error
    assert "; with head=mine, label_scheme=span fits; " in error
    assert "with label_scheme=bio, head=crf or head=linear fits" in error


def test_a_scheme_without_a_legal_sequence_is_refused(mine: Path) -> None:
    with pytest.raises(ConfigError, match="label_scheme=mine has no legal sequence of tags for the labels Disease"):
        config(plugins_path=mine, reader="mine", label_scheme="mine").components()


def test_a_rule_between_a_components_options_is_told(mine: Path) -> None:
    with pytest.raises(ConfigError, match="head=mine: low=5 is above high=1"):
        config(plugins_path=mine, reader="mine", head={"name": "mine", "low": 5, "high": 1}).components()


def test_faults_of_several_components_are_told_at_once(mine: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config(
            plugins_path=mine, encoder="mine", reader={"name": "mine", "enc": 1}, head={"name": "crf", "dropout": -1}
        ).components()

    assert [error.split()[0].split("=")[0] for error in caught.value.errors] == [
        "encoder.model_name_or_path",
        "head.dropout",
        "reader.enc",
    ]


def test_a_pretrained_model_is_for_an_encoder_that_takes_one(mine: Path) -> None:
    given = {"model_name_or_path": "org/model", "encoder.width": "x", "head.dropout": "x"}
    with pytest.raises(ConfigError) as caught:
        config(**given, encoder="compact").components()
    first, second = caught.value.errors
    assert first == (
        "model_name_or_path=org/model (Python) names a pretrained model, and encoder=compact (Python) takes none: "
        "type encoder=hf, or leave out model_name_or_path"
    )
    assert second.startswith("head.dropout='x'")
    made = config(model_name_or_path="org/model", encoder="mine", reader="mine", plugins_path=mine, head="crf")
    assert made.components().encoder.model_name_or_path == "org/model"  # type: ignore[attr-defined]


def test_components_that_cannot_be_had_are_told_at_once() -> None:
    with pytest.raises(PluginError) as caught:
        config(head="crff", encoder="compakt").components()

    first, second = str(caught.value).splitlines()
    assert "Did you mean 'compact'?" in first
    assert "Did you mean 'crf'?" in second


def test_an_unknown_extension_is_told_before_anything_runs(mine: Path) -> None:
    with pytest.raises(PluginError, match="extensions=nothing"):
        config(plugins_path=mine, reader="mine", extensions="nothing").components()


def test_names_and_options_of_all_kinds_are_told_at_once() -> None:
    with pytest.raises(PluginError) as caught:
        config(head="crff", processors=["tokens", "sentnces"], extensions=["nothing"]).components()
    for told in ("head=crff", "sentnces", "nothing"):
        assert told in str(caught.value)
    with pytest.raises(ConfigError) as wrong:
        config(head={"name": "crf", "x": 1}, processors={"name": ["tokens"], "tokens": {"y": 1}}).components()
    assert len(wrong.value.errors) == 2
