"""The config of a run: what it takes, what it refuses, and that it can be written and read again."""

from __future__ import annotations

import inspect
import math
import pickle
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from papermage_core.config import EntityClassificationTrainConfig, load_config
from papermage_core.config.structure import nest, structure
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import option_type
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import ComponentConfig, option

BASE: dict[str, Any] = {"data_path": "train.jsonl", "label_field": "Disease"}


def config(**values: Any) -> EntityClassificationTrainConfig:
    return EntityClassificationTrainConfig(**{**BASE, **values})


def errors(**values: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config(**values)
    return caught.value.errors


def test_papermages_options_keep_name_and_default() -> None:
    made = config()

    assert made.data_path == (Path("train.jsonl"),)
    assert made.label_field == ("Disease",)
    assert (made.entity_name, made.context_name, made.mode) == ("tokens", "pages", "train")
    assert (made.seed, made.max_epochs, made.wandb, made.warmup_steps) == (470, 5, False, 0.05)
    assert (made.notes, made.data_notes, made.default_root_dir, made.model_name_or_path) == ("", "", None, None)


def test_values_are_read_by_their_declared_type() -> None:
    made = config(label_field="1,2", learning_rate="5e-5", val_split="0.2", wandb="on", seed="7", batch_size=None)

    assert made.label_field == ("1", "2")
    assert made.learning_rate == 5e-5
    assert (made.val_split, made.wandb, made.seed, made.batch_size) == (0.2, True, 7, None)


def test_a_label_may_be_called_on() -> None:
    assert config(label_field="on").label_field == ("on",)


def test_several_paths_may_be_given_in_any_form() -> None:
    expected = (Path("a.jsonl"), Path("b.jsonl"))

    for value in ["a.jsonl,b.jsonl", ["a.jsonl", "b.jsonl"], [Path("a.jsonl"), Path("b.jsonl")]]:
        assert config(data_path=value).data_path == expected
    assert config(val_data_path=None).val_data_path == ()


def test_a_path_that_is_there_is_not_cut_at_its_commas(tmp_path: Path) -> None:
    path = tmp_path / "a,b.jsonl"
    path.touch()
    config = load_config([], [f"data_path={path}", "label_field=a,b", f"val_data_path={path}"])
    assert (config.data_path, config.val_data_path) == ((path,), (path,))
    assert config.label_field == ("a", "b")


def test_every_trainer_parameter_goes_through_by_name_and_type() -> None:
    made = config(gradient_clip_val="1.0", limit_train_batches="0.5", fast_dev_run="2", strategy="ddp", max_steps=1)

    assert made.lightning == {
        "gradient_clip_val": 1.0,
        "limit_train_batches": 0.5,
        "fast_dev_run": 2,
        "strategy": "ddp",
        "max_steps": 1,
    }
    assert set(lightning_parameters()) & set(own_options()) == set()


def test_python_objects_reach_the_trainer() -> None:
    callback = object()

    assert config(callbacks=[callback]).lightning["callbacks"] == [callback]


def test_component_options_may_be_dotted_or_nested() -> None:
    nested = config(head={"name": "crf", "dropout": 0.2})
    dotted = config(head="crf", **{"head.dropout": 0.2})

    assert nested == dotted
    assert nested.options == {"head.dropout": 0.2}


def test_every_fault_is_told_at_once_with_value_place_and_expectation() -> None:
    found = errors(
        label_fild="a", seed="x", learning_rate=-1, gradient_clip_val="a lot", hed={"dropout": 1}, mode="trian"
    )

    assert set(found) == {
        "label_fild (Python): unknown option. Did you mean 'label_field'?",
        "seed='x' (Python): expected a whole number or a comma-separated list of whole numbers at least 0 and at most "
        "4294967295",
        "learning_rate=-1 (Python): expected a number above 0, or 'none'",
        "gradient_clip_val='a lot' (Python): expected a number at least 0, or 'none'",
        "hed.dropout (Python): unknown option. Did you mean 'head.dropout'?",
        "mode='trian' (Python): expected 'train' or 'eval'",
    }


def test_what_must_be_given_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        EntityClassificationTrainConfig()

    assert [error.split()[0] for error in caught.value.errors] == ["data_path", "label_field"]


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"label_field": "a,b,a"}, "each name once, 'a' is there twice"),
        ({"label_field": "a,O"}, "a name other than 'O'"),
        ({"label_field": ""}, "the names of one layer or several"),
        ({"label_field": ["a", ""]}, "none of them empty"),
        ({"data_path": ""}, "one path or several"),
        ({"warmup_steps": 1.5}, "a share up to 1, or above it a whole number of steps"),
        ({"max_epochs": 0}, "at least 1, or -1"),
        ({"max_epochs": -1}, "without end"),
        ({"patience": 3, "val_split": 0}, "something to validate on"),
        ({"patience": 3, "barebones": True}, "logs nothing"),
        ({"patience": 3, "limit_val_batches": 0}, "limit_val_batches=0 leaves nothing"),
        ({"patience": "3", "limit_val_batches": "0.0", "val_data_path": "v"}, "limit_val_batches=0 leaves nothing"),
        ({"patience": 3, "check_val_every_n_epoch": 6}, "check_val_every_n_epoch=6 has none in max_epochs=5"),
        ({"limit_train_batches": 0}, "nothing to train on"),
        ({"limit_train_batches": "0.0"}, "nothing to train on"),
        ({"limit_train_batches": -1}, "at least 0"),
        ({"limit_val_batches": 1.5}, "a share up to 1, or a whole number of batches"),
        ({"overfit_batches": -0.5}, "at least 0"),
        ({"max_steps": 0}, "at least 1, or -1 for no limit"),
        ({"max_steps": -2}, "at least -1"),
        ({"max_epochs": -2}, "at least -1"),
        ({"max_time": "0"}, "00:02:30:00"),
        ({"max_time": "2h"}, "00:02:30:00"),
        ({"max_time": "00:00:00:00"}, "00:02:30:00"),
        ({"max_time": {"hours": 0}}, "00:02:30:00"),
        ({"max_time": {"years": 1}}, "00:02:30:00"),
        ({"max_time": {"days": 10**12}}, "00:02:30:00"),
        ({"val_check_interval": 0}, "above 0"),
        ({"val_check_interval": -1}, "above 0"),
        ({"val_check_interval": 2.5}, "a whole number of batches"),
        ({"val_check_interval": "1:2"}, "00:02:30:00"),
        ({"devices": 0}, "a whole number at least 1, -1 for all"),
        ({"devices": "-3"}, "a whole number at least 1, -1 for all"),
        ({"num_nodes": 0}, "at least 1"),
        ({"accumulate_grad_batches": 0}, "at least 1"),
        ({"check_val_every_n_epoch": 0}, "at least 1"),
        ({"gradient_clip_val": -1}, "at least 0"),
        ({"fast_dev_run": -1}, "at least 0"),
        ({"wandb": True, "barebones": True}, "logs nothing"),
        ({"logger": True, "barebones": True}, "logs nothing"),
        ({"mode": "eval"}, "needs model_name_or_path"),
        ({"val_split": 1}, "at least 0 and below 1"),
        ({"seed.x": 1}, "'seed' has no options of its own"),
        ({"overlap_policy": "shortest"}, "'longest', 'first' or 'separate'"),
        ({"callbacks": "mine"}, "made in Python"),
    ],
)
def test_rules_between_options_are_kept(values: dict[str, Any], part: str) -> None:
    (error,) = errors(**values)

    assert part in error


@pytest.mark.parametrize(
    "values",
    [
        {"gradient_clip_val": math.inf, "fast_dev_run": True, "limit_val_batches": 0},
        {"max_time": "00:02:30:00", "val_check_interval": "0:0:10:0", "max_steps": -1, "overfit_batches": 2.0},
        {"max_time": {"hours": 2}, "val_check_interval": timedelta(minutes=10), "devices": -1},
        {"max_time": timedelta(hours=2), "val_check_interval": 0.5, "devices": [0, 1], "limit_train_batches": None},
        {"val_check_interval": 100, "devices": "auto", "num_sanity_val_steps": -1, "log_every_n_steps": 0},
    ],
)
def test_what_lightning_takes_is_taken(values: dict[str, Any]) -> None:
    assert config(**values).lightning == values


def has_float(declared: Any) -> bool:
    wanted = option_type(declared)
    return wanted.declared is float or any(has_float(part.declared) for part in wanted.parts)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", ".inf", math.nan, math.inf])
def test_no_number_of_any_option_is_infinite_or_none_at_all(value: Any) -> None:
    named = {**own_options(), **lightning_parameters()}
    floats = [name for name, described in named.items() if has_float(described.type)]
    assert {"learning_rate", "weight_decay", "warmup_steps", "limit_val_batches"} <= set(floats)
    floats.remove("gradient_clip_val")  # torch itself has an infinite norm for clipping nothing

    found = errors(**dict.fromkeys(floats, value))

    assert {error.partition("=")[0] for error in found} == set(floats)


@pytest.mark.parametrize("value", ["inf", math.inf])
def test_no_number_of_a_component_is_infinite(value: Any) -> None:
    plugins = Plugins()
    seen = 0
    for component in plugins.components():
        config_class = plugins.config_class(component.kind, component.qualified)
        for described in describe_options(config_class):
            if has_float(described.type):
                with pytest.raises(ConfigError, match=f"x.{described.name}="):
                    structure(config_class, nest({described.name: value}), key="x", name=component.name)
                seen += 1
    assert seen > 20


def test_a_component_may_have_infinity_as_its_default_or_limit() -> None:
    @attrs.frozen(kw_only=True)
    class Clip(ComponentConfig):
        most: float = option(math.inf, help="most")
        least: float = option(0.0, help="least", ge=-math.inf)
        share: float = option(0.5, help="share")

    assert structure(Clip, {"most": "inf", "least": "-inf"}, key="x", name="clip").least == -math.inf
    with pytest.raises(ConfigError, match=r"x.share='inf' \(Python\): expected a number; infinity is not allowed"):
        structure(Clip, {"share": "inf"}, key="x", name="clip")
    with pytest.raises(ValueError, match="'share' must be finite"):
        Clip(share=math.inf)


@pytest.mark.parametrize("values", [{"warmup_steps": 1}, {"warmup_steps": 100}, {"max_epochs": -1, "max_steps": 10}])
def test_edges_that_are_fine_are_taken(values: dict[str, Any]) -> None:
    assert config(**values)


def test_model_name_or_path_alone_means_the_hf_encoder() -> None:
    made = config(model_name_or_path="org/model")

    assert (made.encoder, made.options) == ("hf", {"encoder.model_name_or_path": "org/model"})
    assert made == config(model_name_or_path="org/model", encoder="hf")


def test_in_evaluation_model_name_or_path_is_the_checkpoint() -> None:
    made = config(model_name_or_path="run/checkpoints", mode="eval")

    assert (made.encoder, made.options) == ("compact", {})


def test_two_models_that_contradict_each_other_are_refused() -> None:
    (error,) = errors(model_name_or_path="a", **{"encoder.model_name_or_path": "b"})

    assert "contradict" in error


@pytest.mark.parametrize(
    ("changes", "encoder", "options"),
    [
        ({"model_name_or_path": "b"}, "hf", {"encoder.model_name_or_path": "b"}),
        ({"encoder.model_name_or_path": "b"}, "hf", {"encoder.model_name_or_path": "b"}),
        ({"encoder": "compact"}, "compact", {}),
    ],
)
def test_a_later_model_or_encoder_replaces_an_earlier_one(
    changes: dict[str, Any], encoder: str, options: dict[str, Any]
) -> None:
    made = config(model_name_or_path="a", encoder="hf").replace(**changes)

    assert (made.encoder, made.options) == (encoder, options)


def test_a_model_replaces_another_encoder_and_its_options() -> None:
    made = config(encoder={"name": "compact", "width": 8}).replace(model_name_or_path="a")

    assert (made.encoder, made.options) == ("hf", {"encoder.model_name_or_path": "a"})


def test_naming_another_component_drops_the_options_of_the_former() -> None:
    made = config(head={"name": "crf", "dropout": 0.1}, encoder={"name": "compact", "width": 8})

    assert made.replace(head="linear").options == {"encoder.width": 8}
    assert made.replace(head="crf").options == made.options


def test_of_several_components_those_that_are_named_still_keep_their_options(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("{data_path: a, label_field: x, processors: {name: [tokens, sentences], tokens: {style: words}}}")
    for names in ("tokens,sentences", "tokens,abbreviations", ["sentences", "tokens"]):
        assert load_config([file]).replace(processors=names).options == {"processors.tokens.style": "words"}
    for names in ("sentences", "token", "none"):
        assert load_config([file], [f"processors={names}"]).options == {}


def test_replace_changes_what_it_names_and_nothing_else() -> None:
    made = config(head="crf", max_steps=3, **{"head.dropout": 0.2})
    changed = made.replace(seed=1)

    assert changed.seed == 1
    assert changed.replace(seed=470) == made
    with pytest.raises(ConfigError):
        made.replace(sed=1)


def test_later_files_win_over_earlier_ones_and_the_command_line_over_all(tmp_path: Path) -> None:
    base, mine = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    base.write_text("data_path: a.jsonl\nlabel_field: x\nseed: 1\nnotes: base\nmax_epochs: 2\n")
    mine.write_text("seed: 2\nnotes: mine\n")

    made = load_config([base, mine], ["seed=3"])

    assert (made.seed, made.notes, made.max_epochs) == (3, "mine", 2)
    assert [made.source(key) for key in ("seed", "notes", "max_epochs", "stride")] == [
        "command line",
        f"{mine}:2",
        f"{base}:5",
        "default",
    ]


def test_faults_of_files_options_and_components_are_told_together(tmp_path: Path, mine: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"plugins_path: {mine}\nencoder:\n  name: mine\n  pool: max\nhead: mine\nreader: mine\nsed: 1\n")

    with pytest.raises(ConfigError) as caught:
        load_config([file], ["head.hihg=1"])

    text = str(caught.value)
    assert f"encoder.pool='max' ({file}:4): expected 'mean' or 'first'" in text
    assert "encoder.model_name_or_path is missing" in text
    assert "Did you mean 'head.high'?" in text
    assert f"sed ({file}:7): unknown option. Did you mean 'seed'?" in text
    assert "data_path is missing" in text


def test_a_config_survives_pickling_and_comparing() -> None:
    made = config(head={"name": "crf", "dropout": 0.2}, max_steps=1)

    assert pickle.loads(pickle.dumps(made)) == made
    assert made != made.replace(seed=1)


def test_editors_see_the_options_in_the_signature() -> None:
    parameters = inspect.signature(EntityClassificationTrainConfig).parameters

    assert list(parameters)[:2] == ["data_path", "label_field"]
    assert parameters["seed"].default == 470


def reread(made: EntityClassificationTrainConfig, folder: Path) -> EntityClassificationTrainConfig:
    path = folder / "config.yaml"
    path.write_text(made.to_yaml(), encoding="utf-8")
    return load_config([path])


def test_the_written_config_repeats_the_run(tmp_path: Path, mine: Path) -> None:
    made = config(
        plugins_path=mine,
        encoder={"name": "mine", "model_name_or_path": "none", "pool": "first", "sizes": "3,4", "folder": "none"},
        label_scheme="span",
        head={"name": "mine", "low": "2"},
        reader="mine",
        label_field=["a,b", "none", "on", "ü\n:"],
        learning_rate="1e-05",
        max_time={"hours": 1},
        precision="bf16-mixed",
        devices=[0, 1],
        notes="'quoted': #x",
        label_attribute="none",
        **{"encoder.lora.rank": 8, "encoder.word": "none", "encoder.lora.name": "k"},
    )

    again = reread(made, tmp_path)

    assert again.components() == made.components()
    assert again.lightning == made.lightning
    assert {name: getattr(again, name) for name in own_options()} == {
        name: getattr(made, name) for name in own_options()
    }
    assert again.to_yaml() == made.to_yaml()
    assert again.components().encoder.word == "none"  # type: ignore[attr-defined]


TEXTS = st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text and text.isprintable())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(TEXTS, min_size=1, max_size=4, unique=True).filter(lambda labels: "O" not in labels),
    notes=st.text(max_size=20).filter(lambda text: text.isprintable()),
    rate=st.floats(1e-12, 1e3),
    seed=st.integers(0, 2**32 - 1),
    attribute=st.none() | TEXTS,
    val_split=st.floats(0, 0.999),
)
def test_any_values_survive_the_file(
    tmp_path: Path, mine: Path, labels: list[str], notes: str, rate: float, seed: int, attribute: str, val_split: float
) -> None:
    made = config(
        plugins_path=mine,
        reader="mine",
        label_field=labels,
        notes=notes,
        learning_rate=rate,
        seed=seed,
        label_attribute=attribute,
        val_split=val_split,
    )

    again = reread(made, tmp_path)

    assert {name: getattr(again, name) for name in own_options()} == {
        name: getattr(made, name) for name in own_options()
    }


def test_what_python_made_is_named_in_the_file_and_left_out(tmp_path: Path, mine: Path) -> None:
    made = config(plugins_path=mine, reader="mine", callbacks=[object()], max_steps=1)

    assert "# callbacks: made in Python" in made.to_yaml()
    assert reread(made, tmp_path).lightning == {"max_steps": 1}


def test_a_fraction_of_a_second_survives_the_file(tmp_path: Path, mine: Path) -> None:
    made = config(plugins_path=mine, reader="mine", max_time=timedelta(hours=1, milliseconds=250))
    assert timedelta(**reread(made, tmp_path).lightning["max_time"]) == made.lightning["max_time"]


def test_paths_can_be_made_absolute() -> None:
    made = config(val_data_path="v.jsonl", default_root_dir="run").anchored()

    assert made.data_path == (Path.cwd() / "train.jsonl",)
    assert made.default_root_dir == Path.cwd() / "run"
    assert made.anchored() == made


def test_the_run_folder_lies_below_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = config()

    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path))
    assert made.run_folder() == tmp_path / made.run_name()
    monkeypatch.delenv("PAPERMAGE_CACHE_DIR")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert made.run_folder() == tmp_path / ".cache" / "papermage" / made.run_name()
    assert config(default_root_dir="here").run_folder() == Path("here")


def test_the_run_name_tells_what_is_trained_and_changes_with_every_argument() -> None:
    made = config(head="crf")
    name = made.run_name()

    assert name.startswith("compact_crf_bio_Disease_train_")
    assert config(head="crf").run_name() == name
    assert config(head="crf", seed="470").run_name() == name
    assert config(head={"name": "crf", "dropout": "0.5"}) == config(head={"name": "crf", "dropout": 0.5})
    assert made.replace(default_root_dir="x", resume=True).run_name() == name
    for change in [{"seed": 1}, {"head.dropout": 0.3}, {"max_steps": 1}, {"data_path": "other/train.jsonl"}]:
        assert made.replace(**change).run_name() != name


@given(
    labels=st.lists(TEXTS, min_size=1, max_size=8, unique=True).filter(lambda labels: "O" not in labels),
    notes=st.text(),
)
def test_the_run_name_is_a_short_safe_file_name(labels: list[str], notes: str) -> None:
    name = config(label_field=labels, notes=notes).run_name()

    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,119}", name)


def test_head_span_brings_the_scheme_that_fits_it() -> None:
    made = EntityClassificationTrainConfig(data_path="a.jsonl", label_field="x", head="span")
    assert made.label_scheme == "span"
    assert made.components().scheme.targets == "spans"
    assert made.replace(head="crf").label_scheme == "bio"
    assert (
        EntityClassificationTrainConfig(data_path="a", label_field="x", head="span", label_scheme="io").label_scheme
        == "io"
    )


def test_editors_know_every_option() -> None:
    from papermage_core.config.arguments import TrainArguments

    assert set(TrainArguments.__annotations__) == {*own_options(), *lightning_parameters()}
